//! The parts of a query as embeddings of a gallery's model.

use super::checks::field_of;
use super::parts::WeightedParts;
use super::query::{Part, PartKind, SearchSpec};
use crate::SearchError;
use crate::encoder_pool::EncoderPool;
use crate::validation::invalid;
use crate::vector_store::{Gallery, VectorStore};
use descry_model::Embedding;
use std::collections::HashMap;

/// Encodes all parts at the same time. Also tells whether a text was longer than the model reads.
pub(super) async fn encode(
    encoders: &EncoderPool,
    store: &dyn VectorStore,
    search: &SearchSpec,
    generation: &Gallery,
) -> Result<(WeightedParts, bool), SearchError> {
    let count = search.parts.len();
    let stored = stored_embeddings(store, search, generation).await?;
    let encoding = search.parts.iter().enumerate().map(|(index, part)| {
        let field = move |name: &str| field_of(index, count, name);
        encode_part(encoders, &stored, part, generation, field)
    });
    let encoded = futures::future::try_join_all(encoding).await?;
    let truncated = encoded.iter().any(|(_, truncated)| *truncated);
    let weights = search.parts.iter().map(|part| part.weight);
    let parts = encoded.into_iter().map(|(embedding, _)| embedding).zip(weights).collect();
    Ok((WeightedParts::new(parts)?, truncated))
}

async fn stored_embeddings(
    store: &dyn VectorStore,
    search: &SearchSpec,
    generation: &Gallery,
) -> Result<HashMap<String, Embedding>, SearchError> {
    let stored = |part: &Part| match &part.kind {
        PartKind::GalleryImage(image_id) => Some(image_id.clone()),
        PartKind::Text(_) | PartKind::Image(_) | PartKind::Embedding(..) => None,
    };
    let image_ids: Vec<String> = search.parts.iter().filter_map(stored).collect();
    if image_ids.is_empty() {
        return Ok(HashMap::new());
    }
    store.embeddings(&generation.address(), &image_ids).await
}

async fn encode_part(
    encoders: &EncoderPool,
    stored: &HashMap<String, Embedding>,
    part: &Part,
    generation: &Gallery,
    field: impl Fn(&str) -> String,
) -> Result<(Embedding, bool), SearchError> {
    let (embedding, fingerprint, truncated) = match &part.kind {
        PartKind::GalleryImage(image_id) => {
            let embedding = stored.get(image_id).cloned().ok_or_else(|| {
                invalid(field("image_id"), format!("gallery {:?} has no image {image_id:?}", generation.name))
            })?;
            return Ok((embedding, false));
        }
        PartKind::Embedding(embedding, fingerprint) => (embedding.clone(), fingerprint.clone(), false),
        PartKind::Text(text) => {
            let (encoder, _) = encoders.of(&generation.name, &generation.fingerprint).await?;
            let encoded = encoder.encode_text(text.clone(), &field("text")).await?;
            (encoded.embedding, encoded.fingerprint, encoded.truncated)
        }
        PartKind::Image(image) => {
            let (encoder, _) = encoders.of(&generation.name, &generation.fingerprint).await?;
            let encoded = encoder.encode_query_image(image.clone(), &field("image")).await?;
            (encoded.embedding, encoded.fingerprint, false)
        }
    };
    generation.require_model(&fingerprint, embedding.dimension())?;
    Ok((embedding, truncated))
}
