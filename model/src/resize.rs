//! Pillow's antialiased bilinear and bicubic resize on 8-bit RGB, exact to the bit.
//!
//! Source of the arithmetic: Pillow 13, `Resample.c`: the filter stretched by the shrink factor, coefficients rounded to
//! 22 bits, each pass rounded to 8 bits. Pillow 13 runs the vertical pass first when that shrinks more.

use crate::ModelError;
use crate::manifest::ResizeFilter;
use crate::patience::{Checkpoint, Patience};

/// 8-bit RGB, rows from the top, three samples a pixel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RgbImage {
    /// Width in pixels, at least 1.
    pub width: usize,
    /// Height in pixels, at least 1.
    pub height: usize,
    /// `height * width * 3` samples.
    pub samples: Vec<u8>,
}

/// Bits after the binary point of a coefficient; 8 are left for the sample and 2 for the sum.
const COEFFICIENT_BITS: u32 = 32 - 8 - 2;

/// How far the triangle of the bilinear filter reaches, in samples of the coarser grid.
const BILINEAR_SUPPORT: f64 = 1.0;
/// How far the bicubic filter reaches.
const BICUBIC_SUPPORT: f64 = 2.0;
/// The free parameter of Keys' bicubic filter (1981) as Pillow chooses it; others take -0.75.
const BICUBIC_A: f64 = -0.5;

impl ResizeFilter {
    fn support(self) -> f64 {
        match self {
            Self::PillowBilinear => BILINEAR_SUPPORT,
            Self::PillowBicubic => BICUBIC_SUPPORT,
        }
    }

    /// The weight of a sample at a distance from the centre. The order of the operations is Pillow's.
    fn weight(self, distance: f64) -> f64 {
        let x = distance.abs();
        match self {
            Self::PillowBilinear => (1.0 - x).max(0.0),
            Self::PillowBicubic if x < 1.0 => ((BICUBIC_A + 2.0) * x - (BICUBIC_A + 3.0)) * x * x + 1.0,
            Self::PillowBicubic if x < BICUBIC_SUPPORT => (((x - 5.0) * x + 8.0) * x - 4.0) * BICUBIC_A,
            Self::PillowBicubic => 0.0,
        }
    }
}

/// Resizes to exactly `height` × `width` without keeping the aspect ratio.
pub fn resize(image: &RgbImage, height: usize, width: usize, filter: ResizeFilter) -> RgbImage {
    // Endless patience is never over, so the image that stands in is never seen.
    resize_patiently(image, height, width, filter, Patience::ENDLESS).unwrap_or_else(|_| image.clone())
}

/// As [`resize`], as long as there is patience.
///
/// # Errors
/// [`ModelError::Abandoned`].
pub(crate) fn resize_patiently(
    image: &RgbImage,
    height: usize,
    width: usize,
    filter: ResizeFilter,
    patience: Patience<'_>,
) -> Result<RgbImage, ModelError> {
    let mut checkpoint = Checkpoint::new(patience);
    let shrink_vertical = image.height as i64 - height as i64;
    let shrink_horizontal = image.width as i64 - width as i64;
    if shrink_vertical > 0 && shrink_vertical > 2 * shrink_horizontal {
        let narrow = resize_vertically(image, height, filter, &mut checkpoint)?;
        resize_horizontally(&narrow, width, filter, &mut checkpoint)
    } else {
        let narrow = resize_horizontally(image, width, filter, &mut checkpoint)?;
        resize_vertically(&narrow, height, filter, &mut checkpoint)
    }
}

/// The source samples of one output position and their weights.
struct Window {
    first: usize,
    coefficients: Vec<i32>,
}

