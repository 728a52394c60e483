//! From a batch to gradients.
//!
//! A batch is cut into parts, each computed by a thread of its own, forwards and backwards. The matching loss compares
//! all pairs of the batch, so the parts meet in between: their features are put together, the loss gives a gradient for
//! every feature, and each part goes back with its own. The result is that of the whole batch.
//!
//! With micro-batches the parts do not fit into memory at once. Then the features are computed first without keeping
//! anything else, and each part is computed a second time, with what its gradient needs, when its turn comes (GradCache,
//! Gao et al. 2021).

use crate::batch_parts::{cut, fold_on_threads, on_threads};
use crate::loss::{Balance, Matching, matching};
use crate::model::Model;
use crate::recipe::MatchingLoss;
use crate::tower::Encoded;
use crate::{Recipe, TrainError};
use candle_core::Tensor;
use ndarray::{ArrayView2, ArrayView4, s};
use std::collections::BTreeMap;
use std::ops::Range;

/// A batch as the step sees it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StepInput<'a> {
    /// `[pairs, 3, height, width]` f32, normalised
    pub(crate) pixels: ArrayView4<'a, f32>,
    /// `[pairs, tokens]`, right-padded with 0
    pub(crate) token_ids: ArrayView2<'a, i64>,
    /// The person of each pair.
    pub(crate) identities: &'a [i64],
}

/// How a step is computed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StepSettings {
    pub(crate) matching: MatchingLoss,
    pub(crate) temperature: f64,
    pub(crate) balancing_weight: f64,
    /// Parts computed at once.
    pub(crate) threads: usize,
    /// Pairs in memory at once; `None`: all.
    pub(crate) micro_batch_size: Option<usize>,
}

impl From<&Recipe> for StepSettings {
    fn from(recipe: &Recipe) -> Self {
        Self {
            matching: recipe.loss.matching,
            temperature: recipe.loss.temperature,
            balancing_weight: recipe.loss.balancing_weight,
            threads: recipe.device.threads,
            micro_batch_size: recipe.micro_batch_size,
        }
    }
}

/// Loss and gradients of a batch.
#[derive(Debug)]
pub(crate) struct StepResult {
    /// The sum that is minimised.
    pub(crate) loss: f64,
    /// The matching loss.
    pub(crate) matching: f64,
    /// The load-balancing loss with its weight.
    pub(crate) balancing: f64,
    /// By name, in the tensors' shapes.
    pub(crate) gradients: BTreeMap<String, Tensor>,
}

/// Computes loss and gradients of one batch.
///
/// # Errors
/// [`TrainError::Computation`], [`TrainError::OutOfMemory`], [`TrainError::Thread`].
pub(crate) fn compute(model: &Model, input: StepInput<'_>, settings: StepSettings) -> Result<StepResult, TrainError> {
    let step = Step::new(model, input, settings);
    let parts = step.encode()?;
    let matching = step.compare(&parts)?;
    let balancing = step.balance(&parts)?;
    let gradients = step.go_back(parts, &matching, &balancing)?;
    Ok(StepResult {
        loss: matching.loss + balancing.loss,
        matching: matching.loss,
        balancing: balancing.loss,
        gradients,
    })
}

/// A batch on its way through the model.
struct Step<'model, 'input> {
    model: &'model Model,
    input: StepInput<'input>,
    settings: StepSettings,
    threads: usize,
    /// The pairs of each part.
    ranges: Vec<Range<usize>>,
    /// Whether the parts do not fit into memory at once, so that each is computed a second time for its gradient.
    is_computed_twice: bool,
}

/// Image and text features of a part.
struct Part {
    images: Encoded,
    texts: Encoded,
}

/// The load-balancing loss of a batch, with its weight.
struct Balancing {
    loss: f64,
    images: Balance,
    texts: Balance,
}

impl Balancing {
    /// Both towers' shares of a part in the loss, without its weight.
    fn of_part(&self, part: &Part) -> candle_core::Result<Vec<Tensor>> {
        let shares = [self.images.of_part(&part.images.loads)?, self.texts.of_part(&part.texts.loads)?];
        Ok(shares.into_iter().flatten().collect())
    }
}

impl<'model, 'input> Step<'model, 'input> {
    /// Cuts the batch into parts.
    fn new(model: &'model Model, input: StepInput<'input>, settings: StepSettings) -> Self {
        let pairs = input.identities.len();
        let threads = settings.threads.clamp(1, pairs.max(1));
        let micro_batch = settings.micro_batch_size.filter(|&size| size < pairs);
        let ranges = cut(pairs, micro_batch.unwrap_or(pairs).div_ceil(threads));
        Self { model, input, settings, threads, ranges, is_computed_twice: micro_batch.is_some() }
    }

