//! Running a graph that tells the ranges of its products' inputs, on images and texts of a calibration set.

use crate::EncodeError;
use crate::config::EncoderConfig;
use crate::device::Provider;
use crate::tower::{Graph, Pixels, SessionOptions, TokenIds, TowerSession};
use ndarray::{Array2, Axis};
use ort::value::TensorRef;
use std::collections::BTreeMap;

/// One graph under observation.
pub struct RangeObserver {
    session: TowerSession,
    tower: &'static str,
    prefix: String,
    ranges: BTreeMap<String, f32>,
}

impl RangeObserver {
    /// Builds a session from a graph whose outputs named `prefix` and a name are ranges of activations.
    ///
    /// # Errors
    /// [`EncodeError`] for a missing ONNX Runtime or a graph that does not load.
    pub fn open(tower: &'static str, graph: &[u8], prefix: &str, config: &EncoderConfig) -> Result<Self, EncodeError> {
        let options = SessionOptions {
            library: &config.onnxruntime_library,
            threads: config.sessions.threads,
            provider: Provider::Cpu,
            device: &config.device,
        };
        let session = TowerSession::open(tower, Graph::Bytes(graph), options)?;
        Ok(Self { session, tower, prefix: prefix.to_owned(), ranges: BTreeMap::new() })
    }

    /// Runs one image.
    ///
    /// # Errors
    /// [`EncodeError::Tower`].
    pub fn observe_image(&mut self, pixels: &Pixels) -> Result<(), EncodeError> {
        let input = pixels.view().insert_axis(Axis(0));
        let input = TensorRef::from_array_view(input).map_err(|error| self.failed(&error))?;
        self.observe("pixels", input.into())
    }

    /// Runs one text, unpadded: what stands behind the end mark must not widen a range.
    ///
    /// # Errors
    /// [`EncodeError::Tower`].
    pub fn observe_text(&mut self, token_ids: &TokenIds) -> Result<(), EncodeError> {
        let input = Array2::from_shape_fn((1, token_ids.len()), |(_, position)| token_ids[position]);
        let input = TensorRef::from_array_view(&input).map_err(|error| self.failed(&error))?;
        self.observe("token_ids", input.into())
    }

    /// The largest magnitude of each observed input, by name.
    pub fn into_ranges(self) -> BTreeMap<String, f32> {
        self.ranges
    }

    fn observe(&mut self, input_name: &str, input: ort::session::SessionInputValue<'_>) -> Result<(), EncodeError> {
        let tower = self.tower;
        let failed = |reason: String| EncodeError::Tower { tower, reason };
        let outputs =
            self.session.session().run(vec![(input_name, input)]).map_err(|error| failed(error.to_string()))?;
        for (output, value) in &outputs {
            let Some(name) = output.strip_prefix(&self.prefix) else { continue };
            let (_, values) = value.try_extract_tensor::<f32>().map_err(|error| failed(error.to_string()))?;
            // `max` would drop NaN, and the range of a broken tensor must not look like that of an empty one.
            let range =
                values.iter().fold(0.0_f32, |range, value| if value.is_nan() { f32::NAN } else { range.max(*value) });
            if !range.is_finite() {
                return Err(failed(format!("{name} is not finite")));
            }
            let largest = self.ranges.entry(name.to_owned()).or_default();
            *largest = largest.max(range);
        }
        Ok(())
    }

    fn failed(&self, error: &ort::Error) -> EncodeError {
        EncodeError::Tower { tower: self.tower, reason: error.to_string() }
    }
}
