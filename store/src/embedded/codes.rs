//! Embeddings in eight bits a value, split into two planes of four.
//!
//! A value is `scale * code` with a code of -119..=119; `code = 16 * coarse + fine`, coarse of -7..=7, fine of -8..=7.
//! The coarse plane alone tells roughly how near a row is and is half as long to read. How far all codes of a row are
//! from its embedding is stored with the row, so that searching by codes loses nothing: see `scan`.

use super::kernel::{coarse_products, whole_products};
use std::ops::Range;

/// The largest code. 119 rather than 127 keeps the coarse half within four bits.
const MAX_CODE: f32 = 119.0;

/// Stored codes are shifted by this, to be 0..=15.
const SHIFT: i32 = 8;

/// The codes of the rows of a gallery.
#[derive(Debug)]
pub(super) struct Codes {
    /// Dimensions of a row, rounded up to an even number.
    padded: usize,
    /// `[rows, padded / 2]`: the coarse halves.
    coarse: Vec<u8>,
    /// `[rows, padded / 2]`: the fine halves.
    fine: Vec<u8>,
    /// What a code of one is worth, for each row.
    scales: Vec<f32>,
    /// Length of the difference between each embedding and its codes: the most by which a score can be wrong.
    errors: Vec<f32>,
}

/// The code of one embedding, as stored: scale, error, coarse plane, fine plane.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Code(Vec<u8>);

const HEADER_BYTES: usize = 8;

