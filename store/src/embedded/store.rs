//! The contract of a store, kept by the embedded one.

use super::conditions::Conditions;
use super::database::{PreparedImage, WrittenImage};
use super::error::store_error;
use super::galleries::{Galleries, LoadedGallery, LoadedGeneration};
use super::matrix::RowKeys;
use super::readers::{Reader, rows_behind};
use super::rescoring::Ranked;
use super::{Database, EmbeddedStore};
use crate::StoreError;
use crate::gallery::check_dimension;
use crate::{
    CheckPage, CheckRequest, Gallery, GalleryImage, Generation, Generations, GroupHit, Grouping, Hit, ImageMetadata,
    ImagePage, MetadataPage, NearestQuery, NewGallery, PageRequest, Scrubbed, SearchFilter, StoreCondition,
    VectorStore, WriteOrder, WriteRange,
};
use async_trait::async_trait;
use descry_model::{Embedding, Fingerprint};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

/// Images that one transaction removes: a search never waits longer than it takes to forget so many.
const ROWS_PER_DELETION: usize = 4_096;

/// Documents up to this size are written also when the disk is full.
const SMALL_DOCUMENT_BYTES: usize = 16 << 10;

#[async_trait]
impl VectorStore for EmbeddedStore {
    async fn create(&self, new: NewGallery) -> Result<Generation, StoreError> {
        const CREATING: &str = "creating a gallery";
        check_dimension(new.dimension)?;
        let place = Arc::clone(&self.place);
        self.change(CREATING, move |database, galleries| {
            if let Some(existing) = galleries.get(&new.name)? {
                return existing.handles()?.active.created_again(&new.fingerprint, new.dimension);
            }
            let failed = |source| store_error(CREATING, source);
            let number = database.highest_retired_number().map_err(failed)? + 1;
            let first = Generation::of_new(new, number);
            let (id, generation) = database.insert_gallery(&first).map_err(failed)?;
            let generations = BTreeMap::from([(number, LoadedGeneration::empty(generation, first.clone()))]);
            galleries.put(LoadedGallery::new(id, first.gallery.clone(), number, generations))?;
            place.remember(true);
            Ok(first)
        })
        .await
    }

    async fn create_generation(
        &self,
        name: &str,
        fingerprint: &Fingerprint,
        dimension: usize,
    ) -> Result<Generation, StoreError> {
        const CREATING: &str = "creating a generation";
        check_dimension(dimension)?;
        let (name, fingerprint) = (name.to_owned(), fingerprint.clone());
        self.change(CREATING, move |database, galleries| {
            let mut gallery = galleries.find(&name)?;
            let generations = gallery.handles()?;
            if let Some(last) = generations.later().last()
                && last.fingerprint == fingerprint
            {
                return last.clone().created_again(&fingerprint, dimension);
            }
            let failed = |source| store_error(CREATING, source);
            let last = generations.all().map(|generation| generation.number).max().unwrap_or_default();
            let number = last.max(database.highest_retired_number().map_err(failed)?) + 1;
            let settings = generations.active.settings;
            let next = Generation::of_new(NewGallery { name, fingerprint, dimension, settings }, number);
            let id = database.insert_generation(gallery.id, &next).map_err(failed)?;
            gallery.generations.insert(number, LoadedGeneration::empty(id, next.clone()).into());
            galleries.put(gallery)?;
            Ok(next)
        })
        .await
    }

    async fn resolve(&self, address: &str) -> Result<Generation, StoreError> {
        Ok(self.galleries.resolve(address)?.identity().clone())
    }

    async fn generations(&self, name: &str) -> Result<Generations, StoreError> {
        self.galleries.find(name)?.handles()
    }

    async fn galleries(&self) -> Result<Vec<Generation>, StoreError> {
        self.galleries.all()?.iter().map(|gallery| Ok(gallery.generation(None)?.identity().clone())).collect()
    }

    async fn describe(&self, generation: &Generation) -> Result<Gallery, StoreError> {
        let generation = generation.clone();
        self.read("describing a gallery", move |galleries| galleries.held(&generation)?.describe()).await
    }

    async fn activate(&self, generation: &Generation) -> Result<(), StoreError> {
        const ACTIVATING: &str = "activating a generation";
        let generation = generation.clone();
        self.change_always(ACTIVATING, move |database, galleries| {
            let mut gallery = galleries.gallery_of(&generation)?;
            database.activate(gallery.id, generation.number).map_err(|source| store_error(ACTIVATING, source))?;
            gallery.active = generation.number;
            galleries.put(gallery)
        })
        .await
    }

