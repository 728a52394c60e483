//! Searching for groups by their means: candidates are found by codes, and all of their embeddings are read, added and
//! compared.

use super::EmbeddedError;
use super::groups::{GroupCandidate, Groups, MeanScan, Members};
use super::matrix::GalleryMatrix;
use super::readers::{Reader, unit};
use super::rescoring::MAX_PASSED_OVER;
use super::scan::dot;
use super::threshold::Threshold;
use crate::grouping::{EmbeddingSum, sort_groups};
use crate::{GroupHit, Hit, NearestQuery};
use descry_model::Embedding;

/// A candidate whose embeddings were read.
struct Pooled {
    score: f32,
    mean: Embedding,
    images: u64,
    best_score: f32,
    /// Its images of that score, by their numbers in the database; more than one where they tie.
    best: Vec<i64>,
}

/// Where to look for groups.
pub(super) struct MeanSearch<'a> {
    pub(super) reader: &'a Reader<'a>,
    pub(super) query: &'a NearestQuery,
    /// `[padded_dimension]` f32, the query's embedding with zeros behind it.
    pub(super) direction: &'a [f32],
    pub(super) matrix: &'a GalleryMatrix,
    pub(super) groups: &'a Groups<'a>,
    /// The rows that meet the query's conditions, in order; `None` for all rows.
    pub(super) rows: Option<&'a [u32]>,
    /// Threads to use, the caller's among them.
    pub(super) threads: usize,
}

/// Groups by falling cosine of their means.
///
/// Damaged images count as if they were not there. One of which that is not known yet is in the bounds of its group, by
/// which other groups were given up; so where one is found, all is done again without it.
pub(super) fn nearest_means(search: &MeanSearch<'_>) -> Result<Vec<GroupHit>, EmbeddedError> {
    let MeanSearch { query, direction, matrix, threads, .. } = *search;
    let mut passed_over = 0;
    loop {
        let members = search.members();
        let (limit, min_score) = (query.limit, query.min_score.unwrap_or(f32::NEG_INFINITY));
        let scan = MeanScan { matrix, members: &members, query: direction, limit, min_score, threads };
        let passed_over_before = passed_over;
        let hits = rescore(search, &members, &scan.candidates(), &mut passed_over)?;
        if passed_over == passed_over_before {
            return Ok(hits);
        }
    }
}

impl MeanSearch<'_> {
    /// The rows of each group, without those that are known to be damaged.
    fn members(&self) -> Members {
        let damaged = self.reader.damaged();
        let is_readable = |row: &u32| damaged.is_empty() || !damaged.contains(&self.matrix.id(*row as usize));
        match self.rows {
            Some(rows) => self.groups.members(rows.iter().copied().filter(is_readable)),
            // A matrix of four billion rows does not fit into memory.
            None => self.groups.members((0..self.matrix.rows() as u32).filter(is_readable)),
        }
    }
}

/// Exact scores of the candidates, which come by falling highest score, until no further one can be a hit.
fn rescore(
    search: &MeanSearch<'_>,
    members: &Members,
    candidates: &[GroupCandidate],
    passed_over: &mut u64,
) -> Result<Vec<GroupHit>, EmbeddedError> {
    let MeanSearch { reader, query, matrix, .. } = *search;
    let least = query.min_score.unwrap_or(f32::NEG_INFINITY);
    let mut threshold = Threshold::new(query.limit, candidates.len(), least);
    let mut pooled = Vec::new();
    for candidate in candidates {
        if candidate.highest < threshold.value() {
            break;
        }
        let rows = members.of(candidate.group);
        let Some(group) = pool(reader, query, matrix, rows, passed_over)? else { continue };
        if group.score >= threshold.value() {
            threshold.offer(group.score);
            pooled.push(group);
        }
    }
    let least = threshold.value();
    let mut groups = Vec::with_capacity(pooled.len().min(query.limit));
    for group in pooled.into_iter().filter(|group| group.score >= least) {
        groups.extend(hit(reader, query, group, passed_over)?);
    }
    sort_groups(&mut groups);
    groups.truncate(query.limit);
    Ok(groups)
}

fn pool(
    reader: &Reader<'_>,
    query: &NearestQuery,
    matrix: &GalleryMatrix,
    rows: &[u32],
    passed_over: &mut u64,
) -> Result<Option<Pooled>, EmbeddedError> {
    let direction = query.embedding.as_slice();
    let mut embeddings = reader.embeddings(direction.len())?;
    let mut values = Vec::with_capacity(direction.len());
    let mut sum = EmbeddingSum::new(direction.len());
    let (mut best_score, mut best) = (f32::NEG_INFINITY, Vec::new());
    for &row in rows {
        let id = matrix.id(row as usize);
        let read = embeddings.read(id, &mut values);
        *passed_over += u64::from(read.as_ref().is_err());
        if *passed_over > MAX_PASSED_OVER {
            // That is no damage of images, but of the file.
            read?;
            continue;
        }
        if reader.unless_damaged(id, read)? != Some(true) {
            continue;
        }
        sum.add(&values);
        let score = cosine(&values, direction);
        if score > best_score {
            best_score = score;
            best.clear();
        }
        if score >= best_score {
            best.push(id);
        }
    }
    let images = sum.images;
    Ok(sum.mean().map(|(mean, _)| Pooled { score: cosine(mean.as_slice(), direction), mean, images, best_score, best }))
}

/// Rounding may exceed 1 a little. Adding zero turns -0 to 0, which would otherwise break ties.
fn cosine(values: &[f32], direction: &[f32]) -> f32 {
    dot(values, direction).clamp(-1.0, 1.0) + 0.0
}

fn hit(
    reader: &Reader<'_>,
    query: &NearestQuery,
    group: Pooled,
    passed_over: &mut u64,
) -> Result<Option<GroupHit>, EmbeddedError> {
    let mut first: Option<(i64, Hit)> = None;
    for id in group.best {
        let Some((image_id, metadata)) = reader.metadata_at(id)? else {
            *passed_over += u64::from(reader.damaged().contains(&id));
            continue;
        };
        if first.as_ref().is_none_or(|(_, hit)| image_id < hit.image_id) {
            first = Some((id, Hit { image_id, score: group.best_score, metadata, embedding: None }));
        }
    }
    let Some((id, mut best)) = first else { return Ok(None) };
    let mut embedding = None;
    if query.with_embeddings {
        let mut values = Vec::with_capacity(query.embedding.dimension());
        if reader.embeddings(query.embedding.dimension())?.read(id, &mut values)? {
            best.embedding = Some(unit(id, values)?);
        }
        embedding = Some(group.mean);
    }
    Ok(Some(GroupHit { best, score: group.score, embedding, images: Some(group.images) }))
}
