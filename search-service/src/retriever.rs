//! A query becomes a ranked list of images.

use crate::SearchError;
use crate::config::RequestLimits;
use crate::encoder_client::{EncodedQuery, EncoderClient};
use crate::validation::{check_filter, check_gallery_name, invalid};
use crate::vector_store::{Hit, NearestQuery, SearchFilter, VectorStore};
use descry_model::Fingerprint;
use std::sync::Arc;

const DEFAULT_HITS: usize = 10;

/// What to look for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Query {
    /// A description of a person.
    Text(String),
    /// A whole image file of a person.
    Image(Vec<u8>),
}

/// A ranked gallery.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ranking {
    pub(crate) hits: Vec<Hit>,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) truncated: bool,
}

/// Encodes queries and asks the store.
#[derive(Clone)]
pub(crate) struct Retriever {
    encoder: EncoderClient,
    store: Arc<dyn VectorStore>,
    limits: RequestLimits,
}

impl Retriever {
    pub(crate) fn new(encoder: EncoderClient, store: Arc<dyn VectorStore>, limits: RequestLimits) -> Self {
        Self { encoder, store, limits }
    }

    /// Ranks the images of a gallery. A `limit` of 0 means the default.
    pub(crate) async fn search(
        &self,
        gallery: &str,
        query: Query,
        limit: usize,
        filter: SearchFilter,
    ) -> Result<Ranking, SearchError> {
        check_gallery_name(gallery)?;
        check_filter(&filter, &self.limits)?;
        if limit > self.limits.max_hits {
            return Err(invalid("limit", format!("{limit}, at most {} are allowed", self.limits.max_hits)));
        }
        let limit = if limit == 0 { DEFAULT_HITS.min(self.limits.max_hits) } else { limit };
        let EncodedQuery { embedding, fingerprint, truncated } = self.encode(query).await?;
        let nearest = NearestQuery { embedding, fingerprint: fingerprint.clone(), limit, filter };
        let hits = self.store.nearest(gallery, nearest).await?;
        Ok(Ranking { hits, fingerprint, truncated })
    }

    async fn encode(&self, query: Query) -> Result<EncodedQuery, SearchError> {
        let too_large = |field: &str, bytes: usize, max: usize| {
            Err(invalid(field, format!("{bytes} bytes, at most {max} are allowed")))
        };
        match query {
            Query::Text(text) if text.len() > self.limits.max_text_bytes => {
                too_large("query.text", text.len(), self.limits.max_text_bytes)
            }
            Query::Image(image) if image.len() > self.limits.max_image_bytes => {
                too_large("query.image", image.len(), self.limits.max_image_bytes)
            }
            Query::Text(text) => self.encoder.encode_text(text).await,
            Query::Image(image) => self.encoder.encode_query_image(image).await,
        }
    }
}
