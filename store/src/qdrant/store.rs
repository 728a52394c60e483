//! The contract of a store, kept by Qdrant's.

use super::collection::{collection_name, index_state};
use super::erasing::kept_by_server;
use super::points::{PayloadField, embedding_from, image_from_payload, payload_of, point_from_image, point_id};
use super::{POINTS_PER_REQUEST, QdrantStore};
use crate::gallery::check_dimension;
use crate::{
    Gallery, GalleryImage, Generation, Generations, GroupHit, Grouping, Hit, ImageMetadata, ImagePage, MetadataPage,
    NearestQuery, NewGallery, PageRequest, Pool, Scrubbed, SearchFilter, StoreError, VectorStore,
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
    async fn create(&self, new: NewGallery) -> Result<Generation, StoreError> {
        check_dimension(new.dimension)?;
        self.create_first(new).await
    }

    async fn create_generation(
        &self,
        name: &str,
        fingerprint: &Fingerprint,
        dimension: usize,
    ) -> Result<Generation, StoreError> {
        check_dimension(dimension)?;
        self.create_next(NewGallery::new(name, fingerprint, dimension)).await
    }

    async fn resolve(&self, address: &str) -> Result<Generation, StoreError> {
        self.find(address).await
    }

    async fn generations(&self, name: &str) -> Result<Generations, StoreError> {
        self.all_generations(name).await
    }

    async fn galleries(&self) -> Result<Vec<Generation>, StoreError> {
        self.all_galleries().await
    }

    async fn describe(&self, generation: &Generation) -> Result<Gallery, StoreError> {
        let address = generation.address();
        let (collection, images) = tokio::try_join!(self.collection(&address), self.count_points(&address, None))?;
        let bytes = images * generation.dimension as u64 * size_of::<f32>() as u64;
        Ok(Gallery { generation: generation.clone(), images, index: index_state(&collection), bytes })
    }

    async fn activate(&self, generation: &Generation) -> Result<(), StoreError> {
        self.find(&generation.address()).await?;
        self.point_alias(&generation.gallery, generation.number).await
    }

    async fn delete_generation(&self, generation: &Generation) -> Result<(), StoreError> {
        let Generation { gallery: name, number, .. } = generation;
        if self.find(name).await?.number == *number {
            return Err(StoreError::ActiveGeneration { name: name.clone(), generation: *number });
        }
        self.retire_numbers(*number).await?;
        self.delete_collection_of(name, *number).await
    }

    async fn delete_gallery(&self, name: &str) -> Result<(), StoreError> {
        self.delete_all(name).await
    }

    async fn upsert(
        &self,
        generation: &Generation,
        fingerprint: &Fingerprint,
        images: Vec<GalleryImage>,
    ) -> Result<(), StoreError> {
        generation.require_model_of_images(fingerprint, &images)?;
        let address = generation.address();
        // One image per id, the last: Qdrant does not say which of two in one request it keeps.
        let images: BTreeMap<String, GalleryImage> =
            images.into_iter().map(|image| (image.image_id.clone(), image)).collect();
        let points = images
            .into_values()
            .map(|image| point_from_image(&generation.gallery, image))
            .collect::<Result<Vec<_>, _>>()?;
        for points in points.chunks(POINTS_PER_REQUEST) {
            let request = UpsertPoints {
                collection_name: collection_name(&address),
                wait: Some(true),
                points: points.to_vec(),
                ..UpsertPoints::default()
            };
            self.write("writing images", Some(&address), |client| client.upsert_points(request.clone())).await?;
        }
        Ok(())
    }

    async fn update_metadata(
        &self,
        generation: &Generation,
        images: Vec<(String, ImageMetadata)>,
    ) -> Result<u64, StoreError> {
        let address = generation.address();
        let image_ids: Vec<String> = images.iter().map(|(image_id, _)| image_id.clone()).collect();
        let existing = self.images(generation, &image_ids).await?;
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
                Condition::has_id([point_id(&generation.gallery, &image_id)]),
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
                self.write("updating metadata", Some(address), |client| client.overwrite_payload(request.clone())).await
            }
        };
        let updates: Vec<_> = images.into_iter().map(update).collect();
        futures::stream::iter(updates).buffer_unordered(CONCURRENT_UPDATES).try_collect::<Vec<_>>().await?;
        Ok(count)
    }

    async fn delete_images(&self, generation: &Generation, image_ids: &[String]) -> Result<u64, StoreError> {
        let mut deleted = 0;
        for points in unique_points(&generation.gallery, image_ids).chunks(POINTS_PER_REQUEST) {
            deleted +=
                self.delete_where(&generation.address(), Filter::must([Condition::has_id(points.to_vec())])).await?;
        }
        Ok(deleted)
    }

    async fn delete_matching(&self, generation: &Generation, filter: &SearchFilter) -> Result<u64, StoreError> {
        let filter = self.conditions(generation, filter)?.unwrap_or_default();
        self.delete_where(&generation.address(), filter).await
    }

    async fn count(&self, generation: &Generation, filter: &SearchFilter) -> Result<u64, StoreError> {
        self.count_points(&generation.address(), self.conditions(generation, filter)?).await
    }

    async fn images(
        &self,
        generation: &Generation,
        image_ids: &[String],
    ) -> Result<HashMap<String, ImageMetadata>, StoreError> {
        let address = generation.address();
        let points = self.get(generation, image_ids, false).await?;
        points.into_iter().map(|point| image_from_payload(&address, point.payload)).collect()
    }

    async fn embeddings(
        &self,
        generation: &Generation,
        image_ids: &[String],
    ) -> Result<HashMap<String, Embedding>, StoreError> {
        let address = generation.address();
        let points = self.get(generation, image_ids, true).await?;
        let images = points.into_iter().map(|point| stored_image(&address, point));
        images.map(|image| image.map(|image| (image.image_id, image.embedding))).collect()
    }

    async fn page(&self, generation: &Generation, request: PageRequest) -> Result<ImagePage, StoreError> {
        let (address, answer) = (generation.address(), self.scroll(generation, request, true).await?);
        let images = answer.result.into_iter().map(|point| stored_image(&address, point)).collect::<Result<_, _>>()?;
        Ok(ImagePage { images, next: next_page_token(answer.next_page_offset) })
    }

    async fn listing(&self, generation: &Generation, request: PageRequest) -> Result<MetadataPage, StoreError> {
        let (address, answer) = (generation.address(), self.scroll(generation, request, false).await?);
        let images = answer.result.into_iter().map(|point| image_from_payload(&address, point.payload));
        Ok(MetadataPage { images: images.collect::<Result<_, _>>()?, next: next_page_token(answer.next_page_offset) })
    }

    async fn nearest(&self, generation: &Generation, query: NearestQuery) -> Result<Vec<Hit>, StoreError> {
        self.nearest_images(generation, query).await
    }

    async fn nearest_groups(
        &self,
        generation: &Generation,
        query: NearestQuery,
        grouping: Grouping,
    ) -> Result<Vec<GroupHit>, StoreError> {
        let Grouping { by, pool } = grouping;
        match pool {
            Pool::Best => self.groups_by_best(generation, query, by).await,
            Pool::Mean => self.groups_by_mean(generation, query, by).await,
        }
    }

    async fn document(&self, generation: &Generation, key: &str) -> Result<Option<String>, StoreError> {
        self.document_of(&generation.gallery, key).await
    }

    async fn documents(&self, generation: &Generation) -> Result<BTreeMap<String, String>, StoreError> {
        self.documents_of(&generation.gallery).await
    }

    async fn put_document(&self, generation: &Generation, key: &str, text: Option<String>) -> Result<(), StoreError> {
        // A document names its gallery alone, so it is asked first whether that is still the same one.
        self.find(&generation.address()).await?;
        self.write_document(&generation.gallery, key, text).await
    }

    async fn replace_document(
        &self,
        generation: &Generation,
        key: &str,
        expected: Option<&str>,
        text: Option<String>,
    ) -> Result<bool, StoreError> {
        self.find(&generation.address()).await?;
        self.replace_document_of(&generation.gallery, key, expected, text).await
    }

    async fn scrub(&self, _name: &str) -> Result<Scrubbed, StoreError> {
        Ok(kept_by_server())
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn finds_everything(&self) -> bool {
        false
    }

    async fn ready(&self) -> Result<(), StoreError> {
        // Unlike the health check this needs the right key.
        self.look_up("probing Qdrant", None, |client| client.list_collections()).await.map(drop)
    }
}

