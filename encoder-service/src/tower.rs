//! The one thing the service asks of a model: features for a batch. ONNX Runtime computes them.

mod routing;
mod session;

pub(crate) use session::{Graph, SessionOptions, thread_count};

use crate::EncodeError;
use crate::device::{DeviceReport, bucket};
use ndarray::{Array2, Array3, Array4, Ix2, s};
use ort::memory::MemoryInfo;
use ort::session::{Session, SessionInputValue, SessionOutputs};
use ort::value::{PrimitiveTensorElementType, TensorRef};
use routing::RoutingReport;
use std::fmt::Debug;
use std::path::Path;

/// What graphs call their outputs.
const FEATURES: &str = "features";
const ROUTING: &str = "routing";

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

/// The vision tower: `pixels` f32 `[batch, 3, height, width]` to `features` f32 `[batch, dimension]`.
pub struct OnnxVisionTower {
    session: TowerSession,
    routing: RoutingReport,
    batch_buckets: Vec<usize>,
}

/// The text tower: `token_ids` i64 `[batch, tokens]` to `features` f32 `[batch, dimension]`.
pub struct OnnxTextTower {
    session: TowerSession,
    routing: RoutingReport,
    padding_id: i64,
    batch_buckets: Vec<usize>,
    token_buckets: Vec<usize>,
}

/// A bundle's towers, checked, each as often as there are workers for it.
pub struct OpenedTowers {
    /// At least one.
    pub vision: Vec<OnnxVisionTower>,
    /// At least one.
    pub text: Vec<OnnxTextTower>,
    /// What runs them.
    pub device: DeviceReport,
}

/// What a tower's sessions have in common.
#[derive(Clone, Copy)]
pub(crate) struct TowerOptions<'a> {
    pub(crate) session: SessionOptions<'a>,
    /// Batches are filled up to these sizes; empty to run them as they come.
    pub(crate) batch_buckets: &'a [usize],
    /// Texts likewise.
    pub(crate) token_buckets: &'a [usize],
}

impl OnnxVisionTower {
    pub(crate) fn open(path: &Path, options: TowerOptions<'_>) -> Result<Self, EncodeError> {
        let session = TowerSession::open(Self::NAME, Graph::File(path), options.session)?;
        let routing = RoutingReport::of(Self::NAME);
        Ok(Self { session, routing, batch_buckets: options.batch_buckets.to_vec() })
    }

    /// Runs a batch that is one array already: `[batch, 3, height, width]` f32.
    ///
    /// # Errors
    /// [`EncodeError::Tower`].
    pub fn run_array(&mut self, pixels: &Array4<f32>) -> Result<Array2<f32>, EncodeError> {
        Ok(self.run_output(pixels)?.features)
    }

    fn run_output(&mut self, pixels: &Array4<f32>) -> Result<TowerOutput, EncodeError> {
        let input = TensorRef::from_array_view(pixels).map_err(|error| tower_error(Self::NAME, error))?;
        self.session.run("pixels", input)
    }
}

impl OnnxTextTower {
    pub(crate) fn open(path: &Path, padding_id: i64, options: TowerOptions<'_>) -> Result<Self, EncodeError> {
        let session = TowerSession::open(Self::NAME, Graph::File(path), options.session)?;
        let (batch_buckets, token_buckets) = (options.batch_buckets.to_vec(), options.token_buckets.to_vec());
        let routing = RoutingReport::of(Self::NAME);
        Ok(Self { session, routing, padding_id, batch_buckets, token_buckets })
    }

    /// Runs a batch that is padded already: `[batch, tokens]` i64.
    ///
    /// # Errors
    /// [`EncodeError::Tower`].
    pub fn run_array(&mut self, token_ids: &Array2<i64>) -> Result<Array2<f32>, EncodeError> {
        Ok(self.run_output(token_ids)?.features)
    }

    fn run_output(&mut self, token_ids: &Array2<i64>) -> Result<TowerOutput, EncodeError> {
        let input = TensorRef::from_array_view(token_ids).map_err(|error| tower_error(Self::NAME, error))?;
        self.session.run("token_ids", input)
    }
}

impl Tower for OnnxVisionTower {
    type Item = Pixels;

    const NAME: &'static str = "vision";

