//! From a data set's files to the batches that the towers train on, prepared on threads of their own.
//!
//! `pairs` holds what an epoch goes through and `sampler` the order; `image_cache` reads the images, `augmentation` and
//! `masking` change them and their captions, `loader` makes batches of them ahead of time (`prefetcher` is its
//! machinery). `evaluation_inputs` prepares a split for measuring, unchanged.
//!
//! Every random decision follows from the seed, the epoch and the place in the epoch: a batch is the same with any
//! number of threads, and a run that continues in the middle of an epoch needs no stored random state.

mod augmentation;
mod captions;
mod evaluation_inputs;
#[cfg(test)]
pub(crate) mod fixture;
mod image_cache;
mod image_files;
mod loader;
mod masking;
mod pairs;
mod pixels;
mod prefetcher;
mod randomness;
mod sampler;

pub(crate) use evaluation_inputs::EvaluationInputs;
pub(crate) use image_cache::ImageCache;
pub(crate) use loader::{BatchLoader, LoaderPlan};
pub(crate) use pairs::TrainingPairs;
pub(crate) use sampler::epoch_batches;
