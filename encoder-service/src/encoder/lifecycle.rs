//! How an encoder begins, is looked after, and ends.

use super::{Encoder, ImagePreparation, Shared, TextPreparation};
use crate::config::EncoderConfig;
use crate::opening::open_towers;
use crate::scheduler::{BatchLimits, Scheduler, SchedulerLimits, Shares};
use crate::tower::OpenedTowers;
use crate::tower_metrics::report_device;
use crate::{EncodeError, SERVICE_NAME};
use descry_model::Bundle;
use descry_serving::Health;
use std::num::NonZero;
use std::sync::Arc;
use std::thread::JoinHandle;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

/// Whether streams take further items. Clones share the switch; none of them keeps the model in memory.
#[derive(Clone, Default)]
pub struct Intake {
    stopped: CancellationToken,
}

impl Intake {
    /// Takes no further item from running streams; what was taken in is still answered.
    pub fn stop(&self) {
        self.stopped.cancel();
    }

    /// Resolves when no further item is to be taken.
    pub(crate) async fn stopped(&self) {
        self.stopped.cancelled().await;
    }
}

/// The threads that prepare items and own the towers; join them to know that no work is left.
pub struct Workers {
    threads: Vec<JoinHandle<()>>,
    /// Each makes some of them give up their work.
    halts: Vec<Box<dyn FnOnce() + Send>>,
}

impl Workers {
    /// Makes them give up what they have: nothing else is prepared, and whoever waits is told that the towers have stopped. A
    /// run of a tower goes on to its end.
    pub fn halt(&mut self) {
        self.halts.drain(..).for_each(|halt| halt());
    }

    /// Waits until every [`Encoder`] of these workers is dropped and the last batch has run.
    pub fn join(self) {
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a worker thread had panicked");
            }
        }
    }
}

impl Encoder {
    /// Opens a bundle, loads its towers and checks them against the bundle's stored outputs. A metrics recorder is to be
    /// installed before.
    ///
    /// # Errors
    /// [`EncodeError`] for a damaged bundle, a missing ONNX Runtime, a graph that does not load, or towers that do not
    /// repeat the stored outputs.
    pub fn open(config: &EncoderConfig) -> Result<(Self, Workers), EncodeError> {
        let bundle = Bundle::open(&config.model)?;
        let manifest = bundle.manifest().clone();
        let OpenedTowers { vision, text, device } = open_towers(&bundle, config)?;
        report_device(&device);
        let tokenizer = match bundle.tokenizer() {
            Ok(tokenizer) => {
                if let Some(missing) = tokenizer.missing_letters() {
                    tracing::warn!(
                        "the model's vocabulary has {missing}; such letters of a text do not count, and callers are told"
                    );
                }
                Some(tokenizer)
            }
            Err(error) => {
                tracing::warn!(%error, "texts cannot be encoded");
                None
            }
        };
        let limits = &config.limits;
        let image_preparation = ImagePreparation {
            input: manifest.image.clone(),
            max_image_bytes: limits.max_image_bytes,
            max_image_pixels: limits.max_image_pixels,
        };
        let text_preparation = TextPreparation {
            tokenizer,
            max_text_bytes: limits.max_text_bytes,
            allow_blank_texts: limits.allow_blank_texts,
        };
        let vision_limits = vision_limits(config, vision.len());
        let (vision, mut threads) = Scheduler::start(vision, image_preparation, vision_limits)?;
        let (text, text_threads) = Scheduler::start(text, text_preparation, text_limits(config))?;
        threads.extend(text_threads);
        let halts = vec![vision.halt(), text.halt()];
        let shared = Arc::new(Shared {
            fingerprint: device.fingerprint(&bundle),
            device,
            manifest,
            streams: Arc::new(Semaphore::new(limits.max_streams)),
            limits: limits.clone(),
            intake: Intake::default(),
        });
        Ok((Self { shared, vision, text }, Workers { threads, halts }))
    }

