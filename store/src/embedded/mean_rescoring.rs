//! Searching for groups by their means: candidates are found by codes, and all of their embeddings are read, added and
//! compared.

use super::error::store_error;
use super::groups::Groups;
use super::means::{GroupCandidate, MeanScan};
use super::readers::unit;
use super::rescoring::{MAX_PASSED_OVER, Search};
use super::row_scan::{RowScan, dot};
use super::threshold::Threshold;
use super::{EmbeddedError, SearchSlots};
use crate::grouping::{EmbeddingSum, sort_groups};
use crate::{GroupBy, GroupHit, Hit, StoreError};
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

/// Groups by falling cosine of their means.
///
/// Damaged images count as if they were not there. One of which that is not known yet is in the bounds of its group, by
/// which other groups were given up; so where one is found, all is done again without it.
pub(super) fn nearest_means(
    search: &Search<'_>,
    by: GroupBy,
    slots: &mut SearchSlots,
) -> Result<Vec<GroupHit>, StoreError> {
    let mut passed_over = 0;
    loop {
        let candidates = search.scan(slots, |rows| candidates(search, by, rows))?.unwrap_or_default();
        let passed_over_before = passed_over;
        let hits = rescore(search, &candidates, &mut passed_over).map_err(|source| store_error("searching", source))?;
        if passed_over == passed_over_before {
            return Ok(hits);
        }
    }
}

/// The groups that can be hits, of the rows that are not known to be damaged.
fn candidates(search: &Search<'_>, by: GroupBy, rows: RowScan<'_>) -> Result<Vec<GroupCandidate>, EmbeddedError> {
    let Search { reader, query, .. } = *search;
    let damaged = reader.damaged();
    let readable = (!damaged.is_empty()).then(|| rows.choose(|row| !damaged.contains(&rows.matrix.id(row))));
    let rows = RowScan { rows: readable.as_deref().or(rows.rows), ..rows };
    let (groups, min_score) = (Groups::of(rows.matrix, by), search.min_score());
    MeanScan { rows, groups, limit: query.limit, min_score, exact: query.exact }.candidates()
}

/// Exact scores of the candidates, which come by falling highest score, until no further one can be a hit.
fn rescore(
    search: &Search<'_>,
    candidates: &[GroupCandidate],
    passed_over: &mut u64,
) -> Result<Vec<GroupHit>, EmbeddedError> {
    let query = search.query;
    let mut threshold = Threshold::new(query.limit, candidates.len(), search.min_score());
    let mut pooled = Vec::new();
    for candidate in candidates {
        if candidate.highest < threshold.value() {
            break;
        }
        let Some(group) = pool(search, &candidate.images, passed_over)? else { continue };
        if group.score >= threshold.value() {
            threshold.offer(group.score);
            pooled.push(group);
        }
    }
    let least = threshold.value();
    let mut groups = Vec::with_capacity(pooled.len().min(query.limit));
    for group in pooled.into_iter().filter(|group| group.score >= least) {
        groups.extend(hit(search, group, passed_over)?);
    }
    sort_groups(&mut groups);
    groups.truncate(query.limit);
    Ok(groups)
}

fn pool(search: &Search<'_>, images: &[i64], passed_over: &mut u64) -> Result<Option<Pooled>, EmbeddedError> {
    let Search { reader, query, abandonment, .. } = *search;
    let direction = query.embedding.as_slice();
    let mut embeddings = reader.embeddings(direction.len())?;
    let mut values = Vec::with_capacity(direction.len());
    let mut sum = EmbeddingSum::new(direction.len());
    let (mut best_score, mut best) = (f32::NEG_INFINITY, Vec::new());
    for &id in images {
        abandonment.check()?;
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

fn hit(search: &Search<'_>, group: Pooled, passed_over: &mut u64) -> Result<Option<GroupHit>, EmbeddedError> {
    let Search { reader, query, abandonment, .. } = *search;
    let mut first: Option<(i64, Hit)> = None;
    for id in group.best {
        abandonment.check()?;
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
