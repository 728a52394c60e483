//! 8-bit RGB to the values that the vision tower reads.

use crate::TrainError;
use descry_model::{ImageInput, RgbImage};
use ndarray::Array4;

/// `(value / 255 - mean) / std` for each channel, in float32 as published and as serving does it.
#[derive(Debug, Clone)]
pub(super) struct Normalisation {
    /// One table per channel: the arithmetic done 256 times instead of once a pixel.
    tables: [[f32; 256]; 3],
    mean: [f32; 3],
}

/// Where an image lies within its own frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Placement {
    /// Whether left and right are swapped, before the border is added.
    pub(super) is_mirrored: bool,
    /// Black border in pixels on every side.
    pub(super) pad: usize,
    /// First row of the bordered image that is in the frame, up to twice the border.
    pub(super) top: usize,
    /// First column of the bordered image that is in the frame, up to twice the border.
    pub(super) left: usize,
}

impl Normalisation {
    /// CLIP's mean and standard deviation.
    pub(super) fn clip(height_px: usize, width_px: usize) -> Self {
        let ImageInput { mean, std, .. } = ImageInput::clip(height_px, width_px);
        let tables: [[f32; 256]; 3] = std::array::from_fn(|channel| {
            std::array::from_fn(|value| (value as f32 / 255.0 - mean[channel]) / std[channel])
        });
        Self { tables, mean }
    }

    /// Mean of each channel, of values from 0 to 1.
    pub(super) fn mean(&self) -> [f32; 3] {
        self.mean
    }

    /// Writes an image as it is.
    ///
    /// # Shapes
    /// - `target`: `[3, height, width]` f32, RGB planes
    pub(super) fn write(&self, image: &RgbImage, target: &mut [f32]) {
        self.write_placed(image, Placement::default(), target);
    }

    /// Writes what of an image lies in its frame, black around it.
    ///
    /// # Shapes
    /// - `target`: `[3, height, width]` f32, RGB planes
    pub(super) fn write_placed(&self, image: &RgbImage, placement: Placement, target: &mut [f32]) {
        let Placement { is_mirrored, pad, top, left } = placement;
        let (height, width) = (image.height, image.width);
        let planes = target.chunks_exact_mut(height * width).zip(&self.tables);
        for (channel, (plane, table)) in planes.enumerate() {
            for (row, values) in plane.chunks_exact_mut(width).enumerate() {
                let Some(source_row) = (row + top).checked_sub(pad).filter(|&source| source < height) else {
                    values.fill(table[0]);
                    continue;
                };
                let samples = &image.samples[source_row * width * 3..(source_row + 1) * width * 3];
                for (column, value) in values.iter_mut().enumerate() {
                    let source = (column + left).checked_sub(pad).filter(|&source| source < width);
                    let sample = source.map_or(0, |source| {
                        let source = if is_mirrored { width - 1 - source } else { source };
                        samples[source * 3 + channel]
                    });
                    *value = table[usize::from(sample)];
                }
            }
        }
    }
}

/// Puts images into one array.
///
/// # Shapes
/// - `images`: `[3, height, width]` f32 each
/// - returns: `[images, 3, height, width]` f32
///
/// # Errors
/// [`TrainError::Thread`] for images of another size, which only a mistake in this program makes.
pub(super) fn stack(images: &[Vec<f32>], height: usize, width: usize) -> Result<Array4<f32>, TrainError> {
    Array4::from_shape_vec((images.len(), 3, height, width), images.concat())
        .map_err(|error| TrainError::Thread { reason: format!("it made images of another size: {error}") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::fixture;
    use crate::data::image_files::ImageFiles;
    use descry_model::preprocess_image;

    #[test]
    fn an_unchanged_image_is_what_serving_sees() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.bmp");
        fixture::write_image(&path, 11, 23, 5);
        let image = ImageFiles::new(&fixture::input(), &fixture::loading(1)).read(&path).unwrap();
        let mut values = vec![f32::NAN; 3 * 16 * 8];
        Normalisation::clip(16, 8).write(&image, &mut values);
        let served = preprocess_image(&std::fs::read(&path).unwrap(), &ImageInput::clip(16, 8), 1_000_000).unwrap();
        assert_eq!(served.iter().copied().collect::<Vec<_>>(), values);
    }

    #[test]
    fn a_placement_mirrors_and_then_shifts() {
        // One row of three grey pixels.
        let image = RgbImage { width: 3, height: 1, samples: vec![10, 10, 10, 20, 20, 20, 30, 30, 30] };
        let normalisation = Normalisation::clip(1, 3);
        let written = |is_mirrored, top, left| {
            let mut values = vec![f32::NAN; 9];
            normalisation.write_placed(&image, Placement { is_mirrored, pad: 2, top, left }, &mut values);
            values
        };
        let expected = |samples: [usize; 3]| -> Vec<f32> {
            normalisation.tables.iter().flat_map(|table| samples.map(|sample| table[sample])).collect()
        };
        assert_eq!(written(false, 2, 2), expected([10, 20, 30]));
        assert_eq!(written(true, 2, 2), expected([30, 20, 10]));
        assert_eq!(written(false, 2, 0), expected([0, 0, 10]));
        assert_eq!(written(true, 2, 3), expected([20, 10, 0]));
        assert_eq!(written(false, 1, 2), expected([0, 0, 0]));
        assert_eq!(written(false, 3, 2), expected([0, 0, 0]));
    }

    #[test]
    fn images_of_another_size_are_an_error() {
        let images = [vec![1.0; 6], vec![2.0; 6]];
        let stacked = stack(&images, 2, 1).unwrap();
        assert_eq!(stacked.dim(), (2, 3, 2, 1));
        assert_eq!(stacked[[1, 2, 1, 0]], 2.0);
        assert!(matches!(stack(&images, 3, 1), Err(TrainError::Thread { .. })));
    }
}
