//! How fast a run goes and how long it will take.

use super::preparation::Prepared;
use crate::Recipe;
use std::time::Instant;

/// Share of the newest step in the mean rate: about the last twenty steps count.
const SMOOTHING: f64 = 0.05;

/// Clock of a run.
#[derive(Debug)]
pub(super) struct Pace {
    last_step: Instant,
    lap: Instant,
    /// Pairs a second, smoothed.
    rate: Option<f64>,
    pairs_left: f64,
}

impl Pace {
    pub(super) fn start(recipe: &Recipe, prepared: &Prepared, epoch: usize, step: usize) -> Self {
        let pairs = prepared.pairs.len() as f64;
        let done = epoch as f64 * pairs + (step * recipe.batch_size) as f64;
        let now = Instant::now();
        Self { last_step: now, lap: now, rate: None, pairs_left: recipe.epochs as f64 * pairs - done }
    }

    /// A step of `pairs` has ended: pairs a second, and seconds left.
    pub(super) fn step(&mut self, pairs: usize) -> (f64, f64) {
        let now = Instant::now();
        let rate = pairs as f64 / (now - self.last_step).as_secs_f64().max(1e-9);
        self.last_step = now;
        let rate = self.rate.map_or(rate, |before| before + SMOOTHING * (rate - before));
        self.rate = Some(rate);
        self.pairs_left = (self.pairs_left - pairs as f64).max(0.0);
        (rate, self.pairs_left / rate)
    }

    /// Seconds since this was asked last, or since the start.
    pub(super) fn lap_seconds(&mut self) -> f64 {
        let now = Instant::now();
        let seconds = (now - self.lap).as_secs_f64();
        self.lap = now;
        seconds
    }
}
