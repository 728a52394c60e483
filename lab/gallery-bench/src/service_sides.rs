//! The two that take turns: the service, and the bare store.

use crate::GalleryBenchError;
use crate::search_client::{Client, embedding_search, require_written, stored_image};
use descry_model::{Embedding, Fingerprint};
use descry_proto::search::v1 as proto;
use descry_store::{EmbeddedStore, GalleryImage, Generation, NearestQuery, VectorStore as _};
use futures::{StreamExt as _, TryStreamExt as _};
use std::time::{Duration, Instant};

/// The gallery of each side.
pub(crate) const GALLERY: &str = "bench";

/// Requests under way at once.
pub(crate) const REQUESTS_IN_FLIGHT: usize = 3;

/// Hits of a search.
const LIMIT: u32 = 10;

/// A side's answer to a query, and the time it took.
pub(crate) type Answered = (Vec<String>, Duration);

/// The service over gRPC.
pub(crate) struct ServiceSide {
    client: Client,
    fingerprint: Fingerprint,
}

/// The store without anything around it.
pub(crate) struct StoreSide {
    store: EmbeddedStore,
    gallery: Generation,
}

impl ServiceSide {
    pub(crate) async fn create(
        mut client: Client,
        fingerprint: &Fingerprint,
        dimension: usize,
    ) -> Result<Self, GalleryBenchError> {
        let request = proto::CreateGalleryRequest {
            name: GALLERY.to_owned(),
            fingerprint: fingerprint.to_string(),
            embedding_dimension: u32::try_from(dimension).unwrap_or(u32::MAX),
            ..proto::CreateGalleryRequest::default()
        };
        let created = client.create_gallery(request).await;
        created.map_err(|status| GalleryBenchError::refused("creating a gallery", &status))?;
        Ok(Self { client, fingerprint: fingerprint.clone() })
    }

    /// Writes some batches, a few requests at once. Making the messages is a client's affair and is not timed.
    pub(crate) async fn write(&self, batches: &[Vec<GalleryImage>]) -> Result<Duration, GalleryBenchError> {
        let request = |batch: &Vec<GalleryImage>| proto::IndexEmbeddingsRequest {
            gallery: GALLERY.to_owned(),
            fingerprint: self.fingerprint.to_string(),
            images: batch.iter().map(stored_image).collect(),
            ..Default::default()
        };
        let requests: Vec<proto::IndexEmbeddingsRequest> = batches.iter().map(request).collect();
        let begin = Instant::now();
        let sending = requests.into_iter().map(|request| {
            let mut client = self.client.clone();
            async move { client.index_embeddings(request).await }
        });
        let answers: Vec<tonic::Response<proto::IndexEmbeddingsResponse>> = futures::stream::iter(sending)
            .buffer_unordered(REQUESTS_IN_FLIGHT)
            .try_collect()
            .await
            .map_err(|status| GalleryBenchError::refused("writing embeddings", &status))?;
        let elapsed = begin.elapsed();
        let mut written = answers.into_iter().flat_map(|answer| answer.into_inner().results);
        written.try_for_each(require_written)?;
        Ok(elapsed)
    }

    pub(crate) async fn search(&self, query: &Embedding) -> Result<Answered, GalleryBenchError> {
        let mut client = self.client.clone();
        let request = embedding_search(GALLERY, &self.fingerprint, query, LIMIT);
        let begin = Instant::now();
        let answer = client.search(request).await;
        let elapsed = begin.elapsed();
        let answer = answer.map_err(|status| GalleryBenchError::refused("searching", &status))?.into_inner();
        Ok((answer.hits.into_iter().map(|hit| hit.image_id).collect(), elapsed))
    }
}

impl StoreSide {
    pub(crate) async fn create(
        store: EmbeddedStore,
        fingerprint: &Fingerprint,
        dimension: usize,
    ) -> Result<Self, GalleryBenchError> {
        let gallery = store.create_gallery(GALLERY, fingerprint, dimension).await?;
        Ok(Self { store, gallery })
    }

    /// Writes some batches, one after the other: the store has one writer.
    pub(crate) async fn write(&self, batches: &[Vec<GalleryImage>]) -> Result<Duration, GalleryBenchError> {
        let batches = batches.to_vec();
        let begin = Instant::now();
        for batch in batches {
            self.store.upsert(&self.gallery, &self.gallery.fingerprint, batch).await?;
        }
        Ok(begin.elapsed())
    }

    pub(crate) async fn search(&self, query: &Embedding) -> Result<Answered, GalleryBenchError> {
        let nearest = NearestQuery::new(query.clone(), self.gallery.fingerprint.clone(), LIMIT as usize);
        let begin = Instant::now();
        let hits = self.store.nearest(&self.gallery, nearest).await?;
        let elapsed = begin.elapsed();
        Ok((hits.into_iter().map(|hit| hit.image_id).collect(), elapsed))
    }
}
