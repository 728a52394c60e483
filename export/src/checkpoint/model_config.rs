//! What a model's own configuration says beside the sizes that its tensors show: how images become pixels, and what it
//! leaves to its library.

use descry_model::ResizeFilter;

/// How images become pixels, as far as it is known.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct PixelSettings {
    /// Subtracted from each channel after division by 255.
    pub mean: Option<[f32; 3]>,
    /// Each channel is divided by this then.
    pub std: Option<[f32; 3]>,
    /// How images are brought to the model's size.
    pub resize_filter: Option<ResizeFilter>,
}

impl PixelSettings {
    /// These, with the other's where these say nothing.
    pub(crate) fn or(self, other: Self) -> Self {
        Self {
            mean: self.mean.or(other.mean),
            std: self.std.or(other.std),
            resize_filter: self.resize_filter.or(other.resize_filter),
        }
    }
}

/// What a configuration does not write down because its library has a default for it. It holds as much as what is written,
/// but whoever reads the summary must not look for it in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LibraryDefaults {
    /// The library's name.
    pub library: &'static str,
    /// Whether the activation of a tower is the library's.
    pub activation: bool,
    /// Whether the number of heads of a tower is the library's.
    pub heads: bool,
    /// The library's resize, where the configuration names none; the settings of pixels don't have it, as published code
    /// that has one of its own goes before it.
    pub resize_filter: Option<ResizeFilter>,
}
