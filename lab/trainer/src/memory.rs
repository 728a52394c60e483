//! Whether a step fits into memory, before the system ends the program for it.

use crate::run::ModelShape;
use crate::{DeviceKind, Recipe, TrainError};
use descry_model::method::clip::HEAD_WIDTH;

/// Values kept for the gradient at each token of a block, in widths: norms, queries, keys, values, attention's result, the
/// MLP's four-fold hidden layer before and after its activation, sums, and as much again while gradients are computed.
const WIDTHS_A_TOKEN: usize = 24;

/// Refuses a step that needs more than what is free.
///
/// # Errors
/// [`TrainError::OutOfMemory`] with a micro-batch that would fit.
pub(crate) fn check(recipe: &Recipe, shape: &ModelShape) -> Result<(), TrainError> {
    if recipe.device.kind == DeviceKind::Cuda {
        return Ok(());
    }
    let Some(free) = free_bytes() else { return Ok(()) };
    let pairs = recipe.micro_batch_size.unwrap_or(recipe.batch_size).min(recipe.batch_size);
    let needed = bytes_a_pair(recipe, shape) * pairs as u64;
    if needed <= free {
        return Ok(());
    }
    let fitting = usize::try_from(free / bytes_a_pair(recipe, shape).max(1)).unwrap_or(pairs);
    let gib = |bytes: u64| bytes as f64 / (1u64 << 30) as f64;
    Err(TrainError::OutOfMemory {
        pairs,
        suggestion: fitting.max(1),
        message: format!("it needs about {:.1} GiB, {:.1} GiB are free", gib(needed), gib(free)),
    })
}

/// The error of a device that has no room, which says so in its own words only, as [`TrainError::OutOfMemory`]; any
/// other one as it is.
pub(crate) fn shortage(error: TrainError, pairs: usize) -> TrainError {
    let message = error.to_string();
    if message.to_lowercase().replace('_', " ").contains("out of memory") {
        return TrainError::OutOfMemory { pairs, suggestion: (pairs / 2).max(1), message };
    }
    error
}

fn bytes_a_pair(recipe: &Recipe, shape: &ModelShape) -> u64 {
    let steps = |side: usize| side.saturating_sub(shape.patch_px) / shape.stride_px.max(1) + 1;
    let patches = steps(recipe.input.height_px) * steps(recipe.input.width_px) + 1;
    let tower = |tokens: usize, width: usize, layers: usize| {
        layers * tokens * (WIDTHS_A_TOKEN * width + 2 * tokens * width.div_ceil(HEAD_WIDTH))
    };
    let vision = tower(patches, shape.vision_width, shape.vision_layers);
    // The text tower is no wider than the vision tower in any published CLIP.
    let text = tower(recipe.input.context_length, shape.vision_width, shape.text_layers);
    ((vision + text) * size_of::<f32>()) as u64
}

/// What the system says is available; `None` where it does not say.
fn free_bytes() -> Option<u64> {
    bytes_in("/proc/meminfo", "MemAvailable:")
}

/// The number behind a name in one of Linux' tables, which count in KiB; `None` on other systems.
pub(crate) fn bytes_in(table: &str, name: &str) -> Option<u64> {
    let text = std::fs::read_to_string(table).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Method;
    use descry_evaluation::DatasetLayout;

    #[test]
    fn a_step_that_cannot_fit_names_a_micro_batch_that_does() {
        let mut recipe = Recipe::published(Method::DmAdapter, DatasetLayout::CuhkPedes);
        let shape = ModelShape {
            vision_width: 768,
            vision_layers: 12,
            text_layers: 12,
            vocabulary_size: 49_408,
            patch_px: 16,
            stride_px: 16,
        };
        recipe.batch_size = 1_000_000;
        let Err(TrainError::OutOfMemory { pairs, suggestion, .. }) = check(&recipe, &shape) else {
            panic!("a million pairs of ViT-B/16 fit into no memory");
        };
        assert_eq!(pairs, 1_000_000);
        recipe.micro_batch_size = Some(suggestion / 2);
        check(&recipe, &shape).unwrap();
    }
}
