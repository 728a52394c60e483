use super::*;
use crate::embedded::abandonment::Abandonment;
use crate::embedded::codes::Code;
use crate::embedded::matrix::{GalleryMatrix, RowKeys};
use crate::embedded::row_scan::{VALUES_PER_THREAD, dot, useful_threads};
use descry_model::Embedding;
use proptest::prelude::*;

const NO_KEYS: RowKeys<'_> = RowKeys {
    person_id: None,
    camera_id: None,
    track_id: None,
    captured_at_ms: None,
    indexed_at_ms: 0,
    write_number: 0,
    attributes: Vec::new(),
};

fn matrix_of(embeddings: &[Vec<f32>], dimension: usize) -> GalleryMatrix {
    let mut matrix = GalleryMatrix::new(dimension, &[]);
    for (row, embedding) in embeddings.iter().enumerate() {
        matrix.upsert(row as i64 + 1, &Code::of(embedding), &NO_KEYS);
    }
    matrix
}

/// Directions on a sphere, from a counter.
fn directions(count: usize, dimension: usize, seed: u64) -> Vec<Vec<f32>> {
    let mut state = seed | 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(|_| Embedding::normalized((0..dimension).map(|_| next()).collect()).unwrap().into_vec()).collect()
}

/// The rows of the `limit` nearest by full comparison; ties are all kept.
fn nearest(embeddings: &[Vec<f32>], query: &[f32], limit: usize) -> Vec<u32> {
    let mut scored: Vec<(f32, u32)> =
        embeddings.iter().enumerate().map(|(row, embedding)| (dot(embedding, query), row as u32)).collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0));
    let least = scored[limit.min(scored.len()) - 1].0;
    scored.into_iter().filter(|(score, _)| *score >= least).map(|(_, row)| row).collect()
}

fn candidates(matrix: &GalleryMatrix, query: &[f32], limit: usize, exact: bool, threads: usize) -> Vec<Candidate> {
    let mut padded = query.to_vec();
    padded.resize(matrix.codes().padded_dimension(), 0.0);
    let rows = RowScan { matrix, rows: None, query: &padded, threads, abandonment: &Abandonment::default() };
    Scan { rows, limit, min_score: f32::NEG_INFINITY, exact }.candidates().unwrap()
}

#[test]
fn the_coarse_pass_loses_nothing_in_a_large_gallery() {
    let dimension = 32;
    let embeddings = directions(COARSE_PASS_ROWS + 1, dimension, 3);
    let matrix = matrix_of(&embeddings, dimension);
    for query in directions(20, dimension, 99) {
        let found: Vec<u32> = candidates(&matrix, &query, 10, false, 2).iter().map(|found| found.row).collect();
        assert!(nearest(&embeddings, &query, 10).iter().all(|row| found.contains(row)));
        assert!(found.len() < 1_000, "{} candidates", found.len());
        let exact = candidates(&matrix, &query, 10, true, 1);
        assert!(nearest(&embeddings, &query, 10).iter().all(|row| exact.iter().any(|found| found.row == *row)));
    }
}

proptest! {
    /// No true neighbour is ever missing among the candidates, whatever the data, the limit and the threads.
    #[test]
    fn candidates_hold_the_nearest(
        count in 1usize..300, dimension in 1usize..40, limit in 1usize..50, threads in 1usize..4, seed: u64,
    ) {
        let mut embeddings = directions(count, dimension, seed);
        // Equal rows tie.
        embeddings[count / 2] = embeddings[0].clone();
        let matrix = matrix_of(&embeddings, dimension);
        let query = &directions(1, dimension, seed ^ 0xabcd)[0];
        let found: Vec<u32> = candidates(&matrix, query, limit, false, threads).iter().map(|found| found.row).collect();
        for row in nearest(&embeddings, query, limit) {
            prop_assert!(found.contains(&row), "row {} of {:?}", row, found);
        }
    }
}

#[test]
fn threads_follow_what_is_looked_at() {
    let matrix = matrix_of(&directions(4, 512, 1), 512);
    let rows_a_thread = VALUES_PER_THREAD / matrix.codes().padded_dimension();
    assert_eq!(useful_threads(&matrix, 100 * rows_a_thread), 100);
    assert_eq!(useful_threads(&matrix, rows_a_thread), 1, "a filter that keeps 1 % takes one thread of a hundred");
    assert_eq!(useful_threads(&matrix, 1), 1);
}

proptest! {
    /// However many threads look, the same rows can be the best of the nearest persons.
    #[test]
    fn persons_are_the_same_on_any_number_of_threads(
        persons in proptest::collection::vec(proptest::option::of(0u8..9), 1..60),
        limit in 1usize..6,
        threads in 2usize..5,
        is_listed: bool,
    ) {
        let embeddings = directions(persons.len() + 1, 16, 5);
        let (query, embeddings) = embeddings.split_first().unwrap();
        let mut matrix = GalleryMatrix::new(16, &[]);
        for (row, (embedding, person)) in embeddings.iter().zip(&persons).enumerate() {
            let name = person.map(|person| person.to_string());
            matrix.upsert(row as i64 + 1, &Code::of(embedding), &RowKeys { person_id: name.as_deref(), ..NO_KEYS });
        }
        let mut padded = query.clone();
        padded.resize(matrix.codes().padded_dimension(), 0.0);
        let listed: Vec<u32> = (0..persons.len() as u32).filter(|row| row % 3 != 0).collect();
        let rows = is_listed.then_some(listed.as_slice());
        let found = |threads| {
            let abandonment = &Abandonment::default();
            let rows = RowScan { matrix: &matrix, rows, query: &padded, threads, abandonment };
            let scan = Scan { rows, limit, min_score: f32::NEG_INFINITY, exact: false };
            scan.group_candidates(&Groups::of(&matrix, crate::GroupBy::Person)).unwrap()
        };
        prop_assert_eq!(found(1), found(threads));
    }
}
