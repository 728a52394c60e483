//! Decoding and resizing alone, which the service does on the CPU whatever runs its towers.

use crate::tower_inputs::MAX_IMAGE_PIXELS;
use crate::{BenchError, median, quantile};
use bytes::Bytes;
use descry_model::{ImageInput, preprocess_image};
use serde::Serialize;
use std::time::Instant;
use tokio_util::sync::CancellationToken;

/// What was found of images, each prepared on one thread.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct PreparationMeasurement {
    /// Image files.
    pub images: usize,
    /// How often each was prepared.
    pub rounds: usize,
    /// Size of a file, on average.
    pub mean_bytes: f64,
    /// Of one image; each image counts with the median of its rounds, here and below.
    pub median_ms: f64,
    /// 95 of 100 images take at most this long.
    pub p95_ms: f64,
    /// The slowest image.
    pub max_ms: f64,
}

impl PreparationMeasurement {
    /// Preparation as a share of the vision tower's time for an image: at 0.1, one thread prepares images as fast as ten
    /// such towers take them.
    pub fn share_of_tower(&self, tower_ms_per_image: f64) -> f64 {
        self.median_ms / tower_ms_per_image
    }
}

/// Decodes and resizes every image `rounds` times, after once to warm up. `None` when `stop` came before the first
/// round's end.
///
/// # Errors
/// [`BenchError::Image`] for an image that does not decode, [`BenchError::Setting`] without rounds or images.
pub fn measure_preparation(
    images: &[Bytes],
    input: &ImageInput,
    rounds: usize,
    stop: &CancellationToken,
    progress: impl Fn(usize),
) -> Result<Option<PreparationMeasurement>, BenchError> {
    if rounds == 0 {
        return Err(BenchError::Setting { setting: "--rounds", reason: "must be at least 1".to_owned() });
    }
    if images.is_empty() {
        return Err(BenchError::Setting { setting: "--images", reason: "must hold images".to_owned() });
    }
    let mut found = Vec::with_capacity(rounds);
    for round in 0..=rounds {
        match prepare_all(images, input, stop)? {
            None => break,
            // The first round warms up.
            Some(_) if round == 0 => {}
            Some(times_ms) => found.push(times_ms),
        }
        progress(round);
    }
    Ok(summary(images, &found))
}

/// Each image's time in milliseconds; `None` when `stop` came before the last.
fn prepare_all(images: &[Bytes], input: &ImageInput, stop: &CancellationToken) -> Result<Option<Vec<f64>>, BenchError> {
    let mut times_ms = Vec::with_capacity(images.len());
    for (position, image) in images.iter().enumerate() {
        if stop.is_cancelled() {
            return Ok(None);
        }
        let begin = Instant::now();
        preprocess_image(image, input, MAX_IMAGE_PIXELS).map_err(|source| BenchError::Image { position, source })?;
        times_ms.push(begin.elapsed().as_secs_f64() * 1000.0);
    }
    Ok(Some(times_ms))
}

/// `rounds` holds a time for each image.
fn summary(images: &[Bytes], rounds: &[Vec<f64>]) -> Option<PreparationMeasurement> {
    let of_image = |position: usize| {
        let times_ms: Vec<f64> = rounds.iter().filter_map(|round| round.get(position).copied()).collect();
        median(&times_ms)
    };
    let images_ms: Vec<f64> = (0..images.len()).filter_map(of_image).collect();
    let bytes: usize = images.iter().map(Bytes::len).sum();
    Some(PreparationMeasurement {
        images: images.len(),
        rounds: rounds.len(),
        mean_bytes: bytes as f64 / images.len().max(1) as f64,
        median_ms: median(&images_ms)?,
        p95_ms: quantile(&images_ms, 0.95)?,
        max_ms: quantile(&images_ms, 1.0)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_counts_with_its_median_round() {
        let images = [Bytes::from_static(&[0; 10]), Bytes::from_static(&[0; 20])];
        let rounds = [vec![1.0, 10.0], vec![2.0, 30.0], vec![90.0, 20.0]];
        let found = summary(&images, &rounds).unwrap();
        assert_eq!((found.median_ms, found.max_ms, found.mean_bytes), (11.0, 20.0, 15.0));
        assert_eq!(found.share_of_tower(44.0), 0.25);
        assert_eq!(summary(&images, &[]), None);
    }

    #[test]
    fn all_rounds_are_measured_unless_stopped() {
        let images = crate::synthetic_images::synthetic_jpegs(2, 9).unwrap();
        let input = ImageInput::clip(48, 16);
        let stop = CancellationToken::new();
        let found = measure_preparation(&images, &input, 2, &stop, |_| {}).unwrap().unwrap();
        assert_eq!((found.images, found.rounds), (2, 2));
        assert!(found.median_ms > 0.0 && found.median_ms <= found.max_ms);
        let stop_after_the_first = |round| {
            if round == 1 {
                stop.cancel()
            }
        };
        let found = measure_preparation(&images, &input, 5, &stop, stop_after_the_first).unwrap().unwrap();
        assert_eq!(found.rounds, 1);
        assert_eq!(measure_preparation(&images, &input, 5, &stop, |_| {}).unwrap(), None);
    }

    #[test]
    fn files_that_are_no_images_are_named() {
        let input = ImageInput::clip(48, 16);
        let check = |images: &[Bytes], rounds, words: &str| {
            let stop = CancellationToken::new();
            let error = measure_preparation(images, &input, rounds, &stop, |_| {}).unwrap_err();
            assert!(error.to_string().starts_with(words), "{error}");
        };
        check(&[Bytes::from_static(b"text")], 1, "image 0: not a readable image");
        check(&[Bytes::from_static(b"text")], 0, "--rounds");
        check(&[], 1, "--images");
    }
}
