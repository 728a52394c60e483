//! Exact search: every image that passes the filter is scored.

use super::matrix::{FilterKeys, GalleryMatrix};
use super::top_k::{Candidate, TopK};
use super::{Hit, NearestQuery, SearchFilter};
use std::ops::Range;

/// A thread is worth starting for this many values; below, it costs more than it saves.
const VALUES_PER_THREAD: usize = 1 << 21;

/// How many threads a search of this gallery can make use of.
pub(super) fn useful_threads(matrix: &GalleryMatrix) -> usize {
    matrix.values().len().div_ceil(VALUES_PER_THREAD)
}

/// The images nearest to the query, best first, equal scores by rising image id. Uses `threads` threads, this one among them.
pub(super) fn nearest(matrix: &GalleryMatrix, query: &NearestQuery, threads: usize) -> Vec<Hit> {
    if query.limit == 0 {
        return Vec::new();
    }
    let filter = CompiledFilter::new(&query.filter, matrix);
    let ranges = split(matrix.len(), threads);
    let scan = |rows: Range<usize>| scan(matrix, query, &filter, rows);
    let parts = match ranges.as_slice() {
        [] => Vec::new(),
        [all] => vec![scan(all.clone())],
        [first, others @ ..] => std::thread::scope(|scope| {
            let started: Vec<_> = others.iter().map(|rows| scope.spawn(|| scan(rows.clone()))).collect();
            let mut parts = vec![scan(first.clone())];
            for thread in started {
                parts.push(thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            }
            parts
        }),
    };

    let mut best: Vec<Candidate<'_>> = parts.into_iter().flatten().collect();
    best.sort_unstable();
    best.truncate(query.limit);
    best.into_iter().map(|candidate| hit(matrix, &candidate)).collect()
}

fn hit(matrix: &GalleryMatrix, candidate: &Candidate<'_>) -> Hit {
    Hit {
        image_id: candidate.image_id.to_owned(),
        score: candidate.score,
        metadata: matrix.rows()[candidate.row].metadata.clone(),
    }
}

fn scan<'a>(
    matrix: &'a GalleryMatrix,
    query: &NearestQuery,
    filter: &CompiledFilter,
    rows: Range<usize>,
) -> Vec<Candidate<'a>> {
    let dimension = matrix.dimension();
    let direction = query.embedding.as_slice();
    let mut top = TopK::new(query.limit, rows.len());
    for row in rows {
        if !filter.matches(&matrix.keys()[row]) {
            continue;
        }
        // Rounding may exceed 1 a little. Adding zero turns -0 to 0, which would otherwise break ties.
        let score = dot(&matrix.values()[row * dimension..][..dimension], direction).clamp(-1.0, 1.0) + 0.0;
        top.offer(Candidate { score, image_id: &matrix.rows()[row].image_id, row });
    }
    top.into_sorted()
}

/// Cuts `0..rows` into at most `parts` ranges of about equal length, none empty.
fn split(rows: usize, parts: usize) -> Vec<Range<usize>> {
    if rows == 0 {
        return Vec::new();
    }
    let length = rows.div_ceil(parts.max(1));
    (0..rows).step_by(length).map(|start| start..rows.min(start + length)).collect()
}

/// Dot product of two vectors of the same length.
///
/// One sum per lane leaves the compiler free to use vector registers. The result depends on the values alone, so that
/// equal embeddings always tie.
fn dot(left: &[f32], right: &[f32]) -> f32 {
    const LANES: usize = 16;
    let (left_blocks, left_rest) = left.as_chunks::<LANES>();
    let (right_blocks, right_rest) = right.as_chunks::<LANES>();
    let mut sums = [0.0_f32; LANES];
    for (left, right) in left_blocks.iter().zip(right_blocks) {
        for lane in 0..LANES {
            sums[lane] += left[lane] * right[lane];
        }
    }
    let rest: f32 = left_rest.iter().zip(right_rest).map(|(left, right)| left * right).sum();
    sums.iter().sum::<f32>() + rest
}

