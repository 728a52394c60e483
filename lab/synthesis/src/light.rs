//! How light falls on round things.

use crate::color::Rgb;
use crate::randomness::Randomness;

/// The light at one place and time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Light {
    /// Where it comes from: -1 left to 1 right.
    pub(crate) from: f32,
    /// Brightness of what it does not reach.
    pub(crate) ambient: f32,
    /// Brightness it adds where it falls straight on a surface.
    pub(crate) direct: f32,
    /// Darkness of the shadow on the ground, 0 to 1.
    pub(crate) shadow: f32,
}

/// How a surface reflects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finish {
    /// Cotton, wool, skin.
    Matt,
    /// Nylon, down jackets, hair.
    Satin,
    /// Leather and raincoats.
    Glossy,
}

/// Places across a round thing, from its left edge (0) to its right one (1), with the colour there.
pub(crate) type Shading = [(f32, Rgb); 7];

impl Light {
    pub(crate) fn new(randomness: &mut Randomness, hardness: f32) -> Self {
        let hardness = (hardness + randomness.normal(0.0, 0.12)).clamp(0.05, 0.95);
        Self {
            from: randomness.between(-0.85, 0.85),
            ambient: 0.80 - 0.32 * hardness,
            direct: 0.22 + 0.38 * hardness,
            shadow: 0.25 + 0.3 * hardness,
        }
    }

    /// Shading of an upright round thing.
    pub(crate) fn across(&self, color: Rgb, finish: Finish) -> Shading {
        const ANGLES: [f32; 7] = [-1.57, -1.0, -0.5, 0.0, 0.5, 1.0, 1.57];
        let source = self.from * 1.1;
        ANGLES.map(|angle| {
            let facing = (angle - source).cos().max(0.0);
            // The rim turns away from everything, and what is near it darkens it.
            let rim = 1.0 - 0.20 * (angle.abs() / 1.57).powi(3);
            let lit = color.lit((self.ambient + self.direct * facing) * rim);
            let gloss = match finish {
                Finish::Matt => 0.0,
                Finish::Satin => 0.10 * facing.powi(6),
                Finish::Glossy => 0.26 * facing.powi(14),
            };
            (f32::midpoint(angle.sin(), 1.0), lit.glossy(gloss * (self.ambient + self.direct)))
        })
    }

    /// Brightness of a flat thing that faces the camera.
    pub(crate) fn frontal(&self, color: Rgb) -> Rgb {
        color.lit(self.ambient + self.direct * (self.from * 1.1).cos().max(0.0) * 0.9)
    }
}
