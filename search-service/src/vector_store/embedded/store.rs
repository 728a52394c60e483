//! The contract of a store, kept by the embedded one.

use super::conditions::Conditions;
use super::database::PreparedImage;
use super::error::store_error;
use super::galleries::{Galleries, LoadedGallery, LoadedGeneration};
use super::matrix::RowKeys;
use super::readers::{Reader, rows_behind};
use super::rescoring::{Ranked, nearest};
use super::{Database, EmbeddedError, EmbeddedStore};
use crate::SearchError;
use crate::vector_store::{
    Gallery, GalleryImage, Hit, ImageMetadata, ImagePage, IndexState, MetadataPage, NearestQuery, NewGallery,
    PageRequest, SearchFilter, VectorStore, check_dimension, now_ms,
};
use async_trait::async_trait;
use descry_model::{Embedding, Fingerprint};
use std::collections::{BTreeMap, HashMap, HashSet};

/// Images that one transaction removes: a search never waits longer than it takes to forget so many.
const ROWS_PER_DELETION: usize = 4_096;

#[async_trait]
impl VectorStore for EmbeddedStore {
    async fn create(&self, new: NewGallery) -> Result<Gallery, SearchError> {
        const CREATING: &str = "creating a gallery";
        check_dimension(new.dimension)?;
        self.change(CREATING, move |database, galleries| {
            if let Some(existing) = galleries.get(&new.name)? {
                return existing.generation(None)?.describe()?.created_again(&new.fingerprint, new.dimension);
            }
            let gallery = empty_gallery(new, 1);
            let (id, generation) = database.insert_gallery(&gallery).map_err(|source| store_error(CREATING, source))?;
            let generations = BTreeMap::from([(1, LoadedGeneration::empty(generation, gallery.clone()))]);
            galleries.put(LoadedGallery::new(id, gallery.name.clone(), 1, generations))?;
            Ok(gallery)
        })
        .await
    }

    async fn create_generation(
        &self,
        name: &str,
        fingerprint: &Fingerprint,
        dimension: usize,
    ) -> Result<Gallery, SearchError> {
        const CREATING: &str = "creating a generation";
        check_dimension(dimension)?;
        let (name, fingerprint) = (name.to_owned(), fingerprint.clone());
        self.change(CREATING, move |database, galleries| {
            let mut gallery = galleries.find(&name)?;
            let last = gallery.generations.last_key_value();
            if let Some((&number, last)) = last
                && number > gallery.active
                && last.identity().fingerprint == fingerprint
            {
                return last.describe()?.created_again(&fingerprint, dimension);
            }
            let number = last.map_or(1, |(number, _)| number + 1);
            let settings = gallery.generation(None)?.identity().settings.clone();
            let generation = empty_gallery(NewGallery { name, fingerprint, dimension, settings }, number);
            let id =
                database.insert_generation(gallery.id, &generation).map_err(|source| store_error(CREATING, source))?;
            gallery.generations.insert(number, LoadedGeneration::empty(id, generation.clone()).into());
            galleries.put(gallery)?;
            Ok(generation)
        })
        .await
    }

    async fn generations(&self, name: &str) -> Result<Vec<Gallery>, SearchError> {
        let name = name.to_owned();
        self.read("listing generations", move |galleries| {
            galleries.find(&name)?.generations.values().map(|generation| generation.describe()).collect()
        })
        .await
    }

    async fn activate(&self, name: &str, generation: u32) -> Result<(), SearchError> {
        const ACTIVATING: &str = "activating a generation";
        let name = name.to_owned();
        self.change(ACTIVATING, move |database, galleries| {
            let mut gallery = galleries.find(&name)?;
            gallery.generation(Some(generation))?;
            database.activate(gallery.id, generation).map_err(|source| store_error(ACTIVATING, source))?;
            gallery.active = generation;
            galleries.put(gallery)
        })
        .await
    }

