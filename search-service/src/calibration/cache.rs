//! Calibrations at hand: one is needed with every search, and changes next to never.

use super::Calibration;
use crate::SearchError;
use descry_store::{Generation, VectorStore};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// The document of a gallery that holds its calibration.
const KEY: &str = "calibration";

/// How long another instance's calibration may go unnoticed.
const FRESH_FOR: Duration = Duration::from_secs(30);

/// The calibrations of all galleries.
#[derive(Clone)]
pub(crate) struct Calibrations {
    store: Arc<dyn VectorStore>,
    /// By name of the gallery; as many as the store has galleries.
    cached: Arc<Mutex<HashMap<String, Read>>>,
}

/// When a calibration was read, and what was there.
type Read = (Instant, Option<Calibration>);

impl Calibrations {
    pub(crate) fn new(store: Arc<dyn VectorStore>) -> Self {
        Self { store, cached: Arc::default() }
    }

    /// What scores of a generation mean, where that is known for its model.
    pub(crate) async fn of(&self, generation: &Generation) -> Result<Option<Calibration>, SearchError> {
        let calibration = match self.cached(&generation.gallery) {
            Some(calibration) => calibration,
            None => self.read(generation).await?,
        };
        Ok(calibration.filter(|calibration| calibration.fingerprint == generation.fingerprint.as_str()))
    }

    async fn read(&self, gallery: &Generation) -> Result<Option<Calibration>, SearchError> {
        let text = self.store.document(gallery, KEY).await?;
        // What cannot be read comes from a later version or another program: no probabilities rather than no search.
        let calibration = text.and_then(|text| serde_json::from_str(&text).ok());
        self.keep(&gallery.gallery, calibration.clone());
        Ok(calibration)
    }

    /// Stores a calibration with its gallery.
    pub(crate) async fn put(&self, gallery: &Generation, calibration: &Calibration) -> Result<(), SearchError> {
        let text =
            serde_json::to_string(calibration).map_err(|error| SearchError::failed("writing a calibration", error))?;
        self.store.put_document(gallery, KEY, Some(text)).await?;
        self.keep(&gallery.gallery, Some(calibration.clone()));
        Ok(())
    }

    fn cached(&self, gallery: &str) -> Option<Option<Calibration>> {
        let cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        cached.get(gallery).filter(|(since, _)| since.elapsed() < FRESH_FOR).map(|(_, calibration)| calibration.clone())
    }

    fn keep(&self, gallery: &str, calibration: Option<Calibration>) {
        let mut cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        cached.retain(|_, (since, _)| since.elapsed() < FRESH_FOR);
        cached.insert(gallery.to_owned(), (Instant::now(), calibration));
    }

    /// For a gallery that is gone, so that a new one of its name starts without.
    pub(crate) fn forget(&self, gallery: &str) {
        self.cached.lock().unwrap_or_else(PoisonError::into_inner).remove(gallery);
    }
}
