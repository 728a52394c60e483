//! Galleries in a Qdrant server or cluster: the store for production.
//!
//! Each gallery is one collection, `descry-<gallery>`. What identifies the gallery (fingerprint, dimension, creation
//! time) is in the metadata of the collection, so every instance of the service finds the same, and nothing is cached
//! here: a gallery that another instance deleted and made anew with another model is noticed at the next request.
//!
//! Two promises are weaker than in the embedded store. Large galleries are searched approximately, through Qdrant's
//! graph index. And when more than [`MAX_TIED_IMAGES`] images have exactly the score of the last hit, which of them
//! are reported is up to the server; their order is not.

mod config;
mod conversion;
mod error;

pub use config::{ApiKey, QdrantConfig};
pub use error::QdrantStoreError;

use super::{Gallery, GalleryImage, Hit, ImageMetadata, NearestQuery, VectorStore, check_dimension, now_ms};
use crate::SearchError;
use async_trait::async_trait;
use conversion::{PayloadField, collection_name, gallery_name, point_id};
use descry_model::Fingerprint;
use futures::stream::{StreamExt, TryStreamExt};
use qdrant_client::qdrant::{
    CollectionInfo, Condition, CountPoints, CreateCollection, CreateFieldIndexCollection, DeletePoints, FieldType,
    Filter, GetPoints, PointId, Query, QueryPoints, UpsertPoints, VectorInput,
};
use qdrant_client::{Qdrant, QdrantError};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

/// Points of one write or read request: small enough to pass every message limit, large enough to amortise a request.
const POINTS_PER_REQUEST: usize = 256;

/// Galleries asked about at the same time when all are listed.
const CONCURRENT_DESCRIPTIONS: usize = 8;

/// Up to this limit a query is sent as it is; above, it is first cut to the size of the gallery, because Qdrant
/// reserves memory by the limit.
const UNCHECKED_LIMIT: usize = 1_000;

/// How far beyond the limit a query looks for images that tie with the last hit.
pub const MAX_TIED_IMAGES: usize = 4_096;

/// A [`VectorStore`] on a Qdrant server.
pub struct QdrantStore {
    client: Qdrant,
    timeout: Duration,
}

impl QdrantStore {
    /// Prepares a client. The connection is made with the first request and again whenever it breaks, so that the
    /// service may start before its Qdrant; [`VectorStore::ready`] tells.
    ///
    /// # Errors
    /// [`SearchError::Invalid`] for an address or key that cannot be one.
    pub fn connect(config: &QdrantConfig) -> Result<Self, SearchError> {
        Ok(Self { client: config.client()?, timeout: config.timeout() })
    }

    /// Waits for an answer, but not longer than a request may take. `gallery` is what a missing collection stands for.
    async fn call<T>(
        &self,
        activity: &'static str,
        gallery: Option<&str>,
        request: impl Future<Output = Result<T, QdrantError>>,
    ) -> Result<T, SearchError> {
        match tokio::time::timeout(self.timeout, request).await {
            Ok(answer) => answer.map_err(|error| error::search_error(activity, gallery, error)),
            Err(_elapsed) => Err(SearchError::DeadlineExceeded { activity }),
        }
    }

    async fn collection(&self, name: &str) -> Result<CollectionInfo, SearchError> {
        let answer =
            self.call("describing a gallery", Some(name), self.client.collection_info(collection_name(name))).await?;
        answer.result.ok_or_else(|| SearchError::GalleryNotFound { name: name.to_owned() })
    }

    /// What identifies the gallery. The number of images is left at 0: counting is a request of its own.
    async fn identity(&self, name: &str) -> Result<Gallery, SearchError> {
        conversion::gallery_from_collection(name, &self.collection(name).await?)
    }

    async fn described(&self, name: &str) -> Result<Gallery, SearchError> {
        let identity = self.identity(name).await?;
        Ok(Gallery { images: self.count(name, None).await?, ..identity })
    }

