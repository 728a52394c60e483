//! The groups of a search by falling score of their nearest images, as many as are asked for.
//!
//! The server ranks images. Of those that it names, the first of each group is that group's nearest; the groups that are
//! found by then are left out of the next question. So a group with very many images near the query is named once, and what is
//! read follows the number of groups and not that of their images: some for each group that is wanted (`pace.rs`), and
//! fewer where the question before found few. Only the names of images and
//! groups are read, unless hits are wanted and few enough images are asked for at first.

use super::QdrantStore;
use super::group_names::{all_groups_but, name_bytes, name_fields, names_from_payload};
use super::pace::{ANSWER_BYTES, Pace, Purpose};
use super::points::hit_from_point;
use super::ranked_group::RankedGroup;
use super::search::MAX_TIED_IMAGES;
use crate::{Generation, GroupBy, NearestQuery, StoreError};
use std::collections::HashSet;

/// What an image with all that is known of it is taken to need, without its embedding: attributes are at most that long
/// where nobody allows more.
const WHOLE_IMAGE_BYTES: usize = 16 << 10;

/// Bytes of the names of groups that a question may leave out. The server takes requests of 32 MiB.
const MAX_LEFT_OUT_BYTES: usize = 8 << 20;

/// A search that can be gone on with.
pub(super) struct GroupSearch<'a> {
    store: &'a QdrantStore,
    generation: &'a Generation,
    query: &'a NearestQuery,
    by: GroupBy,
    purpose: Purpose,
    found: Vec<RankedGroup>,
    left_out_bytes: usize,
    pace: Pace,
    end: Option<End>,
}

/// Why there are no more groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// All are found.
    Complete,
    /// The names of those that are found fit in no further question.
    CutShort,
}

impl<'a> GroupSearch<'a> {
    pub(super) fn new(
        store: &'a QdrantStore,
        generation: &'a Generation,
        query: &'a NearestQuery,
        by: GroupBy,
        purpose: Purpose,
    ) -> Self {
        let pace = Pace::new(purpose);
        Self { store, generation, query, by, purpose, found: Vec::new(), left_out_bytes: 0, pace, end: None }
    }

    /// The groups that are known by now, question after question.
    pub(super) fn found(&self) -> &[RankedGroup] {
        &self.found
    }

    pub(super) fn into_found(self) -> Vec<RankedGroup> {
        self.found
    }

    /// Whether nothing more will be found.
    pub(super) fn is_at_end(&self) -> bool {
        self.end.is_some()
    }

    /// Whether there may be groups that were not looked for.
    pub(super) fn is_cut_short(&self) -> bool {
        self.end == Some(End::CutShort)
    }

    /// Goes on until at least so many groups are known, or there are no more.
    pub(super) async fn advance_to(&mut self, groups: usize) -> Result<(), StoreError> {
        while self.end.is_none() && self.found.len() < groups {
            self.ask(groups - self.found.len()).await?;
        }
        Ok(())
    }

    /// Finds at least one more group, where there is one.
    async fn ask(&mut self, wanted: usize) -> Result<(), StoreError> {
        let mut asked = self.pace.images(wanted);
        loop {
            let images = self.nearest_images(asked).await?;
            let is_all = images.len() < asked;
            self.pace.note_bytes(&images);
            // Of more equal images the server chooses.
            let are_ties_seen = is_all || asked >= MAX_TIED_IMAGES;
            let groups = nearest_of_each(images, is_all, are_ties_seen);
            if groups.is_empty() && !are_ties_seen {
                asked = asked.saturating_mul(4).min(MAX_TIED_IMAGES);
                continue;
            }
            self.pace.found_last = Some(groups.len());
            self.left_out_bytes += groups.iter().map(|group| name_bytes(&group.group)).sum::<usize>();
            self.found.extend(groups);
            self.end = match (is_all, self.left_out_bytes > MAX_LEFT_OUT_BYTES) {
                (true, _) => Some(End::Complete),
                (false, true) => Some(End::CutShort),
                (false, false) => None,
            };
            return Ok(());
        }
    }

