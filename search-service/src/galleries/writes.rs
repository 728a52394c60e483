//! What is written and deleted, and where: in the generation that serves, in those that are filled for a later switch,
//! and, for deletions, in those that one may go back to.

use super::Galleries;
use super::erasing::erased_error;
use super::no_generation;
use crate::SearchError;
use crate::erasure::{Comeback, Marks};
use crate::holds::Holds;
use crate::metadata_mask::MetadataMask;
use descry_store::{GalleryAddress, GalleryImage, Generation, ImageMetadata, SearchFilter, now_ms};
use std::collections::HashSet;

/// What became of an image.
#[derive(Debug, Clone)]
pub(crate) struct Acknowledgement {
    pub(crate) image_id: String,
    pub(crate) outcome: Result<Indexed, SearchError>,
}

/// How an image came to be in the gallery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Indexed {
    /// It was there already, bytes and metadata alike: nothing was written.
    pub(crate) is_unchanged: bool,
    /// What is known of it now.
    pub(crate) known: Box<ImageMetadata>,
    /// What was known of the image in whose place it came, unless that one was made of the same file.
    pub(crate) replaced: Option<Box<ImageMetadata>>,
    /// It had been erased, and was let back.
    pub(crate) was_erased: bool,
}

impl Indexed {
    pub(crate) fn unchanged(known: ImageMetadata) -> Self {
        Self { is_unchanged: true, known: Box::new(known), replaced: None, was_erased: false }
    }

    pub(super) fn written(known: ImageMetadata) -> Self {
        Self { is_unchanged: false, known: Box::new(known), replaced: None, was_erased: false }
    }
}

/// A generation that is written to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) generation: Generation,
    pub(crate) role: Role,
}

/// Why a generation is written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// It serves: what it says is what the caller is told.
    Serving,
    /// It is filled beside the serving one, for a later switch.
    Later,
    /// It was named alone, and does not serve: it takes what the serving one holds.
    FilledAlone,
}

/// What is to be done with an image in one generation.
#[derive(Debug)]
pub(crate) enum ImageWrite {
    /// To be written; a time of indexing of 0 means now.
    Write(GalleryImage),
    /// There is nothing to write.
    Done(Acknowledgement),
}

/// What a write goes by.
#[derive(Clone, Copy)]
pub(super) struct WriteRules<'a> {
    /// What is kept of what is known of an image.
    pub(super) mask: &'a MetadataMask,
    /// What was erased, and is not taken.
    pub(super) marks: &'a Marks,
}

/// What is to be deleted.
#[derive(Debug, Clone)]
pub(crate) enum Removal {
    Images(Vec<String>),
    Matching(Box<SearchFilter>),
}

/// What came of a removal, in the generation that decides.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Removed {
    /// Images that were there and are gone.
    pub(crate) images: u64,
    /// Images that were there and stay, because a hold keeps them.
    pub(crate) held: u64,
}

/// Images whose holds are looked at together.
const IMAGES_TOGETHER: usize = 1_000;

impl Galleries {
    /// The generations that a write to an address goes to, the one that decides about success first.
    pub(crate) async fn targets(&self, address: &str) -> Result<Vec<Target>, SearchError> {
        let GalleryAddress { name, generation } = GalleryAddress::parse(address);
        let generations = self.store.generations(name).await?;
        if let Some(number) = generation.filter(|number| *number != generations.active.number) {
            let generation = generations.find(number).ok_or_else(|| no_generation(name, number))?.clone();
            return Ok(vec![Target { generation, role: Role::FilledAlone }]);
        }
        let later = generations.later().map(|later| Target { generation: later.clone(), role: Role::Later });
        let serving = Target { generation: generations.active.clone(), role: Role::Serving };
        let later = later.filter(|_| generation.is_none());
        Ok(std::iter::once(serving).chain(later).collect())
    }

