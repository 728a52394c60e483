//! When the requests of an open loop arrive.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;
use rand_distr::{Distribution as _, Exp};
use std::time::Duration;

/// Arrival times of a Poisson process, counted from its begin. Equal seeds give equal times.
///
/// Independent callers arrive like this: evenly spaced requests would never meet in a queue and flatter the service.
#[derive(Debug)]
pub struct PoissonArrivals {
    gaps: Exp<f64>,
    random: ChaCha8Rng,
    elapsed_s: f64,
}

impl PoissonArrivals {
    /// `None` unless the rate is a positive number.
    pub fn new(requests_per_s: f64, seed: u64) -> Option<Self> {
        if !requests_per_s.is_finite() || requests_per_s <= 0.0 {
            return None;
        }
        let gaps = Exp::new(requests_per_s).ok()?;
        Some(Self { gaps, random: ChaCha8Rng::seed_from_u64(seed), elapsed_s: 0.0 })
    }
}

impl Iterator for PoissonArrivals {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.elapsed_s += self.gaps.sample(&mut self.random);
        Duration::try_from_secs_f64(self.elapsed_s).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(count: usize, requests_per_s: f64, seed: u64) -> Vec<Duration> {
        PoissonArrivals::new(requests_per_s, seed).unwrap().take(count).collect()
    }

    #[test]
    fn a_seed_fixes_the_schedule() {
        assert_eq!(first(100, 50.0, 7), first(100, 50.0, 7));
        assert_ne!(first(100, 50.0, 7), first(100, 50.0, 8));
    }

    #[test]
    fn gaps_are_exponential_with_the_asked_rate() {
        let arrivals = first(20_000, 250.0, 1);
        assert!(arrivals.is_sorted());
        let mean_gap_s = arrivals.last().unwrap().as_secs_f64() / 20_000.0;
        assert!((mean_gap_s * 250.0 - 1.0).abs() < 0.03, "{mean_gap_s}");
        // Of an exponential distribution 1/e of the gaps are longer than the mean; of even spacing none.
        let longer = arrivals.windows(2).filter(|pair| (pair[1] - pair[0]).as_secs_f64() > 1.0 / 250.0).count();
        assert!((longer as f64 / 20_000.0 - (-1.0_f64).exp()).abs() < 0.02, "{longer}");
    }

    #[test]
    fn rates_that_never_arrive_are_refused() {
        for rate in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(PoissonArrivals::new(rate, 0).is_none(), "{rate}");
        }
    }
}
