//! CLIP's towers (Radford et al., 2021), under OpenAI's key names. The other families hang on them.

use crate::family::BlockExtras;
use crate::tensors::Tensors;
use crate::tower::{Attention, Block, HEAD_WIDTH, Linear, TextTower, VisionTower};
use crate::{ExportError, geometry};
use ndarray::{Array1, Array2, Axis, s};

/// Padding, start and end of text.
const MIN_VOCABULARY: usize = 3;

/// Which tower a block belongs to: the families' constants and key names differ between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Vision,
    Text,
}

impl Side {
    /// What the keys of this tower's blocks start with.
    pub(crate) fn blocks_key(self) -> &'static str {
        match self {
            Self::Vision => "visual.transformer.resblocks",
            Self::Text => "transformer.resblocks",
        }
    }
}

/// One block's place: its tower, its number, its width.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BlockPlace {
    pub(crate) side: Side,
    pub(crate) layer: usize,
    pub(crate) width: usize,
}

impl BlockPlace {
    /// What this block's keys start with, without the dot.
    pub(crate) fn key(&self) -> String {
        format!("{}.{}", self.side.blocks_key(), self.layer)
    }
}

/// Number of blocks of a tower: one more than the highest number in a key, so that a block that lost a tensor is missed
/// by name.
pub(crate) fn depth(tensors: &Tensors<'_>, side: Side) -> usize {
    let numbers = tensors.keys().filter_map(|key| {
        let rest = key.strip_prefix(side.blocks_key())?.strip_prefix('.')?;
        rest.split('.').next()?.parse::<usize>().ok()
    });
    numbers.max().map_or(0, |highest| highest.saturating_add(1)).min(MAX_DEPTH)
}

/// Far above any published tower; a larger number in a key is not a block's.
const MAX_DEPTH: usize = 1024;

/// Sizes of the vision tower, read from its patch embedding.
pub(crate) fn vision_sizes(tensors: &Tensors<'_>) -> Result<(usize, usize), ExportError> {
    let key = "visual.conv1.weight";
    let expected = "[width, 3, patch, patch]";
    let [width, channels, height, patch] = tensors.shape(key, expected)?;
    let found = || vec![width, channels, height, patch];
    if channels != 3 || height != patch || patch == 0 || width == 0 {
        return Err(ExportError::WrongShape { key: key.to_owned(), found: found(), expected: expected.to_owned() });
    }
    check_width(key, width, found)?;
    Ok((width, patch))
}

pub(crate) fn read_vision(
    tensors: &mut Tensors<'_>,
    grid: geometry::Grid,
    resize_positions: bool,
    extras: &dyn BlockExtras,
) -> Result<VisionTower, ExportError> {
    let (width, patch) = vision_sizes(tensors)?;
    let [positions, _] = tensors.shape("visual.positional_embedding", "[positions, width]")?;
    let [_, dimension] = tensors.shape("visual.proj", "[width, dimension]")?;
    let stored = tensors.matrix("visual.positional_embedding", positions, width)?;
    Ok(VisionTower {
        patch_kernel: tensors.take("visual.conv1.weight", ndarray::Ix4(width, 3, patch, patch))?,
        stride: grid.stride,
        class_embedding: tensors.vector("visual.class_embedding", width)?,
        positional_embedding: geometry::fit_positions(stored, grid, resize_positions)?,
        ln_pre: tensors.layer_norm("visual.ln_pre", width)?,
        blocks: read_blocks(tensors, Side::Vision, width, extras)?,
        ln_post: tensors.layer_norm("visual.ln_post", width)?,
        projection: tensors.matrix("visual.proj", width, dimension)?,
    })
}

pub(crate) fn read_text(
    tensors: &mut Tensors<'_>,
    dimension: usize,
    extras: &dyn BlockExtras,
) -> Result<TextTower, ExportError> {
    let key = "token_embedding.weight";
    let [vocabulary, width] = tensors.shape(key, "[vocabulary, width]")?;
    check_width(key, width, || vec![vocabulary, width])?;
    if vocabulary < MIN_VOCABULARY {
        let expected = format!("at least {MIN_VOCABULARY} token ids");
        return Err(ExportError::WrongShape { key: key.to_owned(), found: vec![vocabulary, width], expected });
    }
    let [context_length, _] = tensors.shape("positional_embedding", "[context length, width]")?;
    Ok(TextTower {
        token_embedding: tensors.matrix(key, vocabulary, width)?,
        positional_embedding: tensors.matrix("positional_embedding", context_length, width)?,
        blocks: read_blocks(tensors, Side::Text, width, extras)?,
        ln_final: tensors.layer_norm("ln_final", width)?,
        projection: tensors.matrix("text_projection", width, dimension)?,
    })
}

fn check_width(key: &str, width: usize, found: impl Fn() -> Vec<usize>) -> Result<(), ExportError> {
    if width == 0 || !width.is_multiple_of(HEAD_WIDTH) {
        let expected = format!("a width that is a multiple of {HEAD_WIDTH}, the width of a head");
        return Err(ExportError::WrongShape { key: key.to_owned(), found: found(), expected });
    }
    Ok(())
}

fn read_blocks(
    tensors: &mut Tensors<'_>,
    side: Side,
    width: usize,
    extras: &dyn BlockExtras,
) -> Result<Vec<Block>, ExportError> {
    let depth = depth(tensors, side);
    if depth == 0 {
        let key = format!("{}.0.ln_1.weight", side.blocks_key());
        return Err(ExportError::MissingTensor { key, expected: "at least one block".to_owned() });
    }
    (0..depth).map(|layer| read_block(tensors, BlockPlace { side, layer, width }, extras)).collect()
}

fn read_block(tensors: &mut Tensors<'_>, place: BlockPlace, extras: &dyn BlockExtras) -> Result<Block, ExportError> {
    let key = place.key();
    let width = place.width;
    let [hidden, _] = tensors.shape(&format!("{key}.mlp.c_fc.weight"), "[hidden, width]")?;
    let mut block = Block {
        ln_1: tensors.layer_norm(&format!("{key}.ln_1"), width)?,
        attention_adapter: None,
        attention: read_attention(tensors, &key, width)?,
        ln_2: tensors.layer_norm(&format!("{key}.ln_2"), width)?,
        mlp_adapter: None,
        mlp_in: tensors.linear(&format!("{key}.mlp.c_fc"), width, hidden)?,
        mlp_out: tensors.linear(&format!("{key}.mlp.c_proj"), hidden, width)?,
        experts: None,
    };
    extras.merge_into(&mut block, tensors, place)?;
    Ok(block)
}

/// Splits PyTorch's packed `in_proj` (query, key and value rows) into three products.
fn read_attention(tensors: &mut Tensors<'_>, key: &str, width: usize) -> Result<Attention, ExportError> {
    let weight: Array2<f32> = tensors.matrix(&format!("{key}.attn.in_proj_weight"), 3 * width, width)?;
    let bias: Array1<f32> = tensors.vector(&format!("{key}.attn.in_proj_bias"), 3 * width)?;
    let part = |index: usize| {
        let rows = index * width..(index + 1) * width;
        Linear {
            weight: weight.slice(s![rows.clone(), ..]).t().as_standard_layout().into_owned(),
            bias: bias.slice_axis(Axis(0), rows.into()).into_owned(),
        }
    };
    Ok(Attention {
        heads: width / HEAD_WIDTH,
        query: part(0),
        key: part(1),
        value: part(2),
        output: tensors.linear(&format!("{key}.attn.out_proj"), width, width)?,
        prefix: None,
    })
}
