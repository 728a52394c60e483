//! Everything that can go wrong while searching and indexing, and the one mapping to gRPC statuses.

use descry_model::Fingerprint;
use descry_store::StoreError;
use descry_trust::Denial;
use std::sync::Arc;
use tonic::Status;

/// Why a request to the search service failed. Cheap to clone: one failure of a batch is told to each of its items.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SearchError {
    /// The encoder broke, or answered nonsense.
    #[error("the encoder service failed: {reason}")]
    Encoder {
        /// The reason, for the log only.
        reason: String,
    },
    /// Listening or serving failed.
    #[error(transparent)]
    Server(Arc<descry_serving::ServerError>),
    /// The store refused, is down, or broke.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The request itself is wrong; `field` names the part.
    #[error("{field}: {reason}")]
    Invalid {
        /// The part of the request.
        field: String,
        /// What is wrong with it and what is expected.
        reason: String,
    },
    /// A step of a model change that would lose something.
    #[error("gallery {name:?}: {reason}")]
    NotReady {
        /// The gallery.
        name: String,
        /// What is missing and what to do.
        reason: String,
    },
    /// An image was to be added to a generation that only takes what its gallery holds.
    #[error(
        "gallery {name:?} does not hold this image any more, or from another file; a generation that does not serve \
         takes what the serving one has"
    )]
    NotHeld {
        /// The gallery.
        name: String,
    },
    /// An image that was erased, or is of a person or track that was.
    #[error(
        "it was erased from gallery {name:?} on request and is not taken again; who has to bring it back says so \
         (descry index --force-erased, allow_erased)"
    )]
    Erased {
        /// The gallery.
        name: String,
    },
    /// Something that a hold keeps would be removed or changed away.
    #[error("gallery {name:?}: {what}; {}", held_by(name, holds))]
    Held {
        /// The gallery.
        name: String,
        /// What is refused.
        what: String,
        /// Names of the holds, at least one.
        holds: Vec<String>,
    },
    /// A model that no encoder runs.
    #[error(
        "gallery {name:?}: no encoder runs model {model}, but {}; start an encoder with that model and name it in \
         encoder.urls, or move the gallery to a model that runs (descry gallery reembed)",
        joined(running)
    )]
    NoEncoder {
        /// The gallery.
        name: String,
        /// The model that is needed.
        model: Fingerprint,
        /// The models that run, of each encoder.
        running: Vec<Fingerprint>,
    },
    /// A bounded resource is used up; the caller may try again.
    #[error("{what} is full; try again in {retry_after_ms} ms")]
    Overloaded {
        /// The resource.
        what: &'static str,
        /// Suggested delay.
        retry_after_ms: u64,
    },
    /// One of several items for whose answer the reply had no room left.
    #[error("{item}: the reply has no room for its answer; ask for it in another request")]
    ReplyFull {
        /// The item, by its place in the request.
        item: String,
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
    /// Who asks may not do that.
    #[error("{0}")]
    Denied(Denial),
    /// The audit log cannot be written, and nothing is answered without.
    #[error(transparent)]
    Audit(descry_audit::AuditError),
    /// A mistake of this program.
    #[error("failure while {activity}")]
    Failed {
        /// What was being done.
        activity: &'static str,
        /// The reason, for the log only.
        #[source]
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
}

impl SearchError {
    /// A failure for which the service itself is the reason.
    pub(crate) fn failed(activity: &'static str, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Failed { activity, source: Arc::new(source) }
    }

    /// Whether the same may succeed a little later, with nothing changed by the caller.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Unavailable { .. }
            | Self::Audit(_)
            | Self::Overloaded { .. }
            | Self::DeadlineExceeded { .. }
            | Self::Store(
                StoreError::Unavailable { .. }
                | StoreError::Overloaded { .. }
                | StoreError::Full { .. }
                | StoreError::DeadlineExceeded { .. },
            ) => true,
            Self::Encoder { .. }
            | Self::Server(_)
            | Self::Store(
                StoreError::Invalid { .. }
                | StoreError::GalleryNotFound { .. }
                | StoreError::GalleryExists { .. }
                | StoreError::FingerprintMismatch { .. }
                | StoreError::DimensionMismatch { .. }
                | StoreError::ActiveGeneration { .. }
                | StoreError::Failed { .. },
            )
            | Self::Invalid { .. }
            | Self::Denied(_)
            | Self::ReplyFull { .. }
            | Self::NotReady { .. }
            | Self::Erased { .. }
            | Self::NoEncoder { .. }
            | Self::NotHeld { .. }
            | Self::Held { .. }
            | Self::Failed { .. } => false,
        }
    }

    /// Whether the gallery or generation is not there.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Store(StoreError::GalleryNotFound { .. }))
    }

    /// Whether embeddings of one model met a gallery of another, or a gallery has no encoder of its model.
    pub(crate) fn is_of_another_model(&self) -> bool {
        matches!(self, Self::NoEncoder { .. } | Self::Store(StoreError::FingerprintMismatch { .. }))
    }
}

