//! The exponential function in a form that compiles to vector instructions; the standard library's calls a function a
//! value and would take a quarter of a small model's step.

use pulp::Arch;

/// Runs a loop compiled for the vector instructions that the processor has.
#[inline(always)]
pub(super) fn vectorized<T>(work: impl FnOnce() -> T) -> T {
    struct Work<F>(F);
    impl<T, F: FnOnce() -> T> pulp::NullaryFnOnce for Work<F> {
        type Output = T;

        #[inline(always)]
        fn call(self) -> T {
            (self.0)()
        }
    }
    Arch::new().dispatch(Work(work))
}

/// Adding it to a float below 2^22 leaves the nearest integer in the low bits.
const ROUNDING: f32 = 12_582_912.0;
/// ln 2 in two parts, so that subtracting a multiple of it loses nothing.
const LN_2_HIGH: f32 = 0.693_359_4;
const LN_2_LOW: f32 = -2.121_944_4e-4;
/// Beyond these the result is 0 or would be infinite.
const LARGEST: f32 = 88.0;

/// e^x to two units in the last place; below -87 it is about 1e-38 instead of less, above 88 as at 88.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    // The order of comparisons lets a NaN through, so that it is seen.
    let x = if x > LARGEST { LARGEST } else { x };
    let x = if x < -87.0 { -87.0 } else { x };
    let shifted = x * std::f32::consts::LOG2_E + ROUNDING;
    let whole = shifted - ROUNDING;
    let rest = x - whole * LN_2_HIGH - whole * LN_2_LOW;
    // The polynomial of Cephes' expf.
    let mut sum = 1.987_569_1e-4;
    sum = sum * rest + 1.398_199_9e-3;
    sum = sum * rest + 8.333_452e-3;
    sum = sum * rest + 4.166_579_6e-2;
    sum = sum * rest + 1.666_666_5e-1;
    sum = sum * rest + 0.5;
    let fraction = sum * rest * rest + rest + 1.0;
    // The low bits of `shifted` are the power of two, to be put where a float keeps its exponent.
    let power = f32::from_bits(shifted.to_bits().wrapping_sub(ROUNDING.to_bits()).wrapping_add(127) << 23);
    fraction * power
}

/// 1 / (1 + e^-x).
#[inline(always)]
pub(super) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// Values added up side by side: as many as the widest vectors hold, twice.
const LANES: usize = 16;

/// Sum of `term(i)` over the indices below `length`, in an order that vectors can follow.
#[inline(always)]
pub(super) fn sum(length: usize, term: impl Fn(usize) -> f32) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let whole = length / LANES * LANES;
    let mut start = 0;
    while start < whole {
        for (lane, sum) in lanes.iter_mut().enumerate() {
            *sum += term(start + lane);
        }
        start += LANES;
    }
    let mut total = 0.0;
    for index in whole..length {
        total += term(index);
    }
    lanes.iter().fold(total, |total, lane| total + lane)
}

/// Largest of the values; negative infinity of none.
#[inline(always)]
pub(super) fn largest(values: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (chunks, rest) = values.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane = if *value > *lane { *value } else { *lane };
        }
    }
    rest.iter().chain(&lanes).fold(f32::NEG_INFINITY, |largest, &value| if value > largest { value } else { largest })
}

/// Softmax in place.
#[inline(always)]
pub(super) fn softmax(values: &mut [f32]) {
    let largest = largest(values);
    for value in values.iter_mut() {
        *value = exp(*value - largest);
    }
    let total = sum(values.len(), |index| values[index]);
    let share = 1.0 / total;
    for value in values.iter_mut() {
        *value *= share;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exponential_is_exact_to_a_few_units_in_the_last_place() {
        for step in -8_700..8_800 {
            let x = step as f32 * 0.01;
            let expected = f64::from(x).exp();
            let found = f64::from(vectorized(|| exp(x)));
            assert!(((found - expected) / expected).abs() < 3e-7, "{x}: {found} {expected}");
        }
        assert!(vectorized(|| exp(-1e9)) < 1e-37);
        assert!(vectorized(|| exp(1e9)).is_finite());
        assert!(vectorized(|| exp(f32::NAN)).is_nan());
    }

    #[test]
    fn sums_and_maxima_take_every_value_once() {
        for length in [0, 1, 15, 16, 17, 100] {
            let values: Vec<f32> = (0..length).map(|value| value as f32).collect();
            assert_eq!(sum(length, |index| values[index]), (0..length).sum::<usize>() as f32);
            assert_eq!(largest(&values), values.last().copied().unwrap_or(f32::NEG_INFINITY));
        }
    }
}