    async fn delete_generation(&self, name: &str, generation: u32) -> Result<(), SearchError> {
        const DELETING: &str = "deleting a generation";
        let name = name.to_owned();
        self.change(DELETING, move |database, galleries| {
            let mut gallery = galleries.find(&name)?;
            let id = gallery.generation(Some(generation))?.id;
            if gallery.active == generation {
                return Err(SearchError::ActiveGeneration { name, generation });
            }
            database.delete_generation(id).map_err(|source| store_error(DELETING, source))?;
            gallery.generations.remove(&generation);
            galleries.put(gallery)
        })
        .await
    }

    async fn gallery(&self, name: &str) -> Result<Gallery, SearchError> {
        let name = name.to_owned();
        self.read("describing a gallery", move |galleries| galleries.resolve(&name)?.describe()).await
    }

    async fn list_galleries(&self) -> Result<Vec<Gallery>, SearchError> {
        self.read("listing galleries", |galleries| {
            galleries.all()?.iter().map(|gallery| gallery.generation(None)?.describe()).collect()
        })
        .await
    }

    async fn delete_gallery(&self, name: &str) -> Result<(), SearchError> {
        const DELETING: &str = "deleting a gallery";
        let name = name.to_owned();
        self.change(DELETING, move |database, galleries| {
            let id = galleries.find(&name)?.id;
            database.delete_gallery(id).map_err(|source| store_error(DELETING, source))?;
            galleries.remove(&name)
        })
        .await
    }

    async fn upsert(
        &self,
        name: &str,
        fingerprint: &Fingerprint,
        images: Vec<GalleryImage>,
    ) -> Result<(), SearchError> {
        const WRITING: &str = "writing images";
        let (name, fingerprint) = (name.to_owned(), fingerprint.clone());
        // Outside of the writer's turn, so that several writes prepare at the same time.
        let (address, images) = self
            .read(WRITING, move |galleries| {
                let generation = galleries.resolve(&name)?;
                generation.identity().require_model_of_images(&fingerprint, &images)?;
                let prepared = images.into_iter().map(PreparedImage::of).collect::<Result<Vec<_>, _>>();
                Ok((generation.identity().address(), prepared.map_err(|source| store_error(WRITING, source))?))
            })
            .await?;
        self.change(WRITING, move |database, galleries| {
            let generation = galleries.resolve(&address)?;
            let written =
                database.upsert_images(generation.id, &images).map_err(|source| store_error(WRITING, source))?;
            let declared = &generation.identity().settings.indexed_attributes;
            let mut matrix = generation.write()?;
            for (prepared, id) in images.iter().zip(written) {
                matrix.upsert(id, &prepared.code, &RowKeys::of(&prepared.image.metadata, declared));
            }
            Ok(())
        })
        .await
    }

    async fn update_metadata(&self, name: &str, images: Vec<(String, ImageMetadata)>) -> Result<u64, SearchError> {
        const UPDATING: &str = "updating metadata";
        let name = name.to_owned();
        self.change(UPDATING, move |database, galleries| {
            let generation = galleries.resolve(&name)?;
            let updated =
                database.update_metadata(generation.id, &images).map_err(|source| store_error(UPDATING, source))?;
            let declared = &generation.identity().settings.indexed_attributes;
            let mut matrix = generation.write()?;
            let mut existing = HashSet::new();
            for ((_, metadata), id) in images.iter().zip(updated) {
                if let Some((id, indexed_at_ms)) = id {
                    let keys = RowKeys { indexed_at_ms, ..RowKeys::of(metadata, declared) };
                    matrix.update_keys(id, &keys);
                    existing.insert(id);
                }
            }
            Ok(existing.len() as u64)
        })
        .await
    }

    async fn delete_images(&self, name: &str, image_ids: &[String]) -> Result<u64, SearchError> {
        const DELETING: &str = "deleting images";
        let (name, image_ids) = (name.to_owned(), image_ids.to_vec());
        self.change(DELETING, move |database, galleries| {
            let generation = galleries.resolve(&name)?;
            let deleted =
                database.delete_images(generation.id, &image_ids).map_err(|source| store_error(DELETING, source))?;
            generation.write()?.remove(&deleted);
            Ok(deleted.len() as u64)
        })
        .await
    }