    async fn count(&self, name: &str, filter: Option<Filter>) -> Result<u64, SearchError> {
        let request =
            CountPoints { collection_name: collection_name(name), filter, exact: Some(true), ..CountPoints::default() };
        let answer = self.call("counting images", Some(name), self.client.count(request)).await?;
        Ok(answer.result.map_or(0, |result| result.count))
    }

    /// Creates what the collection lacks of the indexes that filters need: also after a crash between the two.
    async fn create_indexes(&self, name: &str, existing: &CollectionInfo) -> Result<(), SearchError> {
        for field in PayloadField::INDEXED {
            if existing.payload_schema.contains_key(field.name()) {
                continue;
            }
            let field_type = if field == PayloadField::CapturedAtMs { FieldType::Integer } else { FieldType::Keyword };
            let request = CreateFieldIndexCollection {
                collection_name: collection_name(name),
                wait: Some(true),
                field_name: field.name().to_owned(),
                field_type: Some(field_type.into()),
                ..CreateFieldIndexCollection::default()
            };
            self.call("indexing a payload field", Some(name), self.client.create_field_index(request)).await?;
        }
        Ok(())
    }

    async fn query(&self, name: &str, query: &NearestQuery, limit: usize) -> Result<Vec<Hit>, SearchError> {
        let request = QueryPoints {
            collection_name: collection_name(name),
            query: Some(Query::new_nearest(VectorInput::new_dense(query.embedding.as_slice().to_vec()))),
            filter: conversion::filter_conditions(&query.filter),
            limit: Some(limit as u64),
            with_payload: Some(true.into()),
            ..QueryPoints::default()
        };
        let answer = self.call("searching", Some(name), self.client.query(request)).await?;
        let mut hits = answer
            .result
            .into_iter()
            .map(|point| conversion::hit_from_point(name, point))
            .collect::<Result<Vec<_>, _>>()?;
        hits.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.image_id.cmp(&b.image_id)));
        Ok(hits)
    }
}

#[async_trait]
impl VectorStore for QdrantStore {
    async fn create_gallery(
        &self,
        name: &str,
        fingerprint: &Fingerprint,
        dimension: usize,
    ) -> Result<Gallery, SearchError> {
        check_dimension(dimension)?;
        let gallery = Gallery {
            name: name.to_owned(),
            fingerprint: fingerprint.clone(),
            dimension,
            images: 0,
            created_at_ms: now_ms(),
        };
        match self.collection(name).await {
            Err(SearchError::GalleryNotFound { .. }) => {
                let request: CreateCollection = conversion::new_collection(&gallery);
                let created = self.call("creating a gallery", Some(name), self.client.create_collection(request)).await;
                // Another instance may have been faster, or the answer was lost: what counts is what is there now.
                if let Err(error) = created
                    && matches!(self.collection(name).await, Err(SearchError::GalleryNotFound { .. }))
                {
                    return Err(error);
                }
            }
            Err(error) => return Err(error),
            Ok(_existing) => {}
        }
        let collection = self.collection(name).await?;
        let gallery = conversion::gallery_from_collection(name, &collection)?.created_again(fingerprint, dimension)?;
        self.create_indexes(name, &collection).await?;
        Ok(Gallery { images: self.count(name, None).await?, ..gallery })
    }

    async fn gallery(&self, name: &str) -> Result<Gallery, SearchError> {
        self.described(name).await
    }

