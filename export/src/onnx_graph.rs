//! Merged towers to ONNX graphs.
//!
//! What makes the graphs cheap, all of it exact: in the last block only the class token (image) or the end-of-text
//! token asks, so queries, output projection, MLP and experts are computed for that one token; attention and QuickGELU
//! are ONNX Runtime's fused operators; batch and text length stay dynamic.

mod block;
mod builder;
mod text;
mod vision;

pub(crate) use text::write_text;
pub(crate) use vision::write_vision;

/// Message types of the ONNX standard, generated from `proto/onnx.proto`.
#[expect(unreachable_pub, reason = "generated from the .proto file")]
mod proto {
    include!(concat!(env!("OUT_DIR"), "/onnx.rs"));
}
