//! Where else a person who was found was seen.

use super::query::{RankedHit, Sighting};
use crate::SearchError;
use descry_store::{Generation, ImageMetadata, PageRequest, SearchFilter, VectorStore};
use futures::stream::{StreamExt as _, TryStreamExt as _};
use std::collections::HashMap;

/// Images of one page.
const PAGE_IMAGES: usize = 1_024;

/// Persons asked about at the same time.
const CONCURRENT_PERSONS: usize = 8;

/// How many images may be named.
#[derive(Debug, Clone, Copy)]
pub(super) struct Most {
    /// Of all persons together.
    pub(super) of_all: usize,
    pub(super) of_one: usize,
}

/// Adds the images of the persons that meet the filter, at most so many of one person and of all together. Where there are
/// more of all, each person gets an equal share. How many there are of each is told in any case.
pub(super) async fn add(
    store: &dyn VectorStore,
    generation: &Generation,
    filter: &SearchFilter,
    most: Most,
    hits: &mut [RankedHit],
) -> Result<(), SearchError> {
    let person_ids: Vec<String> = hits.iter().filter_map(|hit| hit.hit.metadata.person_id.clone()).collect();
    if person_ids.is_empty() {
        return Ok(());
    }
    let of_all = of_persons(person_ids.clone(), filter);
    let mut found: HashMap<String, (Vec<Sighting>, u64)> = HashMap::new();
    // One page mostly has them all, and says so; only where it does not is it worth a question how many there are.
    let first = PageRequest { filter: of_all.clone(), after: None, limit: most.of_all.clamp(1, PAGE_IMAGES) };
    let first = store.listing(generation, first).await?;
    let sightings = match first.next {
        None if first.images.len() <= most.of_all => Some(first.images.into_iter().filter_map(sighting).collect()),
        None | Some(_) => {
            let count = store.count(generation, &of_all).await?;
            let are_few = usize::try_from(count).is_ok_and(|count| count <= most.of_all);
            if are_few { Some(listed(store, generation, of_all, most.of_all).await?) } else { None }
        }
    };
    if let Some(sightings) = sightings {
        for (person_id, sighting) in sightings {
            let (sightings, count) = found.entry(person_id).or_default();
            sightings.push(sighting);
            *count += 1;
        }
    } else {
        let share = (most.of_all / person_ids.len()).clamp(1, most.of_one.max(1));
        let asking = person_ids.into_iter().map(|person_id| async move {
            let of_one = of_persons(vec![person_id.clone()], filter);
            let count = store.count(generation, &of_one).await?;
            let sightings = listed(store, generation, of_one, share).await?;
            let sightings = sightings.into_iter().map(|(_, sighting)| sighting).collect();
            Ok::<_, SearchError>((person_id, (sightings, count)))
        });
        let asking: Vec<_> = asking.collect();
        found = futures::stream::iter(asking).buffer_unordered(CONCURRENT_PERSONS).try_collect().await?;
    }
    for hit in hits {
        let person_id = hit.hit.metadata.person_id.as_deref().unwrap_or_default();
        let (mut sightings, count) = found.remove(person_id).unwrap_or_default();
        sightings.sort_by(|a, b| a.captured_at_ms.cmp(&b.captured_at_ms).then_with(|| a.image_id.cmp(&b.image_id)));
        sightings.truncate(most.of_one);
        (hit.sightings, hit.sighting_count) = (sightings, count);
    }
    Ok(())
}

fn of_persons(person_ids: Vec<String>, filter: &SearchFilter) -> SearchFilter {
    SearchFilter { person_ids, all: vec![filter.clone()], ..SearchFilter::default() }
}

/// Up to `most` of the images that meet a filter, with their persons.
async fn listed(
    store: &dyn VectorStore,
    generation: &Generation,
    filter: SearchFilter,
    most: usize,
) -> Result<Vec<(String, Sighting)>, SearchError> {
    let mut found = Vec::new();
    let mut request = PageRequest { filter, after: None, limit: most.min(PAGE_IMAGES) };
    loop {
        let page = store.listing(generation, request.clone()).await?;
        found.extend(page.images.into_iter().filter_map(sighting));
        request.limit = most.saturating_sub(found.len()).min(PAGE_IMAGES);
        match page.next {
            Some(next) if request.limit > 0 => request.after = Some(next),
            Some(_) | None => return Ok(found),
        }
    }
}

fn sighting((image_id, metadata): (String, ImageMetadata)) -> Option<(String, Sighting)> {
    let ImageMetadata { person_id, camera_id, captured_at_ms, .. } = metadata;
    Some((person_id?, Sighting { image_id, camera_id, captured_at_ms }))
}
