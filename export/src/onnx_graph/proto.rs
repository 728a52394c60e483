//! Message types of the ONNX standard, generated from `proto/onnx.proto`.
#![expect(unreachable_pub, reason = "generated from the .proto file")]

include!(concat!(env!("OUT_DIR"), "/onnx.rs"));
