//! The innermost loop: dot products of one query with many rows of 4-bit codes.
//!
//! On x86-64 with AVX2 it runs at the speed of memory; elsewhere as plain code, about ten times slower.

/// Dot products with one plane of codes: two to a byte. Byte `j` holds the code of dimension `j` in its low half and that
/// of dimension `j + dimension / 2` in its high half, each 0..=15.
///
/// # Shapes
/// - `query`: `[dimension]` i8, -127..=127, `dimension` even and at most 65,536
/// - `coarse`: `[out.len(), dimension / 2]` u8
/// - `out`: the sums of `query[i] * code[i]` over all dimensions
pub(super) fn coarse_products(query: &[i8], coarse: &[u8], out: &mut [i32]) {
    debug_assert_eq!(coarse.len(), out.len() * query.len() / 2);
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        #[expect(unsafe_code, reason = "the feature was just found")]
        // SAFETY: AVX2 is there.
        unsafe {
            avx2::coarse_products(query, coarse, out);
        }
        return;
    }
    plain_coarse_products(query, coarse, out);
}

/// Dot products with both planes, `16 * coarse + fine`. Shapes as in [`coarse_products`].
pub(super) fn whole_products(query: &[i8], coarse: &[u8], fine: &[u8], out: &mut [i32]) {
    debug_assert_eq!((coarse.len(), fine.len()), (out.len() * query.len() / 2, out.len() * query.len() / 2));
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        #[expect(unsafe_code, reason = "the feature was just found")]
        // SAFETY: AVX2 is there.
        unsafe {
            avx2::whole_products(query, coarse, fine, out);
        }
        return;
    }
    plain_whole_products(query, coarse, fine, out);
}

fn plain_coarse_products(query: &[i8], coarse: &[u8], out: &mut [i32]) {
    let (low, high) = query.split_at(query.len() / 2);
    for (row, sum) in coarse.chunks_exact(low.len()).zip(out) {
        *sum = plain_product(low, high, row);
    }
}

fn plain_whole_products(query: &[i8], coarse: &[u8], fine: &[u8], out: &mut [i32]) {
    let (low, high) = query.split_at(query.len() / 2);
    for ((coarse, fine), sum) in coarse.chunks_exact(low.len()).zip(fine.chunks_exact(low.len())).zip(out) {
        *sum = 16 * plain_product(low, high, coarse) + plain_product(low, high, fine);
    }
}

