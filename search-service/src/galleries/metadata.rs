//! What is known of images when more of it is told: read, changed and written again, by one caller at a time.

use super::Galleries;
use super::erasing::erased_error;
use super::writes::{Acknowledgement, Indexed, Target, WriteRules};
use crate::SearchError;
use crate::holds::Holds;
use crate::metadata_mask::MetadataMask;
use crate::validation::{check_metadata, invalid};
use descry_store::{GalleryAddress, GalleryImage, Generation, ImageMetadata};
use std::collections::{HashMap, HashSet};

impl Galleries {
    /// Writes images to the generation that serves, with what the mask keeps of what is known of them. One that would
    /// then be known by more than is allowed is answered with that.
    pub(super) async fn write_known(
        &self,
        generation: &Generation,
        images: Vec<GalleryImage>,
        WriteRules { mask, marks }: WriteRules<'_>,
    ) -> Result<Vec<Acknowledgement>, SearchError> {
        let ids: Vec<String> = images.iter().map(|image| image.image_id.clone()).collect();
        let _held = self.rewriting.hold(&generation.gallery, ids.iter().map(String::as_str)).await;
        let mut known = self.store.images(generation, &ids).await?;
        let holds = self.holds_of_known(generation, &known).await?;
        let mut acknowledgements = Vec::with_capacity(images.len());
        let mut to_write = Vec::with_capacity(images.len());
        for GalleryImage { image_id, embedding, metadata } in images {
            let before = known.get(&image_id);
            let metadata = mask.applied(metadata, before);
            // Without a hash nobody knows that the file is the same.
            let is_other = |before: &&ImageMetadata| {
                before.content_sha256.is_empty() || before.content_sha256 != metadata.content_sha256
            };
            let checked = match marks.forbid(&image_id, &metadata) {
                true => Err(erased_error(generation)),
                false => self.check_known(&metadata, before),
            };
            let outcome = checked
                .and_then(|()| {
                    let Some(before) = before else { return Ok(()) };
                    require_kept(&generation.gallery, &holds, (&image_id, before), &metadata)?;
                    if is_other(&before) {
                        require_free(&generation.gallery, &holds, &image_id, before)
                    } else {
                        Ok(())
                    }
                })
                .map(|()| {
                    let replaced = before.filter(is_other).cloned().map(Box::new);
                    Indexed { replaced, ..Indexed::written(metadata.clone()) }
                });
            if outcome.is_ok() {
                // Of two images with one id the later one is told of the earlier one.
                known.insert(image_id.clone(), metadata.clone());
                to_write.push(GalleryImage { image_id: image_id.clone(), embedding, metadata });
            }
            acknowledgements.push(Acknowledgement { image_id, outcome });
        }
        if !to_write.is_empty() {
            self.upsert(generation, to_write).await?;
        }
        Ok(acknowledgements)
    }

    /// Refuses more metadata than is allowed, counting what is kept. What makes it less always passes.
    fn check_known(&self, metadata: &ImageMetadata, before: Option<&ImageMetadata>) -> Result<(), SearchError> {
        let bytes = |metadata: &ImageMetadata| -> usize {
            metadata.attributes.iter().map(|(name, value)| name.len() + value.len()).sum()
        };
        let is_less = before.is_some_and(|before| {
            metadata.attributes.len() <= before.attributes.len() && bytes(metadata) <= bytes(before)
        });
        if is_less {
            return Ok(());
        }
        check_metadata(metadata, &self.limits).map_err(|error| match (error, before) {
            (SearchError::Invalid { field, reason }, Some(_)) => {
                let reason = format!("{reason}, those that are kept included; clear some with metadata_mask");
                invalid(field, reason)
            }
            (error, _) => error,
        })
    }

    /// Changes what is known of images, as the mask says. Returns what is known of each of them now that existed in the
    /// generation that decides. Goes to its end, as [`Galleries::write`] does.
    pub(crate) async fn update_metadata(
        &self,
        address: &str,
        changes: Vec<(String, ImageMetadata)>,
        mask: MetadataMask,
    ) -> Result<HashMap<String, ImageMetadata>, SearchError> {
        let (galleries, address) = (self.clone(), address.to_owned());
        let updating = tokio::spawn(async move { galleries.update_all(&address, changes, &mask).await });
        updating.await.unwrap_or_else(|error| Err(SearchError::failed("updating metadata", error)))
    }

