//! Everything that can go wrong while measuring galleries.

use descry_evaluation::EvaluationError;
use descry_model::ModelError;
use descry_search::SearchError;
use descry_serving::config::ConfigError;
use descry_store::StoreError;
use std::path::PathBuf;

/// Why nothing could be measured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GalleryBenchError {
    /// A plan that cannot be carried out.
    #[error("{setting}: {reason}")]
    Setting {
        /// The setting's name, as the command line spells it.
        setting: &'static str,
        /// What is allowed.
        reason: String,
    },
    /// A folder whose gallery was made with other parameters.
    #[error("{path} holds a gallery of other parameters; give another folder, or delete it")]
    OtherData {
        /// The file.
        path: PathBuf,
    },
    /// No place for temporary files.
    #[error("cannot make a temporary folder: {0}")]
    Folder(#[source] std::io::Error),
    /// The system does not tell the memory of this process.
    #[error("cannot read the memory of this process: {0}")]
    Memory(#[from] procfs::ProcError),
    /// The service broke.
    #[error(transparent)]
    Search(#[from] SearchError),
    /// The store broke.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Settings of the service that do not fit.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A vector without direction.
    #[error(transparent)]
    Embedding(#[from] ModelError),
    /// Embeddings that cannot be scored.
    #[error(transparent)]
    Evaluation(#[from] EvaluationError),
    /// No port for the service in this process.
    #[error("cannot listen on 127.0.0.1: {0}")]
    Listen(#[source] std::io::Error),
    /// The service in this process does not answer.
    #[error("the search service in this process does not answer: {0}")]
    Connect(#[from] tonic::transport::Error),
    /// The service in this process ended by itself.
    #[error("the search service in this process ended before it was stopped")]
    ServiceEnded,
    /// A request that the service refused.
    #[error("{activity}: {message}")]
    Refused {
        /// What was asked for.
        activity: &'static str,
        /// The service's words.
        message: String,
    },
    /// An answer that makes no sense.
    #[error("the service answered nonsense: {what}")]
    Malformed {
        /// What is wrong with it.
        what: String,
    },
    /// A task that broke.
    #[error("the load generator broke: {0}")]
    Task(#[from] tokio::task::JoinError),
}

impl GalleryBenchError {
    /// A request that failed, in the service's words.
    pub(crate) fn refused(activity: &'static str, status: &tonic::Status) -> Self {
        let message = match status.message() {
            "" => status.code().to_string(),
            message => message.to_owned(),
        };
        Self::Refused { activity, message }
    }
}
