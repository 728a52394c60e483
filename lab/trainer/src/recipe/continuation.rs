//! What of a recipe may be given anew when its run goes on.

use super::Recipe;
use crate::TrainError;

/// Settings that decide how fast a run is, what it keeps and when it gives up, but not one bit of what it computes. Not
/// among them is `loading.max_image_pixels`: it decides which images are trained on.
const NEUTRAL: [&str; 5] = [
    "loading.threads",
    "loading.batches_ahead",
    "loading.cache_mib",
    "loading.max_unreadable_images",
    "checkpoint.every_steps",
];

impl Recipe {
    /// The recipe of a run that goes on, with other values of settings that change nothing of what is computed; names
    /// and values as [`Recipe::layered`] takes them.
    ///
    /// # Errors
    /// [`TrainError::Setting`] for any other setting, and for values of the wrong type or out of their range.
    pub(crate) fn continued(&self, overrides: &[(String, String)]) -> Result<Self, TrainError> {
        if let Some((name, _)) = overrides.iter().find(|(name, _)| !NEUTRAL.contains(&name.as_str())) {
            let reason = format!(
                "cannot be given to a run that goes on, which computes what it was begun with; only {} can; leave it \
                 out, or start a new run",
                NEUTRAL.join(", ")
            );
            return Err(TrainError::Setting { name: name.clone(), reason });
        }
        let changed = Self::layered(self.clone(), None, overrides)?;
        changed.validate()?;
        Ok(changed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LoadingSettings, Method};
    use descry_evaluation::DatasetLayout;

    fn recipe() -> Recipe {
        Recipe::published(Method::UpPerson, DatasetLayout::CuhkPedes)
    }

    fn continued(name: &str, value: &str) -> Result<Recipe, TrainError> {
        recipe().continued(&[(name.to_owned(), value.to_owned())])
    }

    #[test]
    fn what_changes_no_number_can_be_given_anew() {
        let before = recipe();
        for name in NEUTRAL {
            let after = continued(name, "7").unwrap();
            assert_ne!(after, before, "{name}");
            // Nothing else in these two sections is neutral, and nothing outside them.
            let LoadingSettings { max_image_pixels, .. } = before.loading;
            let loading = LoadingSettings { max_image_pixels, ..after.loading.clone() };
            let mut checkpoint = before.checkpoint.clone();
            checkpoint.every_steps = after.checkpoint.every_steps;
            assert_eq!(after, Recipe { loading, checkpoint, ..before.clone() }, "{name}");
        }
    }

    #[test]
    fn the_ablations_take_a_run_with_such_a_setting_for_the_same() {
        let script = include_str!("../../ablations.py");
        let (_, rest) = script.split_once("NEUTRAL = (").unwrap();
        let (listed, _) = rest.split_once(')').unwrap();
        assert_eq!(listed.split('"').skip(1).step_by(2).collect::<Vec<_>>(), NEUTRAL);
    }

    #[test]
    fn everything_else_is_refused_with_what_is_allowed() {
        for (name, value) in [
            ("epochs", "3"),
            ("micro_batch_size", "8"),
            ("device.threads", "1"),
            ("evaluation.batch_size", "8"),
            ("checkpoint.half_weights", "true"),
            ("loading.max_image_pixels", "9"),
            ("loading", "{threads: 3}"),
            ("unknown", "1"),
        ] {
            let error = continued(name, value).unwrap_err();
            let TrainError::Setting { name: found, reason } = &error else { panic!("{name}: {error}") };
            assert_eq!(found, name);
            assert!(NEUTRAL.iter().all(|neutral| reason.contains(neutral)), "{reason}");
        }
        for value in ["0", "many", "1.5"] {
            let error = continued("loading.threads", value).unwrap_err();
            assert!(matches!(&error, TrainError::Setting { name, .. } if name == "loading.threads"), "{error}");
        }
    }
}
