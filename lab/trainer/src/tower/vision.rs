//! The vision tower.

use super::block::{Block, Encoded, FinalRows, Pass, project, read_all, run};
use super::layers::Norm;
use crate::TrainError;
use crate::operation::{Arithmetic, AttentionShape, linear};
use crate::parameters::Parameters;
use candle_core::{DType, Tensor};
use descry_model::method::Side;
use descry_model::method::clip::{
    CLASS_EMBEDDING, IMAGE_NORM_AFTER, IMAGE_NORM_BEFORE, IMAGE_POSITIONS, IMAGE_PROJECTION, PATCH_KERNEL,
};
use ndarray::ArrayView4;

/// How the tower is asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct VisionInput {
    pub(crate) arithmetic: Arithmetic,
    /// Step between patches in pixels.
    pub(crate) stride_px: usize,
    /// Whether the use of the experts is counted.
    pub(crate) balances: bool,
}

/// Images to features.
#[derive(Debug)]
pub(crate) struct VisionTower {
    /// `[width, 3, patch, patch]`
    patches: Tensor,
    class: Tensor,
    /// `[positions, width]`
    positions: Tensor,
    ln_pre: Norm,
    blocks: Vec<Block>,
    ln_post: Norm,
    projection: Tensor,
}

impl VisionTower {
    pub(crate) fn read(parameters: &Parameters, top_k: usize) -> Result<Self, TrainError> {
        Ok(Self {
            patches: parameters.get(PATCH_KERNEL)?,
            class: parameters.get(CLASS_EMBEDDING)?,
            positions: parameters.get(IMAGE_POSITIONS)?,
            ln_pre: Norm::read(parameters, IMAGE_NORM_BEFORE)?,
            blocks: read_all(parameters, Side::Vision, top_k)?,
            ln_post: Norm::read(parameters, IMAGE_NORM_AFTER)?,
            projection: parameters.get(IMAGE_PROJECTION)?,
        })
    }

    /// # Shapes
    /// - `pixels`: `[pairs, 3, height, width]` f32, normalised
    /// - returns: `[pairs, dimension]`
    pub(crate) fn forward(&self, pixels: ArrayView4<'_, f32>, input: VisionInput) -> Result<Encoded, TrainError> {
        let arithmetic = input.arithmetic;
        let device = self.patches.device();
        let (width, _, patch, _) = self.patches.dims4()?;
        let pairs = pixels.dim().0;
        let cut = cut_patches(pixels, patch, input.stride_px);
        let (count, inputs) = (cut.len() / (3 * patch * patch), 3 * patch * patch);
        let cut = Tensor::from_vec(cut, (count, inputs), device)?;
        let embedded = linear(arithmetic, &cut, &self.patches.reshape((width, inputs))?, None)?;
        let embedded = embedded.reshape((pairs, count / pairs, width))?;
        let class = self.class.reshape((1, 1, width))?.broadcast_as((pairs, 1, width))?.contiguous()?;
        let x = Tensor::cat(&[class, embedded], 1)?.broadcast_add(&self.positions)?;
        let tokens = x.dim(1)?;
        let x = self.ln_pre.forward(arithmetic, &x.reshape((pairs * tokens, width))?)?;
        let balance_weights = input.balances.then(|| Tensor::ones(pairs * tokens, DType::F32, device)).transpose()?;
        let pass = Pass {
            arithmetic,
            attention: AttentionShape::all(pairs, tokens),
            balance_weights,
            final_rows: FinalRows::new(tokens, &vec![0; pairs], vec![tokens; pairs], device)?,
        };
        let (x, loads) = run(&self.blocks, x, &pass)?;
        let features = project(arithmetic, &self.ln_post.forward(arithmetic, &x)?, &self.projection)?;
        Ok(Encoded { features, loads })
    }
}

/// Patches as rows, `[pairs * patches, 3 * patch * patch]`, in the order of a convolution's weights.
fn cut_patches(pixels: ArrayView4<'_, f32>, patch: usize, stride: usize) -> Vec<f32> {
    let (pairs, channels, height, width) = pixels.dim();
    let (rows, columns) = ((height - patch) / stride + 1, (width - patch) / stride + 1);
    let mut cut = Vec::with_capacity(pairs * rows * columns * channels * patch * patch);
    for image in pixels.outer_iter() {
        for row in 0..rows {
            for column in 0..columns {
                for channel in image.outer_iter() {
                    for line in row * stride..row * stride + patch {
                        let left = column * stride;
                        cut.extend(channel.row(line).iter().skip(left).take(patch));
                    }
                }
            }
        }
    }
    cut
}
