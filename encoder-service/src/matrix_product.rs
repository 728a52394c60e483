//! One matrix product on ONNX Runtime, to measure what a machine can do.

use crate::EncodeError;
use crate::config::EncoderConfig;
use crate::device::Provider;
use crate::tower::{Graph, SessionOptions, TowerSession};
use ndarray::Array2;
use ort::value::TensorRef;

/// A float32 product with a constant matrix, on the CPU provider.
pub struct MatrixProduct {
    session: TowerSession,
    x: Array2<f32>,
}

impl MatrixProduct {
    /// Builds a session from a graph with an input `x` of this shape.
    ///
    /// # Errors
    /// [`EncodeError`] for a missing ONNX Runtime or a graph that does not load.
    pub fn open(graph: &[u8], (rows, inner): (usize, usize), config: &EncoderConfig) -> Result<Self, EncodeError> {
        let options = SessionOptions {
            library: &config.onnxruntime_library,
            threads: config.sessions.threads,
            provider: Provider::Cpu,
            device: &config.device,
        };
        let session = TowerSession::open(NAME, Graph::Bytes(graph), options)?;
        let x = Array2::from_shape_fn((rows, inner), |(row, column)| ((row + column * 5) % 13) as f32 * 0.1 - 0.6);
        Ok(Self { session, x })
    }

    /// Computes the product once.
    ///
    /// # Errors
    /// [`EncodeError::Tower`].
    pub fn run(&mut self) -> Result<(), EncodeError> {
        let failed = |error: ort::Error| EncodeError::Tower { tower: NAME, reason: error.to_string() };
        let x = TensorRef::from_array_view(&self.x).map_err(failed)?;
        self.session.session().run(ort::inputs!["x" => x]).map_err(failed)?;
        Ok(())
    }
}

const NAME: &str = "matrix product";
