//! The batches of one epoch, prepared on threads beside the steps that use them.

use super::augmentation::Augmentation;
use super::captions::{check_context_length, padded};
use super::image_cache::ImageCache;
use super::masking::Masking;
use super::pairs::TrainingPairs;
use super::pixels::{Normalisation, stack};
use super::prefetcher::{BatchWork, Prefetcher, Prefetching};
use super::randomness::{Purpose, Randomness};
use crate::{AugmentationSettings, InputSettings, LoadingSettings, TrainError};
use ndarray::{Array2, Array4};
use std::sync::Arc;

/// What a step trains on. Row `i` of all three is the same pair.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Batch {
    /// Index into the plan's batches, from 0. Steps without a single readable image are left out, so it may jump.
    pub(crate) step: usize,
    /// `[pairs, 3, height, width]` f32, RGB planes, normalised. At least one pair.
    pub(crate) pixels: Array4<f32>,
    /// `[pairs, context_length]` i64, filled up with 0 on the right.
    pub(crate) token_ids: Array2<i64>,
    /// `[pairs]`, as the annotation file numbers the persons.
    pub(crate) identities: Vec<i64>,
}

/// What an epoch is made of.
#[derive(Debug, Clone)]
pub(crate) struct LoaderPlan {
    /// Shapes; the image cache has the same ones.
    pub(crate) input: InputSettings,
    /// Changes of images and captions.
    pub(crate) augmentation: AugmentationSettings,
    /// Threads, and how far ahead.
    pub(crate) loading: LoadingSettings,
    /// Pairs of every step of the epoch, from [`epoch_batches`](super::epoch_batches).
    pub(crate) batches: Vec<Vec<usize>>,
    /// The first step that is wanted, from 0; the steps from there on are those of an epoch begun at 0.
    pub(crate) first_step: usize,
    /// The run's seed.
    pub(crate) seed: u64,
    /// The epoch's number.
    pub(crate) epoch: usize,
}

/// Gives the batches of one epoch in order. Dropping it, at any time, ends its threads.
///
/// A pair whose image cannot be read is left out of its batch; the cache counts such images.
pub(crate) struct BatchLoader {
    prefetcher: Prefetcher<EpochWork>,
}

impl BatchLoader {
    /// Starts to prepare the first batches.
    ///
    /// # Errors
    /// [`TrainError::Setting`] when captions are longer than the context; [`TrainError::Thread`] when a thread cannot
    /// be started.
    pub(crate) fn start(
        pairs: Arc<TrainingPairs>,
        cache: Arc<ImageCache>,
        plan: LoaderPlan,
    ) -> Result<Self, TrainError> {
        let LoaderPlan { input, augmentation, loading, batches, first_step, seed, epoch } = plan;
        check_context_length(pairs.longest_caption(), input.context_length)?;
        let sizes: Vec<usize> = batches.iter().map(Vec::len).collect();
        let starts: Vec<usize> = sizes
            .iter()
            .scan(0, |next, size| {
                let start = *next;
                *next += size;
                Some(start)
            })
            .collect();
        let masking = Masking::new(augmentation.mask_probability, pairs.vocabulary());
        let normalisation = Normalisation::clip(input.height_px, input.width_px);
        let work = EpochWork {
            pairs,
            cache,
            augmentation: Augmentation::new(augmentation, normalisation),
            masking,
            input,
            batches,
            starts,
            seed,
            epoch,
        };
        let prefetching =
            Prefetching { first_batch: first_step, threads: loading.threads, batches_ahead: loading.batches_ahead };
        Ok(Self { prefetcher: Prefetcher::start(work, &sizes, prefetching)? })
    }

    /// Waits for the next batch; `None` at the end of the epoch and after an error.
    ///
    /// # Errors
    /// [`TrainError::TooManyUnreadableImages`]; [`TrainError::Thread`] for a panic in a thread.
    pub(crate) fn next_batch(&mut self) -> Option<Result<Batch, TrainError>> {
        self.prefetcher.next_batch()
    }
}

struct EpochWork {
    pairs: Arc<TrainingPairs>,
    cache: Arc<ImageCache>,
    augmentation: Augmentation,
    masking: Masking,
    input: InputSettings,
    batches: Vec<Vec<usize>>,
    /// Place in the epoch of each batch's first pair.
    starts: Vec<usize>,
    seed: u64,
    epoch: usize,
}

/// One pair, as changed for its place in the epoch.
struct Sample {
    /// `[3, height, width]`.
    pixels: Vec<f32>,
    token_ids: Vec<i64>,
    identity: i64,
}

impl BatchWork for EpochWork {
    type Sample = Sample;
    type Batch = Batch;

    fn sample(&self, batch: usize, position: usize) -> Result<Option<Sample>, TrainError> {
        let pair = self.batches[batch][position];
        let Some(image) = self.cache.image(self.pairs.image_of(pair))? else { return Ok(None) };
        // By place and not by pair: the identity sampler may take a pair twice, and then changes it in two ways.
        let place = self.starts[batch] + position;
        let mut pixels = vec![0.0; image.samples.len()];
        let mut randomness = Randomness::new(self.seed, Purpose::Image, self.epoch, place);
        self.augmentation.write(&image, &mut randomness, &mut pixels);
        let mut token_ids = self.pairs.token_ids_of(pair).to_vec();
        let mut randomness = Randomness::new(self.seed, Purpose::Caption, self.epoch, place);
        self.masking.apply(&mut token_ids, &mut randomness);
        Ok(Some(Sample { pixels, token_ids, identity: self.pairs.identity_of(pair) }))
    }

    fn assemble(&self, batch: usize, samples: Vec<Sample>) -> Result<Batch, TrainError> {
        let mut images = Vec::with_capacity(samples.len());
        let mut captions = Vec::with_capacity(samples.len());
        let mut identities = Vec::with_capacity(samples.len());
        for Sample { pixels, token_ids, identity } in samples {
            images.push(pixels);
            captions.push(token_ids);
            identities.push(identity);
        }
        let pixels = stack(&images, self.input.height_px, self.input.width_px)?;
        Ok(Batch { step: batch, pixels, token_ids: padded(captions.iter(), self.input.context_length), identities })
    }
}

#[cfg(test)]
mod tests;
