//! What CLIP's blocks put between the two layers of their MLPs.

use crate::ExportError;
use std::fmt;
use std::str::FromStr;

/// The activation of a tower's MLPs. No tensor says which one a model was trained with, and the other gives a model that
/// works, only badly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// `x · sigmoid(1.702 x)`: OpenAI's models, and what was trained from them.
    QuickGelu,
    /// `x · Φ(x)` with the normal distribution Φ (Hendrycks & Gimpel, 2016): most of OpenCLIP's own models.
    Gelu,
}

impl fmt::Display for Activation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::QuickGelu => "quick-gelu",
            Self::Gelu => "gelu",
        })
    }
}

impl FromStr for Activation {
    type Err = ExportError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = [Self::QuickGelu, Self::Gelu].into_iter().find(|known| known.to_string() == text);
        found.ok_or_else(|| ExportError::Setting {
            name: "activation".to_owned(),
            reason: format!("is {text:.40?}, expected quick-gelu or gelu"),
        })
    }
}

/// What is computed with a tower's weights and stands in none of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BlockFacts {
    /// Attention heads of each block.
    pub(crate) heads: usize,
    pub(crate) activation: Activation,
}
