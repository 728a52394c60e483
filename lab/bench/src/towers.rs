//! Bare towers: no service, no queues, one batch after the other.

use crate::BenchError;
use crate::interleaving::{Side, interleave};
use crate::tower_inputs::{TextInputs, filler_text, image_batch, order_by_length, text_batches, tokenize};
use crate::tower_measurement::{TowerKind, TowerMeasurement, summary};
use bytes::Bytes;
use descry_encoder::{EncoderConfig, OnnxTextTower, OnnxVisionTower, OpenedTowers, open_towers};
use descry_model::{Bundle, Manifest};
use ndarray::{Array2, Array4};
use tokio_util::sync::CancellationToken;

/// A bundle and how to run it.
#[derive(Debug, Clone)]
pub struct TowerSubject {
    /// Device, threads and library; the bundle is its `model`.
    pub config: EncoderConfig,
    /// Pads texts to the context length instead of to the batch's longest.
    pub pad_to_context: bool,
}

/// What to measure.
#[derive(Debug, Clone)]
pub struct TowerPlan {
    /// Which tower.
    pub tower: TowerKind,
    /// Measured one after the other.
    pub batch_sizes: Vec<usize>,
    /// What the text towers read. Of captions, those that fill whole batches make up a round.
    pub texts: TextInputs,
    /// Image files for the vision towers.
    pub images: Vec<Bytes>,
    /// How often everything is measured.
    pub rounds: usize,
}

/// A bundle's towers, loaded.
pub struct LoadedTowers {
    bundle: Bundle,
    pub(crate) vision: OnnxVisionTower,
    pub(crate) text: OnnxTextTower,
    pad_to_context: bool,
}

impl LoadedTowers {
    /// Loads both towers and checks them against the bundle's stored outputs.
    ///
    /// # Errors
    /// [`BenchError::Bundle`], [`BenchError::Encoder`].
    pub fn open(subject: &TowerSubject) -> Result<Self, BenchError> {
        let bundle = Bundle::open(&subject.config.model)?;
        let OpenedTowers { vision, text, .. } = open_towers(&bundle, &subject.config)?;
        let (Some(vision), Some(text)) = (vision.into_iter().next(), text.into_iter().next()) else {
            unreachable!("opening gives at least one of each")
        };
        Ok(Self { bundle, vision, text, pad_to_context: subject.pad_to_context })
    }

    /// Everything about the model that is not a weight.
    pub fn manifest(&self) -> &Manifest {
        self.bundle.manifest()
    }

    pub(crate) fn vision_side(&mut self, images: &[Bytes], batch_size: usize) -> Result<VisionSide<'_>, BenchError> {
        let pixels = image_batch(images, batch_size, &self.bundle.manifest().image)?;
        Ok(VisionSide { tower: &mut self.vision, pixels })
    }

    fn text_side(&mut self, texts: &[Vec<i64>], batch_size: usize) -> TextSide<'_> {
        let batches = text_batches(texts, batch_size, &self.bundle.manifest().text, self.pad_to_context);
        TextSide { tower: &mut self.text, batches }
    }

    /// The texts' token ids in the plan's order, or in the given one.
    fn texts(&self, inputs: &TextInputs, order: Option<&[usize]>) -> Result<Vec<Vec<i64>>, BenchError> {
        let texts = match inputs {
            TextInputs::Tokens(tokens) => vec![filler_text(*tokens, &self.bundle.manifest().text)?],
            TextInputs::Captions { captions, .. } => tokenize(&self.bundle.tokenizer()?, captions)?,
        };
        let Some(order) = order else { return Ok(texts) };
        Ok(order.iter().filter_map(|&position| texts.get(position).cloned()).collect())
    }
}

pub(crate) struct VisionSide<'a> {
    tower: &'a mut OnnxVisionTower,
    pixels: Array4<f32>,
}

impl Side for VisionSide<'_> {
    fn run(&mut self, _batch: usize) -> Result<(), BenchError> {
        self.tower.run_array(&self.pixels)?;
        Ok(())
    }
}

struct TextSide<'a> {
    tower: &'a mut OnnxTextTower,
    batches: Vec<Array2<i64>>,
}

impl Side for TextSide<'_> {
    fn run(&mut self, batch: usize) -> Result<(), BenchError> {
        if let Some(token_ids) = self.batches.get(batch) {
            self.tower.run_array(token_ids)?;
        }
        Ok(())
    }
}

impl TextSide<'_> {
    fn padded_tokens(&self) -> f64 {
        let widths: usize = self.batches.iter().map(|batch| batch.ncols()).sum();
        widths as f64 / self.batches.len().max(1) as f64
    }
}

