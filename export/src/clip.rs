//! CLIP's towers (Radford et al., 2021) out of a state dict. The other methods hang on their blocks.

use crate::activation::BlockFacts;
use crate::tensors::Tensors;
use crate::tower::{Attention, Block, Linear, TextTower, VisionTower};
use crate::{ExportError, geometry};
use descry_model::method::clip::{
    CLASS_EMBEDDING, IMAGE_NORM_AFTER, IMAGE_NORM_BEFORE, IMAGE_POSITIONS, IMAGE_PROJECTION, PATCH_KERNEL,
    TEXT_NORM_AFTER, TEXT_POSITIONS, TEXT_PROJECTION, TOKEN_EMBEDDING, layer_of,
};
use descry_model::method::{BlockKeys, Side};
use ndarray::{Array1, Array2, Axis, s};

/// Padding, start and end of text.
const MIN_VOCABULARY: usize = 3;

/// One block: its names, its width, and what no tensor says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BlockSource {
    pub(crate) keys: BlockKeys,
    pub(crate) width: usize,
    pub(crate) facts: BlockFacts,
}

/// What a method adds to CLIP's blocks.
pub(crate) trait BlockExtras {
    /// Reads the method's tensors of one block and merges them into it.
    fn merge_into(&self, block: &mut Block, tensors: &mut Tensors<'_>, source: BlockSource) -> Result<(), ExportError>;
}

/// Plain CLIP adds nothing.
pub(crate) struct PlainClip;

impl BlockExtras for PlainClip {
    fn merge_into(&self, _: &mut Block, _: &mut Tensors<'_>, _: BlockSource) -> Result<(), ExportError> {
        Ok(())
    }
}

/// Number of blocks of a tower: one more than the highest number in a key, so that a block that lost a tensor is missed
/// by name.
pub(crate) fn depth(tensors: &Tensors<'_>, side: Side) -> usize {
    let numbers = tensors.keys().filter_map(|key| layer_of(side, key));
    numbers.max().map_or(0, |highest| highest.saturating_add(1)).min(MAX_DEPTH)
}

/// Far above any published tower; a larger number in a key is not a block's.
const MAX_DEPTH: usize = 1024;

/// Sizes of the vision tower, read from its patch embedding.
pub(crate) fn vision_sizes(tensors: &Tensors<'_>) -> Result<(usize, usize), ExportError> {
    let key = PATCH_KERNEL;
    let expected = "[width, 3, patch, patch]";
    let [width, channels, height, patch] = tensors.shape(key, expected)?;
    let found = || vec![width, channels, height, patch];
    if channels != 3 || height != patch || patch == 0 || width == 0 {
        return Err(ExportError::WrongShape { key: key.to_owned(), found: found(), expected: expected.to_owned() });
    }
    Ok((width, patch))
}

/// Width of the text tower, read from its vocabulary.
pub(crate) fn text_width(tensors: &Tensors<'_>) -> Result<usize, ExportError> {
    let [_, width] = tensors.shape(TOKEN_EMBEDDING, "[vocabulary, width]")?;
    Ok(width)
}

pub(crate) fn read_vision(
    tensors: &mut Tensors<'_>,
    grid: geometry::Grid,
    resize_positions: bool,
    facts: BlockFacts,
    extras: &dyn BlockExtras,
) -> Result<VisionTower, ExportError> {
    let (width, patch) = vision_sizes(tensors)?;
    let [positions, _] = tensors.shape(IMAGE_POSITIONS, "[positions, width]")?;
    let [_, dimension] = tensors.shape(IMAGE_PROJECTION, "[width, dimension]")?;
    let stored = tensors.matrix(IMAGE_POSITIONS, positions, width)?;
    Ok(VisionTower {
        patch_kernel: tensors.take(PATCH_KERNEL, ndarray::Ix4(width, 3, patch, patch))?,
        stride: grid.stride,
        class_embedding: tensors.vector(CLASS_EMBEDDING, width)?,
        positional_embedding: geometry::fit_positions(stored, grid, resize_positions)?,
        ln_pre: tensors.layer_norm(IMAGE_NORM_BEFORE, width)?,
        blocks: read_blocks(tensors, Side::Vision, width, facts, extras)?,
        ln_post: tensors.layer_norm(IMAGE_NORM_AFTER, width)?,
        projection: tensors.matrix(IMAGE_PROJECTION, width, dimension)?,
        selection: None,
    })
}

pub(crate) fn read_text(
    tensors: &mut Tensors<'_>,
    dimension: usize,
    facts: BlockFacts,
    extras: &dyn BlockExtras,
) -> Result<TextTower, ExportError> {
    let key = TOKEN_EMBEDDING;
    let [vocabulary, width] = tensors.shape(key, "[vocabulary, width]")?;
    if vocabulary < MIN_VOCABULARY {
        let expected = format!("at least {MIN_VOCABULARY} token ids");
        return Err(ExportError::WrongShape { key: key.to_owned(), found: vec![vocabulary, width], expected });
    }
    let [context_length, _] = tensors.shape(TEXT_POSITIONS, "[context length, width]")?;
    Ok(TextTower {
        token_embedding: tensors.matrix(key, vocabulary, width)?,
        positional_embedding: tensors.matrix(TEXT_POSITIONS, context_length, width)?,
        blocks: read_blocks(tensors, Side::Text, width, facts, extras)?,
        ln_final: tensors.layer_norm(TEXT_NORM_AFTER, width)?,
        projection: tensors.matrix(TEXT_PROJECTION, width, dimension)?,
        selection: None,
    })
}

fn read_blocks(
    tensors: &mut Tensors<'_>,
    side: Side,
    width: usize,
    facts: BlockFacts,
    extras: &dyn BlockExtras,
) -> Result<Vec<Block>, ExportError> {
    let depth = depth(tensors, side);
    if depth == 0 {
        let key = format!("{}.weight", side.block(0).attention_norm());
        return Err(ExportError::MissingTensor { key, expected: "at least one block".to_owned() });
    }
    (0..depth).map(|layer| read_block(tensors, BlockSource { keys: side.block(layer), width, facts }, extras)).collect()
}

fn read_block(tensors: &mut Tensors<'_>, source: BlockSource, extras: &dyn BlockExtras) -> Result<Block, ExportError> {
    let BlockSource { keys, width, facts } = source;
    let [hidden, _] = tensors.shape(&format!("{}.weight", keys.mlp_in()), "[hidden, width]")?;
    let mut block = Block {
        ln_1: tensors.layer_norm(&keys.attention_norm(), width)?,
        attention_adapter: None,
        attention: read_attention(tensors, keys, width, facts.heads)?,
        ln_2: tensors.layer_norm(&keys.mlp_norm(), width)?,
        mlp_adapter: None,
        mlp_in: tensors.linear(&keys.mlp_in(), width, hidden)?,
        activation: facts.activation,
        mlp_out: tensors.linear(&keys.mlp_out(), hidden, width)?,
        experts: None,
    };
    extras.merge_into(&mut block, tensors, source)?;
    Ok(block)
}

/// Splits PyTorch's packed `in_proj` (query, key and value rows) into three products.
fn read_attention(
    tensors: &mut Tensors<'_>,
    keys: BlockKeys,
    width: usize,
    heads: usize,
) -> Result<Attention, ExportError> {
    let weight: Array2<f32> = tensors.matrix(&keys.in_projection_weight(), 3 * width, width)?;
    let bias: Array1<f32> = tensors.vector(&keys.in_projection_bias(), 3 * width)?;
    let part = |index: usize| {
        let rows = index * width..(index + 1) * width;
        Linear {
            weight: weight.slice(s![rows.clone(), ..]).t().as_standard_layout().into_owned(),
            bias: bias.slice_axis(Axis(0), rows.into()).into_owned(),
        }
    };
    Ok(Attention {
        heads,
        query: part(0),
        key: part(1),
        value: part(2),
        output: tensors.linear(&keys.out_projection(), width, width)?,
        prefix: None,
    })
}
