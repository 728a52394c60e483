//! How many operations a tower's matrix products take, so that a measurement can be held against what a machine can do.

use crate::geometry::Grid;
use crate::tower::{Adapter, Block, VisionTower};

/// Additions and multiplications of one image in 10⁹, products only; softmax, normalisations and activations come on
/// top. `plain` graphs compute the last block for all positions.
pub(crate) fn image_gflop(tower: &VisionTower, grid: Grid, plain: bool) -> f64 {
    let positions = grid.positions();
    let last = tower.blocks.len().saturating_sub(1);
    let blocks = tower.blocks.iter().enumerate().map(|(layer, block)| {
        let asking = if layer == last && !plain { 1 } else { positions };
        block_products(block, positions, asking)
    });
    let patches = (positions - 1) * tower.patch_kernel.len();
    let products = blocks.sum::<usize>() + patches + tower.projection.len();
    // One multiplication and one addition each.
    2.0 * products as f64 / 1e9
}

/// Multiplications of a block that all positions of an image enter and `asking` positions leave.
fn block_products(block: &Block, positions: usize, asking: usize) -> usize {
    let attention = &block.attention;
    let width = attention.query.weight.nrows();
    let prefix = attention.prefix.as_ref().map_or(0, |prefix| prefix.keys.nrows());
    let projections = positions * (attention.key.weight.len() + attention.value.weight.len())
        + asking * (attention.query.weight.len() + attention.output.weight.len());
    let scores = 2 * asking * (positions + prefix) * width;
    let mlp = asking * (block.mlp_in.weight.len() + block.mlp_out.weight.len());
    let adapter = |adapter: &Option<Adapter>, tokens: usize| {
        adapter.as_ref().map_or(0, |adapter| tokens * (adapter.down.weight.len() + adapter.up.weight.len()))
    };
    let adapters = adapter(&block.attention_adapter, positions) + adapter(&block.mlp_adapter, asking);
    let experts = block.experts.as_ref().map_or(0, |experts| {
        asking * (experts.router.weight.len() + experts.down.weight.len() + experts.up.len() + experts.up_bias.len())
    });
    projections + scores + mlp + adapters + experts
}
