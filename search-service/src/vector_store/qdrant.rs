//! Galleries in a Qdrant server or cluster: the store for production.
//!
//! What identifies a gallery is in the metadata of its collections, so every instance of the service finds the same,
//! and nothing is cached here: a gallery that another instance deleted, switched or made anew is noticed at the next
//! request. Each call finds out once which collection an alias stands for and keeps to it, so that no switch changes
//! the model under it.
//!
//! Three promises are weaker than in the embedded store. Large galleries are searched approximately, through Qdrant's
//! graph index, unless a query asks for exactness. When more than [`MAX_TIED_IMAGES`] images have exactly the score of
//! the last hit, which of them are reported is up to the server; their order is not. And of persons, ties at the limit
//! are broken by the server.

mod collection;
mod config;
mod documents;
mod error;
mod filters;
mod generations;
mod points;
mod search;
mod store;

pub use config::{ApiKey, QdrantConfig};
pub use error::QdrantStoreError;
pub use search::MAX_TIED_IMAGES;

use super::{Gallery, SearchFilter};
use crate::SearchError;
use collection::{collection_name, gallery_from_collection};
use descry_serving::deadline;
use qdrant_client::qdrant::{CollectionInfo, CountPoints, Filter};
use qdrant_client::{Qdrant, QdrantError};
use std::time::Duration;
use tokio::time::Instant;

/// Points of one write or read request: small enough to pass every message limit, large enough to amortise a request.
const POINTS_PER_REQUEST: usize = 256;

/// A [`VectorStore`](super::VectorStore) on a Qdrant server.
pub struct QdrantStore {
    client: Qdrant,
    timeout: Duration,
    retry: RetryPolicy,
}

/// How long and how often a request is repeated while the server is unavailable. Every request can be repeated: ids
/// derive from gallery and image id.
#[derive(Debug, Clone, Copy)]
struct RetryPolicy {
    retry_for: Duration,
    first_pause: Duration,
    longest_pause: Duration,
}

impl QdrantStore {
    /// Prepares a client. The connection is made with the first request and again whenever it breaks, so that the
    /// service may start before its Qdrant; [`VectorStore::ready`](super::VectorStore::ready) tells.
    ///
    /// # Errors
    /// [`SearchError::Invalid`] for an address or key that cannot be one.
    pub fn connect(config: &QdrantConfig) -> Result<Self, SearchError> {
        let retry = RetryPolicy {
            retry_for: Duration::from_millis(config.retry_for_ms),
            first_pause: Duration::from_millis(config.min_retry_pause_ms.max(1)),
            longest_pause: Duration::from_millis(config.max_retry_pause_ms.max(1)),
        };
        Ok(Self { client: config.client()?, timeout: config.timeout(), retry })
    }

    /// Waits for an answer, but not longer than a request may take or its caller waits; repeats it while the server is
    /// unavailable. `gallery` is what a missing collection stands for.
    async fn call<T, Asked>(
        &self,
        activity: &'static str,
        gallery: Option<&str>,
        mut request: impl FnMut() -> Asked,
    ) -> Result<T, SearchError>
    where
        Asked: Future<Output = Result<T, QdrantError>>,
    {
        let limit = |longest: Duration| deadline::remaining().map_or(longest, |left| left.min(longest));
        let give_up = Instant::now() + limit(self.retry.retry_for);
        let mut pause = self.retry.first_pause;
        loop {
            let answer = match tokio::time::timeout(limit(self.timeout), request()).await {
                Ok(answer) => answer.map_err(|error| error::search_error(activity, gallery, error)),
                Err(_elapsed) => Err(SearchError::DeadlineExceeded { activity }),
            };
            match answer {
                Err(SearchError::Unavailable { .. }) if Instant::now() + pause < give_up => {
                    tracing::warn!(activity, pause_ms = pause.as_millis() as u64, "request to Qdrant repeated");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(self.retry.longest_pause);
                }
                answer => return answer,
            }
        }
    }

    async fn collection(&self, address: &str) -> Result<CollectionInfo, SearchError> {
        let name = collection_name(address);
        let answer =
            self.call("describing a gallery", Some(address), || self.client.collection_info(name.clone())).await?;
        answer.result.ok_or_else(|| SearchError::GalleryNotFound { name: address.to_owned() })
    }

    /// What identifies the generation that an address stands for at this moment. The number of images is left at 0:
    /// counting is a request of its own.
    async fn resolve(&self, address: &str) -> Result<Gallery, SearchError> {
        gallery_from_collection(address, &self.collection(address).await?)
    }

    /// A generation with its number of images.
    async fn described(&self, address: &str) -> Result<Gallery, SearchError> {
        let gallery = self.resolve(address).await?;
        let images = self.count_points(&gallery.address(), None).await?;
        let bytes = images * gallery.dimension as u64 * size_of::<f32>() as u64;
        Ok(Gallery { images, bytes, ..gallery })
    }

    async fn count_points(&self, address: &str, filter: Option<Filter>) -> Result<u64, SearchError> {
        let request = CountPoints {
            collection_name: collection_name(address),
            filter,
            exact: Some(true),
            ..CountPoints::default()
        };
        let answer = self.call("counting images", Some(address), || self.client.count(request.clone())).await?;
        Ok(answer.result.map_or(0, |result| result.count))
    }

    /// The filter as conditions, if the gallery declares all that it names.
    fn conditions(&self, gallery: &Gallery, filter: &SearchFilter) -> Result<Option<Filter>, SearchError> {
        filter.require_declared(&gallery.settings.indexed_attributes)?;
        Ok(filters::filter_conditions(&gallery.name, filter))
    }
}
