//! Searching captions to see how near images come, by chance and by right.

use super::{Calibration, MIN_BACKGROUND_CAPTIONS, Observation};
use crate::SearchError;
use crate::encoder_pool::EncoderPool;
use crate::validation::invalid;
use descry_model::Embedding;
use descry_store::{Generation, NearestQuery, SearchFilter, VectorStore, now_ms};
use futures::stream::{StreamExt as _, TryStreamExt as _};

/// A caption to learn from.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Caption {
    pub(crate) text: String,
    /// The person described, where that person is in the gallery.
    pub(crate) person_id: Option<String>,
}

/// Hits of each caption that are looked at.
const HITS: usize = 10;

/// Captions searched at the same time; interactive work goes between.
const CONCURRENT_CAPTIONS: usize = 8;

/// Learns what scores of a generation mean.
///
/// A caption of a person who is in the gallery counts twice: as one that should find somebody, and, with that person's
/// images left out, as one that should not.
pub(crate) async fn measure(
    encoders: &EncoderPool,
    store: &dyn VectorStore,
    generation: &Generation,
    captions: Vec<Caption>,
) -> Result<Calibration, SearchError> {
    let (encoder, _) = encoders.of(&generation.gallery, &generation.fingerprint).await?;
    let encoder = &encoder;
    let observed = futures::stream::iter(captions.into_iter().enumerate()).map(|(index, caption)| async move {
        let encoded = encoder.encode_text(caption.text, &format!("captions[{index}].text")).await?;
        generation.require_model(&encoded.fingerprint, encoded.embedding.dimension())?;
        observe(store, generation, encoded.embedding, caption.person_id).await
    });
    let observed: Vec<(Option<Observation>, Option<Observation>)> =
        observed.buffer_unordered(CONCURRENT_CAPTIONS).try_collect().await?;
    let (background, labelled): (Vec<_>, Vec<_>) = observed.into_iter().unzip();
    let background: Vec<Observation> = background.into_iter().flatten().collect();
    let labelled: Vec<Observation> = labelled.into_iter().flatten().collect();
    Calibration::fit(&generation.fingerprint, &background, &labelled, now_ms()).ok_or_else(|| {
        let found = background.len();
        let reason = format!(
            "{found} of them found images of other people; at least {MIN_BACKGROUND_CAPTIONS} are needed, and a gallery \
             with images"
        );
        invalid("captions", reason)
    })
}

/// What a caption finds of other people, and what of the right one.
async fn observe(
    store: &dyn VectorStore,
    generation: &Generation,
    embedding: Embedding,
    person_id: Option<String>,
) -> Result<(Option<Observation>, Option<Observation>), SearchError> {
    let query = NearestQuery::new(embedding, generation.fingerprint.clone(), HITS);
    let observation = |hits: &[descry_store::Hit], person_id: Option<&String>| {
        let right = person_id.map(|person| hits.iter().map(|hit| hit.metadata.person_id.as_ref() == Some(person)));
        Observation {
            scores: hits.iter().map(|hit| hit.score).collect(),
            right: right.map(Iterator::collect).unwrap_or_default(),
        }
    };
    let own = SearchFilter { person_ids: person_id.iter().cloned().collect(), ..SearchFilter::default() };
    // A person who has no image here is as good as any other who is not in the gallery.
    let is_here = person_id.is_some() && store.count(generation, &own).await? > 0;
    let Some(person_id) = person_id.filter(|_| is_here) else {
        let hits = store.nearest(generation, query).await?;
        return Ok(((!hits.is_empty()).then(|| observation(&hits, None)), None));
    };
    let others = NearestQuery { filter: SearchFilter { none: vec![own], ..SearchFilter::default() }, ..query.clone() };
    let (with, without) =
        futures::future::try_join(store.nearest(generation, query), store.nearest(generation, others)).await?;
    let background = (!without.is_empty()).then(|| observation(&without, None));
    Ok((background, Some(observation(&with, Some(&person_id)))))
}
