//! A query becomes a ranked list of images.
//!
//! `retriever` does it; everything that needs neither encoder nor store is beside it: `parts` (several embeddings
//! become one, and what each adds to a hit), `reciprocal_rank`, `duplicates`.

mod checks;
mod duplicates;
mod encoding;
mod feedback;
mod parts;
mod query;
mod reciprocal_rank;
mod retriever;

pub(crate) use query::{Fusion, Part, PartKind, RankedHit, Ranking, SearchSpec, Sighting};
pub(crate) use retriever::Retriever;