impl Code {
    /// # Shapes
    /// - `embedding`: `[dimension]` f32, unit length
    pub(super) fn of(embedding: &[f32]) -> Self {
        let largest = embedding.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
        let scale = largest / MAX_CODE;
        let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
        let half = padded(embedding.len()) / 2;
        let mut blob = vec![0; HEADER_BYTES + 2 * half];
        let (header, planes) = blob.split_at_mut(HEADER_BYTES);
        let (coarse, fine) = planes.split_at_mut(half);
        let mut squared_error = 0.0_f64;
        let padding = std::iter::repeat_n(&0.0, 2 * half - embedding.len());
        for (dimension, &value) in embedding.iter().chain(padding).enumerate() {
            let code = (value * inverse).round().clamp(-MAX_CODE, MAX_CODE);
            squared_error += f64::from(value - code * scale).powi(2);
            let code = code as i32;
            let high = (code + SHIFT) >> 4;
            let low = code - 16 * high;
            let (place, shift) = if dimension < half { (dimension, 0) } else { (dimension - half, 4) };
            coarse[place] |= ((high + SHIFT) as u8) << shift;
            fine[place] |= ((low + SHIFT) as u8) << shift;
        }
        // Rounding in float32 must not make the bound too small.
        let error = squared_error.sqrt() as f32 + 1e-6;
        header[..4].copy_from_slice(&scale.to_le_bytes());
        header[4..].copy_from_slice(&error.to_le_bytes());
        Self(blob)
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

fn padded(dimension: usize) -> usize {
    dimension.next_multiple_of(2)
}

impl Codes {
    pub(super) fn new(dimension: usize) -> Self {
        let (coarse, fine, scales, errors) = Default::default();
        Self { padded: padded(dimension), coarse, fine, scales, errors }
    }

    pub(super) fn reserve(&mut self, rows: usize) {
        self.coarse.reserve_exact(rows * self.half());
        self.fine.reserve_exact(rows * self.half());
        self.scales.reserve_exact(rows);
        self.errors.reserve_exact(rows);
    }

    pub(super) fn bytes(&self) -> usize {
        self.coarse.len() + self.fine.len() + 4 * (self.scales.len() + self.errors.len())
    }

    /// Dimensions of a row with its padding, which is zero.
    pub(super) fn padded_dimension(&self) -> usize {
        self.padded
    }

    /// # Errors
    /// Says what is wrong with the bytes when they are no code of this dimension.
    pub(super) fn push(&mut self, code: &[u8]) -> Result<(), String> {
        let (scale, error, planes) = self.split(code)?;
        self.coarse.extend_from_slice(&planes[..self.half()]);
        self.fine.extend_from_slice(&planes[self.half()..]);
        self.scales.push(scale);
        self.errors.push(error);
        Ok(())
    }

    pub(super) fn replace(&mut self, row: usize, code: &Code) {
        let Ok((scale, error, planes)) = self.split(&code.0) else { return };
        let half = self.half();
        self.coarse[row * half..][..half].copy_from_slice(&planes[..half]);
        self.fine[row * half..][..half].copy_from_slice(&planes[half..]);
        self.scales[row] = scale;
        self.errors[row] = error;
    }

    fn split<'code>(&self, code: &'code [u8]) -> Result<(f32, f32, &'code [u8]), String> {
        match code {
            [a, b, c, d, e, f, g, h, planes @ ..] if planes.len() == self.padded => {
                let (scale, error) = (f32::from_le_bytes([*a, *b, *c, *d]), f32::from_le_bytes([*e, *f, *g, *h]));
                if scale.is_finite() && error.is_finite() && scale >= 0.0 && error >= 0.0 {
                    return Ok((scale, error, planes));
                }
                Err(format!("its code has scale {scale} and error {error}"))
            }
            _ => Err(format!("its code has {} bytes instead of {}", code.len(), HEADER_BYTES + self.padded)),
        }
    }

    /// Moves a row to an earlier place.
    pub(super) fn move_row(&mut self, from: usize, to: usize) {
        let half = self.half();
        self.coarse.copy_within(from * half..(from + 1) * half, to * half);
        self.fine.copy_within(from * half..(from + 1) * half, to * half);
        self.scales[to] = self.scales[from];
        self.errors[to] = self.errors[from];
    }

    pub(super) fn truncate(&mut self, rows: usize) {
        let half = self.half();
        self.coarse.truncate(rows * half);
        self.fine.truncate(rows * half);
        self.scales.truncate(rows);
        self.errors.truncate(rows);
    }

    /// Roughly the scores of `first..first + scores.len()`, from the coarse halves.
    pub(super) fn coarse_scores(&self, query: &CodedQuery, first: usize, scores: &mut [f32], sums: &mut Vec<i32>) {
        let bytes = self.plane_bytes(first, scores.len());
        sums.resize(scores.len(), 0);
        coarse_products(&query.codes, &self.coarse[bytes], sums);
        for ((score, sum), scale) in scores.iter_mut().zip(sums).zip(&self.scales[first..]) {
            *score = 16.0 * (*sum - query.shifted) as f32 * (query.scale * scale);
        }
    }

    /// The scores of `first..first + scores.len()` from all bits of the codes, each within [`Codes::bound`].
    pub(super) fn scores(&self, query: &CodedQuery, first: usize, scores: &mut [f32], sums: &mut Vec<i32>) {
        let bytes = self.plane_bytes(first, scores.len());
        sums.resize(scores.len(), 0);
        whole_products(&query.codes, &self.coarse[bytes.clone()], &self.fine[bytes], sums);
        for ((score, sum), scale) in scores.iter_mut().zip(sums).zip(&self.scales[first..]) {
            *score = (*sum - 17 * query.shifted) as f32 * (query.scale * scale);
        }
    }

    fn plane_bytes(&self, first: usize, rows: usize) -> Range<usize> {
        first * self.half()..(first + rows) * self.half()
    }

    /// The most by which [`Codes::scores`] can be off: the row's own error and the query's, which meets a row of length
    /// one and its error (Cauchy and Schwarz).
    pub(super) fn bound(&self, query: &CodedQuery, row: usize) -> f32 {
        let error = self.errors[row];
        error + query.error * (1.0 + error) + ROUNDING
    }

    /// How far a coarse score may be off before a row is given up. Fine halves that have nothing to do with the query are
    /// spread evenly over sixteen codes, so their sum weighted by a query of length one has a deviation of 16 / √12 codes;
    /// five and a half of these are taken. No bound: a query that is an image of the gallery is related to its own row's
    /// halves, but then its score is far above the others'.
    pub(super) fn coarse_margin(&self, row: usize) -> f32 {
        const CODES: f32 = 5.5 * 4.62;
        self.scales[row] * CODES + ROUNDING
    }

    /// The score of a row for the query in full precision, and the most by which it can be off.
    ///
    /// # Shapes
    /// - `query`: `[padded_dimension]` f32, zero in the padding
    pub(super) fn refined_score(&self, query: &[f32], row: usize) -> (f32, f32) {
        let half = self.half();
        let coarse = &self.coarse[row * half..][..half];
        let fine = &self.fine[row * half..][..half];
        let (low, high) = query.split_at(half);
        let code = |coarse: u8, fine: u8| (16 * (i32::from(coarse) - SHIFT) + i32::from(fine) - SHIFT) as f32;
        let mut sums = [0.0_f32; 8];
        for (place, (&coarse, &fine)) in coarse.iter().zip(fine).enumerate() {
            let products = low[place] * code(coarse & 15, fine & 15) + high[place] * code(coarse >> 4, fine >> 4);
            sums[place % 8] += products;
        }
        (sums.iter().sum::<f32>() * self.scales[row], self.errors[row] + ROUNDING)
    }

    /// Adds what the codes of a row stand for to `sum`. Returns how far that is from its embedding at most.
    ///
    /// # Shapes
    /// - `sum`: `[padded_dimension]` f32
    pub(super) fn add_row(&self, row: usize, sum: &mut [f32]) -> f32 {
        let half = self.half();
        let coarse = &self.coarse[row * half..][..half];
        let fine = &self.fine[row * half..][..half];
        let scale = self.scales[row];
        let (low, high) = sum.split_at_mut(half);
        let value = |coarse: u8, fine: u8| (16 * (i32::from(coarse) - SHIFT) + i32::from(fine) - SHIFT) as f32 * scale;
        for (((low, high), &coarse), &fine) in low.iter_mut().zip(high).zip(coarse).zip(fine) {
            *low += value(coarse & 15, fine & 15);
            *high += value(coarse >> 4, fine >> 4);
        }
        self.errors[row]
    }

    fn half(&self) -> usize {
        self.padded / 2
    }
}

/// Far above the rounding of sums of products of unit vectors in float32, far below what tells two images apart.
const ROUNDING: f32 = 2e-6;

/// A query in eight bits a value.
#[derive(Debug)]
pub(super) struct CodedQuery {
    /// `[padded_dimension]`, -127..=127.
    codes: Vec<i8>,
    scale: f32,
    /// Length of the difference between the query and its codes.
    error: f32,
    /// What the shift of the stored codes adds to every sum.
    shifted: i32,
}

impl CodedQuery {
    /// # Shapes
    /// - `query`: `[padded_dimension]` f32, zero in the padding, unit length
    pub(super) fn of(query: &[f32]) -> Self {
        let largest = query.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
        let scale = largest / 127.0;
        let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
        let codes: Vec<i8> = query.iter().map(|value| (value * inverse).round().clamp(-127.0, 127.0) as i8).collect();
        let squared: f64 =
            query.iter().zip(&codes).map(|(value, &code)| f64::from(value - f32::from(code) * scale).powi(2)).sum();
        let shifted = SHIFT * codes.iter().map(|&code| i32::from(code)).sum::<i32>();
        Self { codes, scale, error: squared.sqrt() as f32 + 1e-6, shifted }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use descry_model::Embedding;
    use proptest::prelude::*;

    fn vector(dimension: usize) -> impl Strategy<Value = Vec<f32>> {
        proptest::collection::vec(-1.0_f32..1.0, dimension)
            .prop_filter_map("no direction", |values| Embedding::normalized(values).ok().map(Embedding::into_vec))
    }

    fn pair() -> impl Strategy<Value = (Vec<f32>, Vec<f32>)> {
        (1usize..150).prop_flat_map(|dimension| (vector(dimension), vector(dimension)))
    }

    proptest! {
        /// What a search by codes relies on: every score is within its bound.
        #[test]
        fn scores_are_within_their_bounds((row, query) in pair()) {
            let exact: f64 = row.iter().zip(&query).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
            let mut codes = Codes::new(row.len());
            codes.push(Code::of(&row).as_bytes()).unwrap();
            let mut padded = query;
            padded.resize(codes.padded_dimension(), 0.0);
            let coded = CodedQuery::of(&padded);

            let (mut score, mut sums) = ([0.0], Vec::new());
            codes.scores(&coded, 0, &mut score, &mut sums);
            prop_assert!((f64::from(score[0]) - exact).abs() <= f64::from(codes.bound(&coded, 0)));
            let (refined, bound) = codes.refined_score(&padded, 0);
            prop_assert!((f64::from(refined) - exact).abs() <= f64::from(bound));
            prop_assert!(bound < codes.bound(&coded, 0));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let mut codes = Codes::new(7);
            if codes.push(&bytes).is_ok() {
                prop_assert_eq!(bytes.len(), HEADER_BYTES + 8);
            }
        }
    }
}
