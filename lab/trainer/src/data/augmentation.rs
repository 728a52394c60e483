//! Random changes of an image, so that no epoch shows the same one twice.
//!
//! The published training transform (IRRA's `build_transforms`, which both methods use): resize, mirror, add a border,
//! crop, normalise, erase. The resize is done before, once.

use super::pixels::{Normalisation, Placement};
use super::randomness::Randomness;
use crate::AugmentationSettings;
use descry_model::RgbImage;

/// How often torchvision's `RandomErasing` looks for a rectangle before it leaves the image as it is.
const ERASE_ATTEMPTS: usize = 10;

/// Changes images as the settings say.
#[derive(Debug)]
pub(super) struct Augmentation {
    settings: AugmentationSettings,
    normalisation: Normalisation,
}

/// A part of an image, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rectangle {
    top: usize,
    left: usize,
    height: usize,
    width: usize,
}

impl Augmentation {
    pub(super) fn new(settings: AugmentationSettings, normalisation: Normalisation) -> Self {
        Self { settings, normalisation }
    }

    /// Writes a changed image; the same random numbers make the same changes.
    ///
    /// # Shapes
    /// - `target`: `[3, height, width]` f32, RGB planes, normalised
    pub(super) fn write(&self, image: &RgbImage, randomness: &mut Randomness, target: &mut [f32]) {
        self.normalisation.write_placed(image, self.placement(randomness), target);
        if !randomness.chance(self.settings.erase_probability) {
            return;
        }
        let Some(rectangle) = self.rectangle(image.height, image.width, randomness) else { return };
        // The published transform erases after it normalises, with CLIP's mean as the value. So an erased pixel is not
        // the mean colour, which would be 0 by then, but a light grey. Kept, because the results were reached with it.
        for (plane, value) in target.chunks_exact_mut(image.height * image.width).zip(self.normalisation.mean()) {
            for row in plane.chunks_exact_mut(image.width).skip(rectangle.top).take(rectangle.height) {
                row[rectangle.left..rectangle.left + rectangle.width].fill(value);
            }
        }
    }

    fn placement(&self, randomness: &mut Randomness) -> Placement {
        let is_mirrored = randomness.chance(self.settings.flip_probability);
        let pad = self.settings.pad_px;
        // The bordered image is larger by twice the border, which leaves one place more than that for the frame.
        let places = pad.saturating_mul(2).saturating_add(1);
        Placement { is_mirrored, pad, top: randomness.index(places), left: randomness.index(places) }
    }

