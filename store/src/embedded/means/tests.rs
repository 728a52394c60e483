use super::*;
use crate::GroupBy;
use crate::embedded::abandonment::Caller;
use crate::embedded::codes::Code;
use crate::embedded::matrix::RowKeys;
use crate::embedded::scan::Scan;
use crate::grouping::EmbeddingSum;
use descry_model::Embedding;
use proptest::prelude::*;
use std::collections::BTreeMap;

const NO_KEYS: RowKeys<'_> = RowKeys {
    person_id: None,
    camera_id: None,
    track_id: None,
    captured_at_ms: None,
    indexed_at_ms: 0,
    write_number: 0,
    attributes: Vec::new(),
};

/// Numbers of -1 to 1, from a counter.
struct Random(u64);

impl Random {
    fn number(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    fn below(&mut self, bound: usize) -> usize {
        self.number();
        (self.0 >> 33) as usize % bound
    }

    /// Near a direction, or anywhere.
    fn embedding(&mut self, dimension: usize, near: Option<&[f32]>) -> Vec<f32> {
        let values = (0..dimension).map(|place| near.map_or(0.0, |near| 1.5 * near[place]) + self.number());
        Embedding::normalized(values.collect()).unwrap().into_vec()
    }
}

/// Images by their numbers, with the camera, the track and the embedding of each.
type Images = BTreeMap<i64, (Option<usize>, Option<usize>, Vec<f32>)>;

fn write(matrix: &mut GalleryMatrix, id: i64, camera: Option<usize>, track: Option<usize>, embedding: &[f32]) {
    let names = [camera, track].map(|name| name.map(|name| name.to_string()));
    let [camera_id, track_id] = [names[0].as_deref(), names[1].as_deref()];
    matrix.upsert(id, &Code::of(embedding), &RowKeys { camera_id, track_id, ..NO_KEYS });
}

/// The images of the `limit` tracks with the nearest means, by adding all embeddings.
fn nearest(images: &Images, query: &[f32], limit: usize) -> Vec<Vec<i64>> {
    let mut tracks: BTreeMap<(Option<usize>, usize), (EmbeddingSum, Vec<i64>)> = BTreeMap::new();
    for (id, (camera, track, embedding)) in images {
        let Some(track) = track else { continue };
        let (sum, ids) =
            tracks.entry((*camera, *track)).or_insert_with(|| (EmbeddingSum::new(query.len()), Vec::new()));
        sum.add(embedding);
        ids.push(*id);
    }
    let scored = tracks.into_values().filter_map(|(sum, ids)| Some((dot(sum.mean()?.0.as_slice(), query), ids)));
    let mut scored: Vec<(f32, Vec<i64>)> = scored.collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0));
    scored.into_iter().take(limit).map(|(_, ids)| ids).collect()
}

fn candidates(matrix: &GalleryMatrix, rows: Option<&[u32]>, query: &[f32], limit: usize, exact: bool) -> Vec<Vec<i64>> {
    let mut padded = query.to_vec();
    padded.resize(matrix.codes().padded_dimension(), 0.0);
    let (_caller, abandonment) = Caller::new();
    let rows = RowScan { matrix, rows, query: &padded, threads: 2, abandonment: &abandonment };
    let groups = Groups::of(matrix, GroupBy::Track);
    let scan = MeanScan { rows, groups, limit, min_score: f32::NEG_INFINITY, exact };
    scan.candidates().unwrap().into_iter().map(|candidate| candidate.images).collect()
}

