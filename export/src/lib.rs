//! Checkpoint → merged towers → ONNX bundle.
//!
//! Must never be needed at serving time. The order of things is that of `exporting`: `weights` with `checkpoint` (files to
//! named tensors) → `merging` with `clip`, `dm_adapter`, `up_person` and `rde` (named tensors to merged `tower`s) →
//! `onnx_graph` (towers to graphs) → `bundle_writer`. Beside them `eager` evaluates the unmerged checkpoint literally; its
//! outputs travel with the bundle as goldens. The methods' numbers and key names are `descry_model::method`'s.

mod abandoned;
mod activation;
mod bundle_writer;
mod checkpoint;
mod clip;
mod decisions;
mod dm_adapter;
mod eager;
mod error;
mod exporting;
mod geometry;
mod goldens;
mod merging;
mod onnx_graph;
mod quantization;
mod random;
mod rde;
mod request;
mod tensors;
mod tokenizer_file;
mod tower;
mod tower_form;
mod up_person;
mod weights;

pub use activation::Activation;
pub use bundle_writer::StagedBundle;
pub use checkpoint::{Checkpoint, ElementType, LibraryDefaults, PixelSettings, RunSettings};
pub use error::ExportError;
pub use exporting::{CalibrationGraphs, Export, export};
pub use geometry::{FittedPositions, fit_image_positions};
pub use goldens::GoldenInputs;
pub use onnx_graph::{ActivationRanges, RANGE_PREFIX, matrix_product_graph};
pub use random::{Preset, random_tensors};
pub use request::{ExportRequest, ExportStep, ModelFlags, ModelSource};
pub use tokenizer_file::tokenizer_json;
pub use tower_form::TowerForm;
