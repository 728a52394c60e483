//! The contract of a store, kept by Qdrant's.

use super::collection::collection_name;
use super::points::{PayloadField, embedding_from, image_from_payload, payload_of, point_from_image, point_id};
use super::{POINTS_PER_REQUEST, QdrantStore};
use crate::SearchError;
use crate::vector_store::{
    Gallery, GalleryImage, Hit, ImageMetadata, ImagePage, MetadataPage, NearestQuery, NewGallery, PageRequest,
    SearchFilter, VectorStore, check_dimension,
};
use async_trait::async_trait;
use descry_model::{Embedding, Fingerprint};
use futures::stream::{StreamExt as _, TryStreamExt as _};
use qdrant_client::qdrant::point_id::PointIdOptions;
use qdrant_client::qdrant::{
    Condition, DeletePoints, Filter, GetPoints, PointId, RetrievedPoint, ScrollPoints, ScrollResponse,
    SetPayloadPoints, UpsertPoints,
};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Metadata of so many images is replaced at the same time.
const CONCURRENT_UPDATES: usize = 8;

#[async_trait]
impl VectorStore for QdrantStore {
    async fn create(&self, new: NewGallery) -> Result<Gallery, SearchError> {
        check_dimension(new.dimension)?;
        self.create_first(new).await
    }

    async fn create_generation(
        &self,
        name: &str,
        fingerprint: &Fingerprint,
        dimension: usize,
    ) -> Result<Gallery, SearchError> {
        check_dimension(dimension)?;
        self.create_next(NewGallery::new(name, fingerprint, dimension)).await
    }

    async fn generations(&self, name: &str) -> Result<Vec<Gallery>, SearchError> {
        self.all_generations(name, true).await
    }

    async fn generation_identities(&self, name: &str) -> Result<Vec<Gallery>, SearchError> {
        self.all_generations(name, false).await
    }

    async fn activate(&self, name: &str, generation: u32) -> Result<(), SearchError> {
        self.resolve(name).await?;
        let mut generations = self.generation_numbers(name).await?.into_iter();
        if !generations.any(|number| number == generation) {
            return Err(SearchError::GalleryNotFound { name: format!("{name}.{generation}") });
        }
        self.point_alias(name, generation).await
    }

    async fn delete_generation(&self, name: &str, generation: u32) -> Result<(), SearchError> {
        if self.resolve(name).await?.generation == generation {
            return Err(SearchError::ActiveGeneration { name: name.to_owned(), generation });
        }
        self.delete_collection_of(name, generation).await
    }

    async fn gallery(&self, name: &str) -> Result<Gallery, SearchError> {
        self.described(name).await
    }

    async fn identity(&self, name: &str) -> Result<Gallery, SearchError> {
        self.resolve(name).await
    }

    async fn list_galleries(&self) -> Result<Vec<Gallery>, SearchError> {
        self.all_galleries().await
    }

    async fn delete_gallery(&self, name: &str) -> Result<(), SearchError> {
        self.delete_all(name).await
    }

    async fn upsert(
        &self,
        name: &str,
        fingerprint: &Fingerprint,
        images: Vec<GalleryImage>,
    ) -> Result<(), SearchError> {
        let gallery = self.resolve(name).await?;
        gallery.require_model_of_images(fingerprint, &images)?;
        let address = gallery.address();
        // One image per id, the last: Qdrant does not say which of two in one request it keeps.
        let images: BTreeMap<String, GalleryImage> =
            images.into_iter().map(|image| (image.image_id.clone(), image)).collect();
        let points =
            images.into_values().map(|image| point_from_image(&gallery.name, image)).collect::<Result<Vec<_>, _>>()?;
        for points in points.chunks(POINTS_PER_REQUEST) {
            let request = UpsertPoints {
                collection_name: collection_name(&address),
                wait: Some(true),
                points: points.to_vec(),
                ..UpsertPoints::default()
            };
            self.call("writing images", Some(&address), || self.client.upsert_points(request.clone())).await?;
        }
        Ok(())
    }