    fn run(&mut self, batch: &[Pixels]) -> Result<Array2<f32>, EncodeError> {
        let Some(first) = batch.first() else {
            return Err(tower_error(Self::NAME, "an empty batch"));
        };
        let rows = bucket(batch.len(), &self.batch_buckets);
        let (channels, height, width) = first.dim();
        // Filled row by row: one copy of each image, and zeros only where a bucket is not full.
        let mut values = Vec::with_capacity(rows * first.len());
        for pixels in batch {
            values.extend(pixels.iter());
        }
        values.resize(rows * first.len(), 0.0);
        let stacked = Array4::from_shape_vec((rows, channels, height, width), values)
            .map_err(|error| tower_error(Self::NAME, error))?;
        let output = self.run_output(&stacked)?;
        // Rows that only fill a bucket would count as inputs.
        if let Some(sums) = output.routing.filter(|_| rows == batch.len()) {
            self.routing.add(&sums);
        }
        Ok(keep_rows(output.features, batch.len()))
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
        let rows = bucket(batch.len(), &self.batch_buckets);
        let tokens = bucket(longest, &self.token_buckets);
        let mut padded = Array2::from_elem((rows, tokens), self.padding_id);
        for (mut row, token_ids) in padded.outer_iter_mut().zip(batch) {
            for (target, &token_id) in row.iter_mut().zip(token_ids) {
                *target = token_id;
            }
        }
        let output = self.run_output(&padded)?;
        // Rows that only fill a bucket would count as inputs.
        if let Some(sums) = output.routing.filter(|_| rows == batch.len()) {
            self.routing.add(&sums);
        }
        Ok(keep_rows(output.features, batch.len()))
    }
}

/// Drops the rows that only filled a bucket.
fn keep_rows(features: Array2<f32>, rows: usize) -> Array2<f32> {
    if features.nrows() > rows { features.slice(s![..rows, ..]).to_owned() } else { features }
}

/// One graph, ready to run: a single input, and `features` among the outputs.
pub(crate) struct TowerSession {
    session: Session,
    tower: &'static str,
    has_routing: bool,
    /// Where a GPU puts outputs: memory that it writes without a detour and the CPU reads. `None` on a CPU, where binding
    /// only costs.
    bound_outputs: Option<MemoryInfo<'static>>,
}

/// What a run gives.
struct TowerOutput {
    /// `[batch, dimension]` f32, not normalised.
    features: Array2<f32>,
    /// `[layers, experts]` f32, the sum of each expert's gates; `None` without a mixture of experts.
    routing: Option<Array2<f32>>,
}

impl TowerSession {
    /// Runs one batch.
    ///
    /// # Errors
    /// [`EncodeError::Tower`].
    fn run<Element: PrimitiveTensorElementType + Debug + 'static>(
        &mut self,
        input_name: &str,
        input: TensorRef<'_, Element>,
    ) -> Result<TowerOutput, EncodeError> {
        let failed = |error: ort::Error| tower_error(self.tower, error);
        let Some(memory) = &self.bound_outputs else {
            let outputs = self.session.run(vec![(input_name, SessionInputValue::from(input))]).map_err(failed)?;
            return read_outputs(&outputs, self.tower, self.has_routing);
        };
        let mut binding = self.session.create_binding().map_err(failed)?;
        binding.bind_input(input_name, &*input).map_err(failed)?;
        binding.bind_output_to_device(FEATURES, memory).map_err(failed)?;
        if self.has_routing {
            binding.bind_output_to_device(ROUTING, memory).map_err(failed)?;
        }
        let outputs = self.session.run_binding(&binding).map_err(failed)?;
        binding.synchronize_outputs().map_err(failed)?;
        read_outputs(&outputs, self.tower, self.has_routing)
    }
}

fn read_outputs(
    outputs: &SessionOutputs<'_>,
    tower: &'static str,
    has_routing: bool,
) -> Result<TowerOutput, EncodeError> {
    let matrix = |name: &str| -> Result<Array2<f32>, EncodeError> {
        let missing = || tower_error(tower, format!("the graph has no output `{name}`"));
        let output = outputs.get(name).ok_or_else(missing)?;
        let array = output.try_extract_array::<f32>().map_err(|error| tower_error(tower, error))?;
        array.into_owned().into_dimensionality::<Ix2>().map_err(|error| tower_error(tower, error))
    };
    let features = matrix(FEATURES)?;
    let routing = if has_routing { Some(matrix(ROUTING)?) } else { None };
    Ok(TowerOutput { features, routing })
}

fn tower_error(tower: &'static str, reason: impl std::fmt::Display) -> EncodeError {
    EncodeError::Tower { tower, reason: reason.to_string() }
}