    /// A rectangle as torchvision's `RandomErasing.get_params` draws it: area uniform, aspect ratio log-uniform,
    /// smaller than the image both ways. `None` when no attempt fits.
    fn rectangle(&self, height: usize, width: usize, randomness: &mut Randomness) -> Option<Rectangle> {
        let (least_area, most_area) = self.settings.erase_area;
        let (least_aspect, most_aspect) = self.settings.erase_aspect;
        let image_area = (height * width) as f64;
        for _ in 0..ERASE_ATTEMPTS {
            let area = image_area * randomness.between(least_area, most_area);
            let aspect = randomness.between(least_aspect.ln(), most_aspect.ln()).exp();
            // Python rounds halves to the even neighbour.
            let erased_height = (area * aspect).sqrt().round_ties_even() as usize;
            let erased_width = (area / aspect).sqrt().round_ties_even() as usize;
            if erased_height < height && erased_width < width {
                return Some(Rectangle {
                    top: randomness.index(height - erased_height + 1),
                    left: randomness.index(width - erased_width + 1),
                    height: erased_height,
                    width: erased_width,
                });
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::fixture;
    use crate::data::randomness::Purpose;
    use proptest::prelude::*;

    fn image(width: usize, height: usize) -> impl Strategy<Value = RgbImage> {
        proptest::collection::vec(any::<u8>(), width * height * 3).prop_map(move |samples| RgbImage {
            width,
            height,
            samples,
        })
    }

    fn nothing() -> AugmentationSettings {
        AugmentationSettings { flip_probability: 0.0, pad_px: 0, erase_probability: 0.0, ..fixture::augmentation() }
    }

    fn written(settings: AugmentationSettings, image: &RgbImage, seed: u64) -> Vec<f32> {
        let augmentation = Augmentation::new(settings, Normalisation::clip(image.height, image.width));
        let mut values = vec![f32::NAN; image.samples.len()];
        augmentation.write(image, &mut Randomness::new(seed, Purpose::Image, 1, 0), &mut values);
        values
    }

    fn unchanged(image: &RgbImage) -> Vec<f32> {
        let mut values = vec![f32::NAN; image.samples.len()];
        Normalisation::clip(image.height, image.width).write(image, &mut values);
        values
    }

    fn mirrored(image: &RgbImage) -> RgbImage {
        let rows = image.samples.chunks_exact(image.width * 3);
        let samples = rows.flat_map(|row| row.chunks_exact(3).rev().flatten().copied()).collect();
        RgbImage { width: image.width, height: image.height, samples }
    }

    proptest! {
        #[test]
        fn without_probabilities_nothing_changes(image in image(7, 5), seed in any::<u64>()) {
            prop_assert_eq!(written(nothing(), &image, seed), unchanged(&image));
        }

        #[test]
        fn mirroring_twice_changes_nothing(image in image(7, 5), seed in any::<u64>()) {
            let flip = AugmentationSettings { flip_probability: 1.0, ..nothing() };
            prop_assert_eq!(written(flip.clone(), &image, seed), unchanged(&mirrored(&image)));
            prop_assert_eq!(written(flip, &mirrored(&image), seed), unchanged(&image));
        }

        #[test]
        fn a_crop_stays_within_the_border(image in image(7, 5), pad_px in 0_usize..12, seed in any::<u64>()) {
            let settings = AugmentationSettings { pad_px, ..nothing() };
            let augmentation = Augmentation::new(settings.clone(), Normalisation::clip(5, 7));
            let placement = augmentation.placement(&mut Randomness::new(seed, Purpose::Image, 1, 0));
            prop_assert!(placement.top <= 2 * pad_px && placement.left <= 2 * pad_px);
            prop_assert!(written(settings, &image, seed).iter().all(|value| value.is_finite()));
        }

        #[test]
        fn a_rectangle_lies_inside_and_has_the_asked_for_size(seed in any::<u64>()) {
            let augmentation = Augmentation::new(fixture::augmentation(), Normalisation::clip(384, 128));
            let mut randomness = Randomness::new(seed, Purpose::Image, 1, 0);
            if let Some(rectangle) = augmentation.rectangle(384, 128, &mut randomness) {
                let Rectangle { top, left, height, width } = rectangle;
                prop_assert!(height < 384 && width < 128 && top + height <= 384 && left + width <= 128);
                let share = (height * width) as f64 / (384.0 * 128.0);
                let aspect = height as f64 / width as f64;
                prop_assert!((0.018..0.41).contains(&share), "{share}");
                prop_assert!((0.28..3.6).contains(&aspect), "{aspect}");
            }
        }

        #[test]
        fn what_is_erased_has_the_mean_and_the_rest_stays(image in image(12, 20), seed in any::<u64>()) {
            let settings = AugmentationSettings { erase_probability: 1.0, ..nothing() };
            let (before, after) = (unchanged(&image), written(settings.clone(), &image, seed));
            let mean = Normalisation::clip(20, 12).mean();
            for (position, (before, after)) in before.iter().zip(&after).enumerate() {
                prop_assert!(after == before || *after == mean[position / (12 * 20)]);
            }
            prop_assert_eq!(written(settings, &image, seed), after);
        }
    }

    #[test]
    fn probabilities_are_followed() {
        let image = RgbImage { width: 4, height: 4, samples: (0..48).collect() };
        let flip = AugmentationSettings { flip_probability: 0.5, ..nothing() };
        let flipped = (0..1000).filter(|&seed| written(flip.clone(), &image, seed) != unchanged(&image)).count();
        assert!((400..600).contains(&flipped), "{flipped}");
    }
}
