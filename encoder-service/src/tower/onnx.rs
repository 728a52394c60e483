//! Towers run by ONNX Runtime.

use super::{Pixels, TokenIds, Tower};
use crate::EncodeError;
use crate::runtime::environment;
use ndarray::{Array2, Array4, Axis, Ix2};
use ort::session::Session;
use ort::session::builder::GraphOptimizationLevel;
use ort::value::TensorRef;
use std::num::NonZero;
use std::path::Path;

/// How sessions are built.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SessionOptions<'a> {
    /// The shared library; empty to search for it.
    pub(crate) library: &'a Path,
    /// Threads; 0 for the CPU quota.
    pub(crate) threads: usize,
}

/// The vision tower: `pixels` f32 `[batch, 3, height, width]` to `features` f32 `[batch, dimension]`.
pub struct OnnxVisionTower {
    session: Session,
}

/// The text tower: `token_ids` i64 `[batch, tokens]` to `features` f32 `[batch, dimension]`.
pub struct OnnxTextTower {
    session: Session,
    padding_id: i64,
}

impl OnnxVisionTower {
    pub(crate) fn open(path: &Path, options: SessionOptions<'_>) -> Result<Self, EncodeError> {
        Ok(Self { session: open_session(path, options)? })
    }

    /// Runs a batch that is one array already: `[batch, 3, height, width]` f32.
    ///
    /// # Errors
    /// [`EncodeError::Tower`].
    pub fn run_array(&mut self, pixels: &Array4<f32>) -> Result<Array2<f32>, EncodeError> {
        let failed = |error: ort::Error| tower_error(Self::NAME, error);
        let input = TensorRef::from_array_view(pixels).map_err(failed)?;
        run_session(&mut self.session, Self::NAME, "pixels", input.into())
    }
}

impl OnnxTextTower {
    pub(crate) fn open(path: &Path, padding_id: i64, options: SessionOptions<'_>) -> Result<Self, EncodeError> {
        Ok(Self { session: open_session(path, options)?, padding_id })
    }

    /// Runs a batch that is padded already: `[batch, tokens]` i64.
    ///
    /// # Errors
    /// [`EncodeError::Tower`].
    pub fn run_array(&mut self, token_ids: &Array2<i64>) -> Result<Array2<f32>, EncodeError> {
        let failed = |error: ort::Error| tower_error(Self::NAME, error);
        let input = TensorRef::from_array_view(token_ids).map_err(failed)?;
        run_session(&mut self.session, Self::NAME, "token_ids", input.into())
    }
}

impl Tower for OnnxVisionTower {
    type Item = Pixels;

    const NAME: &'static str = "vision";

    fn run(&mut self, batch: &[Pixels]) -> Result<Array2<f32>, EncodeError> {
        let views: Vec<_> = batch.iter().map(|pixels| pixels.view()).collect();
        let stacked = ndarray::stack(Axis(0), &views).map_err(|error| tower_error(Self::NAME, error))?;
        self.run_array(&stacked)
    }
}

impl Tower for OnnxTextTower {
    type Item = TokenIds;

    const NAME: &'static str = "text";

    fn length(item: &TokenIds) -> usize {
        item.len()
    }

    /// Pads to the batch's longest text, not to the context length: nothing after the end mark can matter.
    fn run(&mut self, batch: &[TokenIds]) -> Result<Array2<f32>, EncodeError> {
        let longest = batch.iter().map(Vec::len).max().unwrap_or_default();
        let mut padded = Array2::from_elem((batch.len(), longest), self.padding_id);
        for (mut row, token_ids) in padded.outer_iter_mut().zip(batch) {
            for (target, &token_id) in row.iter_mut().zip(token_ids) {
                *target = token_id;
            }
        }
        self.run_array(&padded)
    }
}

fn open_session(path: &Path, options: SessionOptions<'_>) -> Result<Session, EncodeError> {
    let environment = environment(options.library)?;
    let threads = match options.threads {
        // Takes the cgroup's CPU quota into account, unlike ONNX Runtime's own default.
        0 => std::thread::available_parallelism().map_or(1, NonZero::get),
        threads => threads,
    };
    let build = || -> ort::Result<Session> {
        Session::builder(&environment)?
            .with_optimization_level(GraphOptimizationLevel::All)?
            .with_intra_threads(threads)?
            // Threads that spin while idle starve the other tower on a machine with few cores.
            .with_config_entry("session.intra_op.allow_spinning", "0")?
            .commit_from_file(path)
    };
    build().map_err(|source| EncodeError::Session { path: path.to_owned(), source })
}

fn run_session(
    session: &mut Session,
    tower: &'static str,
    input_name: &str,
    input: ort::session::SessionInputValue<'_>,
) -> Result<Array2<f32>, EncodeError> {
    let failed = |error: ort::Error| tower_error(tower, error);
    let outputs = session.run(vec![(input_name, input)]).map_err(failed)?;
    let features = outputs.get("features").ok_or_else(|| tower_error(tower, "the graph has no output `features`"))?;
    let features = features.try_extract_array::<f32>().map_err(failed)?;
    features.into_owned().into_dimensionality::<Ix2>().map_err(|error| tower_error(tower, error))
}

fn tower_error(tower: &'static str, reason: impl std::fmt::Display) -> EncodeError {
    EncodeError::Tower { tower, reason: reason.to_string() }
}