fn windows(input: usize, output: usize, filter: ResizeFilter) -> Vec<Window> {
    let scale = input as f64 / output as f64;
    let stretch = scale.max(1.0);
    let support = filter.support() * stretch;
    (0..output)
        .map(|position| {
            let center = (position as f64 + 0.5) * scale;
            // Truncation toward zero, as the cast in C does.
            let first = ((center - support + 0.5) as i64).max(0) as usize;
            let last = ((center + support + 0.5) as usize).min(input);
            let weights: Vec<f64> =
                (first..last).map(|sample| filter.weight((sample as f64 - center + 0.5) / stretch)).collect();
            let total: f64 = weights.iter().sum();
            // Rounded away from zero at halves, and cut toward zero: some bicubic weights are negative.
            let coefficients = weights
                .iter()
                .map(|weight| weight / total * f64::from(1 << COEFFICIENT_BITS))
                .map(|scaled| (scaled + 0.5_f64.copysign(scaled)) as i32)
                .collect();
            Window { first, coefficients }
        })
        .collect()
}

fn resize_horizontally(
    image: &RgbImage,
    width: usize,
    filter: ResizeFilter,
    checkpoint: &mut Checkpoint<'_>,
) -> Result<RgbImage, ModelError> {
    if width == image.width {
        return Ok(image.clone());
    }
    let windows = windows(image.width, width, filter);
    let mut samples = Vec::with_capacity(image.height * width * 3);
    for row in image.samples.chunks_exact(image.width * 3) {
        for window in &windows {
            let source = &row[window.first * 3..];
            let mut sums = [1 << (COEFFICIENT_BITS - 1); 3];
            for (pixel, &coefficient) in source.chunks_exact(3).zip(&window.coefficients) {
                for (sum, &sample) in sums.iter_mut().zip(pixel) {
                    *sum += i32::from(sample) * coefficient;
                }
            }
            samples.extend(sums.map(to_sample));
        }
        checkpoint.pass(row.len())?;
    }
    Ok(RgbImage { width, height: image.height, samples })
}

fn resize_vertically(
    image: &RgbImage,
    height: usize,
    filter: ResizeFilter,
    checkpoint: &mut Checkpoint<'_>,
) -> Result<RgbImage, ModelError> {
    if height == image.height {
        return Ok(image.clone());
    }
    let row_length = image.width * 3;
    let mut samples = Vec::with_capacity(height * row_length);
    let mut sums = vec![0; row_length];
    for window in windows(image.height, height, filter) {
        sums.fill(1 << (COEFFICIENT_BITS - 1));
        let rows = image.samples[window.first * row_length..].chunks_exact(row_length);
        for (row, &coefficient) in rows.zip(&window.coefficients) {
            for (sum, &sample) in sums.iter_mut().zip(row) {
                *sum += i32::from(sample) * coefficient;
            }
        }
        samples.extend(sums.iter().map(|&sum| to_sample(sum)));
        checkpoint.pass(window.coefficients.len() * row_length)?;
    }
    Ok(RgbImage { width: image.width, height, samples })
}

fn to_sample(sum: i32) -> u8 {
    (sum >> COEFFICIENT_BITS).clamp(0, 255) as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn image(width: usize, height: usize) -> impl Strategy<Value = RgbImage> {
        proptest::collection::vec(any::<u8>(), width * height * 3).prop_map(move |samples| RgbImage {
            width,
            height,
            samples,
        })
    }

    fn filter() -> impl Strategy<Value = ResizeFilter> {
        prop_oneof![Just(ResizeFilter::PillowBilinear), Just(ResizeFilter::PillowBicubic)]
    }

    proptest! {
        #[test]
        fn same_size_changes_nothing(image in image(7, 5), filter in filter()) {
            prop_assert_eq!(resize(&image, 5, 7, filter), image);
        }

        #[test]
        fn a_plain_colour_stays_plain(
            colour in any::<[u8; 3]>(), from in (1usize..40, 1usize..40), to in (1usize..40, 1usize..40),
            filter in filter(),
        ) {
            let image = RgbImage { width: from.0, height: from.1, samples: colour.repeat(from.0 * from.1) };
            let resized = resize(&image, to.1, to.0, filter);
            prop_assert_eq!(resized.samples, colour.repeat(to.0 * to.1));
        }
    }
}
