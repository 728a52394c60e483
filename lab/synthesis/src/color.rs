//! Colours: what clothes are called, and what they look like.

use crate::randomness::Randomness;

/// Red, green and blue from 0 to 1, as displays show them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rgb {
    pub(crate) red: f32,
    pub(crate) green: f32,
    pub(crate) blue: f32,
}

pub(crate) const fn rgb(red: f32, green: f32, blue: f32) -> Rgb {
    Rgb { red, green, blue }
}

impl Rgb {
    pub(crate) fn mix(self, other: Self, share: f32) -> Self {
        let channel = |from: f32, to: f32| from + (to - from) * share;
        rgb(channel(self.red, other.red), channel(self.green, other.green), channel(self.blue, other.blue))
    }

    /// Brighter or darker.
    pub(crate) fn lit(self, factor: f32) -> Self {
        rgb(self.red * factor, self.green * factor, self.blue * factor)
    }

    /// Lighter by an equal amount of every channel, as a reflection makes it.
    pub(crate) fn glossy(self, amount: f32) -> Self {
        rgb(self.red + amount, self.green + amount, self.blue + amount)
    }

    /// How bright it looks.
    pub(crate) fn luminance(self) -> f32 {
        0.299 * self.red + 0.587 * self.green + 0.114 * self.blue
    }

    /// A colour that stands out against this one a little: for seams, buttons and outlines.
    pub(crate) fn detail(self) -> Self {
        if self.luminance() < 0.22 { self.glossy(0.13) } else { self.lit(0.62) }
    }

    pub(crate) fn varied(self, randomness: &mut Randomness, deviation: f32) -> Self {
        let brightness = randomness.normal(1.0, deviation);
        let mut channel =
            |value: f32| (value * (brightness + randomness.normal(0.0, deviation * 0.35))).clamp(0.02, 1.0);
        rgb(channel(self.red), channel(self.green), channel(self.blue))
    }
}

/// What a colour is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum ColorName {
    Black,
    White,
    Gray,
    Navy,
    Blue,
    LightBlue,
    Red,
    Maroon,
    Green,
    DarkGreen,
    Yellow,
    Orange,
    Pink,
    Purple,
    Brown,
    Beige,
}

impl ColorName {
    pub(crate) const ALL: [Self; 16] = [
        Self::Black,
        Self::White,
        Self::Gray,
        Self::Navy,
        Self::Blue,
        Self::LightBlue,
        Self::Red,
        Self::Maroon,
        Self::Green,
        Self::DarkGreen,
        Self::Yellow,
        Self::Orange,
        Self::Pink,
        Self::Purple,
        Self::Brown,
        Self::Beige,
    ];

    /// The typical shade.
    pub(crate) fn rgb(self) -> Rgb {
        match self {
            Self::Black => rgb(0.095, 0.095, 0.105),
            Self::White => rgb(0.90, 0.90, 0.89),
            Self::Gray => rgb(0.50, 0.50, 0.51),
            Self::Navy => rgb(0.11, 0.14, 0.29),
            Self::Blue => rgb(0.15, 0.31, 0.66),
            Self::LightBlue => rgb(0.56, 0.72, 0.86),
            Self::Red => rgb(0.74, 0.12, 0.13),
            Self::Maroon => rgb(0.40, 0.08, 0.13),
            Self::Green => rgb(0.17, 0.53, 0.25),
            Self::DarkGreen => rgb(0.15, 0.25, 0.16),
            Self::Yellow => rgb(0.90, 0.77, 0.20),
            Self::Orange => rgb(0.89, 0.45, 0.12),
            Self::Pink => rgb(0.89, 0.58, 0.66),
            Self::Purple => rgb(0.42, 0.23, 0.53),
            Self::Brown => rgb(0.39, 0.25, 0.15),
            Self::Beige => rgb(0.80, 0.71, 0.57),
        }
    }

    /// Whether infrared cameras and dim light show it dark.
    pub(crate) fn is_dark(self) -> bool {
        self.rgb().luminance() < 0.36
    }
}

/// A colour as it is called, in the shade that one garment has.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Tint {
    pub(crate) name: ColorName,
    pub(crate) shade: Rgb,
}

impl Tint {
    pub(crate) fn new(name: ColorName, randomness: &mut Randomness) -> Self {
        Self { name, shade: name.rgb().varied(randomness, 0.07) }
    }
}
