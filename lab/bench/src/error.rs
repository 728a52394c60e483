//! Everything that can go wrong while measuring.

use descry_encoder::EncodeError;
use descry_model::ModelError;
use std::path::PathBuf;

/// Why nothing could be measured. Requests that fail under load are no error: they are counted in the report.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BenchError {
    /// A plan that cannot be carried out.
    #[error("{setting}: {reason}")]
    Setting {
        /// The setting's name, as the command line spells it.
        setting: &'static str,
        /// What is allowed.
        reason: String,
    },
    /// A file of captions or an image that cannot be read.
    #[error("cannot read {path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A file of captions without captions.
    #[error("{path} holds no captions; it needs one a line")]
    NoCaptions {
        /// The file.
        path: PathBuf,
    },
    /// An image that does not decode.
    #[error("image {position}: {source}")]
    Image {
        /// Counted from 0, in the order of the images given.
        position: usize,
        /// What is wrong with it.
        source: ModelError,
    },
    /// A generated image that does not encode.
    #[error("cannot encode a generated image: {0}")]
    SyntheticImage(#[source] image::ImageError),
    /// A bundle that is unusable.
    #[error(transparent)]
    Bundle(#[from] ModelError),
    /// The encoder does not open or its towers fail.
    #[error(transparent)]
    Encoder(#[from] EncodeError),
    /// No port for the service in this process.
    #[error("cannot listen on 127.0.0.1: {0}")]
    Listen(#[source] std::io::Error),
    /// Not an address.
    #[error("{url:?} is not an address such as http://127.0.0.1:50051")]
    Address {
        /// What was given.
        url: String,
    },
    /// Nobody answers.
    #[error("no service answers at {url}; start one with `encoder-service` or `descry serve --model BUNDLE`: {source}")]
    Connect {
        /// The address.
        url: String,
        /// The transport's reason.
        source: tonic::transport::Error,
    },
    /// The service does not tell its model.
    #[error("{url} does not tell its model: {message}; is it an encoder service?")]
    NoModel {
        /// The address.
        url: String,
        /// The service's words.
        message: String,
    },
    /// The service in this process ended by itself.
    #[error("the encoder service in this process ended before it was stopped")]
    ServiceEnded,
    /// A process whose use of the machine cannot be read.
    #[error("cannot read the CPU time and memory of process {process_id}: {source}; is it this machine's?")]
    Process {
        /// The process.
        process_id: i32,
        /// The system's reason.
        source: procfs::ProcError,
    },
    /// A histogram or plot that cannot be built.
    #[error("cannot draw up the report: {reason}")]
    Report {
        /// The library's reason.
        reason: String,
    },
    /// A task of the load generator that broke.
    #[error("the load generator broke: {0}")]
    Task(#[from] tokio::task::JoinError),
}
