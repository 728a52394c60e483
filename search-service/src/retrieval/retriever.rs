//! A query becomes a ranked list of images: its parts are encoded, the store is asked, and scores get their meaning.

use super::parts::{WeightedParts, encode};
use super::query::{Fusion, Part, PartKind, Ranking, SearchSpec};
use super::ranking::Ranker;
use super::sightings::{self, Most};
use crate::SearchError;
use crate::admission::{Admission, Kind, Patience, Turn};
use crate::audit;
use crate::calibration::Calibrations;
use crate::config::RequestLimits;
use crate::encoder_client::Uncounted;
use crate::encoder_pool::EncoderPool;
use crate::recall::RecallProbe;
use crate::validation::{check_id, invalid};
use descry_model::Embedding;
use descry_store::{Generation, SearchFilter, VectorStore};
use std::sync::Arc;

/// Encodes queries and asks the store.
#[derive(Clone)]
pub(crate) struct Retriever {
    pub(crate) encoders: EncoderPool,
    pub(crate) store: Arc<dyn VectorStore>,
    pub(crate) calibrations: Calibrations,
    /// Whose turn it is to search.
    pub(crate) admission: Admission,
    /// Makes some searches again, exactly.
    pub(crate) probe: RecallProbe,
    pub(crate) limits: RequestLimits,
}

impl Retriever {
    /// Ranks the images of a gallery, its persons or its tracks.
    pub(crate) async fn search(&self, mut search: SearchSpec, patience: Patience) -> Result<Ranking, SearchError> {
        search.check(&self.limits)?;
        self.answer(&search, patience).await
    }

    async fn answer(&self, search: &SearchSpec, patience: Patience) -> Result<Ranking, SearchError> {
        match self.attempt(search, patience).await {
            // The gallery was switched to another generation meanwhile, or encoders were.
            Err(error) if error.is_of_another_model() => self.attempt(search, patience).await,
            ranking => ranking,
        }
    }

    /// Ranks the rest after some hits were judged.
    pub(crate) async fn refine(
        &self,
        mut search: SearchSpec,
        accepted: Vec<String>,
        rejected: Vec<String>,
    ) -> Result<Ranking, SearchError> {
        let judged = accepted.len() + rejected.len();
        if judged > self.limits.max_judged {
            let reason = format!("{judged} judged images, at most {} are allowed", self.limits.max_judged);
            return Err(invalid("accepted_ids", reason));
        }
        for (field, ids) in [("accepted_ids", &accepted), ("rejected_ids", &rejected)] {
            ids.iter().try_for_each(|id| check_id(field, id, &self.limits))?;
        }
        if let Some(both) = accepted.iter().find(|id| rejected.contains(id)) {
            return Err(invalid("rejected_ids", format!("{both:?} is accepted as well")));
        }
        // The judged images are no parts of the caller's query: its own limit does not count them.
        search.check(&self.limits)?;
        self.answer(&refined(search, accepted, rejected), Patience::Usual).await
    }

    /// The embedding that a query looks for, and the generation that it was made for.
    pub(crate) async fn embedding_of(&self, mut search: SearchSpec) -> Result<(Embedding, Generation), SearchError> {
        search.check(&self.limits)?;
        let encoded = match self.encoded(&search, Patience::Usual).await {
            Err(error) if error.is_of_another_model() => self.encoded(&search, Patience::Usual).await,
            encoded => encoded,
        };
        let Encoded { parts, generation, turn, .. } = encoded?;
        turn.answered();
        Ok((parts.sum().clone(), generation))
    }

    /// Waits for the turn of a query, and encodes it for the generation that serves.
    async fn encoded(&self, search: &SearchSpec, patience: Patience) -> Result<Encoded, SearchError> {
        let generation = self.store.resolve(&search.gallery).await?;
        audit::note(&generation, None);
        let (kind, items) = needs(search);
        let turn = self.admission.turn(&generation.fingerprint, kind, items, patience).await?;
        let (parts, uncounted) = encode(&self.encoders, &*self.store, search, &generation).await?;
        Ok(Encoded { parts, uncounted, generation, turn })
    }

