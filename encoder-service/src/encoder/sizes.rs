//! From settings to the sizes of the two schedulers.

use crate::config::EncoderConfig;
use crate::scheduler::{BatchLimits, SchedulerLimits};
use std::num::NonZero;

/// Sizes for images, which are large once decoded: what is prepared is the next batch of each tower and the one behind
/// it, not the whole queue.
pub(super) fn vision_limits(config: &EncoderConfig, towers: usize) -> SchedulerLimits {
    let batching = &config.batching;
    SchedulerLimits {
        max_queued: batching.max_queued_images,
        max_queued_patient: patient_share(batching.max_queued_images, config.limits.max_items),
        max_prepared: batching.max_batch_images.saturating_mul(towers.saturating_add(1)),
        batch: BatchLimits { max_items: batching.max_batch_images, max_tokens: usize::MAX },
        bulk_turn_every: batching.bulk_turn_every,
        preparers: cpus(),
    }
}

/// Sizes for texts, which are smaller prepared than raw: all of them may be, so that those of similar length meet.
pub(super) fn text_limits(config: &EncoderConfig) -> SchedulerLimits {
    let batching = &config.batching;
    SchedulerLimits {
        max_queued: batching.max_queued_texts,
        max_queued_patient: patient_share(batching.max_queued_texts, config.limits.max_items),
        max_prepared: batching.max_queued_texts,
        batch: BatchLimits { max_items: batching.max_batch_texts, max_tokens: batching.max_batch_tokens },
        bulk_turn_every: batching.bulk_turn_every,
        preparers: cpus(),
    }
}

/// Three quarters of the room, but always enough for the largest list.
fn patient_share(max_queued: usize, max_items: usize) -> usize {
    (max_queued - max_queued / 4).max(max_items.min(max_queued))
}

/// Takes the cgroup's CPU quota into account.
fn cpus() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_list_always_finds_room() {
        assert_eq!(patient_share(512, 256), 384);
        assert_eq!(patient_share(256, 256), 256);
        assert_eq!(patient_share(1, 1), 1);
    }
}
