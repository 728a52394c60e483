//! Making, finding and switching generations.

use super::QdrantStore;
use super::collection::{address_of, collection_name, generation_from_collection, generation_of, new_collection};
use super::points::{PayloadField, attribute_key};
use crate::StoreError;
use crate::{GalleryAddress, Generation, Generations, NewGallery};
use futures::stream::{StreamExt as _, TryStreamExt as _};
use qdrant_client::qdrant::{CreateAlias, CreateFieldIndexCollection, FieldType};
use std::collections::BTreeSet;

/// Galleries asked about at the same time when all are listed.
const CONCURRENT_DESCRIPTIONS: usize = 8;

impl QdrantStore {
    /// Creates the first generation, or finds the one that serves already.
    pub(super) async fn create_first(&self, new: NewGallery) -> Result<Generation, StoreError> {
        let (name, fingerprint, dimension) = (new.name.clone(), new.fingerprint.clone(), new.dimension);
        match self.find(&name).await {
            Err(StoreError::GalleryNotFound { .. }) => {
                let number = self.create_unserved(new).await?;
                // Another instance may have been faster: what counts is what serves now.
                if matches!(self.find(&name).await, Err(StoreError::GalleryNotFound { .. })) {
                    self.point_alias(&name, number).await?;
                }
            }
            Err(error) => return Err(error),
            Ok(_existing) => {}
        }
        let existing = self.find(&name).await?.created_again(&fingerprint, dimension)?;
        self.create_indexes(&existing).await?;
        Ok(existing)
    }

    /// Creates a collection that no alias points to yet. Returns the number of its generation.
    async fn create_unserved(&self, new: NewGallery) -> Result<u32, StoreError> {
        loop {
            let retired = self.highest_retired_number().await?;
            let number = self.first_number(&new, retired).await?;
            self.create_collection(&Generation::of_new(new.clone(), number)).await?;
            // A deletion that was under way may have retired this number just now; somebody may still hold it.
            if self.highest_retired_number().await? < number {
                return Ok(number);
            }
            self.delete_collection_of(&new.name, number).await?;
        }
    }

    /// What an earlier attempt left is used if it is of the same kind, and left alone if it is not.
    async fn first_number(&self, new: &NewGallery, retired: u32) -> Result<u32, StoreError> {
        let left_behind = self.generation_numbers(&new.name).await?;
        for number in left_behind.range(retired.saturating_add(1)..) {
            let address = GalleryAddress { name: &new.name, generation: Some(*number) }.to_string();
            if let Ok(found) = self.find(&address).await
                && (&found.fingerprint, found.dimension) == (&new.fingerprint, new.dimension)
                && found.settings == new.settings
            {
                return Ok(*number);
            }
        }
        Ok(left_behind.last().copied().unwrap_or_default().max(retired) + 1)
    }

    /// Creates the next generation, or finds the one that was begun.
    pub(super) async fn create_next(&self, new: NewGallery) -> Result<Generation, StoreError> {
        let (fingerprint, dimension) = (new.fingerprint.clone(), new.dimension);
        let generations = self.all_generations(&new.name).await?;
        let begun = generations.later().last().filter(|last| last.fingerprint == fingerprint).cloned();
        let address = match begun {
            Some(begun) => begun.created_again(&fingerprint, dimension)?.address(),
            None => {
                let last = generations.all().map(|generation| generation.number).max().unwrap_or_default();
                let number = last.max(self.highest_retired_number().await?) + 1;
                let next = Generation::of_new(NewGallery { settings: generations.active.settings, ..new }, number);
                self.create_collection(&next).await?;
                next.address()
            }
        };
        let existing = self.find(&address).await?.created_again(&fingerprint, dimension)?;
        self.create_indexes(&existing).await?;
        Ok(existing)
    }

    async fn create_collection(&self, generation: &Generation) -> Result<(), StoreError> {
        let request = new_collection(generation);
        let created = self
            .change("creating a gallery", Some(&generation.gallery), |client| client.create_collection(request.clone()))
            .await;
        // It may have been there, or the answer was lost: what counts is what is there now.
        match created {
            Err(error) if self.collection(&generation.address()).await.is_err() => Err(error),
            _ => Ok(()),
        }
    }

