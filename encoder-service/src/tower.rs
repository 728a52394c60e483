//! The one thing the service asks of a model: features for a batch.

mod assignment;
mod onnx;
mod routing;
mod session;

pub(crate) use onnx::TowerOptions;
pub use onnx::{OnnxTextTower, OnnxVisionTower, OpenedTowers};
pub(crate) use session::{Graph, SessionOptions, TowerSession, thread_count};

use crate::EncodeError;
use ndarray::{Array2, Array3};

/// A vision or text tower, owned by one worker thread.
pub trait Tower: Send + 'static {
    /// One prepared input.
    type Item: Send + 'static;

    /// `vision` or `text`, for messages.
    const NAME: &'static str;

    /// How long an item is among others of its tower: a batch costs its longest item times its items.
    fn length(_item: &Self::Item) -> usize {
        1
    }

    /// Runs one batch.
    ///
    /// # Shapes
    /// - returns: `[batch.len(), embedding dimension]` f32, not normalised; each row depends on its own item alone
    ///
    /// # Errors
    /// [`EncodeError::Tower`].
    fn run(&mut self, batch: &[Self::Item]) -> Result<Array2<f32>, EncodeError>;
}

/// A vision tower's item: `[3, height, width]` f32, normalised.
pub type Pixels = Array3<f32>;

/// A text tower's item: token ids with start and end marks, unpadded.
pub type TokenIds = Vec<i64>;
