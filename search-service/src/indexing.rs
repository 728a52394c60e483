//! Images and embeddings become gallery entries.

mod embeddings;
mod indexer;
mod pace;
mod preparation;

pub(crate) use embeddings::write_embeddings;
pub(crate) use indexer::{Indexer, NewImage};
pub(crate) use pace::{Pace, check_rate};
