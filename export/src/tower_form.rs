//! The number format and operators that are asked for, and what follows from them.

use crate::ExportError;
use crate::onnx_graph::{ActivationRanges, GraphForm, Products};
use descry_model::{Dialect, ParityBounds, Precision};

/// The towers' number format and operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TowerForm {
    /// Number format of the products.
    pub precision: Precision,
    /// Operators; `None` for the ones that the precision's fastest device wants.
    pub dialect: Option<Dialect>,
    /// Without everything that makes the towers cheap: all positions in the last block, experts one by one and masked,
    /// no fused operators. A baseline for measurements and a second opinion.
    pub plain: bool,
}

impl TowerForm {
    /// Float32 in standard operators.
    pub const FP32: Self = Self { precision: Precision::Fp32, dialect: None, plain: false };

    /// Refuses combinations that nothing runs.
    pub(crate) fn check(self) -> Result<(), ExportError> {
        let refuse =
            |name: &str, reason: &str| Err(ExportError::Setting { name: name.to_owned(), reason: reason.to_owned() });
        if self.plain && self.precision != Precision::Fp32 {
            return refuse("plain", "the plain graphs are float32; leave --precision out");
        }
        if self.plain && self.dialect == Some(Dialect::Contrib) {
            return refuse("plain", "the plain graphs have no fused operators; leave --dialect out");
        }
        Ok(())
    }

    pub(crate) fn graph_form(self, ranges: Option<&ActivationRanges>) -> GraphForm<'_> {
        let products = match (self.precision, ranges) {
            (Precision::Fp32, _) => Products::Float32,
            (Precision::Fp16, _) => Products::Float16,
            (Precision::Int8, Some(ranges)) => Products::Int8Static(ranges),
            (Precision::Int8, None) => Products::Int8PerRow,
        };
        let usual = match products {
            // OpenVINO is the fastest on CPUs, and fuses by itself what is spelled out.
            Products::Float32 | Products::Int8Static(_) => Dialect::Standard,
            // CUDA's, and products that OpenVINO would unpack to float32.
            Products::Float16 | Products::Int8PerRow => Dialect::Contrib,
        };
        GraphForm { dialect: self.dialect.unwrap_or(usual), products, plain: self.plain, observe: false }
    }

    /// Lines for the manifest's summary.
    pub(crate) fn summarise(self, ranges: Option<&ActivationRanges>) -> Vec<(String, String)> {
        let mut lines = Vec::new();
        if self.plain {
            lines.push(("graph".to_owned(), "plain, a baseline for measurements".to_owned()));
        }
        if self.precision == Precision::Int8 {
            let activations = match ranges {
                Some(ranges) => {
                    format!("static scales of {} inputs, absolute maxima of a calibration set", ranges.len())
                }
                None => "one scale a row, found at run time".to_owned(),
            };
            lines.push(("int8 activations".to_owned(), activations));
        }
        lines
    }
}

/// What a runtime must keep to before anything is measured. Float32 has room for another order of additions only; what
/// is narrower gets bounds from its own verification ([`crate::StagedBundle::state_bounds`]).
pub(crate) fn precision_bounds(precision: Precision) -> ParityBounds {
    match precision {
        Precision::Fp32 => ParityBounds { max_relative_difference: 2e-4, max_cosine_distance: 1e-6 },
        Precision::Fp16 | Precision::Int8 => ParityBounds { max_relative_difference: 4.0, max_cosine_distance: 1.0 },
    }
}
