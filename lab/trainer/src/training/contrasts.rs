//! Whether a run that begins has anything to tell apart: where it has not, its loss is 0, or the same for any weights.
//!
//! Only new runs are asked. One that an earlier version began goes on as it began, and a measurement of a step learns nothing
//! anyway.

use crate::data::{TrainingPairs, epoch_batches};
use crate::{MatchingLoss, Recipe, SamplerSettings, TrainError};

/// Refuses batches in which there is never anything to compare.
///
/// # Errors
/// [`TrainError::Setting`].
pub(super) fn check_recipe(recipe: &Recipe) -> Result<(), TrainError> {
    if recipe.batch_size == 1 {
        let reason = "is 1, expected at least 2: the loss compares a pair with the others of its batch, and of one pair \
                      alone it is 0, whatever the weights; micro_batch_size saves memory and changes nothing else";
        return refuse("batch_size", reason.to_owned());
    }
    let SamplerSettings::Identity { instances } = recipe.sampler else { return Ok(()) };
    if instances == recipe.batch_size && recipe.loss.matching == MatchingLoss::Sdm {
        let reason = format!(
            "is {instances}, the whole batch: with one identity there is nobody to tell it from, and the sdm loss only \
             makes all of it alike; take a batch of at least two identities"
        );
        return refuse("sampler.instances", reason);
    }
    Ok(())
}

/// Refuses pairs of one person, and batches of one pair among others.
///
/// # Errors
/// [`TrainError::Setting`].
pub(super) fn check_pairs(pairs: &TrainingPairs, recipe: &Recipe) -> Result<(), TrainError> {
    let (count, identities, batch_size) = (pairs.len(), pairs.identity_count(), recipe.batch_size);
    if identities < 2 {
        return refuse(
            "root",
            format!("has pairs of {identities} identity, and telling people apart takes at least two"),
        );
    }
    let batches = epoch_batches(pairs, recipe.sampler, batch_size, recipe.seed, 0);
    if batches.iter().any(|batch| batch.len() == 1) {
        let other = (2..batch_size).rev().chain(batch_size + 1..).find(|size| count % size != 1);
        let reason = format!(
            "is {batch_size}, which leaves one of the {count} pairs alone in each epoch's last batch, where its loss is 0; \
             {} does not",
            other.unwrap_or(count)
        );
        return refuse("batch_size", reason);
    }
    Ok(())
}

fn refuse(name: &str, reason: String) -> Result<(), TrainError> {
    Err(TrainError::Setting { name: name.to_owned(), reason })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Method;
    use crate::data::fixture;
    use descry_evaluation::DatasetLayout;

    fn recipe(batch_size: usize, sampler: SamplerSettings) -> Recipe {
        Recipe { batch_size, sampler, ..Recipe::published(Method::UpPerson, DatasetLayout::CuhkPedes) }
    }

    #[track_caller]
    fn check_refused(result: Result<(), TrainError>, setting: &str, words: &str) {
        let Err(TrainError::Setting { name, reason }) = result else { panic!("{setting} was not refused: {result:?}") };
        assert!(name == setting && reason.contains(words), "{name} {reason}");
    }

    #[test]
    fn batches_that_never_compare_begin_no_run() {
        check_refused(check_recipe(&recipe(1, SamplerSettings::Random)), "batch_size", "expected at least 2");
        let whole_batch = recipe(4, SamplerSettings::Identity { instances: 4 });
        check_refused(check_recipe(&whole_batch), "sampler.instances", "at least two identities");
        check_recipe(&recipe(4, SamplerSettings::Identity { instances: 2 })).unwrap();
        for recipe in [recipe(1, SamplerSettings::Random), whole_batch] {
            // But one that was begun so goes on.
            recipe.continued(&[("loading.threads".to_owned(), "2".to_owned())]).unwrap();
        }
    }

    #[test]
    fn pairs_that_never_meet_another_begin_no_run() {
        let (tokenizer, vocabulary) = fixture::tokenizer();
        let pairs = |images: &[(&str, i64)]| {
            let folder = tempfile::tempdir().unwrap();
            fixture::write_dataset(folder.path(), images);
            TrainingPairs::load(DatasetLayout::CuhkPedes, folder.path(), &tokenizer, &vocabulary).unwrap()
        };
        let check = |images: &[(&str, i64)], batch_size| {
            check_pairs(&pairs(images), &recipe(batch_size, SamplerSettings::Random))
        };
        check_refused(check(&[("train", 1), ("train", 1)], 2), "root", "pairs of 1 identity");
        // Two pairs an image.
        let two = [("train", 1), ("train", 2)];
        check_refused(check(&two, 3), "batch_size", "leaves one of the 4 pairs alone in each epoch's last batch");
        check_refused(check(&two, 3), "batch_size", "; 2 does not");
        for batch_size in [2, 4, 5] {
            check(&two, batch_size).unwrap();
        }
    }
}