    async fn update_metadata(&self, name: &str, images: Vec<(String, ImageMetadata)>) -> Result<u64, SearchError> {
        let gallery = self.resolve(name).await?;
        let address = gallery.address();
        let image_ids: Vec<String> = images.iter().map(|(image_id, _)| image_id.clone()).collect();
        let existing = self.images(&address, &image_ids).await?;
        // Of an image that is named twice the last metadata counts.
        let images: BTreeMap<String, ImageMetadata> = images
            .into_iter()
            .filter_map(|(image_id, metadata)| {
                let known = existing.get(&image_id)?;
                let (content_sha256, indexed_at_ms) = (known.content_sha256.clone(), known.indexed_at_ms);
                Some((image_id, ImageMetadata { content_sha256, indexed_at_ms, ..metadata }))
            })
            .collect();
        let count = images.len() as u64;
        let update = |(image_id, metadata): (String, ImageMetadata)| {
            // Only while the point is of the file that was read: another one's payload came with its own embedding.
            let unchanged = Filter::must([
                Condition::has_id([point_id(&gallery.name, &image_id)]),
                // A list, because the client takes a lone text with spaces for a full-text search.
                Condition::matches(PayloadField::ContentSha256.name(), vec![metadata.content_sha256.clone()]),
            ]);
            let request = payload_of(image_id, metadata).map(|payload| SetPayloadPoints {
                collection_name: collection_name(&address),
                wait: Some(true),
                payload,
                points_selector: Some(unchanged.into()),
                ..SetPayloadPoints::default()
            });
            let address = &address;
            async move {
                let request = request?;
                self.call("updating metadata", Some(address), || self.client.overwrite_payload(request.clone())).await
            }
        };
        let updates: Vec<_> = images.into_iter().map(update).collect();
        futures::stream::iter(updates).buffer_unordered(CONCURRENT_UPDATES).try_collect::<Vec<_>>().await?;
        Ok(count)
    }

    async fn delete_images(&self, name: &str, image_ids: &[String]) -> Result<u64, SearchError> {
        let gallery = self.resolve(name).await?;
        let mut deleted = 0;
        for points in unique_points(&gallery.name, image_ids).chunks(POINTS_PER_REQUEST) {
            deleted +=
                self.delete_where(&gallery.address(), Filter::must([Condition::has_id(points.to_vec())])).await?;
        }
        Ok(deleted)
    }

    async fn delete_matching(&self, name: &str, filter: &SearchFilter) -> Result<u64, SearchError> {
        let gallery = self.resolve(name).await?;
        let filter = self.conditions(&gallery, filter)?.unwrap_or_default();
        self.delete_where(&gallery.address(), filter).await
    }

    async fn count(&self, name: &str, filter: &SearchFilter) -> Result<u64, SearchError> {
        let gallery = self.resolve(name).await?;
        self.count_points(&gallery.address(), self.conditions(&gallery, filter)?).await
    }

    async fn images(&self, name: &str, image_ids: &[String]) -> Result<HashMap<String, ImageMetadata>, SearchError> {
        let address = self.resolve(name).await?.address();
        let points = self.get(name, &address, image_ids, false).await?;
        points.into_iter().map(|point| image_from_payload(&address, point.payload)).collect()
    }

    async fn embeddings(&self, name: &str, image_ids: &[String]) -> Result<HashMap<String, Embedding>, SearchError> {
        let address = self.resolve(name).await?.address();
        let points = self.get(name, &address, image_ids, true).await?;
        let images = points.into_iter().map(|point| stored_image(&address, point));
        images.map(|image| image.map(|image| (image.image_id, image.embedding))).collect()
    }

    async fn page(&self, name: &str, request: PageRequest) -> Result<ImagePage, SearchError> {
        let (address, answer) = self.scroll(name, request, true).await?;
        let images = answer.result.into_iter().map(|point| stored_image(&address, point)).collect::<Result<_, _>>()?;
        Ok(ImagePage { images, next: next_place(answer.next_page_offset) })
    }

    async fn listing(&self, name: &str, request: PageRequest) -> Result<MetadataPage, SearchError> {
        let (address, answer) = self.scroll(name, request, false).await?;
        let images = answer.result.into_iter().map(|point| image_from_payload(&address, point.payload));
        Ok(MetadataPage { images: images.collect::<Result<_, _>>()?, next: next_place(answer.next_page_offset) })
    }

    async fn nearest(&self, name: &str, query: NearestQuery) -> Result<Vec<Hit>, SearchError> {
        self.nearest_images(name, query).await
    }