    /// Creates what the collection lacks of the indexes that filters need: also after a crash between the two.
    async fn create_indexes(&self, generation: &Generation) -> Result<(), StoreError> {
        let address = generation.address();
        let existing = self.collection(&address).await?;
        let fields = PayloadField::INDEXED.into_iter().map(|field| (field.name().to_owned(), field.is_time()));
        let attributes = generation.settings.indexed_attributes.iter().map(|name| (attribute_key(name), false));
        for (field_name, is_time) in fields.chain(attributes) {
            if existing.payload_schema.contains_key(&field_name) {
                continue;
            }
            let field_type = if is_time { FieldType::Integer } else { FieldType::Keyword };
            let request = CreateFieldIndexCollection {
                collection_name: collection_name(&address),
                wait: Some(true),
                field_name,
                field_type: Some(field_type.into()),
                ..CreateFieldIndexCollection::default()
            };
            self.change("indexing a payload field", Some(&address), |client| {
                client.create_field_index(request.clone())
            })
            .await?;
        }
        Ok(())
    }

    /// Lets the gallery's alias point to a generation, in one step: the server puts the new target in the place of the
    /// old one under one lock.
    pub(super) async fn point_alias(&self, name: &str, generation: u32) -> Result<(), StoreError> {
        let address = GalleryAddress { name, generation: Some(generation) }.to_string();
        let request = CreateAlias { collection_name: collection_name(&address), alias_name: collection_name(name) };
        let answer = self
            .change("activating a generation", Some(&address), |client| client.create_alias(request.clone()))
            .await?;
        if answer.result {
            return Ok(());
        }
        let source = super::QdrantStoreError::NotDone { collection: collection_name(&address) };
        Err(StoreError::failed("activating a generation", source))
    }

    /// Numbers of all generations of a gallery, whether or not one of them serves.
    pub(super) async fn generation_numbers(&self, name: &str) -> Result<BTreeSet<u32>, StoreError> {
        let answer = self.look_up("listing generations", None, |client| client.list_collections()).await?;
        let names = answer.collections.iter();
        Ok(names.filter_map(|collection| generation_of(&collection.name, name)).collect())
    }

    pub(super) async fn all_generations(&self, name: &str) -> Result<Generations, StoreError> {
        // An unknown gallery, or one that is not ours, is an error and no empty list.
        let (active, numbers) = tokio::try_join!(self.find(name), self.generation_numbers(name))?;
        let serving = active.number;
        let others = numbers.into_iter().filter(move |number| *number != serving).map(|number| async move {
            self.find(&GalleryAddress { name, generation: Some(number) }.to_string()).await
        });
        let others = futures::stream::iter(others).buffered(CONCURRENT_DESCRIPTIONS);
        // One that was deleted in the meantime is none.
        let others = others.filter(|found| {
            let is_there = !matches!(found, Err(StoreError::GalleryNotFound { .. }));
            async move { is_there }
        });
        Ok(Generations { active, others: others.try_collect().await? })
    }

    pub(super) async fn all_galleries(&self) -> Result<Vec<Generation>, StoreError> {
        let answer = self.look_up("listing galleries", None, |client| client.list_aliases()).await?;
        let names: BTreeSet<String> =
            answer.aliases.iter().filter_map(|alias| address_of(&alias.alias_name).map(str::to_owned)).collect();
        let galleries: Vec<Option<Generation>> = futures::stream::iter(names)
            .map(|name| async move {
                match self.find(&name).await {
                    Ok(active) => Ok(Some(active)),
                    // Deleted in the meantime.
                    Err(StoreError::GalleryNotFound { .. }) => Ok(None),
                    // Somebody else's collection must not hide all galleries; it is refused where it is named.
                    Err(StoreError::Invalid { reason, .. }) => {
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
    pub(super) async fn delete_all(&self, name: &str) -> Result<(), StoreError> {
        let active = self.find(name).await?.number;
        let numbers = self.generation_numbers(name).await?;
        self.retire_numbers(numbers.last().copied().unwrap_or(active).max(active)).await?;
        let others = numbers.into_iter().filter(|number| *number != active);
        for number in others {
            self.delete_collection_of(name, number).await?;
        }
        // Before the last generation: a new gallery of this name must not inherit them.
        self.delete_documents_of(name).await?;
        self.delete_collection_of(name, active).await?;
        // Once more: somebody may have kept one in between.
        self.delete_documents_of(name).await
    }

    pub(super) async fn delete_collection_of(&self, name: &str, generation: u32) -> Result<(), StoreError> {
        let address = GalleryAddress { name, generation: Some(generation) }.to_string();
        // Never delete a collection that is not ours.
        generation_from_collection(&address, &self.collection(&address).await?)?;
        let collection = collection_name(&address);
        // That there was none any more is the answer to a repeated request, or another instance was faster.
        self.change("deleting a gallery", Some(&address), |client| client.delete_collection(collection.clone()))
            .await
            .map(drop)
    }
}
