//! The parts of a query become embeddings of a gallery's model, and these one to look for; a hit tells what each adds.

use super::query::{Part, PartKind, SearchSpec, field_of};
use crate::SearchError;
use crate::encoder_client::Uncounted;
use crate::encoder_pool::EncoderPool;
use crate::validation::invalid;
use descry_model::Embedding;
use descry_store::{Generation, VectorStore};
use std::collections::HashMap;

/// The parts of a query as embeddings of one model.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct WeightedParts {
    parts: Vec<(Embedding, f32)>,
    /// The direction of the weighted sum.
    sum: Embedding,
    /// Length of the weighted sum.
    length: f32,
}

/// Below this length of the sum, for weights of about one, its direction is noise.
const LEAST_LENGTH: f64 = 1e-3;

impl WeightedParts {
    /// # Errors
    /// [`SearchError::Invalid`] when no weight is positive, or the parts cancel each other out.
    pub(super) fn new(parts: Vec<(Embedding, f32)>) -> Result<Self, SearchError> {
        if !parts.iter().any(|(_, weight)| *weight > 0.0) {
            return Err(invalid("query.parts", "at least one part needs a positive weight"));
        }
        let dimension = parts.iter().map(|(embedding, _)| embedding.dimension()).max().unwrap_or_default();
        let mut sum = vec![0.0_f64; dimension];
        for (embedding, weight) in &parts {
            for (sum, value) in sum.iter_mut().zip(embedding.as_slice()) {
                *sum += f64::from(*weight) * f64::from(*value);
            }
        }
        let length = sum.iter().map(|value| value * value).sum::<f64>().sqrt();
        let largest = parts.iter().fold(0.0_f64, |largest, (_, weight)| largest.max(f64::from(weight.abs())));
        let cancelled = || invalid("query.parts", "the parts cancel each other out; lower the negative weights");
        if length < LEAST_LENGTH * largest {
            return Err(cancelled());
        }
        let direction = sum.iter().map(|value| (value / length) as f32).collect();
        let sum = Embedding::normalized(direction).map_err(|_| cancelled())?;
        Ok(Self { parts, sum, length: length as f32 })
    }

    /// What is looked for.
    pub(super) fn sum(&self) -> &Embedding {
        &self.sum
    }

    pub(super) fn parts(&self) -> &[(Embedding, f32)] {
        &self.parts
    }

    /// What each part adds to the cosine of an image to the sum. Adds up to that cosine.
    pub(super) fn contributions(&self, image: &Embedding) -> Vec<f32> {
        let contribution =
            |(part, weight): &(Embedding, f32)| weight * part.cosine(image).unwrap_or_default() / self.length;
        self.parts.iter().map(contribution).collect()
    }
}

/// Encodes all parts at the same time. Also tells what of the texts did not count.
pub(super) async fn encode(
    encoders: &EncoderPool,
    store: &dyn VectorStore,
    search: &SearchSpec,
    generation: &Generation,
) -> Result<(WeightedParts, Uncounted), SearchError> {
    let count = search.parts.len();
    let stored = stored_embeddings(store, search, generation).await?;
    let encoding = search.parts.iter().enumerate().map(|(index, part)| {
        let field = move |name: &str| field_of(index, count, name);
        encode_part(encoders, &stored, part, generation, field)
    });
    let encoded = futures::future::try_join_all(encoding).await?;
    let uncounted = encoded.iter().fold(Uncounted::default(), |all, (_, uncounted)| all.join(uncounted));
    let weights = search.parts.iter().map(|part| part.weight);
    let parts = encoded.into_iter().map(|(embedding, _)| embedding).zip(weights).collect();
    Ok((WeightedParts::new(parts)?, uncounted))
}

