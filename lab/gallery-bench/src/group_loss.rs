//! What the nearest people are without any doubt, from every embedding of the store, and how many of them are not found.

use crate::exact_search::{matrix, read_every_image};
use crate::group_report::GroupLoss;
use crate::{GalleryBenchError, Progress};
use descry_model::{Embedding, Fingerprint};
use descry_store::{GalleryImage, Generation, GroupBy, GroupHit, Grouping, NearestQuery, Pool, VectorStore};
use ndarray::{Array2, ArrayView2};
use std::collections::{HashMap, HashSet};
use tokio_util::sync::CancellationToken;

/// Scores that differ by less are equal: sums of hundreds of embeddings in another order differ by as much.
const TIE: f32 = 1e-5;

/// People whose means are scored at once.
const PEOPLE_AT_ONCE: usize = 1_024;

/// Asks a store for the nearest people of each query, by best image and by mean, as usual and exactly, and compares them
/// with the true ones. Nothing when `stop` came before the end.
pub(crate) async fn measure_group_loss(
    store: &dyn VectorStore,
    gallery: &Generation,
    (queries, fingerprint): (&[Embedding], &Fingerprint),
    limit: usize,
    stop: &CancellationToken,
    progress: Progress<'_>,
) -> Result<Vec<GroupLoss>, GalleryBenchError> {
    let mut losses = Vec::new();
    let Some(people) = every_person(store, gallery, queries, stop, progress).await? else { return Ok(losses) };
    for (pool, name) in [(Pool::Best, "best"), (Pool::Mean, "mean")] {
        let truth = people.scores(pool)?;
        for exact in [false, true] {
            let (mut found, mut wanted) = (0, 0);
            for (place, query) in queries.iter().enumerate() {
                if stop.is_cancelled() {
                    return Ok(losses);
                }
                let asked = NearestQuery { exact, ..NearestQuery::new(query.clone(), fingerprint.clone(), limit) };
                let hits = store.nearest_groups(gallery, asked, Grouping { by: GroupBy::Person, pool }).await?;
                let scores = truth.column(place).to_vec();
                let expected = limit.min(scores.len());
                found += people.true_hits(&hits, &scores, limit).min(expected);
                wanted += expected;
            }
            let loss = if wanted == 0 { 0.0 } else { 1.0 - found as f64 / wanted as f64 };
            losses.push(GroupLoss { pool: name, exact, queries: queries.len() as u64, limit: limit as u64, loss });
        }
    }
    Ok(losses)
}

async fn every_person(
    store: &dyn VectorStore,
    gallery: &Generation,
    queries: &[Embedding],
    stop: &CancellationToken,
    progress: Progress<'_>,
) -> Result<Option<People>, GalleryBenchError> {
    let mut people = People::new(queries)?;
    let told = ("scoring every person", progress);
    let is_whole = read_every_image(store, gallery, stop, told, |images| people.add(images)).await?;
    Ok(is_whole.then_some(people))
}

/// All people of a gallery: in memory, four bytes for each value of a person's sum and for each query.
#[derive(Debug)]
struct People {
    /// `[dimension, queries]` f32 of unit length.
    queries: Array2<f32>,
    /// The place of each person below.
    places: HashMap<String, usize>,
    /// `[people, dimension]`: sums of embeddings.
    sums: Vec<f32>,
    /// `[people, queries]`: scores of the best images.
    best: Vec<f32>,
}

impl People {
    fn new(queries: &[Embedding]) -> Result<Self, GalleryBenchError> {
        let (places, sums, best) = Default::default();
        Ok(Self { queries: matrix(queries.iter())?.reversed_axes(), places, sums, best })
    }

    fn add(&mut self, images: &[GalleryImage]) -> Result<(), GalleryBenchError> {
        if images.is_empty() {
            return Ok(());
        }
        let scores = matrix(images.iter().map(|image| &image.embedding))?.dot(&self.queries);
        let (dimension, queries) = self.queries.dim();
        for (image, scores) in images.iter().zip(scores.rows()) {
            let Some(person) = &image.metadata.person_id else { continue };
            let next = self.places.len();
            let place = *self.places.entry(person.clone()).or_insert(next);
            if place == next {
                self.sums.resize((next + 1) * dimension, 0.0);
                self.best.resize((next + 1) * queries, f32::NEG_INFINITY);
            }
            let sums = self.sums.iter_mut().skip(place * dimension);
            sums.zip(image.embedding.as_slice()).for_each(|(sum, value)| *sum += value);
            let best = self.best.iter_mut().skip(place * queries);
            best.zip(scores).for_each(|(best, score)| *best = best.max(*score));
        }
        Ok(())
    }

