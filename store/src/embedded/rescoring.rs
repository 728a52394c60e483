//! The last step of a search: embeddings of the candidates are read and compared exactly.

use super::conditions::Conditions;
use super::error::store_error;
use super::galleries::LoadedGeneration;
use super::interner::ABSENT;
use super::readers::{Reader, unit};
use super::scan::{Scan, dot, useful_threads};
use super::threshold::Threshold;
use super::{EmbeddedError, SearchSlots};
use crate::StoreError;
use crate::{Hit, NearestQuery};
use std::collections::HashMap;

/// Damaged images that one search passes over.
const MAX_PASSED_OVER: u64 = 1_000;

/// A candidate whose embedding was read.
struct Scored {
    score: f32,
    id: i64,
    person: u32,
    values: Option<Vec<f32>>,
}

/// Whether persons or images are ranked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ranked {
    Images,
    Persons,
}

/// The nearest images, or the nearest image of each person, best first, equal scores by rising image id.
pub(super) fn nearest(
    generation: &LoadedGeneration,
    reader: &Reader<'_>,
    query: &NearestQuery,
    ranked: Ranked,
    slots: &mut SearchSlots,
) -> Result<Vec<Hit>, StoreError> {
    let failed = |error| store_error("searching", error);
    let ids = reader.numbers(generation.id, &query.filter.named_images()).map_err(failed)?;
    // Held to the end, so that what is removed meanwhile is still there to be left out.
    let matrix = generation.read()?;
    let conditions = Conditions::new(&query.filter, &matrix, &ids)?;
    if query.limit == 0 {
        return Ok(Vec::new());
    }
    let mut direction = query.embedding.as_slice().to_vec();
    direction.resize(matrix.codes().padded_dimension(), 0.0);
    // Threads by what is looked at: of a filter that keeps one image in a hundred, one thread has little to do.
    let rows = conditions.matching_rows(&matrix);
    let rows = match query.written {
        Some(range) => Some(matrix.written_rows(rows, range)),
        None => rows,
    };
    let count = rows.as_ref().map_or(matrix.rows(), Vec::len);
    let threads = slots.take_idle_up_to(useful_threads(&matrix, count));
    let scan = Scan {
        matrix: &matrix,
        rows: rows.as_deref(),
        query: &direction,
        limit: query.limit,
        min_score: query.min_score.unwrap_or(f32::NEG_INFINITY),
        exact: query.exact,
        threads,
    };
    let candidates = match ranked {
        Ranked::Images => scan.candidates(),
        Ranked::Persons => scan.person_candidates(),
    };
    let candidates = candidates.iter().map(|candidate| {
        let row = candidate.row as usize;
        (matrix.id(row), matrix.persons.numbers[row], candidate.highest)
    });
    let scored = rescore(reader, query, ranked, candidates).map_err(failed)?;
    hits(reader, query, ranked, scored).map_err(failed)
}

/// Exact scores of the candidates, which come by falling highest score, until no further one can be a hit.
fn rescore(
    reader: &Reader<'_>,
    query: &NearestQuery,
    ranked: Ranked,
    candidates: impl Iterator<Item = (i64, u32, f32)>,
) -> Result<Vec<Scored>, EmbeddedError> {
    let direction = query.embedding.as_slice();
    let least = query.min_score.unwrap_or(f32::NEG_INFINITY);
    let mut embeddings = reader.embeddings(direction.len())?;
    let mut values = Vec::with_capacity(direction.len());
    let mut threshold = Threshold::new(query.limit, 1_024, least);
    let mut best_of_person: HashMap<u32, f32> = HashMap::new();
    let (mut scored, mut passed_over) = (Vec::new(), 0);
    for (id, person, highest) in candidates {
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
            Ranked::Persons => {
                // Only a person's first image counts towards the threshold: what comes later can only be better by
                // the bound of the codes, and then the threshold is a little low, which costs reads and no hits.
                if let std::collections::hash_map::Entry::Vacant(first) = best_of_person.entry(person) {
                    first.insert(score);
                    threshold.offer(score);
                }
            }
        }
        scored.push(Scored { score, id, person, values: query.with_embeddings.then(|| values.clone()) });
    }
    let least = threshold.value();
    scored.retain(|scored| scored.score >= least);
    Ok(scored)
}

fn hits(
    reader: &Reader<'_>,
    query: &NearestQuery,
    ranked: Ranked,
    mut scored: Vec<Scored>,
) -> Result<Vec<Hit>, EmbeddedError> {
    scored.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.id.cmp(&b.id)));
    // Of a person with equally near images the one of the lowest image id is to be found, so all of them are read.
    if ranked == Ranked::Persons {
        let mut best: HashMap<u32, f32> = HashMap::new();
        scored.retain(|scored| {
            scored.person != ABSENT && *best.entry(scored.person).or_insert(scored.score) <= scored.score
        });
    }
    let mut hits = Vec::with_capacity(scored.len().min(query.limit));
    for Scored { score, id, person, values } in scored {
        let Some((image_id, metadata)) = reader.metadata_at(id)? else { continue };
        let embedding = values.map(|values| unit(id, values)).transpose()?;
        hits.push((person, Hit { image_id, score, metadata, embedding }));
    }
    hits.sort_by(|(_, a), (_, b)| b.score.total_cmp(&a.score).then_with(|| a.image_id.cmp(&b.image_id)));
    if ranked == Ranked::Persons {
        let mut seen = std::collections::HashSet::new();
        hits.retain(|(person, _)| seen.insert(*person));
    }
    hits.truncate(query.limit);
    Ok(hits.into_iter().map(|(_, hit)| hit).collect())
}