    async fn attempt(&self, search: &SearchSpec, patience: Patience) -> Result<Ranking, SearchError> {
        let Encoded { parts, uncounted, generation, turn } = self.encoded(search, patience).await?;
        let ranker = Ranker {
            store: &*self.store,
            search,
            generation: &generation,
            parts: &parts,
            probe: &self.probe,
            max_hits: self.limits.max_hits,
        };
        let mut hits = ranker.rank().await?;
        let calibration = self.calibrations.of(&generation).await?;
        audit::note(&generation, calibration.as_ref().map(|calibration| calibration.calibrated_at_ms));
        let not_in_gallery = match calibration {
            Some(calibration) => ranker.judge(&calibration, &mut hits).await?,
            None => None,
        };
        hits.drain(..search.offset.min(hits.len()));
        hits.truncate(search.limit);
        if let Some(grouping) = search.grouping {
            let most = Most { of_all: self.limits.max_sightings, of_one: search.max_sightings };
            sightings::add(&*self.store, &generation, (&search.filter, grouping.by), most, &mut hits).await?;
        }
        turn.answered();
        Ok(Ranking { hits, fingerprint: generation.fingerprint, uncounted, not_in_gallery })
    }
}

/// A query that is encoded.
struct Encoded {
    parts: WeightedParts,
    /// What of its texts did not count.
    uncounted: Uncounted,
    /// What it is for.
    generation: Generation,
    /// Held until it is answered.
    turn: Turn,
}

/// What a search needs most of, and how much.
fn needs(search: &SearchSpec) -> (Kind, usize) {
    let (mut images, mut texts) = (0, 0);
    for part in &search.parts {
        match part.kind {
            PartKind::Image(_) => images += 1,
            PartKind::Text(_) => texts += 1,
            PartKind::GalleryImage(_) | PartKind::Embedding(..) => {}
        }
    }
    match (images, texts) {
        (0, 0) => (Kind::Stored, 1),
        (0, texts) => (Kind::Texts, texts),
        (images, _) => (Kind::Images, images),
    }
}

/// What all accepted images count together, against the query's one.
const ACCEPTED: f32 = 0.75;

/// What all rejected images count together.
const REJECTED: f32 = 0.25;

/// The search for the rest: judged hits move the query towards the accepted ones and away from the rejected ones
/// (Rocchio, 1971), and are not shown again.
fn refined(mut search: SearchSpec, accepted: Vec<String>, rejected: Vec<String>) -> SearchSpec {
    let has_accepted_hits = !accepted.is_empty();
    // Positive weights of the query are brought to one, so that feedback counts the same however it was asked.
    let positive: f32 = search.parts.iter().map(|part| part.weight.max(0.0)).sum();
    if positive > 0.0 {
        search.parts.iter_mut().for_each(|part| part.weight /= positive);
    }
    for (image_ids, weight) in [(&accepted, ACCEPTED), (&rejected, -REJECTED)] {
        let weight = weight / image_ids.len().max(1) as f32;
        let parts = image_ids.iter().map(|id| Part { kind: PartKind::GalleryImage(id.clone()), weight });
        search.parts.extend(parts);
    }
    let judged = SearchFilter { image_ids: [accepted, rejected].concat(), ..SearchFilter::default() };
    if !judged.image_ids.is_empty() {
        search.filter = SearchFilter { all: vec![search.filter], none: vec![judged], ..SearchFilter::default() };
    }
    search.has_accepted_hits = has_accepted_hits;
    search.fusion = Fusion::Embedding;
    search
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn judged_images_count_and_are_left_out() {
        let text = |text: &str, weight| Part { kind: PartKind::Text(text.to_owned()), weight };
        let search = SearchSpec { parts: vec![text("a", 2.0), text("b", 2.0)], ..SearchSpec::default() };
        let refined = refined(search, vec!["x".to_owned(), "y".to_owned()], vec!["z".to_owned()]);
        let weights: Vec<f32> = refined.parts.iter().map(|part| part.weight).collect();
        assert_eq!(weights, [0.5, 0.5, 0.375, 0.375, -0.25]);
        assert_eq!(refined.filter.none[0].image_ids, ["x", "y", "z"]);
    }
}
