//! Which device runs the towers: settings, and the decision as pure functions.

use descry_model::{Bundle, Dialect, Fingerprint};
use serde::Deserialize;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// The `device` section of the settings.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceConfig {
    /// What to run on.
    pub name: DeviceName,
    /// Which one, where a machine has several.
    pub id: i32,
    /// Most memory of a GPU for its arena, in bytes; 0 for no limit.
    pub memory_limit_bytes: usize,
    /// How cuDNN looks for a convolution's algorithm.
    pub cudnn_search: CudnnSearch,
    /// Number format of what the towers leave in floating point.
    pub precision: DevicePrecision,
    /// Where compiled towers are kept for the next start; empty for nowhere.
    pub cache_dir: PathBuf,
}

/// A device that can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceName {
    /// The fastest that comes up.
    Auto,
    /// ONNX Runtime's own CPU execution provider.
    Cpu,
    /// CPUs, through OpenVINO's compiler.
    Openvino,
    /// An NVIDIA GPU.
    Cuda,
    /// An NVIDIA GPU, through TensorRT's compiler.
    Tensorrt,
}

impl fmt::Display for DeviceName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Auto => "auto",
            Self::Cpu => "cpu",
            Self::Openvino => "openvino",
            Self::Cuda => "cuda",
            Self::Tensorrt => "tensorrt",
        })
    }
}

impl FromStr for DeviceName {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        [Self::Auto, Self::Cpu, Self::Openvino, Self::Cuda, Self::Tensorrt]
            .into_iter()
            .find(|device| device.to_string() == name)
            .ok_or_else(|| format!("{name:?} is not one of auto, cpu, openvino, cuda, tensorrt"))
    }
}

/// How cuDNN looks for a convolution's algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CudnnSearch {
    /// By rules of thumb: quick for every new shape.
    Heuristic,
    /// By trying all: hundreds of milliseconds for every new shape.
    Exhaustive,
    /// One fixed algorithm.
    Default,
}

/// Number format of what the towers leave in floating point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DevicePrecision {
    /// 32-bit floating point, as exported.
    Fp32,
    /// 16-bit brain floating point (OpenVINO only). Changes embeddings a little, and so the fingerprint.
    Bf16,
}

impl fmt::Display for DevicePrecision {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Fp32 => "fp32",
            Self::Bf16 => "bf16",
        })
    }
}

/// An execution provider of ONNX Runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Provider {
    Cpu,
    Openvino,
    Cuda,
    Tensorrt,
}

impl Provider {
    /// The name in messages and metrics, equal to the device's.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Openvino => "openvino",
            Self::Cuda => "cuda",
            Self::Tensorrt => "tensorrt",
        }
    }

    /// The name under which the health service knows the encoder on this provider, for probes that insist on one.
    pub(crate) fn health_name(self) -> &'static str {
        match self {
            Self::Cpu => "descry.encoder.v1.EncoderService.cpu",
            Self::Openvino => "descry.encoder.v1.EncoderService.openvino",
            Self::Cuda => "descry.encoder.v1.EncoderService.cuda",
            Self::Tensorrt => "descry.encoder.v1.EncoderService.tensorrt",
        }
    }

    /// ONNX Runtime's own name.
    pub(crate) fn registered_name(self) -> &'static str {
        match self {
            Self::Cpu => "CPUExecutionProvider",
            Self::Openvino => "OpenVINOExecutionProvider",
            Self::Cuda => "CUDAExecutionProvider",
            Self::Tensorrt => "TensorrtExecutionProvider",
        }
    }

    /// What a machine lacks when the provider does not come up.
    pub(crate) fn remedy(self) -> &'static str {
        match self {
            Self::Cpu => "run `make setup`",
            Self::Openvino => "run `make setup`, which installs the wheel onnxruntime-openvino",
            Self::Cuda => {
                "install the wheel onnxruntime-gpu with the CUDA and cuDNN libraries it names, and set \
                 `onnxruntime_library` to its libonnxruntime.so"
            }
            Self::Tensorrt => {
                "install the wheel onnxruntime-gpu and TensorRT's libraries, and set `onnxruntime_library` to the \
                 wheel's libonnxruntime.so"
            }
        }
    }

    /// GPUs plan for shapes; on a CPU every shape is as good as any.
    pub(crate) fn wants_fixed_shapes(self) -> bool {
        matches!(self, Self::Cuda | Self::Tensorrt)
    }
}

/// What can be seen of a machine without loading anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Machine {
    /// The NVIDIA driver is loaded.
    pub(crate) nvidia_gpu: bool,
}

impl Machine {
    pub(crate) fn look() -> Self {
        Self { nvidia_gpu: std::path::Path::new("/dev/nvidiactl").exists() }
    }
}

/// Whether the processor multiplies and adds 8-bit numbers in 32 bits.
///
/// Without such instructions (VNNI on x86-64), kernels add pairs of products in 16 bits, where large ones saturate:
/// int8 towers run, but their embeddings are further from float32.
pub fn has_exact_int8_products() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        std::arch::is_x86_feature_detected!("avx512vnni") || std::arch::is_x86_feature_detected!("avxvnni")
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        true
    }
}