    async fn list_galleries(&self) -> Result<Vec<Gallery>, SearchError> {
        let answer = self.call("listing galleries", None, self.client.list_collections()).await?;
        let names: BTreeSet<String> = answer
            .collections
            .iter()
            .filter_map(|collection| gallery_name(&collection.name).map(str::to_owned))
            .collect();
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

    async fn delete_gallery(&self, name: &str) -> Result<(), SearchError> {
        // Never delete a collection that is not ours.
        self.identity(name).await?;
        let request = self.client.delete_collection(collection_name(name));
        let answer = self.call("deleting a gallery", Some(name), request).await?;
        if answer.result { Ok(()) } else { Err(SearchError::GalleryNotFound { name: name.to_owned() }) }
    }

    async fn upsert(
        &self,
        name: &str,
        fingerprint: &Fingerprint,
        images: Vec<GalleryImage>,
    ) -> Result<(), SearchError> {
        self.identity(name).await?.require_model_of_images(fingerprint, &images)?;
        // One image per id, the last: Qdrant does not say which of two in one request it keeps.
        let images: BTreeMap<String, GalleryImage> =
            images.into_iter().map(|image| (image.image_id.clone(), image)).collect();
        let points = images
            .into_values()
            .map(|image| conversion::point_from_image(name, image))
            .collect::<Result<Vec<_>, _>>()?;
        for points in points.chunks(POINTS_PER_REQUEST) {
            let request = UpsertPoints {
                collection_name: collection_name(name),
                wait: Some(true),
                points: points.to_vec(),
                ..UpsertPoints::default()
            };
            self.call("writing images", Some(name), self.client.upsert_points(request)).await?;
        }
        Ok(())
    }

    async fn delete_images(&self, name: &str, image_ids: &[String]) -> Result<u64, SearchError> {
        self.identity(name).await?;
        let unique: BTreeSet<&String> = image_ids.iter().collect();
        let points: Vec<PointId> = unique.into_iter().map(|image_id| point_id(name, image_id)).collect();
        let mut deleted = 0;
        for points in points.chunks(POINTS_PER_REQUEST) {
            // Deleting does not tell how many were there.
            deleted += self.count(name, Some(Filter::must([Condition::has_id(points.to_vec())]))).await?;
            let request = DeletePoints {
                collection_name: collection_name(name),
                wait: Some(true),
                points: Some(points.to_vec().into()),
                ..DeletePoints::default()
            };
            self.call("deleting images", Some(name), self.client.delete_points(request)).await?;
        }
        Ok(deleted)
    }

    async fn images(&self, name: &str, image_ids: &[String]) -> Result<HashMap<String, ImageMetadata>, SearchError> {
        self.identity(name).await?;
        let unique: BTreeSet<&String> = image_ids.iter().collect();
        let points: Vec<PointId> = unique.into_iter().map(|image_id| point_id(name, image_id)).collect();
        let mut found = HashMap::new();
        for ids in points.chunks(POINTS_PER_REQUEST) {
            let request = GetPoints {
                collection_name: collection_name(name),
                ids: ids.to_vec(),
                with_payload: Some(true.into()),
                ..GetPoints::default()
            };
            let answer = self.call("reading images", Some(name), self.client.get_points(request)).await?;
            for point in answer.result {
                let (image_id, metadata) = conversion::image_from_payload(name, point.payload)?;
                found.insert(image_id, metadata);
            }
        }
        Ok(found)
    }

    async fn nearest(&self, name: &str, query: NearestQuery) -> Result<Vec<Hit>, SearchError> {
        self.identity(name).await?.require_model(&query.fingerprint, query.embedding.dimension())?;
        let mut limit = query.limit;
        if limit > UNCHECKED_LIMIT {
            limit = limit.min(usize::try_from(self.count(name, None).await?).unwrap_or(usize::MAX));
        }
        if limit == 0 {
            return Ok(Vec::new());
        }
        // Ties with the last hit may hide behind the limit: ask for more until a worse image shows that all are seen.
        let most = limit.saturating_add(MAX_TIED_IMAGES);
        let mut asked = limit.saturating_add(1);
        loop {
            let mut hits = self.query(name, &query, asked).await?;
            let all_ties_seen = hits.len() < asked
                || hits.last().zip(hits.get(limit - 1)).is_none_or(|(last, cut)| last.score < cut.score);
            if all_ties_seen || asked >= most {
                hits.truncate(limit);
                return Ok(hits);
            }
            asked = asked.saturating_mul(4).min(most);
        }
    }

    async fn ready(&self) -> Result<(), SearchError> {
        // Unlike the health check this needs the right key.
        self.call("probing Qdrant", None, self.client.list_collections()).await.map(drop)
    }
}
