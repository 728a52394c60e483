//! Everything that can go wrong while searching and indexing, and the one mapping to gRPC statuses.

use crate::vector_store::GalleryAddress;
use descry_model::Fingerprint;
use tonic::Status;

/// Why a request to the search service failed.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// The encoder broke, or answered nonsense.
    #[error("the encoder service failed: {reason}")]
    Encoder {
        /// The reason, for the log only.
        reason: String,
    },
    /// Listening or serving failed.
    #[error(transparent)]
    Server(#[from] descry_serving::ServerError),
    /// The request itself is wrong; `field` names the part.
    #[error("{field}: {reason}")]
    Invalid {
        /// The part of the request.
        field: String,
        /// What is wrong with it and what is expected.
        reason: String,
    },
    /// No gallery of that name.
    #[error("{}", not_found(.name))]
    GalleryNotFound {
        /// The name asked for.
        name: String,
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
         (encoder.url, encoder.other_urls), or a gallery of the other model"
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
    /// A step of a model change that would lose something.
    #[error("gallery {name:?}: {reason}")]
    NotReady {
        /// The gallery.
        name: String,
        /// What is missing and what to do.
        reason: String,
    },
    /// A bounded resource is used up; the caller may try again.
    #[error("{what} is full; try again in {retry_after_ms} ms")]
    Overloaded {
        /// The resource.
        what: &'static str,
        /// Suggested delay.
        retry_after_ms: u64,
    },
    /// A dependency is down or not ready.
    #[error("{dependency} is not available: {reason}")]
    Unavailable {
        /// Which one.
        dependency: &'static str,
        /// What it said.
        reason: String,
    },
    /// The caller's deadline passed.
    #[error("the deadline passed while {activity}")]
    DeadlineExceeded {
        /// What was being done.
        activity: &'static str,
    },
    /// The store refused, or broke.
    #[error("store failure while {activity}")]
    Store {
        /// What was being done.
        activity: &'static str,
        /// The reason, for the log only.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
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

impl SearchError {
    /// The same error once more, for each item that one failure concerns. Sources are kept as text.
    pub(crate) fn repeat(&self) -> Self {
        match self {
            Self::Encoder { reason } => Self::Encoder { reason: reason.clone() },
            Self::Server(error) => Self::Encoder { reason: error.to_string() },
            Self::Invalid { field, reason } => Self::Invalid { field: field.clone(), reason: reason.clone() },
            Self::GalleryNotFound { name } => Self::GalleryNotFound { name: name.clone() },
            Self::GalleryExists { name, fingerprint } => {
                Self::GalleryExists { name: name.clone(), fingerprint: fingerprint.clone() }
            }
            Self::FingerprintMismatch { name, gallery, given } => {
                Self::FingerprintMismatch { name: name.clone(), gallery: gallery.clone(), given: given.clone() }
            }
            Self::DimensionMismatch { name, gallery, given } => {
                Self::DimensionMismatch { name: name.clone(), gallery: *gallery, given: *given }
            }
            Self::ActiveGeneration { name, generation } => {
                Self::ActiveGeneration { name: name.clone(), generation: *generation }
            }
            Self::NotReady { name, reason } => Self::NotReady { name: name.clone(), reason: reason.clone() },
            Self::Overloaded { what, retry_after_ms } => Self::Overloaded { what, retry_after_ms: *retry_after_ms },
            Self::Unavailable { dependency, reason } => Self::Unavailable { dependency, reason: reason.clone() },
            Self::DeadlineExceeded { activity } => Self::DeadlineExceeded { activity },
            Self::Store { activity, source } => Self::Store { activity, source: source.to_string().into() },
        }
    }
}

impl From<SearchError> for Status {
    fn from(error: SearchError) -> Self {
        let message = error.to_string();
        match error {
            SearchError::Invalid { .. } => Self::invalid_argument(message),
            SearchError::GalleryNotFound { .. } => Self::not_found(message),
            SearchError::GalleryExists { .. } => Self::already_exists(message),
            SearchError::FingerprintMismatch { .. }
            | SearchError::DimensionMismatch { .. }
            | SearchError::ActiveGeneration { .. }
            | SearchError::NotReady { .. } => Self::failed_precondition(message),
            SearchError::Overloaded { retry_after_ms, .. } => descry_serving::overloaded(message, retry_after_ms),
            SearchError::Unavailable { .. } => Self::unavailable(message),
            SearchError::DeadlineExceeded { .. } => Self::deadline_exceeded(message),
            SearchError::Encoder { .. } | SearchError::Server(_) => internal(&message),
            SearchError::Store { source, .. } => internal(&format!("{message}: {source}")),
        }
    }
}

fn internal(message: &str) -> Status {
    tracing::error!(error = message, "internal failure");
    Status::internal("internal failure; the service's log has the details")
}