    /// The nearest images that are in no group that is found, each as its group.
    async fn nearest_images(&self, limit: usize) -> Result<Vec<RankedGroup>, StoreError> {
        let Self { store, generation, query, by, found, .. } = self;
        let filter = store.conditions(generation, &query.filter)?;
        let mut request = store.nearest_request(generation, query, limit)?;
        request.filter = Some(all_groups_but(*by, filter, found.iter().map(|group| &group.group)));
        let reads_whole_images = self.reads_whole_images(limit);
        if !reads_whole_images {
            request.with_payload = Some(name_fields(*by).into());
            request.with_vectors = None;
        }
        let address = generation.address();
        let answer = store.read("searching", Some(&address), |client| client.query(request.clone())).await?;
        let mut images = Vec::with_capacity(answer.result.len());
        for point in answer.result {
            let image = if reads_whole_images {
                let hit = hit_from_point(&address, point)?;
                by.key(&hit.metadata).map(|group| RankedGroup::of_hit(group, hit))
            } else {
                let names = names_from_payload(&address, *by, point.payload)?;
                names.map(|(group, image_id)| RankedGroup::of_image(group, image_id, point.score))
            };
            // The condition says that each is in a group.
            images.extend(image);
        }
        images.sort_by(RankedGroup::order);
        Ok(images)
    }

    /// Whether so many images may come whole, which saves asking for the best ones again. After the first question they are
    /// known to be many for a group.
    fn reads_whole_images(&self, limit: usize) -> bool {
        let vector_bytes = if self.query.with_embeddings { self.generation.dimension * size_of::<f32>() } else { 0 };
        self.purpose == Purpose::Hits
            && self.found.is_empty()
            && limit * (WHOLE_IMAGE_BYTES + vector_bytes) <= ANSWER_BYTES
    }
}

/// The nearest image of each group, of images in their order. Only of groups that no image which was not asked for could
/// change, such as one of equal score, unless all ties are seen that ever will be.
fn nearest_of_each(images: Vec<RankedGroup>, is_all: bool, are_ties_seen: bool) -> Vec<RankedGroup> {
    let last_score = images.last().map(|image| image.score);
    let mut seen = HashSet::new();
    let mut groups = images;
    groups.retain(|image| seen.insert(image.group.clone()));
    if is_all {
        return groups;
    }
    let settled = groups.iter().take_while(|group| last_score.is_none_or(|last| group.score > last)).count();
    if settled > 0 || !are_ties_seen {
        groups.truncate(settled);
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    fn images(images: &[(&str, &str, f32)]) -> Vec<RankedGroup> {
        let image = |(image_id, person, score): &(&str, &str, f32)| {
            RankedGroup::of_image((None, (*person).to_owned()), (*image_id).to_owned(), *score)
        };
        images.iter().map(image).collect()
    }

    #[test]
    fn groups_are_taken_from_images_that_decide() {
        let all = [("1", "ann", 0.9), ("3", "ann", 0.7), ("4", "bob", 0.6), ("5", "cat", 0.6)];
        let check = |count: usize, is_all, are_ties_seen| {
            let groups = nearest_of_each(images(&all[..count]), is_all, are_ties_seen);
            groups.into_iter().map(|group| group.image_id).collect::<Vec<_>>()
        };
        assert_eq!(check(4, true, true), ["1", "4", "5"]);
        assert_eq!(check(4, false, false), ["1"], "others may be as near as bob and cat");
        assert_eq!(check(2, false, false), ["1"]);
        assert!(check(1, false, false).is_empty(), "another image may be as near as the only one");
        assert_eq!(check(1, false, true), ["1"], "no more ties are looked for");
        assert_eq!(check(4, false, true), ["1"], "ties of later groups get their own question");
        assert!(check(0, true, true).is_empty());
    }
}
