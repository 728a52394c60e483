//! The last step of a search: embeddings of the candidates are read and compared exactly.

use super::abandonment::Abandonment;
use super::conditions::Conditions;
use super::error::store_error;
use super::galleries::LoadedGeneration;
use super::groups::Groups;
use super::interner::ABSENT;
use super::mean_rescoring::nearest_means;
use super::readers::{Reader, unit};
use super::row_scan::{RowScan, dot, useful_threads};
use super::scan::Scan;
use super::threshold::Threshold;
use super::{EmbeddedError, SearchSlots};
use crate::StoreError;
use crate::{GroupHit, Grouping, Hit, NearestQuery, Pool};
use std::collections::HashMap;

/// Damaged images that one search passes over.
pub(super) const MAX_PASSED_OVER: u64 = 1_000;

/// A candidate whose embedding was read.
struct Scored {
    score: f32,
    id: i64,
    group: u32,
    values: Option<Vec<f32>>,
}

/// Whether groups or images are ranked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ranked {
    Images,
    Groups(Grouping),
}

/// Where to search, and for whom.
pub(super) struct Search<'a> {
    pub(super) generation: &'a LoadedGeneration,
    pub(super) reader: &'a Reader<'a>,
    pub(super) query: &'a NearestQuery,
    pub(super) abandonment: &'a Abandonment,
}

/// The nearest images, or groups of images, best first, equal scores by rising image id.
pub(super) fn nearest(
    search: &Search<'_>,
    ranked: Ranked,
    slots: &mut SearchSlots,
) -> Result<Vec<GroupHit>, StoreError> {
    if let Ranked::Groups(Grouping { by, pool: Pool::Mean }) = ranked {
        return nearest_means(search, by, slots);
    }
    let failed = |error| store_error("searching", error);
    let query = search.query;
    let candidates = search.scan(slots, |rows| {
        let matrix = rows.matrix;
        let (limit, min_score, exact) = (query.limit, search.min_score(), query.exact);
        let scan = Scan { rows, limit, min_score, exact };
        let (candidates, groups) = match ranked {
            Ranked::Images => (scan.candidates()?, None),
            Ranked::Groups(Grouping { by, .. }) => {
                let groups = Groups::of(matrix, by);
                (scan.group_candidates(&groups)?, Some(groups))
            }
        };
        let placed = candidates.into_iter().map(|candidate| {
            let row = candidate.row as usize;
            let group = groups.map_or(ABSENT, |groups| groups.numbers[row]);
            Placed { id: matrix.id(row), group, highest: candidate.highest }
        });
        Ok(placed.collect::<Vec<_>>())
    })?;
    let scored = rescore(search, ranked, &candidates.unwrap_or_default()).map_err(failed)?;
    let hits = hits(search, ranked, scored).map_err(failed)?;
    Ok(hits.into_iter().map(GroupHit::of_best).collect())
}

impl Search<'_> {
    pub(super) fn min_score(&self) -> f32 {
        self.query.min_score.unwrap_or(f32::NEG_INFINITY)
    }

    /// Looks among the rows that meet the query's conditions; nothing when no hits are wanted.
    ///
    /// The gallery is locked in memory meanwhile, and no longer: a writer would wait for the disk otherwise, and all
    /// searches behind the writer. So `look` returns numbers in the database, which are never given again; what is removed
    /// before it is read is left out.
    pub(super) fn scan<Found>(
        &self,
        slots: &mut SearchSlots,
        look: impl FnOnce(RowScan<'_>) -> Result<Found, EmbeddedError>,
    ) -> Result<Option<Found>, StoreError> {
        let Self { generation, reader, query, abandonment } = *self;
        let failed = |error| store_error("searching", error);
        let ids = reader.numbers(generation.id, &query.filter.named_images()).map_err(failed)?;
        let matrix = generation.read()?;
        let conditions = Conditions::new(&query.filter, &matrix, &ids)?;
        if query.limit == 0 {
            return Ok(None);
        }
        abandonment.check().map_err(failed)?;
        let mut direction = query.embedding.as_slice().to_vec();
        direction.resize(matrix.codes().padded_dimension(), 0.0);
        let rows = conditions.matching_rows(&matrix);
        let rows = match query.written {
            Some(range) => Some(matrix.written_rows(rows, range)),
            None => rows,
        };
        // Threads by what is looked at: of a filter that keeps one image in a hundred, one thread has little to do.
        let count = rows.as_ref().map_or(matrix.rows(), Vec::len);
        let threads = slots.take_idle_up_to(useful_threads(&matrix, count));
        let rows = RowScan { matrix: &matrix, rows: rows.as_deref(), query: &direction, threads, abandonment };
        look(rows).map(Some).map_err(failed)
    }
}

