//! What a request may look like on the wire.
//!
//! A decoded message can take a hundred times the memory of its bytes: an empty message within a list costs two bytes on the
//! wire and some hundred in memory. So the bytes are walked once, without taking memory, and a request with more items,
//! longer texts or other values than its `.proto` file allows is refused before anything of it is decoded.
//!
//! Must never know a message: shapes come from the `.proto` files, through the build script of `descry-proto`.

mod codec;
mod shape;
mod walk;

pub use codec::{CheckedCodec, CheckedDecoder};
pub use shape::{Field, Kind, Shape, Shaped};
pub use walk::{MAX_DEPTH, MAX_ELEMENTS, MAX_NESTED, WireError, check};