    /// Writes images to generations of one gallery, the first of which decides; what is acknowledged is on disk, and
    /// every switch to another generation will find it there or be refused. Answers in the order of the first's images.
    ///
    /// What was known of an image before is kept as far as the mask says. One that was erased is refused, or let back.
    ///
    /// Goes to its end also when nobody waits for the answer any more: half a write would be a difference between
    /// generations that nobody has noted.
    pub(crate) async fn write(
        &self,
        parts: Vec<(Target, Vec<ImageWrite>)>,
        mask: &MetadataMask,
        comeback: Comeback,
    ) -> Vec<Acknowledgement> {
        let ids: Vec<String> =
            parts.first().map(|(_, images)| images.iter().map(image_id_of).collect()).unwrap_or_default();
        let (galleries, mask) = (self.clone(), mask.clone());
        let writing = tokio::spawn(async move { galleries.write_all(parts, &mask, comeback).await });
        writing.await.unwrap_or_else(|error| all_failed(ids, &SearchError::failed("writing images", error)))
    }

    async fn write_all(
        &self,
        parts: Vec<(Target, Vec<ImageWrite>)>,
        mask: &MetadataMask,
        comeback: Comeback,
    ) -> Vec<Acknowledgement> {
        let mut parts = parts.into_iter();
        let Some((first, images)) = parts.next() else { return Vec::new() };
        let _turn = self.turns.beside(&first.generation.gallery).await;
        // Images are prepared before their turn. What is kept of them is what the serving generation knows, which by now
        // may be another one.
        let serves = match self.store.generations(&first.generation.gallery).await {
            Ok(generations) => generations.active.number == first.generation.number,
            Err(error) => return all_failed(images.iter().map(image_id_of).collect(), &error.into()),
        };
        if serves != (first.role == Role::Serving) {
            let reason = "another generation serves since; send the images again".to_owned();
            let error = SearchError::Unavailable { dependency: "the gallery", reason };
            return all_failed(images.iter().map(image_id_of).collect(), &error);
        }
        let (marks, returning) = match self.marks_for(&first, &images, comeback).await {
            Ok(found) => found,
            Err(error) => return all_failed(images.iter().map(image_id_of).collect(), &error),
        };
        let rules = WriteRules { mask, marks: &marks };
        let indexed_at_ms = now_ms();
        let mut told = self.write_to(&first, &first.generation, images, indexed_at_ms, rules).await;
        for Acknowledgement { image_id, outcome } in &mut told {
            if let (Ok(indexed), true) = (outcome, returning.contains(image_id)) {
                indexed.was_erased = true;
            }
        }
        let acknowledged: HashSet<String> =
            told.iter().filter(|told| told.outcome.is_ok()).map(|told| told.image_id.clone()).collect();
        let mut reached = HashSet::from([first.generation.number]);
        let mut generations = vec![first.generation.clone()];
        for (target, mut images) in parts {
            generations.push(target.generation.clone());
            // What the serving one did not take must not be in another one either.
            images.retain(|image| acknowledged.contains(&image_id_of(image)));
            let number = target.generation.number;
            let written = self.write_to(&target, &first.generation, images, indexed_at_ms, rules).await;
            let refused = written.iter().find_map(|written| written.outcome.as_ref().err());
            // Chunks are prepared before their turn, and writes go on side by side: what counts is what is there now.
            match self.is_level(&first.generation, &target.generation, &acknowledged).await {
                Ok(true) => drop(reached.insert(number)),
                Ok(false) => {
                    let reason = refused.map_or_else(|| "it was changed meanwhile".to_owned(), ToString::to_string);
                    tracing::warn!(number, reason, "images are not in the generation that is being filled");
                }
                Err(error) => tracing::warn!(number, %error, "a generation that is being filled cannot be read"),
            }
        }
        let settled = match self.remove_marked(&marks, &generations, &mut told).await {
            Ok(()) => self.settle(&first, &reached).await,
            // Some of it may have to be removed again, which whoever sends it once more is told.
            Err(error) => Err(error),
        };
        match settled {
            Ok(()) => told,
            Err(error) => {
                let untold = |Acknowledgement { image_id, outcome }| Acknowledgement {
                    image_id,
                    outcome: outcome.and_then(|_| Err(error.clone())),
                };
                told.into_iter().map(untold).collect()
            }
        }
    }

