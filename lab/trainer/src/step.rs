//! From a batch to gradients.
//!
//! A batch is cut into parts, each computed by a thread of its own, forwards and backwards. The matching loss compares
//! all pairs of the batch, so the parts meet in between: their features are put together, the loss gives a gradient for
//! every feature, and each part goes back with its own. The result is that of the whole batch.
//!
//! With micro-batches the parts do not fit into memory at once. Then the features are computed first without keeping
//! anything else, and each part is computed a second time, with what its gradient needs, when its turn comes (GradCache,
//! Gao et al. 2021).

use crate::loss::{Balance, matching};
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

/// Image and text features of a part.
struct Part {
    images: Encoded,
    texts: Encoded,
}

/// Computes loss and gradients of one batch.
///
/// # Errors
/// [`TrainError::Computation`], [`TrainError::OutOfMemory`], [`TrainError::Thread`].
pub(crate) fn compute(model: &Model, input: StepInput<'_>, settings: StepSettings) -> Result<StepResult, TrainError> {
    let pairs = input.identities.len();
    let threads = settings.threads.clamp(1, pairs.max(1));
    let micro_batch = settings.micro_batch_size.filter(|&size| size < pairs);
    let parts = cut(pairs, micro_batch.map_or(pairs.div_ceil(threads), |size| size.div_ceil(threads)));
    let forward = |range: &Range<usize>| {
        let pixels = input.pixels.slice(s![range.clone(), .., .., ..]);
        let token_ids = input.token_ids.slice(s![range.clone(), ..]);
        Ok(Part { images: model.encode_images(pixels)?, texts: model.encode_texts(token_ids)? })
    };
    let light = |range: &Range<usize>| {
        let mut part = forward(range)?;
        for encoded in [&mut part.images, &mut part.texts] {
            encoded.features = encoded.features.detach();
            encoded.loads.iter_mut().for_each(|load| load.probability_sums = load.probability_sums.detach());
        }
        Ok(part)
    };
    let encoded = match micro_batch {
        None => on_threads(threads, &parts, forward)?,
        Some(_) => on_threads(threads, &parts, light)?,
    };
    let joined = |features: fn(&Part) -> &Tensor| {
        Tensor::cat(&encoded.iter().map(|part| features(part).detach()).collect::<Vec<_>>(), 0)
    };
    let matched = matching(
        settings.matching,
        &joined(|part| &part.images.features)?,
        &joined(|part| &part.texts.features)?,
        input.identities,
        settings.temperature,
    )?;
    let image_balance = Balance::of_parts(encoded.iter().map(|part| part.images.loads.as_slice()));
    let text_balance = Balance::of_parts(encoded.iter().map(|part| part.texts.loads.as_slice()));
    let mut balancing = 0.0;
    for part in &encoded {
        for (balance, encoded) in [(&image_balance, &part.images), (&text_balance, &part.texts)] {
            if let Some(loss) = balance.of_part(&encoded.loads)? {
                balancing += settings.balancing_weight * f64::from(loss.to_scalar::<f32>()?);
            }
        }
    }
    // What this part would be multiplied with in the chain rule, as a scalar whose gradient is the part's share.
    let backward = |range: &Range<usize>, part: &Part| -> Result<BTreeMap<String, Tensor>, TrainError> {
        let of_features = |encoded: &Encoded, gradient: &Tensor| {
            encoded.features.mul(&gradient.narrow(0, range.start, range.len())?)?.sum_all()
        };
        let mut total = of_features(&part.images, &matched.image_gradient)?
            .add(&of_features(&part.texts, &matched.text_gradient)?)?;
        for (balance, encoded) in [(&image_balance, &part.images), (&text_balance, &part.texts)] {
            if let Some(loss) = balance.of_part(&encoded.loads)? {
                total = total.add(&(loss * settings.balancing_weight)?)?;
            }
        }
        let mut gradients = total.backward()?;
        let trained = model.parameters().trained().iter();
        Ok(trained
            .filter_map(|(name, variable)| Some((name.clone(), gradients.remove(variable.as_tensor())?)))
            .collect())
    };
    let mut gradients = BTreeMap::new();
    let add = |part| add_to(&mut gradients, part);
    match micro_batch {
        None => {
            let parts: Vec<(Range<usize>, Part)> = parts.into_iter().zip(encoded).collect();
            fold_on_threads(threads, &parts, |(range, part)| backward(range, part), add)?;
        }
        Some(_) => fold_on_threads(threads, &parts, |range| backward(range, &forward(range)?), add)?,
    }
    Ok(StepResult { loss: matched.loss + balancing, matching: matched.loss, balancing, gradients })
}

/// Ranges of at most `size` pairs, of nearly the same length.
pub(crate) fn cut(pairs: usize, size: usize) -> Vec<Range<usize>> {
    let count = pairs.div_ceil(size.max(1)).max(1);
    (0..count).map(|part| part * pairs / count..(part + 1) * pairs / count).collect()
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

/// Applies `work` to all items, at most `threads` at once; the results are in the items' order.
pub(crate) fn on_threads<Item: Sync, Output: Send>(
    threads: usize,
    items: &[Item],
    work: impl Fn(&Item) -> Result<Output, TrainError> + Sync,
) -> Result<Vec<Output>, TrainError> {
    let mut results = Vec::with_capacity(items.len());
    fold_on_threads(threads, items, work, |result| {
        results.push(result);
        Ok(())
    })?;
    Ok(results)
}

/// Applies `work` to all items, at most `threads` at once, and hands over the results in the items' order: only those of
/// the threads at work are in memory.
fn fold_on_threads<Item: Sync, Output: Send>(
    threads: usize,
    items: &[Item],
    work: impl Fn(&Item) -> Result<Output, TrainError> + Sync,
    mut take: impl FnMut(Output) -> Result<(), TrainError>,
) -> Result<(), TrainError> {
    if threads == 1 || items.len() == 1 {
        return items.iter().try_for_each(|item| take(work(item)?));
    }
    let work = &work;
    for wave in items.chunks(threads) {
        let joined = std::thread::scope(|scope| {
            let spawn = |item| std::thread::Builder::new().spawn_scoped(scope, move || work(item));
            let started: Vec<_> = wave.iter().map(spawn).collect();
            started.into_iter().map(|thread| thread.map(|thread| thread.join())).collect::<Vec<_>>()
        });
        for result in joined {
            let refused = |error| TrainError::Thread { reason: format!("it could not be started: {error}") };
            let panicked = |_| TrainError::Thread { reason: "a part of a step panicked".to_owned() };
            take(result.map_err(refused)?.map_err(panicked)??)?;
        }
    }
    Ok(())
}