/// A row that can be a hit, by what is the same also when rows are removed meanwhile.
#[derive(Debug)]
struct Placed {
    /// Its number in the database.
    id: i64,
    group: u32,
    /// The most that its score can be.
    highest: f32,
}

/// Exact scores of the candidates, which come by falling highest score, until no further one can be a hit.
fn rescore(search: &Search<'_>, ranked: Ranked, candidates: &[Placed]) -> Result<Vec<Scored>, EmbeddedError> {
    let Search { reader, query, abandonment, .. } = *search;
    let direction = query.embedding.as_slice();
    let least = search.min_score();
    let mut embeddings = reader.embeddings(direction.len())?;
    let mut values = Vec::with_capacity(direction.len());
    let mut threshold = Threshold::new(query.limit, 1_024, least);
    let mut best_of_group: HashMap<u32, f32> = HashMap::new();
    let (mut scored, mut passed_over) = (Vec::new(), 0);
    for &Placed { id, group, highest } in candidates {
        abandonment.check()?;
        if highest < threshold.value() {
            break;
        }
        let read = embeddings.read(id, &mut values);
        passed_over += u64::from(read.as_ref().is_err());
        if passed_over > MAX_PASSED_OVER {
            // That is no damage of images, but of the file.
            read?;
            continue;
        }
        if reader.unless_damaged(id, read)? != Some(true) {
            continue;
        }
        // Rounding may exceed 1 a little. Adding zero turns -0 to 0, which would otherwise break ties.
        let score = dot(&values, direction).clamp(-1.0, 1.0) + 0.0;
        if score < least {
            continue;
        }
        match ranked {
            Ranked::Images => threshold.offer(score),
            Ranked::Groups(_) => {
                // Only a group's first image counts towards the threshold: what comes later can only be better by
                // the bound of the codes, and then the threshold is a little low, which costs reads and no hits.
                if let std::collections::hash_map::Entry::Vacant(first) = best_of_group.entry(group) {
                    first.insert(score);
                    threshold.offer(score);
                }
            }
        }
        scored.push(Scored { score, id, group, values: query.with_embeddings.then(|| values.clone()) });
    }
    let least = threshold.value();
    scored.retain(|scored| scored.score >= least);
    Ok(scored)
}

fn hits(search: &Search<'_>, ranked: Ranked, mut scored: Vec<Scored>) -> Result<Vec<Hit>, EmbeddedError> {
    let Search { reader, query, abandonment, .. } = *search;
    scored.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.id.cmp(&b.id)));
    // Of a group with equally near images the one of the lowest image id is to be found, so all of them are read.
    if ranked != Ranked::Images {
        let mut best: HashMap<u32, f32> = HashMap::new();
        scored.retain(|scored| {
            scored.group != ABSENT && *best.entry(scored.group).or_insert(scored.score) <= scored.score
        });
    }
    let mut hits = Vec::with_capacity(scored.len().min(query.limit));
    for Scored { score, id, group, values } in scored {
        abandonment.check()?;
        let Some((image_id, metadata)) = reader.metadata_at(id)? else { continue };
        let embedding = values.map(|values| unit(id, values)).transpose()?;
        hits.push((group, Hit { image_id, score, metadata, embedding }));
    }
    hits.sort_by(|(_, a), (_, b)| b.score.total_cmp(&a.score).then_with(|| a.image_id.cmp(&b.image_id)));
    if ranked != Ranked::Images {
        let mut seen = std::collections::HashSet::new();
        hits.retain(|(group, _)| seen.insert(*group));
    }
    hits.truncate(query.limit);
    Ok(hits.into_iter().map(|(_, hit)| hit).collect())
}
