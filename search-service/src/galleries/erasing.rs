//! What is erased: found in all generations, kept away by marks, removed, and refused when it comes again.
//!
//! A write looks at the marks before it writes and once more after that, and removes what was marked meanwhile. An erasure first
//! writes its marks and then looks for images. So either the erasure finds the image, or the write finds the mark, whichever
//! instances they are of. One that is killed between its write and its second look may leave an image, which a repetition of
//! the erasure finds.
//!
//! A hold wins: what it keeps is marked and not removed. Nobody sends it again, but a model change takes it along.

use super::Galleries;
use super::writes::{Acknowledgement, ImageWrite, Removal, Role, Target};
use crate::SearchError;
use crate::erasure::{Comeback, MarkStore, Marks, Subject, Thing, Traces, of_image};
use crate::holds::Holds;
use descry_store::{Generation, Generations, ImageMetadata, PageRequest, SearchFilter};
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

/// Images that are looked at, and removed, together.
const IMAGES_TOGETHER: usize = 1_000;

/// How often it is looked for what came in while marks were written. Marked things do not come in, so that each look finds
/// less than the one before.
const LOOKS: usize = 8;

impl Galleries {
    /// What was erased, of all galleries.
    pub(crate) fn marks(&self) -> &MarkStore {
        &self.marks
    }

    /// What would be removed of a subject, copies of its files among it, and how many images of it are under a hold.
    pub(crate) async fn traces(&self, gallery: &str, subject: &Subject) -> Result<(Traces, u64), SearchError> {
        let generations = self.store.generations(gallery).await?;
        let mut traces = Traces::default();
        self.look_for(&generations, subject, &mut traces).await?;
        self.look_for_copies(&generations, &mut traces).await?;
        let holds = Holds::of(&*self.store, &generations.active).await?;
        let mut all_held = HashSet::new();
        for generation in generations.all().filter(|_| !holds.is_empty()) {
            let held = self.held_images(generation, &traces.of(generation.number), &holds).await?;
            traces.leave(generation.number, &held);
            all_held.extend(held);
        }
        Ok((traces, all_held.len() as u64))
    }

    /// Marks a subject and all that is found of it. Returns what was found, and how many marks that took.
    pub(crate) async fn keep_away(&self, gallery: &str, subject: &Subject) -> Result<(Traces, u64), SearchError> {
        let mut traces = Traces::default();
        let mut marks = 0;
        for look in 0..LOOKS {
            let generations = self.store.generations(gallery).await?;
            let mut is_more = self.look_for(&generations, subject, &mut traces).await?;
            // What came in between the first look and its marks is found by the second one, which also looks for copies: that
            // goes through the whole gallery, and is of use only when no more can come.
            if look > 0 {
                is_more |= self.look_for_copies(&generations, &mut traces).await?;
                if !is_more {
                    break;
                }
            }
            marks = self.marks.add(&generations.active, &subject.things(&traces)).await?;
        }
        Ok((traces, marks))
    }

    /// Removes what was found of a subject from all generations, and what is found of it by now, but for what a hold keeps:
    /// that is not among the traces afterwards. Returns of each generation how many images it had, by its number, and how many
    /// images are held.
    pub(crate) async fn remove_traces(
        &self,
        gallery: &str,
        subject: &Subject,
        traces: &mut Traces,
    ) -> Result<(Vec<(u32, u64)>, u64), SearchError> {
        let _alone = self.turns.alone(gallery).await;
        let generations = self.store.generations(gallery).await?;
        self.look_for(&generations, subject, traces).await?;
        let (removed, held) = self.noted(&generations.active, self.remove_free(&generations, traces)).await?;
        let reached = generations.all().map(|generation| generation.number).collect();
        let serving = Target { generation: generations.active, role: Role::Serving };
        self.settle(&serving, &reached).await?;
        Ok((removed, held))
    }

    /// Removes what was found in each generation and no hold keeps: in another one somebody else may have an image of its name.
    /// Returns how many each had, and how many are held.
    async fn remove_free(
        &self,
        generations: &Generations,
        traces: &mut Traces,
    ) -> Result<(Vec<(u32, u64)>, u64), SearchError> {
        let holds = Holds::of(&*self.store, &generations.active).await?;
        let (mut removed, mut all_held) = (BTreeSet::new(), HashSet::new());
        // The serving one first: what is filled beside it takes only what it holds.
        for generation in generations.all() {
            let image_ids = traces.of(generation.number);
            if !holds.is_empty() {
                let held = self.held_images(generation, &image_ids, &holds).await?;
                traces.leave(generation.number, &held);
                all_held.extend(held);
            }
            let mut count = 0;
            for chunk in image_ids.chunks(IMAGES_TOGETHER) {
                count += self.remove_from(generation, &Removal::Images(chunk.to_vec()), &holds).await?.images;
            }
            removed.insert((generation.number, count));
        }
        Ok((removed.into_iter().collect(), all_held.len() as u64))
    }