    async fn delete_matching(&self, name: &str, filter: &SearchFilter) -> Result<u64, SearchError> {
        const DELETING: &str = "deleting images";
        let address = self.identity(name).await?.address();
        let mut deleted = 0;
        loop {
            let (address, filter, readers) = (address.clone(), filter.clone(), self.readers());
            let removed = self
                .change(DELETING, move |database: &mut Database, galleries: &Galleries| {
                    let failed = |source| store_error(DELETING, source);
                    let generation = galleries.resolve(&address)?;
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
                    database.delete_rows(&ids).map_err(failed)?;
                    generation.write()?.remove(&ids);
                    Ok(ids.len())
                })
                .await?;
            deleted += removed as u64;
            if removed < ROWS_PER_DELETION {
                return Ok(deleted);
            }
        }
    }

    async fn count(&self, name: &str, filter: &SearchFilter) -> Result<u64, SearchError> {
        Ok(self.matching(name, filter).await?.len() as u64)
    }

    async fn images(&self, name: &str, image_ids: &[String]) -> Result<HashMap<String, ImageMetadata>, SearchError> {
        let image_ids = image_ids.to_vec();
        self.read_generation("reading images", name, move |generation, reader| {
            reader.metadata_of(generation.id, &image_ids).map_err(|source| store_error("reading images", source))
        })
        .await
    }

    async fn embeddings(&self, name: &str, image_ids: &[String]) -> Result<HashMap<String, Embedding>, SearchError> {
        const READING: &str = "reading embeddings";
        let image_ids = image_ids.to_vec();
        self.read_generation(READING, name, move |generation, reader| {
            let failed = |source| store_error(READING, source);
            let numbers: Vec<i64> = reader.numbers(generation.id, &image_ids).map_err(failed)?.into_values().collect();
            let images = reader.images_at(&numbers, generation.identity().dimension).map_err(failed)?;
            Ok(images.into_iter().map(|image| (image.image_id, image.embedding)).collect())
        })
        .await
    }

    async fn page(&self, name: &str, request: PageRequest) -> Result<ImagePage, SearchError> {
        let read = |ids: &[i64], reader: &Reader<'_>, dimension: usize| reader.images_at(ids, dimension);
        let (images, next) = self.read_page(name, request, read).await?;
        Ok(ImagePage { images, next })
    }

    async fn listing(&self, name: &str, request: PageRequest) -> Result<MetadataPage, SearchError> {
        let read = |ids: &[i64], reader: &Reader<'_>, _dimension: usize| {
            ids.iter().filter_map(|&id| reader.metadata_at(id).transpose()).collect()
        };
        let (images, next) = self.read_page(name, request, read).await?;
        Ok(MetadataPage { images, next })
    }

    async fn nearest(&self, name: &str, query: NearestQuery) -> Result<Vec<Hit>, SearchError> {
        self.ranked(name, query, Ranked::Images).await
    }

    async fn nearest_persons(&self, name: &str, query: NearestQuery) -> Result<Vec<Hit>, SearchError> {
        self.ranked(name, query, Ranked::Persons).await
    }

    async fn document(&self, name: &str, key: &str) -> Result<Option<String>, SearchError> {
        const READING: &str = "reading a document";
        let (name, key, readers) = (name.to_owned(), key.to_owned(), self.readers());
        self.read(READING, move |galleries| {
            let gallery = galleries.find(&name)?;
            let failed = |source| store_error(READING, source);
            readers.take().and_then(|reader| reader.document(gallery.id, &key)).map_err(failed)
        })
        .await
    }

    async fn documents(&self, name: &str) -> Result<BTreeMap<String, String>, SearchError> {
        const READING: &str = "reading documents";
        let (name, readers) = (name.to_owned(), self.readers());
        self.read(READING, move |galleries| {
            let gallery = galleries.find(&name)?;
            let failed = |source| store_error(READING, source);
            readers.take().and_then(|reader| reader.documents(gallery.id)).map_err(failed)
        })
        .await
    }

    async fn put_document(&self, name: &str, key: &str, text: Option<String>) -> Result<(), SearchError> {
        const WRITING: &str = "writing a document";
        let (name, key) = (name.to_owned(), key.to_owned());
        self.change(WRITING, move |database, galleries| {
            let gallery = galleries.find(&name)?;
            database.put_document(gallery.id, &key, text.as_deref()).map_err(|source| store_error(WRITING, source))
        })
        .await
    }

    async fn ready(&self) -> Result<(), SearchError> {
        const PROBING: &str = "probing the store";
        let readers = self.readers();
        self.read(PROBING, move |_| {
            readers.take().and_then(|reader| reader.probe()).map_err(|source| store_error(PROBING, source))
        })
        .await
    }
}