impl QdrantStore {
    async fn scroll(
        &self,
        generation: &Generation,
        request: PageRequest,
        with_vectors: bool,
    ) -> Result<ScrollResponse, StoreError> {
        let address = generation.address();
        let scroll = ScrollPoints {
            collection_name: collection_name(&address),
            filter: self.conditions(generation, &request.filter)?,
            offset: request.after.as_deref().map(page_offset).transpose()?,
            limit: Some(u32::try_from(request.limit).unwrap_or(u32::MAX).max(1)),
            with_payload: Some(true.into()),
            with_vectors: with_vectors.then(|| true.into()),
            ..ScrollPoints::default()
        };
        self.read("reading a page of images", Some(&address), |client| client.scroll(scroll.clone())).await
    }

    pub(super) async fn get(
        &self,
        generation: &Generation,
        image_ids: &[String],
        with_vectors: bool,
    ) -> Result<Vec<RetrievedPoint>, StoreError> {
        let address = generation.address();
        let mut found = Vec::new();
        for ids in unique_points(&generation.gallery, image_ids).chunks(POINTS_PER_REQUEST) {
            let request = GetPoints {
                collection_name: collection_name(&address),
                ids: ids.to_vec(),
                with_payload: Some(true.into()),
                with_vectors: with_vectors.then(|| true.into()),
                ..GetPoints::default()
            };
            let answer =
                self.read("reading images", Some(&address), |client| client.get_points(request.clone())).await?;
            found.extend(answer.result);
        }
        Ok(found)
    }