async fn stored_embeddings(
    store: &dyn VectorStore,
    search: &SearchSpec,
    generation: &Generation,
) -> Result<HashMap<String, Embedding>, SearchError> {
    let stored = |part: &Part| match &part.kind {
        PartKind::GalleryImage(image_id) => Some(image_id.clone()),
        PartKind::Text(_) | PartKind::Image(_) | PartKind::Embedding(..) => None,
    };
    let image_ids: Vec<String> = search.parts.iter().filter_map(stored).collect();
    if image_ids.is_empty() {
        return Ok(HashMap::new());
    }
    Ok(store.embeddings(generation, &image_ids).await?)
}

async fn encode_part(
    encoders: &EncoderPool,
    stored: &HashMap<String, Embedding>,
    part: &Part,
    generation: &Generation,
    field: impl Fn(&str) -> String,
) -> Result<(Embedding, Uncounted), SearchError> {
    let (embedding, fingerprint, uncounted) = match &part.kind {
        PartKind::GalleryImage(image_id) => {
            let embedding = stored.get(image_id).cloned().ok_or_else(|| {
                invalid(field("image_id"), format!("gallery {:?} has no image {image_id:?}", generation.gallery))
            })?;
            return Ok((embedding, Uncounted::default()));
        }
        PartKind::Embedding(embedding, fingerprint) => (embedding.clone(), fingerprint.clone(), Uncounted::default()),
        PartKind::Text(text) => {
            let (encoder, _) = encoders.of(&generation.gallery, &generation.fingerprint).await?;
            let encoded = encoder.encode_text(text.clone(), &field("text")).await?;
            (encoded.embedding, encoded.fingerprint, encoded.uncounted)
        }
        PartKind::Image(image) => {
            let (encoder, _) = encoders.of(&generation.gallery, &generation.fingerprint).await?;
            let encoded = encoder
                .encode_query_image(image.clone(), generation.settings.apply_exif_orientation, &field("image"))
                .await?;
            (encoded.embedding, encoded.fingerprint, Uncounted::default())
        }
    };
    generation.require_model(&fingerprint, embedding.dimension())?;
    Ok((embedding, uncounted))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn unit(values: &[f32]) -> Embedding {
        Embedding::normalized(values.to_vec()).unwrap()
    }

    #[test]
    fn what_leaves_nothing_to_look_for_is_refused() {
        let refused = |parts: &[(&[f32], f32)]| {
            let parts = parts.iter().map(|(values, weight)| (unit(values), *weight)).collect();
            WeightedParts::new(parts).unwrap_err().to_string()
        };
        assert!(refused(&[(&[1.0, 0.0], -1.0)]).contains("positive weight"));
        assert!(refused(&[(&[1.0, 0.0], 0.0)]).contains("positive weight"));
        assert!(refused(&[(&[1.0, 0.0], 1.0), (&[2.0, 0.0], -1.0)]).contains("cancel"));
    }

    #[test]
    fn a_negative_part_turns_the_query_away() {
        let parts = WeightedParts::new(vec![(unit(&[1.0, 0.2]), 1.0), (unit(&[0.0, 1.0]), -0.5)]).unwrap();
        assert!(parts.sum().as_slice()[1] < 0.0);
    }

    proptest! {
        #[test]
        fn contributions_add_up_to_the_score(
            values in proptest::collection::vec((-1.0_f32..1.0, -1.0_f32..1.0, -1.0_f32..1.0, -0.5_f32..1.0), 1..6),
            image in (-1.0_f32..1.0, -1.0_f32..1.0, 0.1_f32..1.0),
        ) {
            let parts = values.iter().filter_map(|&(a, b, c, weight)| {
                Some((Embedding::normalized(vec![a, b, c]).ok()?, weight))
            });
            let Ok(parts) = WeightedParts::new(parts.collect()) else { return Ok(()) };
            let image = unit(&[image.0, image.1, image.2]);
            let sum: f32 = parts.contributions(&image).iter().sum();
            let score = parts.sum().cosine(&image).unwrap();
            prop_assert!((sum - score).abs() < 1e-3 * (1.0 + 1.0 / parts.length), "{} {}", sum, score);
        }
    }
}