    /// Whether a generation holds the same of some images as the serving one. What the serving one does not hold is taken
    /// out of it: another instance may have deleted it in both, there before it was written here.
    async fn is_level(
        &self,
        serving: &Generation,
        generation: &Generation,
        image_ids: &HashSet<String>,
    ) -> Result<bool, SearchError> {
        let ids: Vec<String> = image_ids.iter().cloned().collect();
        let (wanted, held) = tokio::try_join!(self.store.images(serving, &ids), self.store.images(generation, &ids))?;
        let gone: Vec<String> = held.keys().filter(|id| !wanted.contains_key(*id)).cloned().collect();
        if !gone.is_empty() {
            self.store.delete_images(generation, &gone).await?;
        }
        Ok(wanted.iter().all(|(id, wanted)| held.get(id).is_some_and(|held| held.is_same_image(wanted))))
    }

    async fn write_to(
        &self,
        target: &Target,
        serving: &Generation,
        images: Vec<ImageWrite>,
        now_ms: i64,
        rules: WriteRules<'_>,
    ) -> Vec<Acknowledgement> {
        // In the order of the images; what is written gets its acknowledgement afterwards.
        let mut acknowledgements: Vec<Option<Acknowledgement>> = Vec::with_capacity(images.len());
        let mut to_write = Vec::new();
        for image in images {
            match image {
                ImageWrite::Write(mut image) => {
                    if image.metadata.indexed_at_ms == 0 {
                        image.metadata.indexed_at_ms = now_ms;
                    }
                    to_write.push(image);
                    acknowledgements.push(None);
                }
                ImageWrite::Done(mut acknowledgement) => {
                    let Acknowledgement { image_id, outcome } = &mut acknowledgement;
                    // Marked since it was found unchanged: whoever marked it is about to remove it.
                    if outcome.as_ref().is_ok_and(|indexed| rules.marks.forbid(image_id, &indexed.known)) {
                        *outcome = Err(erased_error(&target.generation));
                    }
                    acknowledgements.push(Some(acknowledgement));
                }
            }
        }
        let ids: Vec<String> = to_write.iter().map(|image| image.image_id.clone()).collect();
        let written = match (to_write.is_empty(), target.role) {
            (true, _) => Ok(Vec::new()),
            (false, Role::Serving) => self.write_known(&target.generation, to_write, rules).await,
            (false, Role::Later) => self.fill(&target.generation, serving, to_write, rules.marks).await,
            (false, Role::FilledAlone) => match self.store.resolve(&target.generation.gallery).await {
                Ok(serving) => self.fill(&target.generation, &serving, to_write, rules.marks).await,
                Err(error) => Err(error.into()),
            },
        };
        let mut written = written.unwrap_or_else(|error| all_failed(ids, &error)).into_iter();
        acknowledgements.into_iter().filter_map(|known| known.or_else(|| written.next())).collect()
    }

    pub(super) async fn upsert(&self, generation: &Generation, images: Vec<GalleryImage>) -> Result<(), SearchError> {
        Ok(self.store.upsert(generation, &generation.fingerprint, images).await?)
    }

