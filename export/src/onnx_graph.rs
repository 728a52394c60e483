//! Merged towers to ONNX graphs.
//!
//! What makes the graphs cheap, all of it exact: in the last block only the class token (image) or the end-of-text
//! token asks, so queries, output projection, MLP and experts are computed for that one token; all experts run in two
//! products; batch and text length stay dynamic. `form` says in which number format and operators a graph is written.

mod attention;
mod block;
mod builder;
mod experts;
mod form;
mod product_graph;
mod products;
mod text;
mod vision;

pub use form::ActivationRanges;
pub(crate) use form::{GraphForm, Products};
pub use product_graph::matrix_product_graph;
pub use products::RANGE_PREFIX;
pub(crate) use text::write_text;
pub(crate) use vision::write_vision;

/// Name of the output that tells how much each expert got to do.
const ROUTING: &str = "routing";

/// Message types of the ONNX standard, generated from `proto/onnx.proto`.
#[expect(unreachable_pub, reason = "generated from the .proto file")]
mod proto {
    include!(concat!(env!("OUT_DIR"), "/onnx.rs"));
}
