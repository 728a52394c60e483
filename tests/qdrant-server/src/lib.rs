//! A small Qdrant server for tests: Qdrant's gRPC protocol on Qdrant's own embedded engine.
//!
//! It exists because no Qdrant server can be had where the tests run, and a hand-made imitation of its filters and
//! scores would test the imitation. The engine, `qdrant-edge`, is the code of the server without the network; this
//! crate adds the network. It must never be a dependency of anything that is shipped.
//!
//! What it serves is in the `served` lists of `points.rs` and `collections.rs`; every other method, and every
//! request field that it would have to ignore, is refused with `UNIMPLEMENTED`, so that a test never passes because
//! something was silently left out. In particular: one unnamed dense vector per point, plain nearest-neighbour
//! queries; no groups, fusion, recommendations, sparse or multi-vectors, or snapshots.
//!
//! Two things are not what they are on a real server. Shards and replicas are recorded and reported, but there is one
//! shard on one node. Segments are not optimised unless [`TestQdrant::optimize`] is called, so that settings of the
//! graph and of scalar quantisation change nothing before, and every query without binary quantisation is exact.
//!
//! # Layout
//! - `server.rs`: [`TestQdrant`], the running server
//! - `engine.rs`: the collections and their aliases
//! - `cluster.rs`: [`TestCluster`], several servers with the same data
//! - `faults.rs`: requests that fail, come late or are never answered on purpose
//! - `creation.rs`: settings of new collections
//! - `points.rs` with `queries.rs`, `collections.rs`: the two services
//! - `from_proto.rs`, `to_proto.rs`: requests to the engine's types, results to the protocol's

mod cluster;
mod collections;
mod creation;
mod engine;
mod faults;
mod from_proto;
mod points;
mod queries;
mod server;
mod service;
#[cfg(test)]
mod tests;
mod to_proto;

pub use cluster::{SilentPeer, TestCluster};
pub use faults::RequestKind;
pub use server::TestQdrant;
