//! Descry's search service, from Rust programs: galleries are filled, searched, moved and followed, and their models
//! changed, as the command line does it.
//!
//! A [`Connection`] has a method for each call. What takes many calls is a job that survives restarts of the service and
//! of the caller: [`IndexJob`], [`EmbeddingJob`], [`ImportJob`], [`CopyJob`], [`ModelChange`]. It tells its progress to an
//! observer ([`JobObserver`], [`ModelChangeObserver`]; `()` does not look), and ends in good order when its
//! [`JobOptions::stop`] is cancelled. [`Listing`] and [`Comparison`] go page after page, [`Matches`] follows watches.
//!
//! Nothing here prints. It must never link a terminal's crates, the services, or ONNX Runtime.
//!
//! ```
//! use descry_client::{Connection, IndexJob};
//! use descry_proto::search::v1::SearchRequest;
//! use descry_proto::search::v1::search_request::Query;
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let service = descry_tests::TestStack::start().await;
//! # let (url, crops) = (service.search_url.as_str(), descry_tests::demo_folder().join("gallery/imgs"));
//! // With `url` such as "http://127.0.0.1:50051" and a folder of images of people, `crops`:
//! let connection = Connection::to(url).await?;
//! let job = IndexJob { gallery: "lobby".to_owned(), inputs: vec![crops], ..IndexJob::default() };
//! let report = connection.index(job).await?;
//! assert!(report.is_whole(), "{:?}", report.first_failures);
//!
//! let query = Some(Query::Text("a woman in a red long coat holding a black umbrella".to_owned()));
//! let request = SearchRequest { gallery: "lobby".to_owned(), query, limit: 5, ..SearchRequest::default() };
//! let found = connection.search(request).await?;
//! assert_eq!(found.hits.len(), 5);
//! assert!(found.hits[0].score > found.hits[4].score);
//! # service.stop().await;
//! # Ok(())
//! # }
//! ```

mod calls;
mod checking;
mod comparison;
mod connection;
mod editing;
mod error;
mod gallery_note;
mod indexing;
mod job;
mod listing;
mod metadata;
mod model_change;
mod retry;
mod searching;
mod stating;
mod time;
mod transfer;
mod watching;

pub use calls::generation_address;
pub use checking::Check;
pub use comparison::{Comparison, Difference};
pub use connection::{CallHeaders, Connection, Service};
pub use descry_trust::tls::ClientTlsSettings;
pub use editing::{RemovedImages, Untold};
pub use error::ClientError;
pub use gallery_note::GalleryNote;
pub use indexing::{EmbeddingJob, ImportJob, IndexJob, Survey};
pub use job::{JobObserver, JobOptions, JobReport, Replacement};
pub use listing::Listing;
pub use metadata::{ARCHIVE_ATTRIBUTE, PATH_ATTRIBUTE, frame_part, image_metadata, known_metadata};
pub use model_change::{
    Begun, Filled, ModelChange, ModelChangeObserver, ModelChangeOptions, PersonQuery, Quality, QualityComparison,
    Surplus,
};
pub use retry::PATIENCE;
pub use stating::Stated;
pub use time::{timestamp, unix_ms};
pub use transfer::{CopyJob, Exported};
pub use watching::Matches;
