//! Measures text-based person retrieval: reads the published data sets and scores embeddings that others made.
//!
//! [`Dataset`] gives the captions and gallery images of one split with their identities; [`retrieval_metrics`] turns
//! their embeddings into the numbers that papers report, [`grouped_metrics`] into those of people and tracks, and
//! [`top_images`] into rankings. Everything here is a pure
//! function of files and arrays, so a score can be recomputed from stored embeddings without any model.
//!
//! This crate must never link ONNX Runtime or tonic, and never decodes an image or tokenises a text: whoever evaluates
//! encodes through the same path that serves queries, otherwise the numbers say nothing about what is served.

mod dataset;
mod error;
mod grouped_metrics;
mod open_set;
mod ranking;
mod retrieval_metrics;
mod similarity;

pub use dataset::{Dataset, DatasetCaption, DatasetImage, DatasetLayout};
pub use error::{EmbeddingSide, EvaluationError, SplitSize};
pub use grouped_metrics::{GroupPool, ImageGroups, grouped_metrics};
pub use open_set::{area_under_roc, calibration_error};
pub use ranking::top_images;
pub use retrieval_metrics::{RetrievalMetrics, retrieval_metrics};
