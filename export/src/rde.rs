//! RDE's selection of tokens (`descry_model::method::rde` has the published form), with its batch norm folded into the
//! product in front of it.

use crate::ExportError;
use crate::checkpoint::RunSettings;
use crate::tensors::Tensors;
use crate::tower::{Linear, TokenSelection};
use descry_model::method::Side;
use descry_model::method::rde::{BATCH_NORM_EPSILON, SELECT_RATIO, direct, selection};

/// The share of tokens that is selected, and who says so.
pub(crate) fn decide_ratio(settings: &RunSettings) -> (f64, String) {
    match settings.select_ratio {
        Some(ratio) => (ratio, format!("{ratio}, the settings")),
        None => (SELECT_RATIO, format!("{SELECT_RATIO}, nobody: the published share is assumed")),
    }
}

/// How many of `tokens` are selected, as Python's `int` rounds it; at least one, or there would be no embedding.
pub(crate) fn selected(tokens: usize, ratio: f64) -> usize {
    ((tokens as f64 * ratio) as usize).clamp(1, tokens.max(1))
}

/// Reads a tower's selection.
///
/// - `dimension`: values of a projected token
/// - `count`: tokens that are selected
pub(crate) fn read_selection(
    tensors: &mut Tensors<'_>,
    side: Side,
    dimension: usize,
    count: usize,
) -> Result<TokenSelection, ExportError> {
    let (module, direct_key) = (selection(side), direct(side));
    let [own_dimension, _] = tensors.shape(&format!("{direct_key}.weight"), "[selection's dimension, dimension]")?;
    let [hidden, _] = tensors.shape(&format!("{module}.mlp.layers.0.weight"), "[hidden, dimension]")?;
    let mut inner = tensors.linear(&format!("{module}.mlp.layers.0"), dimension, hidden)?;
    let mut of_norm = |part: &str| tensors.vector(&format!("{module}.mlp.bns.0.{part}"), hidden);
    let (weight, bias, mean) = (of_norm("weight")?, of_norm("bias")?, of_norm("running_mean")?);
    let scale = weight / (of_norm("running_var")? + BATCH_NORM_EPSILON).mapv(f32::sqrt);
    inner.weight *= &scale;
    inner.bias = (inner.bias - mean) * scale + bias;
    let outer: Linear = tensors.linear(&format!("{module}.mlp.layers.1"), hidden, own_dimension)?;
    Ok(TokenSelection { count, direct: tensors.linear(&direct_key, dimension, own_dimension)?, inner, outer })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_rounded_down_and_never_none() {
        // Python: int((193 - 1) * 0.3), int((77 - 2) * 0.3), int(12 * 0.05)
        assert_eq!([selected(192, 0.3), selected(75, 0.3), selected(12, 0.05)], [57, 22, 1]);
        assert_eq!(selected(0, 0.3), 1);
    }
}
