//! Images and embeddings become gallery entries.

mod embeddings;
mod in_flight;
mod indexer;
mod pace;
mod preparation;
mod targets;

pub(crate) use embeddings::write_embeddings;
pub(crate) use indexer::{Acknowledgement, Indexed, Indexer, NewImage};
pub(crate) use pace::Pace;
pub(crate) use targets::{all_generations_of, targets_of};