/// The providers to try, fastest first. One that was asked for by name has no second.
pub(crate) fn candidates(
    name: DeviceName,
    precision: DevicePrecision,
    dialect: Dialect,
    machine: Machine,
) -> Vec<Provider> {
    match name {
        // No other provider has it, and embeddings of another format must not appear unasked.
        DeviceName::Auto if precision == DevicePrecision::Bf16 => vec![Provider::Openvino],
        DeviceName::Cpu => vec![Provider::Cpu],
        DeviceName::Openvino => vec![Provider::Openvino],
        DeviceName::Cuda => vec![Provider::Cuda],
        DeviceName::Tensorrt => vec![Provider::Tensorrt],
        DeviceName::Auto => {
            let gpu = machine.nvidia_gpu.then_some(Provider::Cuda);
            // OpenVINO splits a graph at operators it does not know, and is slower than the CPU provider then.
            let compiler = (dialect == Dialect::Standard).then_some(Provider::Openvino);
            [gpu, compiler, Some(Provider::Cpu)].into_iter().flatten().collect()
        }
    }
}

/// What runs the towers, as told to callers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceReport {
    /// What the settings ask for.
    pub requested: DeviceName,
    /// The execution provider that really runs.
    pub execution_provider: &'static str,
    /// Number format of what the towers leave in floating point.
    pub precision: DevicePrecision,
    /// Why `auto` did not take its first choice.
    pub fallback_reason: Option<String>,
    /// The name under which the health service knows the encoder on this provider.
    pub health_name: &'static str,
}

impl DeviceReport {
    /// The bundle's fingerprint as it runs here: a device that computes in another number format makes embeddings that
    /// must not be mixed with the bundle's own.
    pub(crate) fn fingerprint(&self, bundle: &Bundle) -> Fingerprint {
        match self.precision {
            DevicePrecision::Fp32 => bundle.fingerprint().clone(),
            DevicePrecision::Bf16 => bundle.fingerprint().computed_in(&self.precision.to_string()),
        }
    }
}

/// The configured sizes that can occur, and the largest that can: no run is larger, and none is without its plan.
pub(crate) fn buckets(configured: &[usize], largest: usize) -> Vec<usize> {
    let mut sizes: Vec<usize> = configured.iter().copied().filter(|size| *size < largest).collect();
    sizes.push(largest);
    sizes.sort_unstable();
    sizes.dedup();
    sizes
}

/// The smallest of the sizes that holds `count`, or `count` itself beyond the largest.
pub(crate) fn bucket(count: usize, sizes: &[usize]) -> usize {
    sizes.iter().copied().filter(|size| *size >= count).min().unwrap_or(count)
}

#[cfg(test)]
mod tests {
    use super::DevicePrecision::{Bf16, Fp32};
    use super::*;

    const NO_GPU: Machine = Machine { nvidia_gpu: false };
    const GPU: Machine = Machine { nvidia_gpu: true };

    #[test]
    fn a_device_asked_for_by_name_has_no_second() {
        for machine in [NO_GPU, GPU] {
            assert_eq!(candidates(DeviceName::Cuda, Fp32, Dialect::Contrib, machine), [Provider::Cuda]);
            assert_eq!(candidates(DeviceName::Tensorrt, Fp32, Dialect::Standard, machine), [Provider::Tensorrt]);
            assert_eq!(candidates(DeviceName::Openvino, Fp32, Dialect::Contrib, machine), [Provider::Openvino]);
        }
    }

    #[test]
    fn auto_follows_the_graphs_and_the_machine() {
        assert_eq!(candidates(DeviceName::Auto, Fp32, Dialect::Contrib, NO_GPU), [Provider::Cpu]);
        assert_eq!(candidates(DeviceName::Auto, Fp32, Dialect::Standard, NO_GPU), [Provider::Openvino, Provider::Cpu]);
        assert_eq!(candidates(DeviceName::Auto, Fp32, Dialect::Contrib, GPU), [Provider::Cuda, Provider::Cpu]);
    }

    #[test]
    fn bf16_is_never_dropped_in_silence() {
        for machine in [NO_GPU, GPU] {
            assert_eq!(candidates(DeviceName::Auto, Bf16, Dialect::Contrib, machine), [Provider::Openvino]);
        }
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        assert_eq!("tensorrt".parse(), Ok(DeviceName::Tensorrt));
        assert!("gpu".parse::<DeviceName>().unwrap_err().contains("openvino"));
    }

    #[test]
    fn buckets_end_where_runs_do() {
        assert_eq!(buckets(&[64, 16, 128], 77), [16, 64, 77]);
        assert_eq!(buckets(&[1, 8, 16], 8), [1, 8]);
        assert_eq!(buckets(&[], 8), [8]);
    }

    #[test]
    fn buckets_hold_what_comes() {
        assert_eq!(bucket(1, &[1, 4, 8]), 1);
        assert_eq!(bucket(5, &[1, 4, 8]), 8);
        assert_eq!(bucket(9, &[1, 4, 8]), 9);
    }
}
