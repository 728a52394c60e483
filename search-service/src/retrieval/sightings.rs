//! Where else a person or track that was found was seen.

use super::groups::{Group, any_of};
use super::query::{RankedHit, Sighting};
use crate::SearchError;
use descry_store::{Generation, GroupBy, ImageMetadata, PageRequest, SearchFilter, VectorStore};
use futures::stream::{StreamExt as _, TryStreamExt as _};
use std::collections::HashMap;

/// Images of one page.
const PAGE_IMAGES: usize = 1_024;

/// Groups asked about at the same time.
const CONCURRENT_GROUPS: usize = 8;

/// How many images may be named.
#[derive(Debug, Clone, Copy)]
pub(super) struct Most {
    /// Of all groups together.
    pub(super) of_all: usize,
    pub(super) of_one: usize,
}

/// Adds the images of the groups that meet the filter, at most so many of one group and of all together. Where there are
/// more of all, each group gets an equal share. How many there are of each is told in any case.
pub(super) async fn add(
    store: &dyn VectorStore,
    generation: &Generation,
    (filter, by): (&SearchFilter, GroupBy),
    most: Most,
    hits: &mut [RankedHit],
) -> Result<(), SearchError> {
    let group_of = |hit: &RankedHit| Group::of(&hit.found.best.metadata, by);
    let groups: Vec<Group> = hits.iter().filter_map(group_of).collect();
    if groups.is_empty() {
        return Ok(());
    }
    let of_all = within(any_of(&groups), filter);
    let mut found: HashMap<Group, (Vec<Sighting>, u64)> = HashMap::new();
    // One page mostly has them all, and says so; only where it does not is it worth a question how many there are.
    let first = PageRequest { filter: of_all.clone(), after: None, limit: most.of_all.clamp(1, PAGE_IMAGES) };
    let first = store.listing(generation, first).await?;
    let sightings = match first.next {
        None if first.images.len() <= most.of_all => {
            Some(first.images.into_iter().filter_map(|image| sighting(image, by)).collect())
        }
        None | Some(_) => {
            let count = store.count(generation, &of_all).await?;
            let are_few = usize::try_from(count).is_ok_and(|count| count <= most.of_all);
            if are_few { Some(listed(store, generation, (of_all, by), most.of_all).await?) } else { None }
        }
    };
    if let Some(sightings) = sightings {
        for (group, sighting) in sightings {
            let (sightings, count) = found.entry(group).or_default();
            sightings.push(sighting);
            *count += 1;
        }
    } else {
        let share = (most.of_all / groups.len()).clamp(1, most.of_one.max(1));
        let asking = groups.into_iter().map(|group| async move {
            let of_one = within(group.filter(), filter);
            let found = if group.is_told_by_its_filter() {
                let count = store.count(generation, &of_one).await?;
                let sightings = listed(store, generation, (of_one, by), share).await?;
                (sightings.into_iter().map(|(_, sighting)| sighting).collect(), count)
            } else {
                counted_one_by_one(store, generation, (of_one, by), &group, share).await?
            };
            Ok::<_, SearchError>((group, found))
        });
        let asking: Vec<_> = asking.collect();
        found = futures::stream::iter(asking).buffer_unordered(CONCURRENT_GROUPS).try_collect().await?;
    }
    for hit in hits {
        let of_hit = group_of(hit).and_then(|group| found.remove(&group));
        let (mut sightings, count) = of_hit.unwrap_or_default();
        sightings.sort_by(|a, b| a.captured_at_ms.cmp(&b.captured_at_ms).then_with(|| a.image_id.cmp(&b.image_id)));
        sightings.truncate(most.of_one);
        (hit.sightings, hit.sighting_count) = (sightings, count);
    }
    Ok(())
}

fn within(groups: SearchFilter, filter: &SearchFilter) -> SearchFilter {
    SearchFilter { all: vec![groups, filter.clone()], ..SearchFilter::default() }
}

/// Up to `most` of the images that meet a filter, with their groups.
async fn listed(
    store: &dyn VectorStore,
    generation: &Generation,
    (filter, by): (SearchFilter, GroupBy),
    most: usize,
) -> Result<Vec<(Group, Sighting)>, SearchError> {
    let mut found = Vec::new();
    let mut request = PageRequest { filter, after: None, limit: most.min(PAGE_IMAGES) };
    loop {
        let page = store.listing(generation, request.clone()).await?;
        found.extend(page.images.into_iter().filter_map(|image| sighting(image, by)));
        request.limit = most.saturating_sub(found.len()).min(PAGE_IMAGES);
        match page.next {
            Some(next) if request.limit > 0 => request.after = Some(next),
            Some(_) | None => return Ok(found),
        }
    }
}

/// As [`listed`], of a group whose images are not told from others' by a filter; also how many they are.
async fn counted_one_by_one(
    store: &dyn VectorStore,
    generation: &Generation,
    (filter, by): (SearchFilter, GroupBy),
    group: &Group,
    most: usize,
) -> Result<(Vec<Sighting>, u64), SearchError> {
    let (mut found, mut count) = (Vec::new(), 0);
    let mut request = PageRequest { filter, after: None, limit: PAGE_IMAGES };
    loop {
        let page = store.listing(generation, request.clone()).await?;
        for (_, sighting) in
            page.images.into_iter().filter_map(|image| sighting(image, by)).filter(|(of, _)| of == group)
        {
            count += 1;
            if found.len() < most {
                found.push(sighting);
            }
        }
        match page.next {
            Some(next) => request.after = Some(next),
            None => return Ok((found, count)),
        }
    }
}

fn sighting((image_id, metadata): (String, ImageMetadata), by: GroupBy) -> Option<(Group, Sighting)> {
    let group = Group::of(&metadata, by)?;
    let ImageMetadata { camera_id, track_id, captured_at_ms, .. } = metadata;
    Some((group, Sighting { image_id, camera_id, track_id, captured_at_ms }))
}