impl EmbeddedStore {
    /// Finds the rows of a page and reads them; also where the next page begins.
    async fn read_page<Image, Read>(
        &self,
        name: &str,
        request: PageRequest,
        read: Read,
    ) -> Result<(Vec<Image>, Option<String>), SearchError>
    where
        Image: Send + 'static,
        Read: FnOnce(&[i64], &Reader<'_>, usize) -> Result<Vec<Image>, EmbeddedError> + Send + 'static,
    {
        const READING: &str = "reading a page of images";
        let after = match &request.after {
            None => 0,
            Some(cursor) => cursor.parse().map_err(|_| {
                let reason = "is no place where a page of this gallery ended".to_owned();
                SearchError::Invalid { field: "page_token".to_owned(), reason }
            })?,
        };
        self.read_generation(READING, name, move |generation, reader| {
            let failed = |source| store_error(READING, source);
            let named = reader.numbers(generation.id, &request.filter.named_images()).map_err(failed)?;
            let (ids, is_last) = {
                let matrix = generation.read()?;
                let rows = Conditions::new(&request.filter, &matrix, &named)?.matching_rows(&matrix);
                let mut ids = rows_behind(&matrix, rows.as_deref(), after, request.limit.saturating_add(1));
                let is_last = ids.len() <= request.limit;
                ids.truncate(request.limit);
                (ids, is_last)
            };
            let images = read(&ids, reader, generation.identity().dimension).map_err(failed)?;
            let next = ids.last().filter(|_| !is_last).map(ToString::to_string);
            Ok((images, next))
        })
        .await
    }

    async fn ranked(&self, name: &str, query: NearestQuery, ranked: Ranked) -> Result<Vec<Hit>, SearchError> {
        let slots = self.take_search_slot().await?;
        self.read_generation("searching", name, move |generation, reader| {
            generation.identity().require_model(&query.fingerprint, query.embedding.dimension())?;
            // All are held until the search is over, also when the caller has gone.
            let slots = slots.with_idle_ones(generation)?;
            nearest(generation, reader, &query, ranked, slots.len())
        })
        .await
    }

    /// Numbers of the images that meet a filter.
    async fn matching(&self, name: &str, filter: &SearchFilter) -> Result<Vec<i64>, SearchError> {
        const FILTERING: &str = "filtering images";
        let filter = filter.clone();
        self.read_generation(FILTERING, name, move |generation, reader| {
            let named = reader
                .numbers(generation.id, &filter.named_images())
                .map_err(|source| store_error(FILTERING, source))?;
            let matrix = generation.read()?;
            let rows = Conditions::new(&filter, &matrix, &named)?.matching_rows(&matrix);
            Ok(rows_behind(&matrix, rows.as_deref(), 0, usize::MAX))
        })
        .await
    }
}

fn empty_gallery(new: NewGallery, generation: u32) -> Gallery {
    let NewGallery { name, fingerprint, dimension, settings } = new;
    let (created_at_ms, index) = (now_ms(), IndexState::Exact);
    Gallery { name, generation, fingerprint, dimension, images: 0, created_at_ms, settings, index, bytes: 0 }
}