    async fn delete_generation(&self, generation: &Generation) -> Result<(), StoreError> {
        const DELETING: &str = "deleting a generation";
        let Generation { number, gallery: name, .. } = generation.clone();
        let generation = generation.clone();
        self.change_always(DELETING, move |database, galleries| {
            let mut gallery = galleries.gallery_of(&generation)?;
            let loaded = gallery.generation(Some(number))?;
            if gallery.active == number {
                return Err(StoreError::ActiveGeneration { name: name.clone(), generation: number });
            }
            database.empty_if_tight(&loaded)?;
            database.delete_generation(loaded.id, number).map_err(|source| store_error(DELETING, source))?;
            gallery.generations.remove(&number);
            galleries.put(gallery)
        })
        .await
    }

    async fn delete_gallery(&self, name: &str) -> Result<(), StoreError> {
        const DELETING: &str = "deleting a gallery";
        let (name, place) = (name.to_owned(), Arc::clone(&self.place));
        self.change_always(DELETING, move |database, galleries| {
            let gallery = galleries.find(&name)?;
            let highest = gallery.generations.last_key_value().map_or(gallery.active, |(number, _)| *number);
            gallery.generations.values().try_for_each(|generation| database.empty_if_tight(generation))?;
            // Before it is done: a file without galleries that was said to have some would be missed at the next start.
            let is_last = galleries.all()?.len() == 1;
            if is_last {
                place.remember(false);
            }
            let deleted = database.delete_gallery(gallery.id, highest).map_err(|source| store_error(DELETING, source));
            if is_last && deleted.is_err() {
                place.remember(true);
            }
            deleted?;
            galleries.remove(&name)
        })
        .await
    }

    async fn upsert(
        &self,
        generation: &Generation,
        fingerprint: &Fingerprint,
        images: Vec<GalleryImage>,
    ) -> Result<(), StoreError> {
        const WRITING: &str = "writing images";
        self.galleries.held(generation)?.identity().require_model_of_images(fingerprint, &images)?;
        // Outside of the writer's turn, so that several writes prepare at the same time.
        let images = self
            .read(WRITING, move |_| {
                let prepared = images.into_iter().map(PreparedImage::of).collect::<Result<Vec<_>, _>>();
                prepared.map_err(|source| store_error(WRITING, source))
            })
            .await?;
        let (handle, damage) = (generation.clone(), self.damage());
        self.change(WRITING, move |database, galleries| {
            let generation = galleries.held(&handle)?;
            let gallery = galleries.gallery_of(&handle)?;
            let serving = gallery.generation(None)?.id;
            let (written, removed) = database
                .upsert_images(
                    generation.id,
                    Some(serving).filter(|id| *id != generation.id),
                    &images,
                    &damage.unloaded(),
                )
                .map_err(|source| store_error(WRITING, source))?;
            let declared = &generation.identity().settings.indexed_attributes;
            {
                let mut matrix = generation.write()?;
                for (prepared, &WrittenImage { id, write_number }) in images.iter().zip(&written) {
                    let keys = RowKeys::of(&prepared.image.metadata, write_number, declared);
                    matrix.upsert(id, &prepared.code, &keys);
                }
            }
            damage.forget(written.iter().map(|written| written.id).chain(removed));
            // Whoever follows the numbers finds all that have one.
            galleries.set_next_write_number(database.next_write_number());
            Ok(())
        })
        .await
    }

    async fn update_metadata(
        &self,
        generation: &Generation,
        images: Vec<(String, ImageMetadata)>,
    ) -> Result<u64, StoreError> {
        const UPDATING: &str = "updating metadata";
        let handle = generation.clone();
        self.change(UPDATING, move |database, galleries| {
            let generation = galleries.held(&handle)?;
            let updated =
                database.update_metadata(generation.id, &images).map_err(|source| store_error(UPDATING, source))?;
            let declared = &generation.identity().settings.indexed_attributes;
            let mut matrix = generation.write()?;
            let mut existing = HashSet::new();
            for ((_, metadata), id) in images.iter().zip(updated) {
                if let Some((WrittenImage { id, write_number }, indexed_at_ms)) = id {
                    let keys = RowKeys { indexed_at_ms, ..RowKeys::of(metadata, write_number, declared) };
                    matrix.update_keys(id, &keys);
                    existing.insert(id);
                }
            }
            Ok(existing.len() as u64)
        })
        .await
    }