    /// Adds images to a generation that does not serve: those that the serving one holds from the same file, with what
    /// that one knows of them, the time of their indexing included. A model change makes no image younger, and brings
    /// none back that was deleted.
    async fn fill(
        &self,
        generation: &Generation,
        serving: &Generation,
        images: Vec<GalleryImage>,
        marks: &Marks,
    ) -> Result<Vec<Acknowledgement>, SearchError> {
        let ids: Vec<String> = images.iter().map(|image| image.image_id.clone()).collect();
        let mut held = self.store.images(serving, &ids).await?;
        let holds =
            self.holds_before_marks(serving, marks, held.iter().map(|(id, known)| (id.as_str(), known))).await?;
        let mut acknowledgements = Vec::with_capacity(images.len());
        let mut to_write = Vec::with_capacity(images.len());
        for image in images {
            let GalleryImage { image_id, embedding, metadata } = image;
            let known = held.remove(&image_id).filter(|known| known.content_sha256 == metadata.content_sha256);
            let outcome = match known {
                Some(metadata) if marks.forbid(&image_id, &metadata) && !holds.hold(&image_id, &metadata) => {
                    Err(erased_error(generation))
                }
                Some(metadata) => {
                    let indexed = Indexed::written(metadata.clone());
                    to_write.push(GalleryImage { image_id: image_id.clone(), embedding, metadata });
                    Ok(indexed)
                }
                None => Err(SearchError::NotHeld { name: generation.gallery.clone() }),
            };
            acknowledgements.push(Acknowledgement { image_id, outcome });
        }
        if !to_write.is_empty() {
            let written = to_write.iter().map(|image| image.image_id.clone()).collect();
            self.upsert(generation, to_write).await?;
            self.is_level(serving, generation, &written).await?;
        }
        Ok(acknowledgements)
    }

    /// Deletes images from every generation of a gallery, or from the one addressed, but for those under a hold. Each
    /// generation goes by what it knows of an image. Returns what became of those that the first had. Goes to its end, as
    /// [`Galleries::write`] does.
    pub(crate) async fn remove(&self, address: &str, removal: Removal) -> Result<Removed, SearchError> {
        self.remove_while(address, None, removal).await
    }

    /// As [`Galleries::remove`], from all generations of a gallery, as long as it is the one that the handle is of.
    pub(crate) async fn remove_by_handle(
        &self,
        gallery: &Generation,
        removal: Removal,
    ) -> Result<Removed, SearchError> {
        self.remove_while(&gallery.gallery, Some(gallery.number), removal).await
    }

    async fn remove_while(&self, address: &str, there: Option<u32>, removal: Removal) -> Result<Removed, SearchError> {
        let (galleries, address) = (self.clone(), address.to_owned());
        let removing = tokio::spawn(async move { galleries.remove_all(&address, there, &removal).await });
        removing.await.unwrap_or_else(|error| Err(SearchError::failed("deleting images", error)))
    }

    async fn remove_all(&self, address: &str, there: Option<u32>, removal: &Removal) -> Result<Removed, SearchError> {
        let GalleryAddress { name, generation: number } = GalleryAddress::parse(address);
        let beside = self.turns.beside(name).await;
        let mut generations = self.store.generations(name).await?;
        // Several generations must be rid of the images before anything is added to one of them again. And what a filter
        // removes must not come back with what a write read of it before.
        let mut _alone = None;
        let is_of_many = number.is_none() && !generations.others.is_empty();
        if is_of_many || matches!(removal, Removal::Matching(_)) {
            drop(beside);
            _alone = Some(self.turns.alone(name).await);
            generations = self.store.generations(name).await?;
        }
        let _held = match removal {
            Removal::Images(image_ids) => Some(self.rewriting.hold(name, image_ids.iter().map(String::as_str)).await),
            Removal::Matching(_) => None,
        };
        if let Some(there) = there.filter(|there| generations.find(*there).is_none()) {
            return Err(no_generation(name, there).into());
        }
        let first = match number {
            Some(number) => generations.find(number).ok_or_else(|| no_generation(name, number))?,
            // The serving one first: what is filled beside it takes only what it holds.
            None => &generations.active,
        };
        let others = generations.others.iter().filter(|_| number.is_none());
        self.noted(&generations.active, async {
            let holds = Holds::of(&*self.store, &generations.active).await?;
            let removed = self.remove_from(first, removal, &holds).await;
            let mut reached = HashSet::from([first.number]);
            let mut failed = None;
            for other in others.filter(|_| removed.is_ok()) {
                match self.remove_from(other, removal, &holds).await {
                    Ok(_) => drop(reached.insert(other.number)),
                    Err(error) => failed = Some(error),
                }
            }
            let role = if first.number == generations.active.number { Role::Serving } else { Role::FilledAlone };
            // What failed may have been done all the same.
            self.settle(&Target { generation: first.clone(), role }, &reached).await?;
            match failed {
                Some(error) => Err(error),
                None => removed,
            }
        })
        .await
    }

