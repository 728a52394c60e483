//! Searching captions to see how near images come, by chance and by right.

use super::{Calibration, GroupCalibration, MIN_BACKGROUND_CAPTIONS, Observation};
use crate::SearchError;
use crate::encoder_pool::EncoderPool;
use crate::validation::invalid;
use descry_model::Embedding;
use descry_store::{Generation, GroupBy, Grouping, NearestQuery, Pool, SearchFilter, VectorStore, now_ms};
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
    let encode = |index: usize, text: String| async move {
        let encoded = encoder.encode_text(text, &format!("captions[{index}].text")).await?;
        generation.require_model(&encoded.fingerprint, encoded.embedding.dimension())?;
        Ok::<_, SearchError>(encoded.embedding)
    };
    let groupings = match captions.first() {
        Some(first) => groupings_of(store, generation, encode(0, first.text.clone()).await?).await?,
        None => Vec::new(),
    };
    let groupings = &groupings;
    let observed = futures::stream::iter(captions.into_iter().enumerate()).map(|(index, caption)| async move {
        let embedding = encode(index, caption.text).await?;
        observe(store, generation, embedding, caption.person_id, groupings).await
    });
    let observed: Vec<Vec<Observed>> = observed.buffer_unordered(CONCURRENT_CAPTIONS).try_collect().await?;
    let background = |kind: usize| observed.iter().filter_map(|of| of[kind].0.clone()).collect::<Vec<Observation>>();
    let labelled = |kind: usize| observed.iter().filter_map(|of| of[kind].1.clone()).collect::<Vec<Observation>>();
    let fit = |kind: usize| Calibration::fit(&generation.fingerprint, &background(kind), &labelled(kind), now_ms());
    let of_images = fit(0).ok_or_else(|| {
        let found = background(0).len();
        let reason = format!(
            "{found} of them found images of other people; at least {MIN_BACKGROUND_CAPTIONS} are needed, and a gallery \
             with images"
        );
        invalid("captions", reason)
    })?;
    let of_groups = groupings
        .iter()
        .enumerate()
        .filter_map(|(index, grouping)| fit(index + 1).map(|fitted| GroupCalibration::new(*grouping, &fitted)));
    Ok(Calibration { groups: of_groups.collect(), ..of_images })
}

/// What one caption found of other people, and what of the right one.
type Observed = (Option<Observation>, Option<Observation>);

/// The kinds of groups that a gallery has.
async fn groupings_of(
    store: &dyn VectorStore,
    generation: &Generation,
    any: Embedding,
) -> Result<Vec<Grouping>, SearchError> {
    let mut groupings = Vec::new();
    for by in [GroupBy::Person, GroupBy::Track] {
        let query = NearestQuery::new(any.clone(), generation.fingerprint.clone(), 1);
        if !store.nearest_groups(generation, query, Grouping { by, pool: Pool::Best }).await?.is_empty() {
            groupings.extend([Pool::Best, Pool::Mean].map(|pool| Grouping { by, pool }));
        }
    }
    Ok(groupings)
}

/// What a caption finds of other people, and what of the right one: of images first, then of each kind of group.
async fn observe(
    store: &dyn VectorStore,
    generation: &Generation,
    embedding: Embedding,
    person_id: Option<String>,
    groupings: &[Grouping],
) -> Result<Vec<Observed>, SearchError> {
    let query = NearestQuery::new(embedding, generation.fingerprint.clone(), HITS);
    let own = SearchFilter { person_ids: person_id.iter().cloned().collect(), ..SearchFilter::default() };
    // A person who has no image here is as good as any other who is not in the gallery.
    let is_here = person_id.is_some() && store.count(generation, &own).await? > 0;
    let person_id = person_id.filter(|_| is_here);
    let mut observed = Vec::with_capacity(groupings.len() + 1);
    for grouping in std::iter::once(None).chain(groupings.iter().copied().map(Some)) {
        let found =
            |filter: SearchFilter| nearest(store, generation, NearestQuery { filter, ..query.clone() }, grouping);
        let Some(person_id) = &person_id else {
            let hits = found(SearchFilter::default()).await?;
            observed.push(((!hits.is_empty()).then(|| observation(&hits, None)), None));
            continue;
        };
        let others = SearchFilter { none: vec![own.clone()], ..SearchFilter::default() };
        let (with, without) = futures::future::try_join(found(SearchFilter::default()), found(others)).await?;
        let background = (!without.is_empty()).then(|| observation(&without, None));
        // A person without track is in no group of that kind, which says nothing of what is right.
        let is_grouped = grouping.is_none() || !found(own.clone()).await?.is_empty();
        let labelled = is_grouped.then(|| observation(&with, Some(person_id)));
        observed.push((background, labelled));
    }
    Ok(observed)
}

/// Scores, falling, and whom the hits show.
type Shown = Vec<(f32, Option<String>)>;

async fn nearest(
    store: &dyn VectorStore,
    generation: &Generation,
    query: NearestQuery,
    grouping: Option<Grouping>,
) -> Result<Shown, SearchError> {
    Ok(match grouping {
        None => {
            let hits = store.nearest(generation, query).await?;
            hits.into_iter().map(|hit| (hit.score, hit.metadata.person_id)).collect()
        }
        Some(grouping) => {
            let hits = store.nearest_groups(generation, query, grouping).await?;
            hits.into_iter().map(|hit| (hit.score, hit.best.metadata.person_id)).collect()
        }
    })
}

fn observation(hits: &[(f32, Option<String>)], person_id: Option<&String>) -> Observation {
    let right = person_id.map(|person| hits.iter().map(|(_, shown)| shown.as_ref() == Some(person)).collect());
    Observation { scores: hits.iter().map(|(score, _)| *score).collect(), right: right.unwrap_or_default() }
}