    async fn delete_images(&self, generation: &Generation, image_ids: &[String]) -> Result<u64, StoreError> {
        const DELETING: &str = "deleting images";
        let (handle, image_ids, damage) = (generation.clone(), image_ids.to_vec(), self.damage());
        self.change_always(DELETING, move |database, galleries| {
            let generation = galleries.held(&handle)?;
            let mut count = 0;
            for image_ids in image_ids.chunks(database.rows_at_once(image_ids.len().max(1))) {
                let deleted =
                    database.delete_images(generation.id, image_ids).map_err(|source| store_error(DELETING, source))?;
                generation.write()?.remove(&deleted);
                damage.forget(deleted.iter().copied());
                count += deleted.len() as u64;
                database.tidy_if_tight();
            }
            Ok(count)
        })
        .await
    }

    async fn delete_matching(&self, generation: &Generation, filter: &SearchFilter) -> Result<u64, StoreError> {
        const DELETING: &str = "deleting images";
        let mut deleted = 0;
        loop {
            let (handle, filter, readers) = (generation.clone(), filter.clone(), self.readers());
            let (removed, is_last) = self
                .change_always(DELETING, move |database: &mut Database, galleries: &Galleries| {
                    let failed = |source| store_error(DELETING, source);
                    let generation = galleries.held(&handle)?;
                    // Looked for again each time: an image that was written meanwhile may no longer meet the filter.
                    let named = readers
                        .take()
                        .and_then(|reader| reader.numbers(generation.id, &filter.named_images()))
                        .map_err(failed)?;
                    let ids = {
                        let matrix = generation.read()?;
                        let rows = Conditions::new(&filter, &matrix, &named)?.matching_rows(&matrix);
                        rows_behind(&matrix, rows.as_deref(), 0, ROWS_PER_DELETION)
                    };
                    for ids in ids.chunks(database.rows_at_once(ROWS_PER_DELETION)) {
                        database.delete_rows(ids).map_err(failed)?;
                        generation.write()?.remove(ids);
                        readers.damage.forget(ids.iter().copied());
                        database.tidy_if_tight();
                    }
                    Ok((ids.len(), ids.len() < ROWS_PER_DELETION))
                })
                .await?;
            deleted += removed as u64;
            if is_last {
                return Ok(deleted);
            }
        }
    }

    async fn count(&self, generation: &Generation, filter: &SearchFilter) -> Result<u64, StoreError> {
        Ok(self.matching(generation, filter).await?.len() as u64)
    }

    async fn images(
        &self,
        generation: &Generation,
        image_ids: &[String],
    ) -> Result<HashMap<String, ImageMetadata>, StoreError> {
        let image_ids = image_ids.to_vec();
        self.read_generation("reading images", generation, move |generation, reader| {
            reader.metadata_of(generation.id, &image_ids).map_err(|source| store_error("reading images", source))
        })
        .await
    }

    async fn embeddings(
        &self,
        generation: &Generation,
        image_ids: &[String],
    ) -> Result<HashMap<String, Embedding>, StoreError> {
        const READING: &str = "reading embeddings";
        let image_ids = image_ids.to_vec();
        self.read_generation(READING, generation, move |generation, reader| {
            let failed = |source| store_error(READING, source);
            let numbers: Vec<i64> = reader.numbers(generation.id, &image_ids).map_err(failed)?.into_values().collect();
            let images = reader.images_at(&numbers, generation.identity().dimension).map_err(failed)?;
            Ok(images.into_iter().map(|image| (image.image_id, image.embedding)).collect())
        })
        .await
    }

    async fn page(&self, generation: &Generation, request: PageRequest) -> Result<ImagePage, StoreError> {
        let read = |ids: &[i64], reader: &Reader<'_>, dimension: usize| reader.images_at(ids, dimension);
        let (images, next) = self.read_page(generation, request, read).await?;
        Ok(ImagePage { images, next })
    }