    async fn nearest_persons(&self, name: &str, query: NearestQuery) -> Result<Vec<Hit>, SearchError> {
        self.nearest_of_persons(name, query).await
    }

    async fn document(&self, name: &str, key: &str) -> Result<Option<String>, SearchError> {
        self.resolve(name).await?;
        self.document_of(name, key).await
    }

    async fn documents(&self, name: &str) -> Result<BTreeMap<String, String>, SearchError> {
        self.resolve(name).await?;
        self.documents_of(name).await
    }

    async fn put_document(&self, name: &str, key: &str, text: Option<String>) -> Result<(), SearchError> {
        self.resolve(name).await?;
        self.write_document(name, key, text).await
    }

    async fn ready(&self) -> Result<(), SearchError> {
        // Unlike the health check this needs the right key.
        self.call("probing Qdrant", None, || self.client.list_collections()).await.map(drop)
    }
}

impl QdrantStore {
    async fn scroll(
        &self,
        name: &str,
        request: PageRequest,
        with_vectors: bool,
    ) -> Result<(String, ScrollResponse), SearchError> {
        let gallery = self.resolve(name).await?;
        let address = gallery.address();
        let scroll = ScrollPoints {
            collection_name: collection_name(&address),
            filter: self.conditions(&gallery, &request.filter)?,
            offset: request.after.as_deref().map(place).transpose()?,
            limit: Some(u32::try_from(request.limit).unwrap_or(u32::MAX).max(1)),
            with_payload: Some(true.into()),
            with_vectors: with_vectors.then(|| true.into()),
            ..ScrollPoints::default()
        };
        let answer =
            self.call("reading a page of images", Some(&address), || self.client.scroll(scroll.clone())).await?;
        Ok((address, answer))
    }

    async fn get(
        &self,
        name: &str,
        address: &str,
        image_ids: &[String],
        with_vectors: bool,
    ) -> Result<Vec<RetrievedPoint>, SearchError> {
        let gallery = crate::vector_store::GalleryAddress::parse(name).name;
        let mut found = Vec::new();
        for ids in unique_points(gallery, image_ids).chunks(POINTS_PER_REQUEST) {
            let request = GetPoints {
                collection_name: collection_name(address),
                ids: ids.to_vec(),
                with_payload: Some(true.into()),
                with_vectors: with_vectors.then(|| true.into()),
                ..GetPoints::default()
            };
            let answer = self.call("reading images", Some(address), || self.client.get_points(request.clone())).await?;
            found.extend(answer.result);
        }
        Ok(found)
    }

    /// Deleting does not tell how many were there, so they are counted first.
    async fn delete_where(&self, address: &str, filter: Filter) -> Result<u64, SearchError> {
        let count = self.count_points(address, Some(filter.clone())).await?;
        let request = DeletePoints {
            collection_name: collection_name(address),
            wait: Some(true),
            points: Some(filter.into()),
            ..DeletePoints::default()
        };
        self.call("deleting images", Some(address), || self.client.delete_points(request.clone())).await?;
        Ok(count)
    }
}

fn unique_points(gallery: &str, image_ids: &[String]) -> Vec<PointId> {
    let unique: BTreeSet<&String> = image_ids.iter().collect();
    unique.into_iter().map(|image_id| point_id(gallery, image_id)).collect()
}

fn next_place(place: Option<PointId>) -> Option<String> {
    match place?.point_id_options? {
        PointIdOptions::Uuid(uuid) => Some(uuid),
        PointIdOptions::Num(number) => Some(number.to_string()),
    }
}

/// Where a page ended, as it was told.
fn place(token: &str) -> Result<PointId, SearchError> {
    if uuid::Uuid::try_parse(token).is_ok() {
        return Ok(token.to_owned().into());
    }
    let reason = "is no place where a page of this gallery ended".to_owned();
    Err(SearchError::Invalid { field: "page_token".to_owned(), reason })
}

fn stored_image(address: &str, point: RetrievedPoint) -> Result<GalleryImage, SearchError> {
    let embedding = embedding_from(address, point.vectors.unwrap_or_default())?;
    let (image_id, metadata) = image_from_payload(address, point.payload)?;
    Ok(GalleryImage { image_id, embedding, metadata })
}