/// Measures a tower and, in turns with it, that of a baseline. Ends early, with what it has, when `stop` is
/// cancelled. Says through `progress` what it is about to measure.
///
/// # Errors
/// [`BenchError::Setting`] for a plan that cannot be carried out, [`BenchError::Bundle`] for captions without a
/// tokenizer, [`BenchError::Encoder`] for a tower that fails.
pub fn measure_towers(
    measured: &mut LoadedTowers,
    mut baseline: Option<&mut LoadedTowers>,
    plan: &TowerPlan,
    stop: &CancellationToken,
    progress: impl Fn(String),
) -> Result<Vec<TowerMeasurement>, BenchError> {
    plan.check()?;
    let mut found = Vec::new();
    for &batch_size in &plan.batch_sizes {
        let baseline = baseline.as_deref_mut();
        found.extend(match plan.tower {
            TowerKind::Vision => {
                progress(format!("vision tower, {batch_size} images"));
                measure_vision(measured, baseline, plan, batch_size, stop)?
            }
            TowerKind::Text => {
                progress(format!("text tower, {batch_size} texts"));
                measure_text(measured, baseline, plan, batch_size, stop)?
            }
        });
    }
    Ok(found)
}

impl TowerPlan {
    fn check(&self) -> Result<(), BenchError> {
        let fault = |setting, reason: &str| Err(BenchError::Setting { setting, reason: reason.to_owned() });
        if self.rounds == 0 {
            return fault("--rounds", "must be at least 1");
        }
        if self.batch_sizes.iter().any(|size| !(1..=4096).contains(size)) {
            return fault("--batch", "must be 1 to 4096");
        }
        Ok(())
    }
}

fn measure_vision(
    measured: &mut LoadedTowers,
    baseline: Option<&mut LoadedTowers>,
    plan: &TowerPlan,
    batch_size: usize,
    stop: &CancellationToken,
) -> Result<Option<TowerMeasurement>, BenchError> {
    let mut side = measured.vision_side(&plan.images, batch_size)?;
    let mut other = baseline.map(|baseline| baseline.vision_side(&plan.images, batch_size)).transpose()?;
    let other = other.as_mut().map(|other| other as &mut dyn Side);
    let rounds = interleave(&mut side, other, 1, plan.rounds, stop)?;
    Ok(summary(TowerKind::Vision, batch_size, 1, &rounds, (None, None)))
}

fn measure_text(
    measured: &mut LoadedTowers,
    baseline: Option<&mut LoadedTowers>,
    plan: &TowerPlan,
    batch_size: usize,
    stop: &CancellationToken,
) -> Result<Option<TowerMeasurement>, BenchError> {
    let texts = measured.texts(&plan.texts, None)?;
    let order = match plan.texts {
        TextInputs::Captions { group_by_length: true, .. } => Some(order_by_length(&texts)),
        TextInputs::Captions { .. } | TextInputs::Tokens(_) => None,
    };
    // Both sides read the same captions in the same order, whatever their tokenizers make of them.
    let order = order.as_deref();
    let texts = measured.texts(&plan.texts, order)?;
    let mut side = measured.text_side(&texts, batch_size);
    let mut other = match baseline {
        Some(baseline) => {
            let texts = baseline.texts(&plan.texts, order)?;
            Some(baseline.text_side(&texts, batch_size))
        }
        None => None,
    };
    let tokens = (Some(side.padded_tokens()), other.as_ref().map(TextSide::padded_tokens));
    let batches = side.batches.len();
    let other = other.as_mut().map(|other| other as &mut dyn Side);
    let rounds = interleave(&mut side, other, batches, plan.rounds, stop)?;
    Ok(summary(TowerKind::Text, batch_size, batches, &rounds, tokens))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_setting_at_fault_is_named() {
        let plan = TowerPlan {
            tower: TowerKind::Vision,
            batch_sizes: vec![8],
            texts: TextInputs::Tokens(40),
            images: Vec::new(),
            rounds: 3,
        };
        plan.check().unwrap();
        let check = |plan: TowerPlan, setting: &str| {
            assert!(plan.check().unwrap_err().to_string().starts_with(setting), "{setting}");
        };
        check(TowerPlan { rounds: 0, ..plan.clone() }, "--rounds");
        check(TowerPlan { batch_sizes: vec![8, 0], ..plan.clone() }, "--batch");
        check(TowerPlan { batch_sizes: vec![5000], ..plan }, "--batch");
    }
}