    async fn update_all(
        &self,
        address: &str,
        changes: Vec<(String, ImageMetadata)>,
        mask: &MetadataMask,
    ) -> Result<HashMap<String, ImageMetadata>, SearchError> {
        let name = GalleryAddress::parse(address).name;
        let beside = self.turns.beside(name).await;
        let mut targets = self.targets(address).await?;
        // Two changes of one image must not land in two generations in opposite order.
        let mut _alone = None;
        if targets.len() > 1 {
            drop(beside);
            _alone = Some(self.turns.alone(name).await);
            targets = self.targets(address).await?;
        }
        let mut targets = targets.into_iter();
        let Some(first) = targets.next() else { return Ok(HashMap::new()) };
        let _held = self.rewriting.hold(name, changes.iter().map(|(image_id, _)| image_id.as_str())).await;
        let changes = self.applied(&first.generation, changes, mask).await?;
        let marks = self.marks().of(&first.generation).await?;
        if changes.iter().any(|(image_id, metadata)| marks.forbid(image_id, metadata)) {
            return Err(erased_error(&first.generation));
        }
        let mut generations = vec![first.generation.clone()];
        let updated = self.store.update_metadata(&first.generation, changes.clone()).await;
        let mut reached = HashSet::from([first.generation.number]);
        for Target { generation, .. } in targets {
            generations.push(generation.clone());
            match self.store.update_metadata(&generation, changes.clone()).await {
                Ok(_) if updated.is_ok() => drop(reached.insert(generation.number)),
                Ok(_) => {}
                Err(error) => tracing::warn!(number = generation.number, %error, "metadata is not in a generation"),
            }
        }
        let now = self.marks().of(&first.generation).await?;
        let erased: Vec<String> = match now.is_version_of(&marks) {
            true => Vec::new(),
            false => {
                changes.iter().filter(|(id, metadata)| now.forbid(id, metadata)).map(|(id, _)| id.clone()).collect()
            }
        };
        let is_erased = !erased.is_empty();
        // They belong to somebody now who is being erased at this moment.
        self.remove_all_of(&generations, erased).await?;
        // What failed may have been done all the same.
        self.settle(&first, &reached).await?;
        updated?;
        if is_erased {
            return Err(erased_error(&first.generation));
        }
        Ok(changes.into_iter().collect())
    }

    /// What is known of images after changes that come one after another; images that do not exist are left out.
    async fn applied(
        &self,
        generation: &Generation,
        changes: Vec<(String, ImageMetadata)>,
        mask: &MetadataMask,
    ) -> Result<Vec<(String, ImageMetadata)>, SearchError> {
        let ids: Vec<String> = changes.iter().map(|(image_id, _)| image_id.clone()).collect();
        let mut known = self.store.images(generation, &ids).await?;
        let holds = self.holds_of_known(generation, &known).await?;
        let mut applied = Vec::with_capacity(changes.len());
        for (image_id, given) in changes {
            let Some(before) = known.get_mut(&image_id) else { continue };
            let metadata = mask.applied(given, Some(before));
            // Nobody changes these with what is known of an image, and holds may go by them.
            let (indexed_at_ms, content_sha256) = (before.indexed_at_ms, before.content_sha256.clone());
            let metadata = ImageMetadata { indexed_at_ms, content_sha256, ..metadata };
            self.check_known(&metadata, Some(before))
                .map_err(|error| invalid(format!("changes of {image_id:?}"), error.to_string()))?;
            require_kept(&generation.gallery, &holds, (&image_id, before), &metadata)?;
            before.clone_from(&metadata);
            applied.push((image_id, metadata));
        }
        Ok(applied)
    }

    /// The holds that may keep images of which this is known. Nothing is read for images that are new.
    async fn holds_of_known(
        &self,
        generation: &Generation,
        known: &HashMap<String, ImageMetadata>,
    ) -> Result<Holds, SearchError> {
        if known.is_empty() { Ok(Holds::default()) } else { Holds::of(&*self.store, generation).await }
    }
}

/// Refuses what would take an image out of a hold.
fn require_kept(
    gallery: &str,
    holds: &Holds,
    (image_id, before): (&str, &ImageMetadata),
    after: &ImageMetadata,
) -> Result<(), SearchError> {
    let left = holds.left_by(image_id, before, after);
    if left.is_empty() {
        return Ok(());
    }
    let what = format!("image {image_id:?} would not be held any more if that was known of it");
    Err(SearchError::Held { name: gallery.to_owned(), what, holds: left })
}

/// Refuses to put another file in the place of an image that is held.
fn require_free(gallery: &str, holds: &Holds, image_id: &str, known: &ImageMetadata) -> Result<(), SearchError> {
    let names: Vec<String> = holds.of_image(image_id, known).map(str::to_owned).collect();
    if names.is_empty() {
        return Ok(());
    }
    let what = format!("image {image_id:?} is held and stays as it is; index another file under another id");
    Err(SearchError::Held { name: gallery.to_owned(), what, holds: names })
}
