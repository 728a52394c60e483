//! Everything that can go wrong while Descry runs in one process.

use descry_encoder::EncodeError;
use descry_search::SearchError;
use descry_serving::ServerError;

/// Why the encoder or the services of this process cannot be opened, or end.
#[derive(Debug, thiserror::Error)]
pub enum StandaloneError {
    /// The model cannot be loaded.
    #[error(transparent)]
    Encoder(#[from] EncodeError),
    /// The galleries cannot be opened.
    #[error(transparent)]
    Search(#[from] SearchError),
    /// An address cannot be listened on or served.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// The system does not say which address was bound.
    #[error("asking for the listening address: {0}")]
    Address(#[source] std::io::Error),
    /// A bundle without a tokenizer.
    #[error("the bundle has no tokenizer, so texts cannot be encoded; export it again with --tokenizer")]
    NoTokenizer,
    /// A task ended in a panic.
    #[error("{task}: {source}")]
    Task {
        /// What it was doing.
        task: &'static str,
        /// How it ended.
        source: tokio::task::JoinError,
    },
}

impl StandaloneError {
    /// For the end of a task that was doing this.
    pub(crate) fn task(task: &'static str) -> impl FnOnce(tokio::task::JoinError) -> Self {
        move |source| Self::Task { task, source }
    }
}