    /// `[people, queries]`.
    fn scores(&self, pool: Pool) -> Result<Array2<f32>, GalleryBenchError> {
        let (dimension, queries) = self.queries.dim();
        let malformed = |error| GalleryBenchError::Malformed { what: format!("sums of embeddings: {error}") };
        let people = self.places.len();
        if pool == Pool::Best {
            return Array2::from_shape_vec((people, queries), self.best.clone()).map_err(malformed);
        }
        let mut scores = Vec::with_capacity(people * queries);
        for sums in self.sums.chunks(PEOPLE_AT_ONCE * dimension) {
            let sums = ArrayView2::from_shape((sums.len() / dimension, dimension), sums).map_err(malformed)?;
            let products = sums.dot(&self.queries);
            for (sum, products) in sums.rows().into_iter().zip(products.rows()) {
                let length = sum.dot(&sum).sqrt();
                scores.extend(products.iter().map(|product| product / length));
            }
        }
        Array2::from_shape_vec((people, queries), scores).map_err(malformed)
    }

    /// How many of the hits are among the `limit` nearest by these scores of all people.
    fn true_hits(&self, hits: &[GroupHit], scores: &[f32], limit: usize) -> usize {
        let mut falling = scores.to_vec();
        let Some(last) = limit.min(scores.len()).checked_sub(1) else { return 0 };
        let lowest = *falling.select_nth_unstable_by(last, |left, right| right.total_cmp(left)).1;
        let places = hits.iter().filter_map(|hit| self.places.get(hit.best.metadata.person_id.as_deref()?));
        // A person who is reported twice counts once.
        let found: HashSet<usize> = places.copied().collect();
        found.into_iter().filter(|&place| scores[place] >= lowest - TIE).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use descry_store::{Hit, ImageMetadata};

    fn image(person: Option<&str>, values: [f32; 2]) -> GalleryImage {
        let metadata = ImageMetadata { person_id: person.map(str::to_owned), ..ImageMetadata::default() };
        let embedding = Embedding::normalized(values.to_vec()).unwrap();
        GalleryImage { image_id: format!("{person:?} {values:?}"), embedding, metadata }
    }

    fn hit(person: &str) -> GroupHit {
        let GalleryImage { image_id, metadata, .. } = image(Some(person), [1.0, 0.0]);
        GroupHit::of_best(Hit { image_id, score: 0.0, metadata, embedding: None })
    }

    #[test]
    fn a_person_who_is_not_found_is_lost() {
        let mut people = People::new(&[image(None, [1.0, 0.0]).embedding]).unwrap();
        people.add(&[image(Some("ann"), [1.0, 0.0]), image(None, [1.0, 0.0]), image(Some("bob"), [0.8, 0.6])]).unwrap();
        people.add(&[image(Some("ann"), [0.0, 1.0]), image(Some("cat"), [0.0, 1.0])]).unwrap();
        let hits = |names: &[&str]| names.iter().map(|name| hit(name)).collect::<Vec<_>>();
        let by_mean = people.scores(Pool::Mean).unwrap().column(0).to_vec();
        assert!((by_mean[0] - 0.5_f32.sqrt()).abs() < 1e-6, "{by_mean:?}");
        let by_best = people.scores(Pool::Best).unwrap().column(0).to_vec();
        assert!((by_best[0] - 1.0).abs() < 1e-6 && (by_best[1] - 0.8).abs() < 1e-6, "{by_best:?}");
        for (scores, limit, found, expected) in [
            (&by_best, 1, vec!["ann"], 1),
            (&by_best, 1, vec!["bob"], 0),
            (&by_mean, 1, vec!["bob"], 1),
            (&by_mean, 2, vec!["bob", "bob"], 1),
            (&by_mean, 2, vec!["bob", "cat"], 1),
            (&by_mean, 9, vec!["bob", "ann", "cat", "nobody"], 3),
        ] {
            assert_eq!(people.true_hits(&hits(&found), scores, limit), expected, "{found:?} of {limit}");
        }
        assert_eq!(People::new(&[]).unwrap().true_hits(&[], &[], 3), 0);
    }
}
