//! Long runs over changing shapes: does the memory stay flat?

use crate::BenchError;
use crate::process_usage::ProcessMeter;
use crate::tower_inputs::filler_text;
use crate::towers::LoadedTowers;
use ndarray::{Array2, Array4};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use serde::Serialize;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// What to run, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SoakPlan {
    /// How long.
    pub duration: Duration,
    /// How often the memory is read.
    pub interval: Duration,
    /// Largest batch of images.
    pub max_batch_images: usize,
    /// Largest batch of texts.
    pub max_batch_texts: usize,
    /// Same seed, same shapes.
    pub seed: u64,
}

/// The memory at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct SoakSample {
    /// Since the start.
    pub elapsed_s: f64,
    /// Resident memory.
    pub resident_bytes: u64,
    /// Batches run so far, of both towers.
    pub batches: u64,
}

/// Runs both towers in turns on batches of random sizes and texts of random lengths. Ends early when `stop` is
/// cancelled.
///
/// # Errors
/// [`BenchError::Setting`] for an empty plan, [`BenchError::Encoder`] for a run that fails, [`BenchError::Process`] where
/// the system does not tell the memory.
pub fn soak(
    towers: &mut LoadedTowers,
    plan: &SoakPlan,
    stop: &CancellationToken,
    mut progress: impl FnMut(SoakSample),
) -> Result<Vec<SoakSample>, BenchError> {
    if plan.max_batch_images == 0 || plan.max_batch_texts == 0 || plan.interval.is_zero() {
        return Err(BenchError::Setting { setting: "--batch", reason: "sizes and interval must not be 0".to_owned() });
    }
    let meter = ProcessMeter::of_this_process()?;
    let mut random = ChaCha8Rng::seed_from_u64(plan.seed);
    let mut up_to = |largest: usize| 1 + (random.next_u64() % largest as u64) as usize;
    let start = Instant::now();
    let mut samples = Vec::new();
    let mut batches = 0;
    while start.elapsed() < plan.duration && !stop.is_cancelled() {
        let (images, texts) = (up_to(plan.max_batch_images), up_to(plan.max_batch_texts));
        let tokens = 1 + up_to(towers.manifest().text.context_length - 1);
        run_shapes(towers, images, (texts, tokens))?;
        batches += 2;
        if start.elapsed() >= plan.interval * (samples.len() as u32 + 1) {
            let resident_bytes = meter.resident_bytes()?;
            let sample = SoakSample { elapsed_s: start.elapsed().as_secs_f64(), resident_bytes, batches };
            progress(sample);
            samples.push(sample);
        }
    }
    Ok(samples)
}

fn run_shapes(towers: &mut LoadedTowers, images: usize, (texts, tokens): (usize, usize)) -> Result<(), BenchError> {
    let image = &towers.manifest().image;
    let pixels = Array4::zeros((images, 3, image.height_px, image.width_px));
    let text = filler_text(tokens, &towers.manifest().text)?;
    let token_ids = Array2::from_shape_fn((texts, tokens), |(_, position)| text[position]);
    towers.vision.run_array(&pixels)?;
    towers.text.run_array(&token_ids)?;
    Ok(())
}

/// How much the memory grew from the end of the first fifth, when every kind of buffer has been needed, to the end, as
/// a share; `None` for fewer than five samples.
pub fn growth(samples: &[SoakSample]) -> Option<f64> {
    let settled = samples.get(samples.len() / 5).filter(|_| samples.len() >= 5)?;
    let last = samples.last()?;
    Some(last.resident_bytes as f64 / settled.resident_bytes as f64 - 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_measured_from_where_it_settled() {
        let sample = |resident_bytes| SoakSample { elapsed_s: 0.0, resident_bytes, batches: 0 };
        let samples: Vec<SoakSample> = [50, 100, 110, 105, 120].into_iter().map(sample).collect();
        assert!((growth(&samples).unwrap() - 0.2).abs() < 1e-9);
        assert_eq!(growth(&samples[..4]), None);
    }
}