impl From<descry_serving::ServerError> for SearchError {
    fn from(error: descry_serving::ServerError) -> Self {
        Self::Server(Arc::new(error))
    }
}

/// A gallery that the caller may not know of is told of in the words for one that is not there.
impl From<Denial> for SearchError {
    fn from(denial: Denial) -> Self {
        match denial {
            Denial::UnknownGallery { address } => Self::Store(StoreError::GalleryNotFound { address }),
            Denial::Unproven | Denial::MissingScope { .. } | Denial::Exceeded { .. } | Denial::TooMuch { .. } => {
                Self::Denied(denial)
            }
        }
    }
}

impl From<SearchError> for Status {
    fn from(error: SearchError) -> Self {
        let message = error.to_string();
        match error {
            SearchError::Invalid { .. } => Self::invalid_argument(message),
            SearchError::NotReady { .. }
            | SearchError::Erased { .. }
            | SearchError::Held { .. }
            | SearchError::NoEncoder { .. } => Self::failed_precondition(message),
            SearchError::NotHeld { .. } => Self::not_found(message),
            SearchError::Overloaded { retry_after_ms, .. } => descry_serving::overloaded(message, retry_after_ms),
            SearchError::Denied(denial) => descry_serving::refusal(denial),
            SearchError::ReplyFull { .. } => Self::resource_exhausted(message),
            SearchError::Unavailable { .. } => Self::unavailable(message),
            // The reason names files of the service.
            SearchError::Audit(_) => Self::unavailable(UNRECORDED),
            SearchError::DeadlineExceeded { .. } => Self::deadline_exceeded(message),
            SearchError::Encoder { .. } | SearchError::Server(_) => internal(&message),
            SearchError::Failed { source, .. } => internal(&format!("{message}: {source}")),
            SearchError::Store(error) => store_status(error, message),
        }
    }
}

/// What callers are told while the audit log cannot be written.
const UNRECORDED: &str = "the audit log cannot be written, so nothing is answered; the service's log has the reason";

fn store_status(error: StoreError, message: String) -> Status {
    match error {
        StoreError::Invalid { .. } => Status::invalid_argument(message),
        StoreError::GalleryNotFound { .. } => Status::not_found(message),
        StoreError::GalleryExists { .. } => Status::already_exists(message),
        StoreError::FingerprintMismatch { .. }
        | StoreError::DimensionMismatch { .. }
        | StoreError::ActiveGeneration { .. } => Status::failed_precondition(message),
        StoreError::Overloaded { retry_after_ms, .. } | StoreError::Full { retry_after_ms } => {
            descry_serving::overloaded(message, retry_after_ms)
        }
        StoreError::Unavailable { .. } => Status::unavailable(message),
        StoreError::DeadlineExceeded { .. } => Status::deadline_exceeded(message),
        StoreError::Failed { source, .. } => internal(&format!("{message}: {source}")),
    }
}

fn joined(models: &[Fingerprint]) -> String {
    models.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ")
}

/// Holds that a refusal names.
const NAMED_HOLDS: usize = 3;

/// Which holds keep something, and how the first of them ends.
fn held_by(gallery: &str, holds: &[String]) -> String {
    let named = holds.iter().take(NAMED_HOLDS).map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ");
    let more = if holds.len() > NAMED_HOLDS { " and others" } else { "" };
    let (word, keep) = if holds.len() == 1 { ("hold", "keeps it") } else { ("holds", "keep it") };
    let first = holds.first().map_or("NAME", String::as_str);
    format!("{word} {named}{more} {keep} until `descry hold lift {first} --gallery {gallery}`")
}

fn internal(message: &str) -> Status {
    tracing::error!(error = message, "internal failure");
    Status::internal("internal failure; the service's log has the details")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_holds_and_how_they_end() {
        let held = |count: usize| {
            let holds = (1..=count).map(|number| format!("case-{number}")).collect();
            SearchError::Held { name: "lobby".to_owned(), what: "it stays".to_owned(), holds }.to_string()
        };
        assert_eq!(
            held(1),
            "gallery \"lobby\": it stays; hold \"case-1\" keeps it until `descry hold lift case-1 --gallery lobby`"
        );
        assert!(held(5).contains("holds \"case-1\", \"case-2\", \"case-3\" and others keep it"), "{}", held(5));
    }
}