    async fn listing(&self, generation: &Generation, request: PageRequest) -> Result<MetadataPage, StoreError> {
        let read = |ids: &[i64], reader: &Reader<'_>, _dimension: usize| {
            ids.iter().filter_map(|&id| reader.metadata_at(id).transpose()).collect()
        };
        let (images, next) = self.read_page(generation, request, read).await?;
        Ok(MetadataPage { images, next })
    }

    async fn nearest(&self, generation: &Generation, query: NearestQuery) -> Result<Vec<Hit>, StoreError> {
        Ok(self.ranked(generation, query, Ranked::Images).await?.into_iter().map(|group| group.best).collect())
    }

    async fn nearest_groups(
        &self,
        generation: &Generation,
        query: NearestQuery,
        grouping: Grouping,
    ) -> Result<Vec<GroupHit>, StoreError> {
        self.ranked(generation, query, Ranked::Groups(grouping)).await
    }

    async fn document(&self, generation: &Generation, key: &str) -> Result<Option<String>, StoreError> {
        const READING: &str = "reading a document";
        let (handle, key, readers) = (generation.clone(), key.to_owned(), self.readers());
        self.read(READING, move |galleries| {
            let gallery = galleries.gallery_of(&handle)?;
            let failed = |source| store_error(READING, source);
            readers.take().and_then(|reader| reader.document(gallery.id, &key)).map_err(failed)
        })
        .await
    }

    async fn documents(&self, generation: &Generation) -> Result<BTreeMap<String, String>, StoreError> {
        const READING: &str = "reading documents";
        let (handle, readers) = (generation.clone(), self.readers());
        self.read(READING, move |galleries| {
            let gallery = galleries.gallery_of(&handle)?;
            let failed = |source| store_error(READING, source);
            readers.take().and_then(|reader| reader.documents(gallery.id)).map_err(failed)
        })
        .await
    }

    async fn put_document(&self, generation: &Generation, key: &str, text: Option<String>) -> Result<(), StoreError> {
        const WRITING: &str = "writing a document";
        let (handle, key) = (generation.clone(), key.to_owned());
        // Deletions take notes, and a shorter retention makes room.
        let is_small = text.as_ref().is_none_or(|text| text.len() <= SMALL_DOCUMENT_BYTES);
        let put = move |database: &mut Database, galleries: &Galleries| {
            let gallery = galleries.gallery_of(&handle)?;
            database.put_document(gallery.id, &key, text.as_deref()).map_err(|source| store_error(WRITING, source))
        };
        if is_small { self.change_always(WRITING, put).await } else { self.change(WRITING, put).await }
    }

    async fn replace_document(
        &self,
        generation: &Generation,
        key: &str,
        expected: Option<&str>,
        text: Option<String>,
    ) -> Result<bool, StoreError> {
        const WRITING: &str = "replacing a document";
        let (handle, key, expected) = (generation.clone(), key.to_owned(), expected.map(str::to_owned));
        self.change(WRITING, move |database, galleries| {
            let gallery = galleries.gallery_of(&handle)?;
            let replaced = database.replace_document(gallery.id, &key, expected.as_deref(), text.as_deref());
            replaced.map_err(|source| store_error(WRITING, source))
        })
        .await
    }

    fn is_shared(&self) -> bool {
        // One process at a time may open the file.
        false
    }

    async fn ready(&self) -> Result<(), StoreError> {
        const PROBING: &str = "probing the store";
        let (readers, health, place) = (self.readers(), Arc::clone(&self.health), Arc::clone(&self.place));
        // Whoever writes finds out by himself.
        let database = if health.is_full() { Arc::clone(&self.database).try_lock_owned().ok() } else { None };
        self.read(PROBING, move |_| {
            if database.is_some_and(|mut database| database.has_room_again()) {
                health.note_room();
            }
            place.check()?;
            readers.take().and_then(|reader| reader.probe()).map_err(|source| store_error(PROBING, source))
        })
        .await
    }

    fn write_order(&self) -> WriteOrder {
        WriteOrder::Numbered { next: self.galleries.next_write_number() }
    }

    async fn count_written(
        &self,
        generation: &Generation,
        filter: &SearchFilter,
        range: WriteRange,
    ) -> Result<u64, StoreError> {
        const COUNTING: &str = "counting what was written";
        let filter = filter.clone();
        self.read_generation(COUNTING, generation, move |generation, reader| {
            let named = reader
                .numbers(generation.id, &filter.named_images())
                .map_err(|source| store_error(COUNTING, source))?;
            let matrix = generation.read()?;
            let rows = Conditions::new(&filter, &matrix, &named)?.matching_rows(&matrix);
            Ok(matrix.written_rows(rows, range).len() as u64)
        })
        .await
    }

    async fn check(&self, generation: &Generation, request: CheckRequest) -> Result<CheckPage, StoreError> {
        self.check_images(generation, request).await
    }

    async fn scrub(&self, _name: &str) -> Result<Scrubbed, StoreError> {
        self.scrub_all().await
    }

    fn condition(&self) -> StoreCondition {
        StoreCondition { is_full: self.health.is_full(), damaged_images: self.damage().count() }
    }
}
