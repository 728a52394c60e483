//! A query becomes a ranked list of images.
//!
//! `retriever` goes from the request to the answer: `query` (what may be asked), `parts` (embeddings, of which one is
//! looked for), `groups` (persons and tracks), `ranking` (the store's answer, in order and judged), `sightings` (where a found
//! person was seen).

mod groups;
mod parts;
mod query;
mod ranking;
mod reciprocal_rank;
mod retriever;
mod sightings;

pub(crate) use groups::alone;
pub(crate) use query::{Fusion, Part, PartKind, RankedHit, Ranking, SearchSpec, Sighting};
pub(crate) use retriever::Retriever;
