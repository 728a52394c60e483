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
        max_queued_bulk_lists: shares(batching.max_queued_images, config.limits.max_items).bulk_lists,
        max_queued_streams: shares(batching.max_queued_images, config.limits.max_items).streams,
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
        max_queued_bulk_lists: shares(batching.max_queued_texts, config.limits.max_items).bulk_lists,
        max_queued_streams: shares(batching.max_queued_texts, config.limits.max_items).streams,
        max_prepared: batching.max_queued_texts,
        batch: BatchLimits { max_items: batching.max_batch_texts, max_tokens: batching.max_batch_tokens },
        bulk_turn_every: batching.bulk_turn_every,
        preparers: cpus(),
    }
}

/// How much of a queue's room the patient may take.
#[derive(Debug, PartialEq, Eq)]
struct Shares {
    bulk_lists: usize,
    streams: usize,
}

/// A quarter of the room, and where there is enough the room of the largest list, is left to interactive requests. A
/// quarter of the rest is the streams'. A list of bulk priority finds room at some time whatever its size.
fn shares(max_queued: usize, max_items: usize) -> Shares {
    let interactive = (max_queued / 4).max(max_items.min(max_queued / 2));
    let rest = max_queued - interactive;
    let streams = (rest / 4).max(1);
    Shares { bulk_lists: rest.saturating_sub(streams).max(max_items.min(max_queued)), streams }
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
        assert_eq!(shares(768, 256), Shares { bulk_lists: 384, streams: 128 });
        assert_eq!(shares(2048, 256), Shares { bulk_lists: 1152, streams: 384 });
        assert_eq!(shares(256, 256), Shares { bulk_lists: 256, streams: 32 });
        assert_eq!(shares(1, 1), Shares { bulk_lists: 1, streams: 1 });
        for (max_queued, max_items) in [(768, 256), (2048, 256), (4, 1)] {
            let Shares { bulk_lists, streams } = shares(max_queued, max_items);
            assert!(bulk_lists >= max_items && max_queued - bulk_lists - streams >= max_items);
        }
    }
}