    /// Deleting does not tell how many were there, so they are counted first.
    async fn delete_where(&self, address: &str, filter: Filter) -> Result<u64, StoreError> {
        let count = self.count_points(address, Some(filter.clone())).await?;
        let request = DeletePoints {
            collection_name: collection_name(address),
            wait: Some(true),
            points: Some(filter.into()),
            ..DeletePoints::default()
        };
        self.write("deleting images", Some(address), |client| client.delete_points(request.clone())).await?;
        Ok(count)
    }
}

fn unique_points(gallery: &str, image_ids: &[String]) -> Vec<PointId> {
    let unique: BTreeSet<&String> = image_ids.iter().collect();
    unique.into_iter().map(|image_id| point_id(gallery, image_id)).collect()
}

fn next_page_token(offset: Option<PointId>) -> Option<String> {
    match offset?.point_id_options? {
        PointIdOptions::Uuid(uuid) => Some(uuid),
        PointIdOptions::Num(number) => Some(number.to_string()),
    }
}

/// Where a page ended, as it was told.
fn page_offset(token: &str) -> Result<PointId, StoreError> {
    if uuid::Uuid::try_parse(token).is_ok() {
        return Ok(token.to_owned().into());
    }
    let reason = "is no place where a page of this gallery ended".to_owned();
    Err(StoreError::Invalid { field: "page_token".to_owned(), reason })
}

fn stored_image(address: &str, point: RetrievedPoint) -> Result<GalleryImage, StoreError> {
    let embedding = embedding_from(address, point.vectors.unwrap_or_default())?;
    let (image_id, metadata) = image_from_payload(address, point.payload)?;
    Ok(GalleryImage { image_id, embedding, metadata })
}
