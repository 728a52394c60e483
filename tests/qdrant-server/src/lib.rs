//! A small Qdrant server for tests: Qdrant's gRPC protocol on Qdrant's own embedded engine.
//!
//! It exists because no Qdrant server can be had where the tests run, and a hand-made imitation of its filters and
//! scores would test the imitation. The engine, `qdrant-edge`, is the code of the server without the network; this
//! crate adds the network. It must never be a dependency of anything that is shipped.
//!
//! What it serves is in the `served` lists of `points.rs` and `collections.rs`; every other method, and every
//! request field that it would have to ignore, is refused with `UNIMPLEMENTED`, so that a test never passes because
//! something was silently left out. In particular: one unnamed dense vector per point, plain nearest-neighbour
//! queries, no fusion, groups, recommendations, quantisation, sharding, snapshots or conditional updates.
//!
//! # Layout
//! - `server.rs`: [`TestQdrant`], the running server
//! - `engine.rs`: the collections and their aliases
//! - `points.rs`, `collections.rs`: the two services
//! - `from_proto.rs`, `to_proto.rs`: requests to the engine's types, results to the protocol's

mod collections;
mod engine;
mod from_proto;
mod points;
mod server;
mod service;
mod to_proto;

pub use server::TestQdrant;
