//! Galleries: what a store of them promises, and the two stores that keep it.
//!
//! [`VectorStore`] is the contract; `tests/e2e/store_contract.rs` holds every store to it. [`EmbeddedStore`] keeps
//! galleries in one SQLite file and compares every image, [`QdrantStore`] in a Qdrant server or cluster.
//!
//! A gallery has **generations**, each of one model. One of them is active: it answers for the gallery. What works on
//! images takes a [`Generation`], a handle that is looked up once a request: whoever holds it works on that generation,
//! or fails, whatever is switched, deleted or made anew meanwhile.
//!
//! Must never know messages, gRPC or the encoder: an error of a store is a [`StoreError`], and what it means to a caller
//! is decided by the service.

mod accuracy;
mod clock;
mod contract;
mod embedded;
mod error;
mod filter;
mod gallery;
mod generation;
mod grouping;
mod image;
mod qdrant;
mod query;

pub use accuracy::SearchAccuracy;
pub use clock::{now_ms, wall_ms};
pub use contract::{CheckPage, CheckRequest, DamagedImage, Scrubbed, StoreCondition, VectorStore};
pub use embedded::{EmbeddedConfig, EmbeddedError, EmbeddedStore};
pub use error::StoreError;
pub use filter::{AttributeCondition, SearchFilter};
pub use gallery::{Gallery, GallerySettings, IndexState, NewGallery, QdrantGallerySettings, Quantization};
pub use generation::{GalleryAddress, Generation, Generations};
pub use grouping::{GroupBy, GroupHit, Grouping, Pool};
pub use image::{CropBox, GalleryImage, ImageMetadata};
pub use qdrant::{ApiKey, MAX_TIED_IMAGES, QdrantConfig, QdrantStore, QdrantStoreError};
pub use query::{Hit, ImagePage, MetadataPage, NearestQuery, PageRequest, WriteOrder, WriteRange};
