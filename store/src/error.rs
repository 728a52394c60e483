//! Everything that can go wrong in a store.

use crate::GalleryAddress;
use descry_model::Fingerprint;
use std::sync::Arc;

/// Why a store did not do what it was asked to. Cheap to clone: one failure of a batch is told to each of its images.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// What is asked for cannot be; `field` names the part.
    #[error("{field}: {reason}")]
    Invalid {
        /// The part of the request or setting.
        field: String,
        /// What is wrong with it and what is expected.
        reason: String,
    },
    /// No gallery of that name, or no such generation: deleted, never made, or made anew since it was looked up.
    #[error("{}", not_found(.address))]
    GalleryNotFound {
        /// The gallery or generation asked for.
        address: String,
    },
    /// The name is taken, by a gallery of another model.
    #[error("gallery {name:?} exists already, filled by model {fingerprint}")]
    GalleryExists {
        /// The name asked for.
        name: String,
        /// The model that fills it.
        fingerprint: Fingerprint,
    },
    /// Embeddings of one model meet a gallery of another.
    #[error(
        "gallery {name:?} is of model {gallery}, which is not model {given}; an encoder of the gallery's model is needed \
         (encoder.urls), or a gallery of the other model"
    )]
    FingerprintMismatch {
        /// The gallery.
        name: String,
        /// The model that filled the gallery.
        gallery: Fingerprint,
        /// The model of the query or write.
        given: Fingerprint,
    },
    /// Same fingerprint, other length: only a foreign writer can cause it.
    #[error("gallery {name:?} holds embeddings of dimension {gallery}, got {given}")]
    DimensionMismatch {
        /// The gallery.
        name: String,
        /// Dimension of the gallery.
        gallery: usize,
        /// Dimension of the query or write.
        given: usize,
    },
    /// The generation that serves cannot be removed.
    #[error("generation {generation} of gallery {name:?} serves; activate another one first, or delete the gallery")]
    ActiveGeneration {
        /// The gallery.
        name: String,
        /// Its number.
        generation: u32,
    },
    /// A bounded resource is used up; the caller may try again.
    #[error("{what} is full; try again in {retry_after_ms} ms")]
    Overloaded {
        /// The resource.
        what: &'static str,
        /// Suggested delay.
        retry_after_ms: u64,
    },
    /// There is no room on the store's disk for what is to be written. Reading and deleting go on.
    #[error(
        "disk full: the store has no room for this; searches and deletions go on. Delete images or galleries, or make room \
         on its disk; try again in {retry_after_ms} ms"
    )]
    Full {
        /// Suggested delay.
        retry_after_ms: u64,
    },
    /// The server behind the store is down or not ready.
    #[error("{dependency} is not available: {reason}")]
    Unavailable {
        /// Which one.
        dependency: &'static str,
        /// What it said.
        reason: String,
    },
    /// There was no answer in time.
    #[error("the deadline passed while {activity}")]
    DeadlineExceeded {
        /// What was being done.
        activity: &'static str,
    },
    /// The store refused, or broke.
    #[error("store failure while {activity}")]
    Failed {
        /// What was being done.
        activity: &'static str,
        /// The reason, for the log only.
        #[source]
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
}

impl StoreError {
    /// A failure for which the store itself is the reason.
    pub fn failed(activity: &'static str, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Failed { activity, source: Arc::new(source) }
    }
}

/// A gallery, or a generation of one, that is not there.
fn not_found(address: &str) -> String {
    match GalleryAddress::parse(address) {
        GalleryAddress { name, generation: Some(generation) } => {
            format!("gallery {name:?} has no generation {generation}, or there is no such gallery")
        }
        GalleryAddress { name, generation: None } => {
            format!("no gallery named {name:?}; create it first, or list the galleries")
        }
    }
}
