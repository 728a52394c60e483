//! Merged towers to ONNX graphs.
//!
//! What makes the graphs cheap, all of it exact: in the last block only the class token (image) or the end-of-text
//! token asks, so queries, output projection, MLP and experts are computed for that one token (for RDE's images, of the
//! selected ones, too); all experts run in two products; batch and text length stay dynamic. `graph_form` says in which
//! number format and operators a graph is written.
//!
//! Constants are named after the tensors that they come from. The names are part of a graph's bytes, and so of the
//! fingerprint: they are written out here, and stay.

mod attention;
mod block;
mod builder;
mod experts;
mod graph_form;
mod products;
mod proto;
mod text;
mod token_selection;
mod vision;

pub use graph_form::ActivationRanges;
pub(crate) use graph_form::{GraphForm, Products};
pub use products::{RANGE_PREFIX, matrix_product_graph};
pub(crate) use text::write_text;
pub(crate) use vision::write_vision;