#[inline(always)]
fn plain_product(low: &[i8], high: &[i8], row: &[u8]) -> i32 {
    let products = row.iter().zip(low).zip(high).map(|((&codes, &low), &high)| {
        i32::from(codes & 15) * i32::from(low) + i32::from(codes >> 4) * i32::from(high)
    });
    products.sum()
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use super::plain_product;
    use std::arch::x86_64::{
        __m256i, _mm256_add_epi16, _mm256_add_epi32, _mm256_and_si256, _mm256_loadu_si256, _mm256_madd_epi16,
        _mm256_maddubs_epi16, _mm256_set1_epi8, _mm256_set1_epi16, _mm256_setzero_si256, _mm256_slli_epi32,
        _mm256_srli_epi16, _mm256_storeu_si256,
    };

    const BYTES: usize = 32;

    /// Bytes whose products may be added in 16 bits: a step adds at most 4 · 15 · 127, and four steps are below 2^15.
    const BYTES_IN_16_BITS: usize = 4 * BYTES;

    #[target_feature(enable = "avx2")]
    pub(super) fn coarse_products(query: &[i8], coarse: &[u8], out: &mut [i32]) {
        let (low, high) = query.split_at(query.len() / 2);
        let whole = low.len() / BYTES * BYTES;
        for (row, sum) in coarse.chunks_exact(low.len()).zip(out) {
            let rest = plain_product(&low[whole..], &high[whole..], &row[whole..]);
            *sum = sum_of_lanes(products(&low[..whole], &high[..whole], &row[..whole])) + rest;
        }
    }

    #[target_feature(enable = "avx2")]
    pub(super) fn whole_products(query: &[i8], coarse: &[u8], fine: &[u8], out: &mut [i32]) {
        let (low, high) = query.split_at(query.len() / 2);
        let whole = low.len() / BYTES * BYTES;
        for ((coarse, fine), sum) in coarse.chunks_exact(low.len()).zip(fine.chunks_exact(low.len())).zip(out) {
            let rest = |row: &[u8]| plain_product(&low[whole..], &high[whole..], &row[whole..]);
            let coarse_sums = products(&low[..whole], &high[..whole], &coarse[..whole]);
            let fine_sums = products(&low[..whole], &high[..whole], &fine[..whole]);
            let sums = _mm256_add_epi32(_mm256_slli_epi32::<4>(coarse_sums), fine_sums);
            *sum = sum_of_lanes(sums) + 16 * rest(coarse) + rest(fine);
        }
    }

    /// Sums of the products of one row, spread over eight lanes.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn products(low: &[i8], high: &[i8], row: &[u8]) -> __m256i {
        let low_bits = _mm256_set1_epi8(15);
        let ones = _mm256_set1_epi16(1);
        let mut total = _mm256_setzero_si256();
        let blocks = row.chunks(BYTES_IN_16_BITS).zip(low.chunks(BYTES_IN_16_BITS));
        for ((codes, low), high) in blocks.zip(high.chunks(BYTES_IN_16_BITS)) {
            let mut block = _mm256_setzero_si256();
            let steps = codes.as_chunks::<BYTES>().0.iter().zip(low.as_chunks::<BYTES>().0);
            for ((codes, low), high) in steps.zip(high.as_chunks::<BYTES>().0) {
                let (codes, low, high) = (load(codes), load(low), load(high));
                let of_low = _mm256_maddubs_epi16(_mm256_and_si256(codes, low_bits), low);
                let codes_of_high = _mm256_and_si256(_mm256_srli_epi16::<4>(codes), low_bits);
                block = _mm256_add_epi16(block, _mm256_add_epi16(of_low, _mm256_maddubs_epi16(codes_of_high, high)));
            }
            total = _mm256_add_epi32(total, _mm256_madd_epi16(block, ones));
        }
        total
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    #[expect(unsafe_code, reason = "the array has the register's size, and any alignment will do")]
    fn load<Byte>(bytes: &[Byte; BYTES]) -> __m256i {
        const { assert!(size_of::<Byte>() == 1) };
        // SAFETY: reads the 32 bytes of the array.
        unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    #[expect(unsafe_code, reason = "the array has the register's size, and any alignment will do")]
    fn sum_of_lanes(register: __m256i) -> i32 {
        let mut lanes = [0; 8];
        // SAFETY: writes the 32 bytes of the array.
        unsafe { _mm256_storeu_si256(lanes.as_mut_ptr().cast(), register) };
        lanes.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(query: &[i8], coarse: &[u8], fine: &[u8]) {
        let mut fast = vec![0; coarse.len() * 2 / query.len()];
        let mut plain = fast.clone();
        coarse_products(query, coarse, &mut fast);
        plain_coarse_products(query, coarse, &mut plain);
        assert_eq!(fast, plain);
        whole_products(query, coarse, fine, &mut fast);
        plain_whole_products(query, coarse, fine, &mut plain);
        assert_eq!(fast, plain);
    }

    #[test]
    fn the_largest_values_do_not_overflow() {
        for sign in [-127, 127] {
            check(&vec![sign; 65_536], &vec![u8::MAX; 32_768 * 2], &vec![u8::MAX; 32_768 * 2]);
        }
    }

    proptest! {
        #[test]
        fn fast_and_plain_agree(half in 1usize..200, rows in 0usize..5, seed: u64) {
            let mut state = seed | 1;
            let mut next = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 56) as u8
            };
            let query: Vec<i8> = (0..half * 2).map(|_| next().cast_signed().max(-127)).collect();
            let [coarse, fine] = [0, 1].map(|_| (0..half * rows).map(|_| next()).collect::<Vec<u8>>());
            check(&query, &coarse, &fine);
        }
    }
}
