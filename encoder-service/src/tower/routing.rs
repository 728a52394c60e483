//! How a mixture of experts spreads its work: a drift signal, for inputs unlike those of the training do not fail, they
//! are routed elsewhere.

use crate::tower_metrics::expert_share;
use metrics::Gauge;
use ndarray::{Array2, Axis};

/// Weight of a batch in the moving average.
const BATCH_WEIGHT: f32 = 0.05;

/// A moving average of each expert's share of the work, layer by layer.
#[derive(Default)]
struct RoutingShares {
    /// `[layers, experts]`, each row summing to 1.
    average: Option<Array2<f32>>,
}

/// Reports the shares of one tower.
pub(super) struct RoutingReport {
    tower: &'static str,
    shares: RoutingShares,
    /// `[layers, experts]`; made at the first run, when the size is known.
    gauges: Option<Array2<Gauge>>,
}

impl RoutingReport {
    pub(super) fn of(tower: &'static str) -> Self {
        Self { tower, shares: RoutingShares::default(), gauges: None }
    }

    /// Takes in the gate sums of one batch, `[layers, experts]`.
    pub(super) fn add(&mut self, sums: &Array2<f32>) {
        let average = self.shares.add(sums);
        let gauge = |(layer, expert)| expert_share(self.tower, layer, expert);
        let gauges = self.gauges.get_or_insert_with(|| Array2::from_shape_fn(average.dim(), gauge));
        for (gauge, share) in gauges.iter().zip(average) {
            gauge.set(f64::from(*share));
        }
    }
}

impl RoutingShares {
    /// Takes in the gate sums of one batch, `[layers, experts]`, and returns the average so far.
    fn add(&mut self, sums: &Array2<f32>) -> &Array2<f32> {
        let totals = sums.sum_axis(Axis(1)).insert_axis(Axis(1)).mapv(|total| total.max(f32::MIN_POSITIVE));
        let shares = sums / &totals;
        let average = match self.average.take() {
            Some(average) if average.dim() == shares.dim() => average * (1.0 - BATCH_WEIGHT) + shares * BATCH_WEIGHT,
            _ => shares,
        };
        self.average.insert(average)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn shares_sum_to_one_and_follow_slowly() {
        let mut shares = RoutingShares::default();
        assert_eq!(*shares.add(&array![[3.0, 1.0], [0.0, 8.0]]), array![[0.75, 0.25], [0.0, 1.0]]);
        let after = shares.add(&array![[0.0, 4.0], [0.0, 8.0]]);
        assert!((after[[0, 0]] - 0.75 * 0.95).abs() < 1e-6);
        assert!(after.sum_axis(Axis(1)).iter().all(|sum| (sum - 1.0).abs() < 1e-6));
    }

    #[test]
    fn nothing_routed_is_no_division_by_zero() {
        assert!(RoutingShares::default().add(&array![[0.0, 0.0]]).iter().all(|share| *share == 0.0));
    }
}
