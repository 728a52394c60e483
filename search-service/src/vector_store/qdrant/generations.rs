//! Making, finding and switching generations.

use super::QdrantStore;
use super::collection::{address_of, collection_name, gallery_from_collection, generation_of, new_collection};
use super::points::{PayloadField, attribute_key};
use crate::SearchError;
use crate::vector_store::{Gallery, GalleryAddress, IndexState, NewGallery, now_ms};
use futures::stream::{StreamExt as _, TryStreamExt as _};
use qdrant_client::qdrant::{CollectionInfo, CreateAlias, CreateFieldIndexCollection, FieldType};
use std::collections::BTreeSet;

/// Galleries asked about at the same time when all are listed.
const CONCURRENT_DESCRIPTIONS: usize = 8;

impl QdrantStore {
    /// Creates the first generation, or finds the one that serves already.
    pub(super) async fn create_first(&self, new: NewGallery) -> Result<Gallery, SearchError> {
        let (name, fingerprint, dimension) = (new.name.clone(), new.fingerprint.clone(), new.dimension);
        match self.resolve(&name).await {
            Err(SearchError::GalleryNotFound { .. }) => {
                let number = self.first_number(&new).await?;
                self.create_collection(&empty_gallery(new, number)).await?;
                // Another instance may have been faster: what counts is what serves now.
                if matches!(self.resolve(&name).await, Err(SearchError::GalleryNotFound { .. })) {
                    self.point_alias(&name, number).await?;
                }
            }
            Err(error) => return Err(error),
            Ok(_existing) => {}
        }
        let existing = self.described(&name).await?.created_again(&fingerprint, dimension)?;
        let address = existing.address();
        self.create_indexes(&address, &existing, &self.collection(&address).await?).await?;
        Ok(existing)
    }

    /// What an earlier attempt left is used if it is of the same kind, and left alone if it is not.
    async fn first_number(&self, new: &NewGallery) -> Result<u32, SearchError> {
        let left_behind = self.generation_numbers(&new.name).await?;
        for number in &left_behind {
            let address = GalleryAddress { name: &new.name, generation: Some(*number) }.to_string();
            if let Ok(gallery) = self.resolve(&address).await
                && (&gallery.fingerprint, gallery.dimension) == (&new.fingerprint, new.dimension)
                && gallery.settings == new.settings
            {
                return Ok(*number);
            }
        }
        Ok(left_behind.last().map_or(1, |number| number + 1))
    }

    /// Creates the next generation, or finds the one that was begun.
    pub(super) async fn create_next(&self, new: NewGallery) -> Result<Gallery, SearchError> {
        let NewGallery { name, fingerprint, dimension, settings: _ } = &new;
        let active = self.resolve(name).await?;
        let last = self.generation_numbers(name).await?.last().copied().unwrap_or(active.generation);
        let mut number = last + 1;
        if last > active.generation {
            let begun = self.resolve(&GalleryAddress { name, generation: Some(last) }.to_string()).await?;
            if begun.fingerprint == *fingerprint {
                begun.created_again(fingerprint, *dimension)?;
                number = last;
            }
        }
        let (fingerprint, dimension) = (fingerprint.clone(), *dimension);
        let generation = empty_gallery(NewGallery { settings: active.settings, ..new }, number);
        self.create_collection(&generation).await?;
        let address = generation.address();
        let existing = self.described(&address).await?.created_again(&fingerprint, dimension)?;
        self.create_indexes(&address, &existing, &self.collection(&address).await?).await?;
        Ok(existing)
    }

    async fn create_collection(&self, gallery: &Gallery) -> Result<(), SearchError> {
        let request = new_collection(gallery);
        let created = self
            .call("creating a gallery", Some(&gallery.name), || self.client.create_collection(request.clone()))
            .await;
        // It may have been there, or the answer was lost: what counts is what is there now.
        match created {
            Err(error) if self.collection(&gallery.address()).await.is_err() => Err(error),
            _ => Ok(()),
        }
    }

    /// Creates what the collection lacks of the indexes that filters need: also after a crash between the two.
    async fn create_indexes(
        &self,
        address: &str,
        gallery: &Gallery,
        existing: &CollectionInfo,
    ) -> Result<(), SearchError> {
        let fields = PayloadField::INDEXED.into_iter().map(|field| (field.name().to_owned(), field.is_time()));
        let attributes = gallery.settings.indexed_attributes.iter().map(|name| (attribute_key(name), false));
        for (field_name, is_time) in fields.chain(attributes) {
            if existing.payload_schema.contains_key(&field_name) {
                continue;
            }
            let field_type = if is_time { FieldType::Integer } else { FieldType::Keyword };
            let request = CreateFieldIndexCollection {
                collection_name: collection_name(address),
                wait: Some(true),
                field_name,
                field_type: Some(field_type.into()),
                ..CreateFieldIndexCollection::default()
            };
            self.call("indexing a payload field", Some(address), || self.client.create_field_index(request.clone()))
                .await?;
        }
        Ok(())
    }

