//! The towers evaluated literally from a checkpoint, unmerged, one input at a time.
//!
//! Slow and simple on purpose: this is the second opinion that every exported graph is held against. It shares no
//! merge, no graph and no runtime with what it checks, and none of the methods' numbers and key names: they are
//! `descry_model::method`'s everywhere else and spelled out here a second time on purpose, or one wrong constant would
//! be right in both. It does share what was read and decided before the merge: the tensors, the grid with its (resized)
//! positions, and the number of chosen experts.

mod rde;

use crate::ExportError;
use crate::activation::{Activation, BlockFacts};
use crate::geometry::Grid;
use half::f16;
use ndarray::{Array1, Array2, ArrayD, ArrayView3, ArrayView4, Axis, Ix1, Ix2, Ix4, concatenate, s};
use std::collections::BTreeMap;

/// PyTorch's default.
const LAYER_NORM_EPSILON: f32 = 1e-5;

/// What differs between the towers.
struct TowerFacts {
    /// What the names of the blocks start with.
    blocks: &'static str,
    /// What the names of LoRA and prefix start with.
    lora: &'static str,
    prefix: &'static str,
    /// Whether a token sees itself and those before it only.
    is_causal: bool,
    /// DM-Adapter's weight of the mixture beside the MLP.
    mixture_scale: f32,
}

const VISION: TowerFacts = TowerFacts {
    blocks: "visual.transformer.resblocks",
    lora: "LORA_learner.lora_image",
    prefix: "vit_prefix_learner.vit_prefix",
    is_causal: false,
    mixture_scale: 0.1,
};

const TEXT: TowerFacts = TowerFacts {
    blocks: "transformer.resblocks",
    lora: "LORA_learner.lora_text",
    prefix: "text_prefix_learner.text_prefix",
    is_causal: true,
    mixture_scale: 4.0,
};

/// An unmerged model.
pub(crate) struct Eager<'a> {
    pub(crate) tensors: &'a BTreeMap<String, ArrayD<f32>>,
    pub(crate) grid: Grid,
    /// `[positions, width]`: the checkpoint's, or resized from it.
    pub(crate) vision_positions: &'a Array2<f32>,
    pub(crate) top_k: usize,
    /// RDE's share of selected tokens.
    pub(crate) select_ratio: f64,
    /// Most tokens of a text: RDE selects a share of them, however short a text is.
    pub(crate) context_length: usize,
    pub(crate) vision: BlockFacts,
    pub(crate) text: BlockFacts,
}