    /// Adds the images of a subject to what was found. Whether there are more.
    async fn look_for(
        &self,
        generations: &Generations,
        subject: &Subject,
        traces: &mut Traces,
    ) -> Result<bool, SearchError> {
        let named: Vec<String> = subject.image_ids.iter().cloned().collect();
        let mut is_more = false;
        for generation in generations.all() {
            for chunk in named.chunks(IMAGES_TOGETHER) {
                for (image_id, metadata) in self.store.images(generation, chunk).await? {
                    is_more |= traces.add(generation.number, image_id, &metadata);
                }
            }
            if let Some(filter) = subject.filter() {
                let covers = |image_id: &str, metadata: &ImageMetadata, _: &Traces| subject.covers(image_id, metadata);
                is_more |= self.look_through(generation, filter, traces, covers).await?;
            }
        }
        Ok(is_more)
    }

    /// Adds the images that were made of the same files.
    async fn look_for_copies(&self, generations: &Generations, traces: &mut Traces) -> Result<bool, SearchError> {
        let mut is_more = false;
        if traces.files.is_empty() {
            return Ok(is_more);
        }
        for generation in generations.all() {
            let is_copy = |_: &str, metadata: &ImageMetadata, traces: &Traces| traces.is_copy(metadata);
            is_more |= self.look_through(generation, SearchFilter::default(), traces, is_copy).await?;
        }
        Ok(is_more)
    }

    async fn look_through(
        &self,
        generation: &Generation,
        filter: SearchFilter,
        traces: &mut Traces,
        is_wanted: impl Fn(&str, &ImageMetadata, &Traces) -> bool,
    ) -> Result<bool, SearchError> {
        let mut request = PageRequest { filter, after: None, limit: IMAGES_TOGETHER };
        let mut is_more = false;
        loop {
            let page = self.store.listing(generation, request.clone()).await?;
            for (image_id, metadata) in page.images {
                if is_wanted(&image_id, &metadata, traces) {
                    is_more |= traces.add(generation.number, image_id, &metadata);
                }
            }
            match page.next {
                None => return Ok(is_more),
                next => request.after = next,
            }
        }
    }

    /// The marks that a write is held to. Where it may bring something back, the marks of its images are taken away before; their
    /// ids are returned.
    pub(super) async fn marks_for(
        &self,
        target: &Target,
        images: &[ImageWrite],
        comeback: Comeback,
    ) -> Result<(Arc<Marks>, HashSet<String>), SearchError> {
        let gallery = &target.generation;
        let marks = self.marks.of(gallery).await?;
        // What is filled for a later switch takes what the serving generation holds, and brings nothing back.
        if comeback == Comeback::Refused || target.role != Role::Serving {
            return Ok((marks, HashSet::new()));
        }
        let mut things: Vec<Thing<'_>> = Vec::new();
        let mut returning = HashSet::new();
        for image in images {
            let (image_id, metadata) = match image {
                ImageWrite::Write(image) => (&image.image_id, &image.metadata),
                ImageWrite::Done(Acknowledgement { image_id, outcome: Ok(indexed) }) => (image_id, &*indexed.known),
                ImageWrite::Done(Acknowledgement { outcome: Err(_), .. }) => continue,
            };
            if marks.forbid(image_id, metadata) {
                things.extend(of_image(image_id, metadata));
                returning.insert(image_id.clone());
            }
        }
        if things.is_empty() {
            return Ok((marks, returning));
        }
        let count = self.marks.take_away(gallery, &things).await?;
        tracing::info!(
            gallery = gallery.gallery,
            images = returning.len(),
            marks = count,
            "erased images are let back"
        );
        Ok((self.marks.of(gallery).await?, returning))
    }

    /// After a write: removes what was marked since it began, and answers it accordingly.
    pub(super) async fn remove_marked(
        &self,
        before: &Marks,
        generations: &[Generation],
        told: &mut [Acknowledgement],
    ) -> Result<(), SearchError> {
        let Some(first) = generations.first() else { return Ok(()) };
        let marks = self.marks.of(first).await?;
        if marks.is_version_of(before) {
            return Ok(());
        }
        let mut erased = Vec::new();
        for Acknowledgement { image_id, outcome } in told {
            if outcome.as_ref().is_ok_and(|indexed| marks.forbid(image_id, &indexed.known)) {
                erased.push(image_id.clone());
                *outcome = Err(erased_error(first));
            }
        }
        self.remove_all_of(generations, erased).await
    }

    /// Removes images from some generations.
    pub(super) async fn remove_all_of(
        &self,
        generations: &[Generation],
        image_ids: Vec<String>,
    ) -> Result<(), SearchError> {
        if image_ids.is_empty() {
            return Ok(());
        }
        let Some(first) = generations.first() else { return Ok(()) };
        let removal = Removal::Images(image_ids);
        self.noted(first, async {
            let holds = Holds::of(&*self.store, first).await?;
            for generation in generations {
                self.remove_from(generation, &removal, &holds).await?;
            }
            Ok(())
        })
        .await
    }

    /// The holds for which a model change takes marked images along; nothing is read where none is marked.
    pub(super) async fn holds_before_marks(
        &self,
        gallery: &Generation,
        marks: &Marks,
        mut known: impl Iterator<Item = (&str, &ImageMetadata)>,
    ) -> Result<Holds, SearchError> {
        if known.any(|(image_id, metadata)| marks.forbid(image_id, metadata)) {
            Holds::of(&*self.store, gallery).await
        } else {
            Ok(Holds::default())
        }
    }
}

/// What is said of an image that was erased.
pub(crate) fn erased_error(gallery: &Generation) -> SearchError {
    SearchError::Erased { name: gallery.gallery.clone() }
}