    /// Lets the gallery's alias point to a generation, in one step: the server puts the new target in the place of the
    /// old one under one lock.
    pub(super) async fn point_alias(&self, name: &str, generation: u32) -> Result<(), SearchError> {
        let address = GalleryAddress { name, generation: Some(generation) }.to_string();
        let request = CreateAlias { collection_name: collection_name(&address), alias_name: collection_name(name) };
        let answer =
            self.call("activating a generation", Some(&address), || self.client.create_alias(request.clone())).await?;
        if answer.result {
            return Ok(());
        }
        let source = super::QdrantStoreError::NotDone { collection: collection_name(&address) };
        Err(SearchError::Store { activity: "activating a generation", source: Box::new(source) })
    }

    /// Numbers of all generations of a gallery, whether or not one of them serves.
    pub(super) async fn generation_numbers(&self, name: &str) -> Result<BTreeSet<u32>, SearchError> {
        let answer = self.call("listing generations", None, || self.client.list_collections()).await?;
        let names = answer.collections.iter();
        Ok(names.filter_map(|collection| generation_of(&collection.name, name)).collect())
    }

    /// Counting takes its time in a large collection, so it is left out where nobody asks for numbers.
    pub(super) async fn all_generations(&self, name: &str, counted: bool) -> Result<Vec<Gallery>, SearchError> {
        // An unknown gallery, or one that is not ours, is an error and no empty list.
        self.resolve(name).await?;
        let numbers = self.generation_numbers(name).await?;
        let described = numbers.into_iter().map(|number| async move {
            let address = GalleryAddress { name, generation: Some(number) }.to_string();
            if counted { self.described(&address).await } else { self.resolve(&address).await }
        });
        futures::stream::iter(described).buffered(CONCURRENT_DESCRIPTIONS).try_collect().await
    }

    pub(super) async fn all_galleries(&self) -> Result<Vec<Gallery>, SearchError> {
        let answer = self.call("listing galleries", None, || self.client.list_aliases()).await?;
        let names: BTreeSet<String> =
            answer.aliases.iter().filter_map(|alias| address_of(&alias.alias_name).map(str::to_owned)).collect();
        let galleries: Vec<Option<Gallery>> = futures::stream::iter(names)
            .map(|name| async move {
                match self.described(&name).await {
                    Ok(gallery) => Ok(Some(gallery)),
                    // Deleted in the meantime.
                    Err(SearchError::GalleryNotFound { .. }) => Ok(None),
                    // Somebody else's collection must not hide all galleries; it is refused where it is named.
                    Err(SearchError::Invalid { reason, .. }) => {
                        tracing::warn!(gallery = name, reason, "left out of the list of galleries");
                        Ok(None)
                    }
                    Err(error) => Err(error),
                }
            })
            .buffered(CONCURRENT_DESCRIPTIONS)
            .try_collect()
            .await?;
        Ok(galleries.into_iter().flatten().collect())
    }

    /// Removes all generations, the serving one last: a gallery that is half deleted is still there to be deleted.
    pub(super) async fn delete_all(&self, name: &str) -> Result<(), SearchError> {
        let active = self.resolve(name).await?.generation;
        let others = self.generation_numbers(name).await?.into_iter().filter(|number| *number != active);
        for number in others {
            self.delete_collection_of(name, number).await?;
        }
        // Before the last generation: a new gallery of this name must not inherit them.
        self.delete_documents_of(name).await?;
        self.delete_collection_of(name, active).await
    }

    pub(super) async fn delete_collection_of(&self, name: &str, generation: u32) -> Result<(), SearchError> {
        let address = GalleryAddress { name, generation: Some(generation) }.to_string();
        // Never delete a collection that is not ours.
        gallery_from_collection(&address, &self.collection(&address).await?)?;
        let collection = collection_name(&address);
        // That there was none any more is the answer to a repeated request, or another instance was faster.
        self.call("deleting a gallery", Some(&address), || self.client.delete_collection(collection.clone()))
            .await
            .map(drop)
    }
}

fn empty_gallery(new: NewGallery, generation: u32) -> Gallery {
    let NewGallery { name, fingerprint, dimension, settings } = new;
    let (created_at_ms, index) = (now_ms(), IndexState::Ready);
    Gallery { name, generation, fingerprint, dimension, images: 0, created_at_ms, settings, index, bytes: 0 }
}
