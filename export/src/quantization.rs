//! Numbers in 8 bits: symmetric, -127 to 127, so that 0 stays 0 and no zero point is needed.

use ndarray::{Array1, Array2, ArrayView2, Axis};

/// A matrix in 8 bits with its scales.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Quantized {
    /// The matrix' shape.
    pub(crate) values: Array2<i8>,
    /// One for each column or row: `value · scale` is the number meant.
    pub(crate) scales: Array1<f32>,
}

/// The scale of an activation tensor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct ActivationScale(pub(crate) f32);

impl ActivationScale {
    /// Steps from 0 to the largest magnitude.
    pub(crate) const STEPS: f32 = 127.0;
    /// Stands for the scale of nothing but zeros.
    pub(crate) const LEAST: f32 = 1e-12;

    /// The rule for ranges: the largest magnitude seen. Clipping at a percentile loses more Rank-1 than the finer steps
    /// gain, because the few large values of a transformer carry meaning.
    pub(crate) fn of_range(largest_magnitude: f32) -> Self {
        Self((largest_magnitude / Self::STEPS).max(Self::LEAST))
    }
}

/// One scale a column, for matrices that rows of activations are multiplied with: `[in, out]`, scales `[out]`.
pub(crate) fn quantize_columns(matrix: ArrayView2<'_, f32>) -> Quantized {
    let scales = matrix.map_axis(Axis(0), |column| scale_of(column.iter()));
    let mut values = Array2::zeros(matrix.dim());
    for ((row, column), value) in values.indexed_iter_mut() {
        *value = quantize(matrix[[row, column]], scales[column]);
    }
    Quantized { values, scales }
}

/// One scale a row, for tables whose rows are looked up: `[rows, width]`, scales `[rows]`.
pub(crate) fn quantize_rows(matrix: ArrayView2<'_, f32>) -> Quantized {
    let transposed = quantize_columns(matrix.reversed_axes());
    Quantized { values: transposed.values.reversed_axes(), scales: transposed.scales }
}

fn scale_of<'a>(values: impl Iterator<Item = &'a f32>) -> f32 {
    ActivationScale::of_range(values.fold(0.0_f32, |largest, value| largest.max(value.abs()))).0
}

fn quantize(value: f32, scale: f32) -> i8 {
    // Saturating: NaN becomes 0, and rounding cannot leave the range by more than the last bit of a division.
    (value / scale).round_ties_even().clamp(-ActivationScale::STEPS, ActivationScale::STEPS) as i8
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;
    use proptest::prelude::*;

    #[test]
    fn the_largest_of_each_column_is_exact() {
        let quantized = quantize_columns(array![[1.0, -0.5], [-0.25, 0.1], [0.0, 0.0]].view());
        assert_eq!(quantized.values, array![[127, -127], [-32, 25], [0, 0]]);
        assert_eq!(quantized.scales, array![1.0 / 127.0, 0.5 / 127.0]);
    }

    #[test]
    fn nothing_but_zeros_stays_zero() {
        let quantized = quantize_rows(array![[0.0, 0.0], [2.0, -1.0]].view());
        assert_eq!(quantized.values, array![[0, 0], [127, -64]]);
        assert!(quantized.scales.iter().all(|scale| *scale > 0.0));
    }

    proptest! {
        #[test]
        fn no_value_moves_by_more_than_half_a_step(
            values in proptest::collection::vec(-1e6_f32..1e6, 12),
        ) {
            let matrix = Array2::from_shape_vec((4, 3), values).unwrap();
            let quantized = quantize_columns(matrix.view());
            for ((row, column), value) in matrix.indexed_iter() {
                let scale = quantized.scales[column];
                let back = f32::from(quantized.values[[row, column]]) * scale;
                prop_assert!((back - value).abs() <= scale * 0.501);
            }
        }
    }
}
