//! Descry's gRPC interface: messages, clients, servers and the descriptor set, generated from `descry/**/*.proto`.
//!
//! Must never hold logic. The documentation of every message stands in its `.proto` file.

#![expect(missing_docs, reason = "generated from the .proto files, which carry the documentation")]
#![expect(clippy::allow_attributes, reason = "generated")]
#![expect(
    clippy::large_enum_variant,
    reason = "generated; a box around an image's answer would be in every caller's way"
)]

/// What every list and stream says of a failed item.
pub mod status {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("descry.status.v1");
    }
}

/// The encoder service.
pub mod encoder {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("descry.encoder.v1");
    }
}

/// The search service.
pub mod search {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("descry.search.v1");
    }
}

/// What requests may hold, from the limits in the `.proto` files.
mod shapes {
    include!(concat!(env!("OUT_DIR"), "/descry_shapes.rs"));
}

/// What callers must be allowed, and the galleries that requests name, from the marks in the `.proto` files.
mod access {
    include!(concat!(env!("OUT_DIR"), "/descry_access.rs"));
}

/// The encoded `FileDescriptorSet` of all of it, for server reflection.
pub const DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descry_descriptor.bin"));