    pub(super) async fn remove_from(
        &self,
        generation: &Generation,
        removal: &Removal,
        holds: &Holds,
    ) -> Result<Removed, SearchError> {
        match removal {
            Removal::Images(image_ids) if holds.is_empty() => {
                Ok(Removed { images: self.store.delete_images(generation, image_ids).await?, held: 0 })
            }
            Removal::Images(image_ids) => {
                let held = self.held_images(generation, image_ids, holds).await?;
                let free: Vec<String> = image_ids.iter().filter(|id| !held.contains(*id)).cloned().collect();
                let images = self.store.delete_images(generation, &free).await?;
                Ok(Removed { images, held: held.len() as u64 })
            }
            Removal::Matching(filter) => {
                let held = holds.count_held(&*self.store, generation, filter).await?;
                let images = match holds.free_of(filter) {
                    Some(free) => self.store.delete_matching(generation, &free).await?,
                    None => 0,
                };
                Ok(Removed { images, held })
            }
        }
    }

    /// Those of some images that are under a hold.
    pub(super) async fn held_images(
        &self,
        generation: &Generation,
        image_ids: &[String],
        holds: &Holds,
    ) -> Result<HashSet<String>, SearchError> {
        let mut held = HashSet::new();
        for ids in image_ids.chunks(IMAGES_TOGETHER) {
            let known = self.store.images(generation, ids).await?;
            held.extend(known.into_iter().filter(|(id, known)| holds.hold(id, known)).map(|(id, _)| id));
        }
        Ok(held)
    }

    /// Whether a caller may be told that a change is done: the generation that serves by now has got it, and it is noted for
    /// all that did not get it that they lack something. Otherwise the change is to be sent again.
    pub(super) async fn settle(&self, written: &Target, reached: &HashSet<u32>) -> Result<(), SearchError> {
        let Target { generation: written, role } = written;
        let again = |reason: String| SearchError::Unavailable { dependency: "the gallery", reason };
        let asked = self.store.generations(&written.gallery).await;
        let mut now = asked.map_err(|error| again(format!("asking for its generations after a change: {error}")))?;
        if *role == Role::FilledAlone {
            // It holds what the serving one holds, so no switch to it loses anything.
            self.note_missed(&now.active, &[written.number]).await?;
            return Ok(());
        }
        let unreached: Vec<u32> =
            now.others.iter().map(|other| other.number).filter(|number| !reached.contains(number)).collect();
        if !unreached.is_empty() {
            if self.note_missed(&now.active, &unreached).await? && self.is_switching(&now.active).await? {
                return Err(again("another generation is about to serve; send the change again".to_owned()));
            }
            let asked = self.store.generations(&written.gallery).await;
            now = asked.map_err(|error| again(format!("asking for its generations after a change: {error}")))?;
        }
        if reached.contains(&now.active.number) {
            return Ok(());
        }
        Err(again("another generation serves since; send the change again".to_owned()))
    }
}

fn image_id_of(write: &ImageWrite) -> String {
    match write {
        ImageWrite::Write(image) => image.image_id.clone(),
        ImageWrite::Done(acknowledgement) => acknowledgement.image_id.clone(),
    }
}

fn all_failed(ids: Vec<String>, error: &SearchError) -> Vec<Acknowledgement> {
    ids.into_iter().map(|image_id| Acknowledgement { image_id, outcome: Err(error.clone()) }).collect()
}