proptest! {
    /// Whatever is written and removed between searches, and whatever the filter leaves of a track, no true hit is missing
    /// among the candidates; lengths that were found by one search are good for the next.
    #[test]
    fn candidates_hold_the_nearest(seed: u64, steps in 1usize..40, limit in 1usize..6, dimension in 2usize..24) {
        let mut random = Random(seed | 1);
        let mut matrix = GalleryMatrix::new(dimension, &[]);
        let mut images = Images::new();
        let near: Vec<Vec<f32>> = (0..4).map(|_| random.embedding(dimension, None)).collect();
        for step in 0..steps as i64 {
            for number in 0..5 {
                let known = random.below(3) == 0;
                let id = if known { 1 + random.below(5 * step as usize + 1) as i64 } else { 5 * step + number + 1 };
                if known && !images.contains_key(&id) {
                    continue;
                }
                let track = random.below(5).checked_sub(1);
                let camera = random.below(3).checked_sub(1);
                let embedding = random.embedding(dimension, track.map(|track| near[track].as_slice()));
                write(&mut matrix, id, camera, track, &embedding);
                images.insert(id, (camera, track, embedding));
            }
            if random.below(3) == 0 {
                let gone = 1 + random.below(5 * step as usize + 1) as i64;
                matrix.remove(&[gone]);
                images.remove(&gone);
            }
            let near = near.get(random.below(6)).map(Vec::as_slice);
            let query = random.embedding(dimension, near);
            let found = candidates(&matrix, None, &query, limit, false);
            for ids in nearest(&images, &query, limit) {
                prop_assert!(found.contains(&ids), "{:?} in {:?}", ids, found);
            }
            let is_kept = |id: i64| id % 4 != 0;
            let rows: Vec<u32> = (0..matrix.rows() as u32)
                .filter(|&row| !matrix.is_removed(row as usize) && is_kept(matrix.id(row as usize)))
                .collect();
            let kept: Images = images.clone().into_iter().filter(|(id, _)| is_kept(*id)).collect();
            let found = candidates(&matrix, Some(&rows), &query, limit, true);
            for ids in nearest(&kept, &query, limit) {
                prop_assert!(found.contains(&ids), "{:?} in {:?}", ids, found);
            }
        }
    }
}

#[test]
fn the_coarse_pass_loses_no_track_in_a_large_gallery() {
    let (dimension, mut random) = (32, Random(5));
    let mut matrix = GalleryMatrix::new(dimension, &[]);
    let mut images = Images::new();
    let near: Vec<Vec<f32>> = (0..50_000).map(|_| random.embedding(dimension, None)).collect();
    for id in 1..=COARSE_PASS_ROWS as i64 + 1 {
        // Some tracks have one image, some hundreds.
        let bound = random.below(near.len()) + 1;
        let track = random.below(bound);
        let embedding = random.embedding(dimension, Some(&near[track]));
        write(&mut matrix, id, Some(track % 7), Some(track), &embedding);
        images.insert(id, (Some(track % 7), Some(track), embedding));
    }
    for _ in 0..3 {
        let near = &near[random.below(near.len())];
        let query = random.embedding(dimension, Some(near));
        let expected = nearest(&images, &query, 10);
        for exact in [false, true] {
            let found = candidates(&matrix, None, &query, 10, exact);
            assert!(expected.iter().all(|ids| found.contains(ids)));
            assert!(found.len() < 1_000, "{} candidates", found.len());
        }
    }
}

#[test]
fn scans_end_when_nobody_waits() {
    let mut random = Random(5);
    let mut matrix = GalleryMatrix::new(8, &[]);
    (1..2_000).for_each(|id| write(&mut matrix, id, None, Some(id as usize % 9), &random.embedding(8, None)));
    let query = random.embedding(8, None);
    let (caller, abandonment) = Caller::new();
    let listed: Vec<u32> = (0..1_500).collect();
    let groups = Groups::of(&matrix, GroupBy::Track);
    let (limit, min_score, exact) = (3, f32::NEG_INFINITY, false);
    let ask = |rows: Option<&[u32]>| {
        let rows = RowScan { matrix: &matrix, rows, query: &query, threads: 2, abandonment: &abandonment };
        let scan = Scan { rows, limit, min_score, exact };
        let means = MeanScan { rows, groups, limit, min_score, exact };
        [scan.candidates().is_ok(), scan.group_candidates(&groups).is_ok(), means.candidates().is_ok()]
    };
    assert_eq!(ask(None), [true; 3]);
    drop(caller);
    assert_eq!(ask(None), [false; 3]);
    assert_eq!(ask(Some(listed.as_slice())), [false; 3]);
}