impl Eager<'_> {
    /// # Shapes
    /// - `pixels`: `[batch, 3, height, width]` f32, normalised
    /// - returns: `[batch, dimension]` f32, not L2-normalised
    pub(crate) fn encode_images(&self, pixels: ArrayView4<'_, f32>) -> Result<Array2<f32>, ExportError> {
        let rows = pixels.outer_iter().map(|image| self.encode_image(image)).collect::<Result<Vec<_>, _>>()?;
        Ok(stack_rows(&rows))
    }

    /// # Shapes
    /// - `token_ids`: `[batch, tokens]` i64, right-padded
    /// - returns: `[batch, dimension]` f32, not L2-normalised
    pub(crate) fn encode_texts(&self, token_ids: &Array2<i64>) -> Result<Array2<f32>, ExportError> {
        let rows = token_ids.outer_iter().map(|ids| self.encode_text(&ids.to_vec())).collect::<Result<Vec<_>, _>>()?;
        Ok(stack_rows(&rows))
    }

    fn encode_image(&self, image: ArrayView3<'_, f32>) -> Result<Array1<f32>, ExportError> {
        let kernel = self.get("visual.conv1.weight")?.view().into_dimensionality::<Ix4>().map_err(shape_error)?;
        let width = kernel.dim().0;
        let flat_kernel = kernel.to_shape((width, kernel.len() / width)).map_err(shape_error)?;
        let Grid { patch, stride, .. } = self.grid;
        let mut x = Array2::zeros((self.grid.positions(), width));
        x.row_mut(0).assign(&self.vector("visual.class_embedding")?);
        for row in 0..self.grid.rows() {
            for column in 0..self.grid.columns() {
                let (top, left) = (row * stride, column * stride);
                let patch: Array1<f32> =
                    image.slice(s![.., top..top + patch, left..left + patch]).iter().copied().collect();
                x.row_mut(1 + row * self.grid.columns() + column).assign(&flat_kernel.dot(&patch));
            }
        }
        x += self.vision_positions;
        let x = self.layer_norm(&x, "visual.ln_pre")?;
        let (x, attention) = self.blocks(x, &VISION, self.vision)?;
        if self.has("visul_emb_layer.fc.weight") {
            let x = self.layer_norm(&x, "visual.ln_post")?.dot(&self.matrix("visual.proj")?);
            let patches: Vec<usize> = (1..x.nrows()).collect();
            let count = (patches.len() as f64 * self.select_ratio) as usize;
            let row = attention.row(0).to_owned();
            return self.both_embeddings("visul_emb_layer", "fc", &x, (0, &row), (patches, count));
        }
        let class = self.layer_norm(&x.slice(s![0..1, ..]).to_owned(), "visual.ln_post")?;
        Ok(class.dot(&self.matrix("visual.proj")?).row(0).to_owned())
    }

    fn encode_text(&self, token_ids: &[i64]) -> Result<Array1<f32>, ExportError> {
        let embedding = self.matrix("token_embedding.weight")?;
        let positions = self.matrix("positional_embedding")?;
        let rows: Vec<usize> = token_ids.iter().map(|&id| usize::try_from(id).unwrap_or_default()).collect();
        let x = embedding.select(Axis(0), &rows) + positions.slice(s![..rows.len(), ..]);
        let (x, attention) = self.blocks(x, &TEXT, self.text)?;
        // The end-of-text token has the highest id; the first of several counts, as in PyTorch's argmax.
        let end = rows.iter().enumerate().fold(0, |best, (index, id)| if *id > rows[best] { index } else { best });
        if self.has("texual_emb_layer.linear.weight") {
            let x = self.layer_norm(&x, "ln_final")?.dot(&self.matrix("text_projection")?);
            let words: Vec<usize> = (1..end).filter(|&position| rows[position] != 0).collect();
            let count = (self.context_length.saturating_sub(2) as f64 * self.select_ratio) as usize;
            let row = attention.row(end).to_owned();
            return self.both_embeddings("texual_emb_layer", "linear", &x, (end, &row), (words, count));
        }
        let x = self.layer_norm(&x.slice(s![end..=end, ..]).to_owned(), "ln_final")?;
        Ok(x.dot(&self.matrix("text_projection")?).row(0).to_owned())
    }

    /// What comes out of the last block, `[tokens, width]`, and its attention averaged over heads, `[tokens, tokens]`.
    fn blocks(
        &self,
        mut x: Array2<f32>,
        tower: &TowerFacts,
        facts: BlockFacts,
    ) -> Result<(Array2<f32>, Array2<f32>), ExportError> {
        let mut attention = Array2::zeros((0, 0));
        for layer in (0..).take_while(|layer| self.has(&format!("{}.{layer}.ln_1.weight", tower.blocks))) {
            let key = format!("{}.{layer}", tower.blocks);
            let has_adapter = self.has(&format!("{key}.scale_1"));
            let mut normed = self.layer_norm(&x, &format!("{key}.ln_1"))?;
            if has_adapter {
                let scale = self.scalar(&format!("{key}.scale_1"))?;
                normed += &(self.adapter(&x, &format!("{key}.adapter_ln_msa"))? * scale);
            }
            let attended;
            (attended, attention) = self.attention(&normed, &key, (layer, facts.heads), tower)?;
            x += &attended;
            let mut normed = self.layer_norm(&x, &format!("{key}.ln_2"))?;
            if has_adapter {
                let scale = self.scalar(&format!("{key}.scale_2"))?;
                normed += &(self.adapter(&x, &format!("{key}.adapter_ln_mlp"))? * scale);
            }
            let hidden = self.linear(&normed, &format!("{key}.mlp.c_fc"))?;
            let hidden = hidden.mapv(|value| match facts.activation {
                Activation::QuickGelu => value / (1.0 + (-1.702 * value).exp()),
                Activation::Gelu => {
                    (0.5 * f64::from(value) * (1.0 + libm::erf(f64::from(value) / 2.0_f64.sqrt()))) as f32
                }
            });
            let mut change = self.linear(&hidden, &format!("{key}.mlp.c_proj"))?;
            if self.has(&format!("{key}.feed_forward.alpha")) {
                let normed = self.layer_norm(&x, &format!("{key}.ln_3"))?;
                change += &(self.mixture(&normed, &key)? * tower.mixture_scale);
            }
            x += &change;
        }
        Ok((x, attention))
    }

    fn attention(
        &self,
        x: &Array2<f32>,
        key: &str,
        (layer, heads): (usize, usize),
        tower: &TowerFacts,
    ) -> Result<(Array2<f32>, Array2<f32>), ExportError> {
        let (tokens, width) = x.dim();
        let mut weight = self.matrix(&format!("{key}.attn.in_proj_weight"))?;
        let (lora, prefix) = (format!("{}.{layer}", tower.lora), format!("{}.{layer}", tower.prefix));
        if self.has(&format!("{lora}.lora_A.0")) {
            for index in 0..2 {
                let product = self
                    .matrix(&format!("{lora}.lora_B.{index}"))?
                    .dot(&self.matrix(&format!("{lora}.lora_A.{index}"))?);
                let scale = self.scalar(&format!("{lora}.scale.{index}.scale"))?;
                let mut rows = weight.slice_mut(s![(1 + index) * width..(2 + index) * width, ..]);
                rows += &(product * scale).mapv(round_to_half);
            }
        }
        let projected = x.dot(&weight.t()) + self.vector(&format!("{key}.attn.in_proj_bias"))?;
        let query = projected.slice(s![.., ..width]);
        let mut keys = projected.slice(s![.., width..2 * width]).to_owned();
        let mut values = projected.slice(s![.., 2 * width..]).to_owned();
        let mut prefix_length = 0;
        let mut prefix_weight = 1.0;
        if self.has(&format!("{prefix}.key.tokens")) {
            let learned = |part: &str| -> Result<Array2<f32>, ExportError> {
                let scale = self.scalar(&format!("{prefix}.{part}.scaler.scale"))?;
                Ok((self.matrix(&format!("{prefix}.{part}.tokens"))? * scale).mapv(round_to_half))
            };
            let learned_keys = learned("key")?;
            prefix_length = learned_keys.nrows();
            keys = concatenate(Axis(0), &[learned_keys.view(), keys.view()]).map_err(shape_error)?;
            values = concatenate(Axis(0), &[learned("val")?.view(), values.view()]).map_err(shape_error)?;
            prefix_weight = self.scalar(&format!("{prefix}.scale_to_grad"))?;
        }
        let mut output = Array2::zeros((tokens, width));
        let mut mean = Array2::zeros((tokens, keys.nrows()));
        let head_width = width / heads;
        for head in 0..heads {
            let columns = s![.., head * head_width..(head + 1) * head_width];
            let mut scores = query.slice(columns).dot(&keys.slice(columns).t()) / (head_width as f32).sqrt();
            for (row, mut scores) in scores.outer_iter_mut().enumerate() {
                if tower.is_causal {
                    scores.slice_mut(s![prefix_length + row + 1..]).fill(f32::NEG_INFINITY);
                }
                softmax(&mut scores);
                scores.slice_mut(s![..prefix_length]).mapv_inplace(|probability| probability * prefix_weight);
            }
            mean.scaled_add(1.0 / heads as f32, &scores);
            output.slice_mut(columns).assign(&scores.dot(&values.slice(columns)));
        }
        Ok((self.linear(&output, &format!("{key}.attn.out_proj"))?, mean))
    }

    /// DM-Adapter's experts, each for itself, for the tokens routed to it.
    fn mixture(&self, u: &Array2<f32>, key: &str) -> Result<Array2<f32>, ExportError> {
        let key = format!("{key}.feed_forward");
        let prompt = self.vector(&format!("{}.task_param", key.trim_end_matches(".feed_forward")))?;
        let alpha = self.scalar(&format!("{key}.alpha"))?;
        let logits = u.dot(&self.matrix(&format!("{key}.input_gate.weight"))?.t()) * (1.0 - alpha)
            + self.matrix(&format!("{key}.task_gate.weight"))?.dot(&prompt) * alpha;
        let mut output = Array2::zeros(u.dim());
        let outputs = (0..logits.ncols())
            .map(|expert| self.adapter(u, &format!("{key}.experts.{expert}")))
            .collect::<Result<Vec<_>, _>>()?;
        for (token, logits) in logits.outer_iter().enumerate() {
            let mut order: Vec<usize> = (0..logits.len()).collect();
            order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]).then(a.cmp(&b)));
            order.truncate(self.top_k);
            let mut gates: Array1<f32> = order.iter().map(|&expert| logits[expert]).collect();
            softmax(&mut gates.view_mut());
            for (&expert, gate) in order.iter().zip(gates) {
                output.row_mut(token).scaled_add(gate, &outputs[expert].row(token));
            }
        }
        Ok(output)
    }

    fn adapter(&self, x: &Array2<f32>, key: &str) -> Result<Array2<f32>, ExportError> {
        let hidden = self.linear(x, &format!("{key}.down"))?.mapv(|value| value.max(0.0));
        self.linear(&hidden, &format!("{key}.up"))
    }

    fn linear(&self, x: &Array2<f32>, key: &str) -> Result<Array2<f32>, ExportError> {
        Ok(x.dot(&self.matrix(&format!("{key}.weight"))?.t()) + self.vector(&format!("{key}.bias"))?)
    }

    fn layer_norm(&self, x: &Array2<f32>, key: &str) -> Result<Array2<f32>, ExportError> {
        let mut normed = x.clone();
        for mut row in normed.outer_iter_mut() {
            let mean = row.mean().unwrap_or_default();
            let variance = row.mapv(|value| (value - mean).powi(2)).mean().unwrap_or_default();
            let scale = (variance + LAYER_NORM_EPSILON).sqrt().recip();
            row.mapv_inplace(|value| (value - mean) * scale);
        }
        Ok(normed * self.vector(&format!("{key}.weight"))? + self.vector(&format!("{key}.bias"))?)
    }

    fn has(&self, key: &str) -> bool {
        self.tensors.contains_key(key)
    }

    fn get(&self, key: &str) -> Result<&ArrayD<f32>, ExportError> {
        self.tensors
            .get(key)
            .ok_or_else(|| ExportError::MissingTensor { key: key.to_owned(), expected: "it for evaluation".to_owned() })
    }

    fn matrix(&self, key: &str) -> Result<Array2<f32>, ExportError> {
        self.get(key)?.clone().into_dimensionality::<Ix2>().map_err(shape_error)
    }

    fn vector(&self, key: &str) -> Result<Array1<f32>, ExportError> {
        self.get(key)?.clone().into_dimensionality::<Ix1>().map_err(shape_error)
    }

    fn scalar(&self, key: &str) -> Result<f32, ExportError> {
        Ok(self.get(key)?.iter().next().copied().unwrap_or_default())
    }
}

/// The published code keeps prefixes and LoRA products in float16.
fn round_to_half(value: f32) -> f32 {
    f16::from_f32(value).to_f32()
}

fn softmax(values: &mut ndarray::ArrayViewMut1<'_, f32>) {
    let largest = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    values.mapv_inplace(|value| (value - largest).exp());
    let total = values.sum();
    values.mapv_inplace(|value| value / total);
}

fn length_of<'a>(values: impl Iterator<Item = &'a f32>) -> f32 {
    values.map(|value| value * value).sum::<f32>().sqrt()
}

fn stack_rows(rows: &[Array1<f32>]) -> Array2<f32> {
    let columns = rows.first().map_or(0, Array1::len);
    Array2::from_shape_fn((rows.len(), columns), |(row, column)| rows[row][column])
}

/// The towers were read before, so shapes are known to fit; this is for the compiler and for surprises.
fn shape_error(error: ndarray::ShapeError) -> ExportError {
    ExportError::Setting { name: "checkpoint".to_owned(), reason: format!("tensor shapes do not fit: {error}") }
}

#[cfg(test)]
mod tests;