    /// Keeps the health service informed of the towers, under the service's own name and under that of its device, until
    /// [`Intake::stop`]: a tower that fails several runs in a row does not work until a run succeeds.
    ///
    /// `health` may be of any service of the same server.
    pub async fn tend(self, health: Health) {
        let told = [health.of(SERVICE_NAME).await, health.of(self.device().health_name).await];
        let conditions = [self.vision.condition(), self.text.condition()];
        let intake = self.intake();
        // The threads end when the last encoder is dropped, and must not wait for this.
        drop(self);
        keep_informed(conditions, &intake, &told).await;
    }

    /// The switch that ends streams at shutdown.
    pub fn intake(&self) -> Intake {
        self.shared.intake.clone()
    }
}

async fn keep_informed(conditions: [watch::Receiver<bool>; 2], intake: &Intake, told: &[Health]) {
    let [mut vision, mut text] = conditions;
    let mut known = None;
    loop {
        // Both are looked at, so that both are waited for.
        let (images, texts) = (*vision.borrow_and_update(), *text.borrow_and_update());
        let works = images && texts;
        if known.is_some_and(|known| known != works) {
            tracing::error!(images, texts, "the condition of the towers changed");
        }
        if known.replace(works) != Some(works) {
            for health in told {
                health.set_ready(works).await;
            }
        }
        let changed = tokio::select! {
            changed = vision.changed() => changed,
            changed = text.changed() => changed,
            () = intake.stopped() => break,
        };
        if changed.is_err() {
            // The towers are gone.
            break;
        }
    }
    for health in told {
        health.set_ready(false).await;
    }
}

/// Sizes for images, which are large once decoded: what is prepared is the next batch of each tower and the one behind
/// it, not the whole queue.
fn vision_limits(config: &EncoderConfig, towers: usize) -> SchedulerLimits {
    let batching = &config.batching;
    SchedulerLimits {
        queued: shares(batching.max_queued_images, config.limits.max_items),
        queued_cost: shares(batching.max_queued_megapixels, batching.max_queued_megapixels / 2).of_megapixels(),
        max_preparing_cost: (batching.max_decoding_megapixels as u64).saturating_mul(1_000_000),
        max_prepared: batching.max_batch_images.saturating_mul(towers.saturating_add(1)),
        batch: BatchLimits { max_items: batching.max_batch_images, max_tokens: usize::MAX },
        bulk_turn_every: batching.bulk_turn_every,
        preparers: cpus(),
    }
}

/// Sizes for texts, which are smaller prepared than raw: all of them may be, so that those of similar length meet.
fn text_limits(config: &EncoderConfig) -> SchedulerLimits {
    let batching = &config.batching;
    SchedulerLimits {
        queued: shares(batching.max_queued_texts, config.limits.max_items),
        queued_cost: Shares::ENDLESS,
        max_preparing_cost: u64::MAX,
        max_prepared: batching.max_queued_texts,
        batch: BatchLimits { max_items: batching.max_batch_texts, max_tokens: batching.max_batch_tokens },
        bulk_turn_every: batching.bulk_turn_every,
        preparers: cpus(),
    }
}

/// A quarter of the room, and where there is enough the room of the largest list, is left to interactive requests. A
/// quarter of the rest is the streams'. A list of bulk priority finds room at some time whatever its size.
fn shares(all: usize, largest_list: usize) -> Shares {
    let interactive = (all / 4).max(largest_list.min(all / 2));
    let rest = all - interactive;
    let streams = (rest / 4).max(1);
    Shares { all, bulk_lists: rest.saturating_sub(streams).max(largest_list.min(all)), streams }
}

/// Takes the cgroup's CPU quota into account.
fn cpus() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_list_of_either_priority_finds_room() {
        assert_eq!(shares(768, 256), Shares { all: 768, bulk_lists: 384, streams: 128 });
        assert_eq!(shares(2048, 256), Shares { all: 2048, bulk_lists: 1152, streams: 384 });
        assert_eq!(shares(256, 256), Shares { all: 256, bulk_lists: 256, streams: 32 });
        assert_eq!(shares(1, 1), Shares { all: 1, bulk_lists: 1, streams: 1 });
        for (max_queued, max_items) in [(768, 256), (2048, 256), (4, 1)] {
            let Shares { bulk_lists, streams, .. } = shares(max_queued, max_items);
            assert!(bulk_lists >= max_items && max_queued - bulk_lists - streams >= max_items);
        }
    }
}
