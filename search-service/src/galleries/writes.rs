//! What is written and deleted, and where: in the generation that serves, in those that are filled for a later switch,
//! and, for deletions, in those that one may go back to.

use super::Galleries;
use super::no_generation;
use crate::SearchError;
use descry_store::{GalleryAddress, GalleryImage, Generation, ImageMetadata, SearchFilter, now_ms};
use std::collections::HashSet;

/// What became of an image.
#[derive(Debug, Clone)]
pub(crate) struct Acknowledgement {
    pub(crate) image_id: String,
    pub(crate) outcome: Result<Indexed, SearchError>,
}

/// How an image came to be in the gallery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Indexed {
    /// Encoded and written.
    Written,
    /// It was there already, bytes and metadata alike.
    Unchanged,
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

/// What is to be deleted.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Removal<'a> {
    Images(&'a [String]),
    Matching(&'a SearchFilter),
}

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
    pub(crate) async fn write(&self, parts: Vec<(Target, Vec<ImageWrite>)>) -> Vec<Acknowledgement> {
        let Some((first, _)) = parts.first() else { return Vec::new() };
        let first = first.clone();
        let _turn = self.turns.beside(&first.generation.gallery).await;
        let indexed_at_ms = now_ms();
        let mut told: Option<Vec<Acknowledgement>> = None;
        let mut reached = HashSet::from([first.generation.number]);
        for (target, images) in parts {
            let written = self.write_to(&target, &first.generation, images, indexed_at_ms).await;
            match &told {
                None => told = Some(written),
                Some(told) => match first_lacking(told, &written) {
                    None => drop(reached.insert(target.generation.number)),
                    Some(error) => {
                        let generation = target.generation.number;
                        tracing::warn!(generation, %error, "images are not in the generation that is being filled");
                    }
                },
            }
        }
        let told = told.unwrap_or_default();
        match self.settle(&first, &reached).await {
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

    async fn write_to(
        &self,
        target: &Target,
        serving: &Generation,
        images: Vec<ImageWrite>,
        now_ms: i64,
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
                ImageWrite::Done(acknowledgement) => acknowledgements.push(Some(acknowledgement)),
            }
        }
        let ids: Vec<String> = to_write.iter().map(|image| image.image_id.clone()).collect();
        let written = match (to_write.is_empty(), target.role) {
            (true, _) => Ok(Vec::new()),
            (false, Role::Serving) => self.upsert(&target.generation, to_write).await.map(|()| all_written(&ids)),
            (false, Role::Later) => {
                self.write_beside(&target.generation, serving, to_write).await.map(|()| all_written(&ids))
            }
            (false, Role::FilledAlone) => self.fill(&target.generation, to_write).await,
        };
        let mut written = written.unwrap_or_else(|error| all_failed(ids, &error)).into_iter();
        acknowledgements.into_iter().filter_map(|known| known.or_else(|| written.next())).collect()
    }

    async fn upsert(&self, generation: &Generation, images: Vec<GalleryImage>) -> Result<(), SearchError> {
        Ok(self.store.upsert(generation, &generation.fingerprint, images).await?)
    }

    /// Writes what the serving generation has just taken. Another instance may delete it there at the same time, and
    /// here before this write: what is gone there afterwards is taken back.
    async fn write_beside(
        &self,
        generation: &Generation,
        serving: &Generation,
        images: Vec<GalleryImage>,
    ) -> Result<(), SearchError> {
        let ids: Vec<String> = images.iter().map(|image| image.image_id.clone()).collect();
        self.upsert(generation, images).await?;
        self.take_back_deleted(generation, serving, &ids).await
    }

    async fn take_back_deleted(
        &self,
        generation: &Generation,
        serving: &Generation,
        ids: &[String],
    ) -> Result<(), SearchError> {
        let held = self.store.images(serving, ids).await?;
        let gone: Vec<String> = ids.iter().filter(|id| !held.contains_key(*id)).cloned().collect();
        if !gone.is_empty() {
            self.store.delete_images(generation, &gone).await?;
        }
        Ok(())
    }

    /// Adds images to a generation that does not serve: those that the serving one holds from the same file, with what
    /// that one knows of them, the time of their indexing included. A model change makes no image younger, and brings
    /// none back that was deleted.
    async fn fill(
        &self,
        generation: &Generation,
        images: Vec<GalleryImage>,
    ) -> Result<Vec<Acknowledgement>, SearchError> {
        let serving = self.store.resolve(&generation.gallery).await?;
        let ids: Vec<String> = images.iter().map(|image| image.image_id.clone()).collect();
        let mut held = self.store.images(&serving, &ids).await?;
        let mut acknowledgements = Vec::with_capacity(images.len());
        let mut to_write = Vec::with_capacity(images.len());
        for image in images {
            let GalleryImage { image_id, embedding, metadata } = image;
            let known = held.remove(&image_id).filter(|known| known.content_sha256 == metadata.content_sha256);
            let outcome = match known {
                Some(metadata) => {
                    to_write.push(GalleryImage { image_id: image_id.clone(), embedding, metadata });
                    Ok(Indexed::Written)
                }
                None => Err(SearchError::NotHeld { name: generation.gallery.clone() }),
            };
            acknowledgements.push(Acknowledgement { image_id, outcome });
        }
        if !to_write.is_empty() {
            self.write_beside(generation, &serving, to_write).await?;
        }
        Ok(acknowledgements)
    }

    /// Replaces what is known of images. Returns how many existed in the generation that decides.
    pub(crate) async fn update_metadata(
        &self,
        address: &str,
        changes: &[(String, ImageMetadata)],
    ) -> Result<u64, SearchError> {
        let _turn = self.turns.beside(GalleryAddress::parse(address).name).await;
        let targets = self.targets(address).await?;
        let mut updated = None;
        for Target { generation, .. } in &targets {
            let changes = changes.to_vec();
            let count = self.store.update_metadata(generation, changes).await?;
            updated.get_or_insert(count);
        }
        if let Some(first) = targets.first() {
            let reached = targets.iter().map(|target| target.generation.number).collect();
            self.settle(first, &reached).await?;
        }
        Ok(updated.unwrap_or_default())
    }

    /// Deletes images from every generation of a gallery, or from the one addressed. Returns how many the first had.
    pub(crate) async fn remove(&self, address: &str, removal: Removal<'_>) -> Result<u64, SearchError> {
        let GalleryAddress { name, generation: number } = GalleryAddress::parse(address);
        let turn = self.turns.beside(name).await;
        let generations = self.store.generations(name).await?;
        if let Some(number) = number {
            let generation = generations.find(number).ok_or_else(|| no_generation(name, number))?;
            let removed = self.remove_from(generation, removal).await?;
            let role = if number == generations.active.number { Role::Serving } else { Role::FilledAlone };
            let written = Target { generation: generation.clone(), role };
            self.settle(&written, &HashSet::from([number])).await?;
            return Ok(removed);
        }
        if generations.others.is_empty() {
            return self.remove_from(&generations.active, removal).await;
        }
        // Several generations must be rid of the images before anything is added to one of them again.
        drop(turn);
        let _turn = self.turns.alone(name).await;
        let generations = self.store.generations(name).await?;
        // The serving one first: what is filled beside it takes only what it holds.
        let removed = self.remove_from(&generations.active, removal).await?;
        for other in &generations.others {
            if let Err(error) = self.remove_from(other, removal).await {
                self.note_missed(&generations.active, &[other.number]).await?;
                return Err(error);
            }
        }
        Ok(removed)
    }

    async fn remove_from(&self, generation: &Generation, removal: Removal<'_>) -> Result<u64, SearchError> {
        Ok(match removal {
            Removal::Images(image_ids) => self.store.delete_images(generation, image_ids).await?,
            Removal::Matching(filter) => self.store.delete_matching(generation, filter).await?,
        })
    }

    /// Whether a caller may be told that a change is done: the generation that it was made in still serves, and it is
    /// noted for all that did not get it that they lack something. Otherwise the change is to be sent again.
    async fn settle(&self, written: &Target, reached: &HashSet<u32>) -> Result<(), SearchError> {
        let Target { generation: written, role } = written;
        let again = |reason: String| SearchError::Unavailable { dependency: "the gallery", reason };
        let asked = self.store.generations(&written.gallery).await;
        let mut now = asked.map_err(|error| again(format!("asking for its generations after a write: {error}")))?;
        if *role == Role::FilledAlone {
            self.note_missed(&now.active, &[written.number]).await?;
            return Ok(());
        }
        let unreached: Vec<u32> =
            now.others.iter().map(|other| other.number).filter(|number| !reached.contains(number)).collect();
        if !unreached.is_empty() {
            self.note_missed(&now.active, &unreached).await?;
            let asked = self.store.generations(&written.gallery).await;
            now = asked.map_err(|error| again(format!("asking for its generations after a write: {error}")))?;
        }
        if now.active.number == written.number {
            return Ok(());
        }
        Err(again("another generation serves since the images were written; send them again".to_owned()))
    }
}

/// Why a generation lacks an image that the serving one acknowledged, if it lacks one.
fn first_lacking<'a>(told: &[Acknowledgement], written: &'a [Acknowledgement]) -> Option<&'a SearchError> {
    let acknowledged: HashSet<&String> =
        told.iter().filter(|told| told.outcome.is_ok()).map(|told| &told.image_id).collect();
    let of_these = written.iter().filter(|written| acknowledged.contains(&written.image_id));
    of_these.filter_map(|written| written.outcome.as_ref().err()).next()
}

fn all_written(ids: &[String]) -> Vec<Acknowledgement> {
    let written = |image_id: &String| Acknowledgement { image_id: image_id.clone(), outcome: Ok(Indexed::Written) };
    ids.iter().map(written).collect()
}

fn all_failed(ids: Vec<String>, error: &SearchError) -> Vec<Acknowledgement> {
    ids.into_iter().map(|image_id| Acknowledgement { image_id, outcome: Err(error.clone()) }).collect()
}
