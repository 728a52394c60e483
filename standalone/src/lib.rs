//! Descry without services beside it: the encoder alone for offline work, and both services at one address of this
//! process.

mod error;
mod offline;
mod stack;

pub use error::StandaloneError;
pub use offline::{MAX_TEXT_BYTES, open_encoder, require_tokenizer};
pub use stack::Stack;
