//! ONNX Runtime sessions on a chosen execution provider.

use super::assignment::providers_in_use;
use crate::EncodeError;
use crate::device::{CudnnSearch, DeviceConfig, DevicePrecision, Provider};
use crate::runtime::environment;
use ndarray::{Array2, Ix2};
use ort::ep::{self, ArbitrarilyConfigurableExecutionProvider as _, ExecutionProviderDispatch};
use ort::memory::{AllocationDevice, AllocatorType, MemoryInfo, MemoryType};
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::session::{Session, SessionInputValue, SessionOutputs};
use ort::value::{PrimitiveTensorElementType, TensorRef};
use std::fmt::Debug;
use std::num::NonZero;
use std::path::Path;

/// How sessions are built.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SessionOptions<'a> {
    /// The shared library; empty to search for it.
    pub(crate) library: &'a Path,
    /// Threads; 0 for the CPU quota.
    pub(crate) threads: usize,
    /// What runs the graph.
    pub(crate) provider: Provider,
    /// The provider's settings.
    pub(crate) device: &'a DeviceConfig,
}

/// Where a graph comes from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Graph<'a> {
    File(&'a Path),
    Bytes(&'a [u8]),
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

const FEATURES: &str = "features";
const ROUTING: &str = "routing";

/// What a run gives.
pub(crate) struct TowerOutput {
    /// `[batch, dimension]` f32, not normalised.
    pub(crate) features: Array2<f32>,
    /// `[layers, experts]` f32, the sum of each expert's gates; `None` without a mixture of experts.
    pub(crate) routing: Option<Array2<f32>>,
}

impl TowerSession {
    /// Builds a session.
    ///
    /// # Errors
    /// [`EncodeError::Session`] when the graph does not load, [`EncodeError::Device`] when the provider does not come
    /// up or runs nothing of the graph.
    pub(crate) fn open(
        tower: &'static str,
        graph: Graph<'_>,
        options: SessionOptions<'_>,
    ) -> Result<Self, EncodeError> {
        let session = build(graph, options)?;
        let in_use = providers_in_use(&session)?;
        let own = in_use.get(options.provider.registered_name()).copied().unwrap_or_default();
        let all: usize = in_use.values().sum();
        // GPUs leave the arithmetic of shapes to the CPU; a provider that declines most of the graph is none.
        if own * 2 < all {
            return Err(EncodeError::Device {
                device: options.provider.name(),
                reason: format!(
                    "it runs {own} of the {all} nodes of the {tower} tower, ONNX Runtime's CPU code the rest"
                ),
                remedy: "export the model in its dialect",
            });
        }
        tracing::debug!(tower, ?in_use, "nodes by execution provider");
        let has_routing = session.outputs().iter().any(|output| output.name() == ROUTING);
        let bound_outputs = options.provider.wants_fixed_shapes().then(|| pinned(options.device.id)).transpose();
        let bound_outputs = bound_outputs.map_err(|error| tower_error(tower, error))?;
        Ok(Self { session, tower, has_routing, bound_outputs })
    }

    /// Runs one batch.
    ///
    /// # Errors
    /// [`EncodeError::Tower`].
    pub(crate) fn run<Element: PrimitiveTensorElementType + Debug + 'static>(
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

    /// The session itself, for outputs that only some graphs have.
    pub(crate) fn session(&mut self) -> &mut Session {
        &mut self.session
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

fn pinned(device_id: i32) -> ort::Result<MemoryInfo<'static>> {
    MemoryInfo::new(AllocationDevice::CUDA_PINNED, device_id, AllocatorType::Device, MemoryType::CPUOutput)
}

fn build(graph: Graph<'_>, options: SessionOptions<'_>) -> Result<Session, EncodeError> {
    let environment = environment(options.library)?;
    let provider = options.provider;
    let builder = || -> ort::Result<SessionBuilder> {
        Session::builder(&environment)?
            .with_optimization_level(GraphOptimizationLevel::All)?
            .with_intra_threads(thread_count(options.threads))?
            // Threads that spin while idle starve the other tower on a machine with few cores.
            .with_config_entry("session.intra_op.allow_spinning", "0")?
            // A plan for one shape is of no use for the next, and plans pile up.
            .with_memory_pattern(false)?
            .with_config_entry("session.record_ep_graph_assignment_info", "1")
            .map_err(Into::into)
    };
    let unbuildable = |source| match graph {
        Graph::File(path) => EncodeError::Session { path: path.to_owned(), source },
        Graph::Bytes(_) => EncodeError::Session { path: "graph in memory".into(), source },
    };
    let mut builder = builder().map_err(unbuildable)?;
    if let Some(registration) = registration(options) {
        builder = builder.with_execution_providers([registration]).map_err(|error| EncodeError::Device {
            device: provider.name(),
            reason: error.to_string(),
            remedy: provider.remedy(),
        })?;
    }
    let committed = match graph {
        Graph::File(path) => builder.commit_from_file(path),
        Graph::Bytes(bytes) => builder.commit_from_memory(bytes),
    };
    committed.map_err(unbuildable)
}

/// Takes the cgroup's CPU quota into account, unlike ONNX Runtime's own default.
pub(crate) fn thread_count(configured: usize) -> usize {
    match configured {
        0 => std::thread::available_parallelism().map_or(1, NonZero::get),
        threads => threads,
    }
}

/// The provider with its settings; `None` for the CPU provider, which is always there.
fn registration(options: SessionOptions<'_>) -> Option<ExecutionProviderDispatch> {
    let DeviceConfig { id, memory_limit_bytes, cudnn_search, precision, ref cache_dir, .. } = *options.device;
    let dispatch = match options.provider {
        Provider::Cpu => return None,
        Provider::Openvino => {
            let hint = match precision {
                DevicePrecision::Fp32 => "f32",
                DevicePrecision::Bf16 => "bf16",
            };
            let mut provider = ep::OpenVINO::default()
                .with_device_type("CPU")
                .with_num_threads(thread_count(options.threads))
                .with_num_streams(1)
                .with_arbitrary_config("load_config", openvino_settings(hint));
            if !cache_dir.as_os_str().is_empty() {
                provider = provider.with_cache_dir(cache_dir.display());
            }
            provider.build()
        }
        Provider::Cuda => {
            let mut provider = ep::CUDA::default().with_device_id(id).with_conv_algorithm_search(match cudnn_search {
                CudnnSearch::Heuristic => ep::cuda::ConvAlgorithmSearch::Heuristic,
                CudnnSearch::Exhaustive => ep::cuda::ConvAlgorithmSearch::Exhaustive,
                CudnnSearch::Default => ep::cuda::ConvAlgorithmSearch::Default,
            });
            if memory_limit_bytes > 0 {
                provider = provider.with_memory_limit(memory_limit_bytes);
            }
            provider.build()
        }
        Provider::Tensorrt => {
            let mut provider = ep::TensorRT::default().with_device_id(id).with_layer_norm_fp32_fallback(true);
            if memory_limit_bytes > 0 {
                provider = provider.with_max_workspace_size(memory_limit_bytes);
            }
            if !cache_dir.as_os_str().is_empty() {
                provider = provider.with_engine_cache(true).with_engine_cache_path(cache_dir.display());
            }
            provider.build()
        }
    };
    // Without this a missing library is a line in the log, and the CPU does the work.
    Some(dispatch.error_on_failure())
}

/// OpenVINO's own settings, as JSON.
///
/// It keeps compiled kernels for every shape it meets, 5,000 of them unless told otherwise: over random batch sizes and
/// lengths that is more than a gigabyte.
fn openvino_settings(precision_hint: &str) -> String {
    format!(
        r#"{{"CPU":{{"INFERENCE_PRECISION_HINT":"{precision_hint}","CPU_RUNTIME_CACHE_CAPACITY":"{KEPT_KERNELS}"}}}}"#
    )
}

/// About 20 for each shape. With 100, texts of changing lengths make every kernel anew and take 1.6 times as long.
const KEPT_KERNELS: usize = 1000;

pub(crate) fn tower_error(tower: &'static str, reason: impl std::fmt::Display) -> EncodeError {
    EncodeError::Tower { tower, reason: reason.to_string() }
}
