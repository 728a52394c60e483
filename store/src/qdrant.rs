//! Galleries in a Qdrant server or cluster: the store for production.
//!
//! What identifies a gallery is in the metadata of its collections, so every instance of the service finds the same,
//! and nothing is cached here: a gallery that another instance deleted, switched or made anew is noticed when it is next
//! looked up. A [`Generation`] names one collection, and no later one has its name, so nothing has to be asked before it
//! is worked on.
//!
//! Three promises are weaker than in the embedded store. Large galleries are searched approximately, through Qdrant's
//! graph index, unless a query asks for exactness. When more than [`MAX_TIED_IMAGES`] images have exactly the score of
//! the last hit, which of them are reported is up to the server; their order is not. And persons and tracks by their means
//! are looked for among those of the nearest images (`means.rs`), and of one with very many images only some are pooled, as
//! many as its hit tells, unless a query asks for exactness.

mod asking;
mod best_images;
mod client;
mod collection;
mod conditional;
mod config;
mod connection;
mod documents;
mod erasing;
mod error;
mod filters;
mod generations;
mod group_images;
mod group_names;
mod group_search;
mod groups;
mod means;
mod nodes;
mod pace;
mod passing;
mod points;
mod ranked_group;
mod search;
mod store;

pub use config::{ApiKey, QdrantConfig};
pub use error::QdrantStoreError;
pub use search::MAX_TIED_IMAGES;

use crate::{Generation, SearchFilter, StoreError};
use collection::{collection_name, generation_from_collection};
use descry_retry::{RemainingTime, RetryPolicy};
use nodes::Nodes;
use qdrant_client::qdrant::{CollectionInfo, CountPoints, Filter};
use std::time::Duration;

/// Points of one write or read request: small enough to pass every message limit, large enough to amortise a request.
const POINTS_PER_REQUEST: usize = 256;

/// A [`VectorStore`](crate::VectorStore) on a Qdrant server.
pub struct QdrantStore {
    nodes: Nodes,
    timeout: Duration,
    retry: RetryPolicy,
    /// How long a read waits before a second node is asked the same; zero for ever.
    hedge_after: Duration,
}

impl QdrantStore {
    /// Prepares a client. The connection is made with the first request and again whenever it breaks, so that the
    /// service may start before its Qdrant; [`VectorStore::ready`](crate::VectorStore::ready) tells.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] for an address or key that cannot be one.
    pub fn connect(config: &QdrantConfig, remaining_time: RemainingTime) -> Result<Self, StoreError> {
        let retry = RetryPolicy {
            retry_for: Duration::from_millis(config.retry_for_ms),
            first_pause: Duration::from_millis(config.min_retry_pause_ms.max(1)),
            longest_pause: Duration::from_millis(config.max_retry_pause_ms.max(1)),
            remaining_time,
        };
        let nodes = Nodes::new(config.clients()?, retry);
        let hedge_after = Duration::from_millis(config.hedge_after_ms);
        Ok(Self { nodes, timeout: config.timeout(), retry, hedge_after })
    }

    async fn collection(&self, address: &str) -> Result<CollectionInfo, StoreError> {
        let name = collection_name(address);
        let answer =
            self.look_up("describing a gallery", Some(address), |client| client.collection_info(name.clone())).await?;
        answer.result.ok_or_else(|| StoreError::GalleryNotFound { address: address.to_owned() })
    }

    /// What identifies the generation that an address stands for at this moment.
    async fn find(&self, address: &str) -> Result<Generation, StoreError> {
        generation_from_collection(address, &self.collection(address).await?)
    }

    async fn count_points(&self, address: &str, filter: Option<Filter>) -> Result<u64, StoreError> {
        let request = CountPoints {
            collection_name: collection_name(address),
            filter,
            exact: Some(true),
            ..CountPoints::default()
        };
        let answer = self.read("counting images", Some(address), |client| client.count(request.clone())).await?;
        Ok(answer.result.map_or(0, |result| result.count))
    }

    /// The filter as conditions, if the gallery declares all that it names.
    fn conditions(&self, generation: &Generation, filter: &SearchFilter) -> Result<Option<Filter>, StoreError> {
        filter.require_declared(&generation.settings.indexed_attributes)?;
        Ok(filters::filter_conditions(&generation.gallery, filter))
    }
}
