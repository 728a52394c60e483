//! The vision tower against what the machine's float32 matrix products could do in the same time.

use crate::interleaving::{Side, interleave};
use crate::towers::LoadedTowers;
use crate::{BenchError, RatioSummary, median};
use bytes::Bytes;
use descry_encoder::MatrixProduct;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

/// A product with a constant matrix, of a shape like the tower's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ProductShape {
    /// Rows of the left matrix.
    pub rows: usize,
    /// Columns of the left matrix.
    pub inner: usize,
    /// Columns of the result.
    pub columns: usize,
}

impl ProductShape {
    /// Additions and multiplications in 10⁹.
    pub fn gflop(self) -> f64 {
        2.0 * self.rows as f64 * self.inner as f64 * self.columns as f64 / 1e9
    }
}

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ProductRate {
    /// The product that stands for the machine.
    pub shape: ProductShape,
    /// Images of a run.
    pub batch_size: usize,
    /// The tower's own products, whatever their number format, in 10⁹ operations a second.
    pub tower_gflop_per_s: f64,
    /// Bare float32 products, likewise.
    pub machine_gflop_per_s: f64,
    /// The tower's rate as a share of the machine's, of each round.
    pub share: RatioSummary,
}

/// Measures the tower and as many bare products as it has operations, in turns. `None` when `stop` came before the
/// first round's end.
///
/// # Errors
/// [`BenchError::Image`] for an image that does not decode, [`BenchError::Encoder`] for a run that fails.
pub fn measure_product_rate(
    towers: &mut LoadedTowers,
    product: &mut MatrixProduct,
    shape: ProductShape,
    (images, batch_size): (&[Bytes], usize),
    rounds: usize,
    stop: &CancellationToken,
) -> Result<Option<ProductRate>, BenchError> {
    let tower_gflop = towers.manifest().image_gflop * batch_size as f64;
    // The whole number of products nearest to the tower's operations; the rest is put right by the ratio.
    let repeats = (tower_gflop / shape.gflop()).round().max(1.0);
    let scale = repeats * shape.gflop() / tower_gflop;
    let mut products = Products { product, repeats: repeats as usize };
    let mut side = towers.vision_side(images, batch_size)?;
    let found = interleave(&mut side, Some(&mut products), 1, rounds, stop)?;
    let pairs: Vec<(f64, f64)> =
        found.iter().filter_map(|round| Some((round.measured_s * scale, round.baseline_s?))).collect();
    let rate = |gflop: f64, times: Vec<f64>| median(&times).map(|seconds| gflop / seconds);
    let tower = rate(tower_gflop, found.iter().map(|round| round.measured_s).collect());
    let machine = rate(repeats * shape.gflop(), found.iter().filter_map(|round| round.baseline_s).collect());
    let (Some(tower_gflop_per_s), Some(machine_gflop_per_s), Some(share)) =
        (tower, machine, RatioSummary::of_times(&pairs))
    else {
        return Ok(None);
    };
    Ok(Some(ProductRate { shape, batch_size, tower_gflop_per_s, machine_gflop_per_s, share }))
}

struct Products<'a> {
    product: &'a mut MatrixProduct,
    repeats: usize,
}

impl Side for Products<'_> {
    fn run(&mut self, _batch: usize) -> Result<(), BenchError> {
        for _ in 0..self.repeats {
            self.product.run()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_product_multiplies_and_adds() {
        assert_eq!(ProductShape { rows: 1000, inner: 1000, columns: 1000 }.gflop(), 2.0);
    }
}