/// A filter in the numbers of one gallery.
struct CompiledFilter {
    /// Whether a person number is wanted; `None` wants all.
    persons: Option<Vec<bool>>,
    cameras: Option<Vec<bool>>,
    captured_from_ms: Option<i64>,
    captured_before_ms: Option<i64>,
}

impl CompiledFilter {
    fn new(filter: &SearchFilter, matrix: &GalleryMatrix) -> Self {
        Self {
            persons: matrix.persons().flags(&filter.person_ids),
            cameras: matrix.cameras().flags(&filter.camera_ids),
            captured_from_ms: filter.captured_from_ms,
            captured_before_ms: filter.captured_before_ms,
        }
    }

    fn matches(&self, keys: &FilterKeys) -> bool {
        let wanted = |flags: &Option<Vec<bool>>, number: usize| flags.as_ref().is_none_or(|flags| flags[number]);
        // A missing time compares as outside every bound.
        let in_time = self.captured_from_ms.is_none_or(|from| keys.captured_at_ms.is_some_and(|time| time >= from))
            && self.captured_before_ms.is_none_or(|before| keys.captured_at_ms.is_some_and(|time| time < before));
        in_time && wanted(&self.persons, keys.person) && wanted(&self.cameras, keys.camera)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vector_store::ImageMetadata;
    use descry_model::{Embedding, Fingerprint};
    use proptest::prelude::*;

    #[test]
    fn ranges_cover_every_row_once() {
        for (rows, parts) in [(0, 3), (1, 3), (7, 3), (9, 3), (10, 4), (5, 1), (5, 0)] {
            let ranges = split(rows, parts);
            assert!(ranges.len() <= parts.max(1) && ranges.iter().all(|range| !range.is_empty()));
            assert_eq!(ranges.into_iter().flatten().collect::<Vec<_>>(), (0..rows).collect::<Vec<_>>());
        }
    }

    #[test]
    fn times_are_half_open_and_absent_ones_never_match() {
        let matrix = GalleryMatrix::new(1);
        let check = |from, before, time| {
            let filter = SearchFilter { captured_from_ms: from, captured_before_ms: before, ..SearchFilter::default() };
            CompiledFilter::new(&filter, &matrix).matches(&FilterKeys { person: 0, camera: 0, captured_at_ms: time })
        };
        assert!(check(None, None, None));
        assert!(check(Some(5), Some(6), Some(5)));
        assert!(!check(Some(5), Some(6), Some(6)));
        assert!(!check(Some(5), None, Some(4)));
        assert!(!check(Some(i64::MIN), None, None));
        assert!(!check(None, Some(i64::MAX), None));
    }

    #[test]
    fn a_search_over_several_threads_equals_one_over_a_single_thread() {
        let dimension = 512;
        let mut matrix = GalleryMatrix::new(dimension);
        let images = 3 * VALUES_PER_THREAD / dimension;
        for image in 0..images {
            // Few distinct directions, so that most scores tie.
            let mut embedding = vec![0.0; dimension];
            embedding[image * 7 % 5] = 1.0;
            matrix.upsert(&format!("{}", image * 7919 % images), &embedding, ImageMetadata::default());
        }
        let mut direction = vec![0.0; dimension];
        direction[..3].copy_from_slice(&[0.1, 0.3, 0.2]);
        let query = NearestQuery {
            embedding: Embedding::normalized(direction).unwrap(),
            fingerprint: Fingerprint::of_parts([]),
            limit: images / 2,
            filter: SearchFilter::default(),
        };
        assert_eq!(nearest(&matrix, &query, 1), nearest(&matrix, &query, 4));
    }

    proptest! {
        #[test]
        fn dot_is_the_sum_of_products(pairs in proptest::collection::vec((-1f32..1.0, -1f32..1.0), 0..100)) {
            let (left, right): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
            let expected: f64 = left.iter().zip(&right).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
            prop_assert!((f64::from(dot(&left, &right)) - expected).abs() < 1e-4);
        }
    }
}
