//! ONNX Runtime sessions on a chosen execution provider, and which provider really runs their nodes.

use super::{ROUTING, TowerSession, tower_error};
use crate::EncodeError;
use crate::device::{CudnnSearch, DeviceConfig, DevicePrecision, Provider};
use crate::runtime::environment;
use ort::AsPointer as _;
use ort::ep::{self, ArbitrarilyConfigurableExecutionProvider as _, ExecutionProviderDispatch};
use ort::memory::{AllocationDevice, AllocatorType, MemoryInfo, MemoryType};
use ort::session::Session;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use std::collections::BTreeMap;
use std::ffi::{CStr, c_char};
use std::num::NonZero;
use std::path::Path;
use std::ptr;

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

    /// The session itself, for outputs that only some graphs have.
    pub(crate) fn session(&mut self) -> &mut Session {
        &mut self.session
    }
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
            let search = match cudnn_search {
                CudnnSearch::Heuristic => ep::cuda::ConvAlgorithmSearch::Heuristic,
                CudnnSearch::Exhaustive => ep::cuda::ConvAlgorithmSearch::Exhaustive,
                CudnnSearch::Default => ep::cuda::ConvAlgorithmSearch::Default,
            };
            // TF32 keeps ten bits of a float32's mantissa, and is on by default: what a bundle says is float32 would
            // not be, and a float32 bundle would fail its self-test.
            let mut provider =
                ep::CUDA::default().with_device_id(id).with_conv_algorithm_search(search).with_tf32(false);
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

/// How many nodes each provider runs, by ONNX Runtime's name: it gives every node that a provider declines to the CPU
/// without a word. A compiled subgraph counts as the nodes it was made of.
///
/// # Errors
/// [`EncodeError::Tower`] when ONNX Runtime does not tell.
#[expect(unsafe_code, reason = "the binding has no safe form of this query yet")]
fn providers_in_use(session: &Session) -> Result<BTreeMap<String, usize>, EncodeError> {
    let api = ort::api();
    let mut subgraphs = ptr::null();
    let mut count = 0;
    let mut providers = BTreeMap::new();
    // SAFETY: the session is alive for the whole function and owns everything that the calls return; each pointer is
    // read only after its call succeeded.
    unsafe {
        check((api.Session_GetEpGraphAssignmentInfo)(session.ptr(), &raw mut subgraphs, &raw mut count))?;
        for index in 0..count {
            let subgraph = *subgraphs.add(index);
            let mut name: *const c_char = ptr::null();
            check((api.EpAssignedSubgraph_GetEpName)(subgraph, &raw mut name))?;
            let mut nodes = ptr::null();
            let mut node_count = 0;
            check((api.EpAssignedSubgraph_GetNodes)(subgraph, &raw mut nodes, &raw mut node_count))?;
            let name = CStr::from_ptr(name).to_string_lossy().into_owned();
            *providers.entry(name).or_default() += node_count;
        }
    }
    Ok(providers)
}

#[expect(unsafe_code, reason = "takes over a status that ONNX Runtime allocated")]
fn check(status: ort::sys::OrtStatusPtr) -> Result<(), EncodeError> {
    // SAFETY: every status comes fresh from a call and is given away here, once.
    unsafe { ort::Error::result_from_status(status) }.map_err(|error| EncodeError::Tower {
        tower: "any",
        reason: format!("which execution provider runs it: {error}"),
    })
}