    /// First: the features of all parts. They carry what a gradient needs, unless they are computed twice.
    fn encode(&self) -> Result<Vec<Part>, TrainError> {
        on_threads(self.threads, &self.ranges, |range| {
            let mut part = self.forward(range)?;
            if self.is_computed_twice {
                for encoded in [&mut part.images, &mut part.texts] {
                    encoded.features = encoded.features.detach();
                    encoded.loads.iter_mut().for_each(|load| load.probability_sums = load.probability_sums.detach());
                }
            }
            Ok(part)
        })
    }

    fn forward(&self, range: &Range<usize>) -> Result<Part, TrainError> {
        let pixels = self.input.pixels.slice(s![range.clone(), .., .., ..]);
        let token_ids = self.input.token_ids.slice(s![range.clone(), ..]);
        Ok(Part { images: self.model.encode_images(pixels)?, texts: self.model.encode_texts(token_ids)? })
    }

    /// Second: the matching loss of all pairs, and its gradient for every feature.
    fn compare(&self, parts: &[Part]) -> Result<Matching, TrainError> {
        let joined = |features: fn(&Part) -> &Tensor| {
            Tensor::cat(&parts.iter().map(|part| features(part).detach()).collect::<Vec<_>>(), 0)
        };
        let images = joined(|part| &part.images.features)?;
        let texts = joined(|part| &part.texts.features)?;
        let StepSettings { matching: kind, temperature, .. } = self.settings;
        Ok(matching(kind, &images, &texts, self.input.identities, temperature)?)
    }

    /// Third: how evenly the experts of the whole batch were used.
    fn balance(&self, parts: &[Part]) -> Result<Balancing, TrainError> {
        let images = Balance::of_parts(parts.iter().map(|part| part.images.loads.as_slice()));
        let texts = Balance::of_parts(parts.iter().map(|part| part.texts.loads.as_slice()));
        let mut balancing = Balancing { loss: 0.0, images, texts };
        for part in parts {
            for share in balancing.of_part(part)? {
                balancing.loss += self.settings.balancing_weight * f64::from(share.to_scalar::<f32>()?);
            }
        }
        Ok(balancing)
    }

    /// Fourth: back through every part, and the sums of the parts' gradients.
    fn go_back(
        &self,
        parts: Vec<Part>,
        matching: &Matching,
        balancing: &Balancing,
    ) -> Result<BTreeMap<String, Tensor>, TrainError> {
        let mut gradients = BTreeMap::new();
        let add = |part| add_to(&mut gradients, part);
        if self.is_computed_twice {
            drop(parts);
            let work = |range: &Range<usize>| self.backward(range, &self.forward(range)?, matching, balancing);
            fold_on_threads(self.threads, &self.ranges, work, add)?;
        } else {
            let parts: Vec<(&Range<usize>, Part)> = self.ranges.iter().zip(parts).collect();
            let work = |(range, part): &(&Range<usize>, Part)| self.backward(range, part, matching, balancing);
            fold_on_threads(self.threads, &parts, work, add)?;
        }
        Ok(gradients)
    }

    /// The gradient of a scalar that has the part's share as its own: every feature times what the loss says of it.
    fn backward(
        &self,
        range: &Range<usize>,
        part: &Part,
        matching: &Matching,
        balancing: &Balancing,
    ) -> Result<BTreeMap<String, Tensor>, TrainError> {
        let of_features = |encoded: &Encoded, gradient: &Tensor| {
            encoded.features.mul(&gradient.narrow(0, range.start, range.len())?)?.sum_all()
        };
        let mut total = of_features(&part.images, &matching.image_gradient)?
            .add(&of_features(&part.texts, &matching.text_gradient)?)?;
        for share in balancing.of_part(part)? {
            total = total.add(&(share * self.settings.balancing_weight)?)?;
        }
        let mut gradients = total.backward()?;
        let trained = self.model.parameters().trained().iter();
        Ok(trained
            .filter_map(|(name, variable)| Some((name.clone(), gradients.remove(variable.as_tensor())?)))
            .collect())
    }
}

/// Adds a part's gradients to the sums. Parts come in their order: a sum of floats depends on it.
fn add_to(sums: &mut BTreeMap<String, Tensor>, part: BTreeMap<String, Tensor>) -> Result<(), TrainError> {
    for (name, gradient) in part {
        let sum = match sums.remove(&name) {
            Some(sum) => sum.add(&gradient)?,
            None => gradient,
        };
        sums.insert(name, sum);
    }
    Ok(())
}
