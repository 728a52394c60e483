//! What a data set shall be like.

use crate::{Domain, SynthesisError};
use serde::{Deserialize, Serialize};
use std::ops::RangeInclusive;
use std::thread::available_parallelism;

/// Most identities: their descriptions are held in memory.
const MAX_IDENTITIES: usize = 100_000;
const IMAGES_PER_IDENTITY: RangeInclusive<usize> = 1..=64;
const CAPTIONS_PER_IMAGE: RangeInclusive<usize> = 1..=16;
/// Below, nothing of a person can be recognised; above, drawn figures show that they are drawn.
const WIDTH_PX: RangeInclusive<usize> = 32..=1024;
const HEIGHT_PX: RangeInclusive<usize> = 64..=2048;

/// Size, look and seed of a data set. Equal settings give equal files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SynthesisSettings {
    /// Number of people.
    pub identities: usize,
    /// Images of each of them.
    pub images_per_identity: usize,
    /// Captions of each image.
    pub captions_per_image: usize,
    /// Another seed gives other people in other pictures.
    pub seed: u64,
    /// World of the cameras.
    pub domain: Domain,
    /// Share of the identities in the test split, 0 to 1.
    pub test_share: f64,
    /// Share of the identities in the validation split, 0 to 1.
    pub validation_share: f64,
    /// Width of the images, in pixels.
    pub width_px: usize,
    /// Height of the images, in pixels.
    pub height_px: usize,
    /// Quality of the JPEG files, 1 to 100.
    pub jpeg_quality: u8,
    /// Threads that draw. They change nothing in the files, so they are not written down with the other settings.
    #[serde(skip, default = "all_cores")]
    pub threads: usize,
}

impl Default for SynthesisSettings {
    fn default() -> Self {
        Self {
            identities: 1_500,
            images_per_identity: 4,
            captions_per_image: 2,
            seed: 1,
            domain: Domain::Street,
            test_share: 2.0 / 15.0,
            validation_share: 1.0 / 15.0,
            width_px: 128,
            height_px: 384,
            jpeg_quality: 90,
            threads: all_cores(),
        }
    }
}

/// How many identities are in each split; train has the first ids, test the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SplitCounts {
    pub(crate) train: usize,
    pub(crate) validation: usize,
    pub(crate) test: usize,
}

impl SynthesisSettings {
    /// Checks that such a data set can be made.
    ///
    /// # Errors
    /// [`SynthesisError::Setting`] for the first setting that is out of range.
    pub fn validate(&self) -> Result<(), SynthesisError> {
        within("identities", self.identities, 1..=MAX_IDENTITIES)?;
        within("images_per_identity", self.images_per_identity, IMAGES_PER_IDENTITY)?;
        within("captions_per_image", self.captions_per_image, CAPTIONS_PER_IMAGE)?;
        within("width_px", self.width_px, WIDTH_PX)?;
        within("height_px", self.height_px, HEIGHT_PX)?;
        within("jpeg_quality", usize::from(self.jpeg_quality), 1..=100)?;
        within("threads", self.threads, 1..=1024)?;
        for (setting, share) in [("test_share", self.test_share), ("validation_share", self.validation_share)] {
            if !(0.0..=1.0).contains(&share) {
                return Err(SynthesisError::Setting {
                    setting,
                    expected: "0 to 1".to_owned(),
                    value: share.to_string(),
                });
            }
        }
        // A little room for shares such as 0.9 and 0.1, whose sum need not be exactly 1.
        let sum = self.test_share + self.validation_share;
        if sum > 1.0 + 1e-9 {
            return Err(SynthesisError::Setting {
                setting: "test_share and validation_share",
                expected: "at most 1 together".to_owned(),
                value: sum.to_string(),
            });
        }
        Ok(())
    }

    /// The seed of everything that is drawn: domains have their own people, so that one can be trained in and another
    /// be measured in with the same seed.
    pub(crate) fn world_seed(&self) -> u64 {
        self.seed.wrapping_add((self.domain as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    pub(crate) fn split_counts(&self) -> SplitCounts {
        let of_share = |share: f64| ((self.identities as f64 * share).round() as usize).min(self.identities);
        let test = of_share(self.test_share);
        let validation = of_share(self.validation_share).min(self.identities - test);
        SplitCounts { train: self.identities - test - validation, validation, test }
    }
}

fn within(setting: &'static str, value: usize, range: RangeInclusive<usize>) -> Result<(), SynthesisError> {
    if range.contains(&value) {
        return Ok(());
    }
    let expected = format!("{} to {}", range.start(), range.end());
    Err(SynthesisError::Setting { setting, expected, value: value.to_string() })
}

fn all_cores() -> usize {
    available_parallelism().map_or(1, usize::from).min(1024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn defaults_are_valid_and_split_as_documented() {
        let settings = SynthesisSettings::default();
        settings.validate().unwrap();
        assert_eq!(settings.split_counts(), SplitCounts { train: 1_200, validation: 100, test: 200 });
    }

    #[test]
    fn settings_out_of_range_are_named() {
        let base = SynthesisSettings::default();
        let wrong = [
            ("identities", SynthesisSettings { identities: 0, ..base.clone() }),
            ("jpeg_quality", SynthesisSettings { jpeg_quality: 0, ..base.clone() }),
            ("threads", SynthesisSettings { threads: 0, ..base.clone() }),
            ("test_share", SynthesisSettings { test_share: f64::NAN, ..base.clone() }),
            ("validation_share", SynthesisSettings { validation_share: 0.9, ..base }),
        ];
        for (name, settings) in wrong {
            let message = settings.validate().unwrap_err().to_string();
            assert!(message.contains(name), "{message}");
        }
    }

    proptest! {
        #[test]
        fn splits_hold_everybody(identities in 1_usize..5_000, test in 0.0..1.0_f64, rest in 0.0..1.0_f64) {
            let settings = SynthesisSettings {
                identities, test_share: test, validation_share: (1.0 - test) * rest, ..SynthesisSettings::default()
            };
            prop_assert!(settings.validate().is_ok());
            let counts = settings.split_counts();
            prop_assert_eq!(counts.train + counts.validation + counts.test, identities);
            prop_assert!((counts.test as f64 - identities as f64 * test).abs() <= 0.5 + 1e-6);
        }
    }
}
