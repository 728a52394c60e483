//! Room in a queue, without threads.

use super::*;
use futures::FutureExt as _;

fn admitting(max_queued: usize, share: usize) -> Admitting {
    let queued = Shares { all: max_queued, bulk_lists: share, streams: share };
    Admitting::new(SchedulerLimits { queued, ..SchedulerLimits::for_tests() }, 1)
}

/// Room for so many units of cost; half of it for one caller at most.
fn costly(units: usize) -> Admitting {
    let queued_cost = Shares { all: units, bulk_lists: units / 2, streams: units / 2 };
    Admitting::new(SchedulerLimits { queued_cost, ..SchedulerLimits::for_tests() }, 1)
}

#[test]
fn a_list_is_admitted_as_a_whole_or_not_at_all() {
    let admitting = admitting(4, 4);
    let mut three = admitting.try_admit(&[1; 3], Priority::Interactive).unwrap();
    assert!(admitting.try_admit(&[1; 2], Priority::Interactive).is_err());
    assert_eq!(admitting.queued(), 3);
    let one = three.split_one().unwrap();
    drop(three);
    assert_eq!(admitting.queued(), 1);
    drop(one);
    assert!(admitting.try_admit(&[1; 4], Priority::Interactive).is_ok());
}

#[test]
fn bulk_leaves_room_for_interactive() {
    let admitting = admitting(4, 3);
    assert!(admitting.try_admit(&[1; 4], Priority::Bulk).is_err());
    let mut bulk = admitting.try_admit(&[1; 3], Priority::Bulk).unwrap();
    assert!(admitting.try_admit(&[1], Priority::Bulk).is_err());
    assert!(admitting.try_admit(&[1], Priority::Interactive).is_ok());
    drop(bulk.split_one());
    assert!(admitting.try_admit(&[1], Priority::Bulk).is_ok());
}

#[tokio::test]
async fn streams_that_wait_take_no_room_from_bulk_lists() {
    let admitting = admitting(4, 2);
    let _streaming = (
        admitting.admit_waiting(1, Flow::open()).await.unwrap(),
        admitting.admit_waiting(1, Flow::open()).await.unwrap(),
    );
    let mut waiting = std::pin::pin!(admitting.admit_waiting(1, Flow::open()));
    assert!(waiting.as_mut().now_or_never().is_none());
    assert!(admitting.try_admit(&[1; 2], Priority::Bulk).is_ok());
}

#[tokio::test]
async fn streams_wait_for_room_and_leave_some() {
    let admitting = admitting(4, 3);
    let mut list = (
        admitting.admit_waiting(1, Flow::open()).await,
        admitting.admit_waiting(1, Flow::open()).await,
        admitting.admit_waiting(1, Flow::open()).await,
    );
    let mut waiting = std::pin::pin!(admitting.admit_waiting(1, Flow::open()));
    assert!(waiting.as_mut().now_or_never().is_none());
    assert!(admitting.try_admit(&[1], Priority::Interactive).is_ok(), "who waits must not be in the way");
    drop(list.0.take());
    assert!(waiting.await.is_some());
}

#[test]
fn costs_are_admitted_as_items_are() {
    let admitting = costly(40);
    let five = 5 * COST_UNIT;
    let mut first = admitting.try_admit(&[five, five, 1], Priority::Interactive).unwrap();
    assert_eq!(first.cost(), 2 * five + 1);
    assert_eq!(admitting.cost.taken(), 11);
    let second =
        admitting.try_admit(&[four_units(), four_units(), four_units(), four_units()], Priority::Bulk).unwrap();
    assert_eq!(admitting.try_admit(&[five], Priority::Bulk).err(), Some(Refusal::Cost), "bulk lists have their share");
    assert!(admitting.try_admit(&[five], Priority::Interactive).is_ok());
    let item = first.split_one().unwrap();
    assert_eq!((item.cost(), admitting.cost.taken()), (five, 27));
    drop(item);
    assert_eq!(admitting.cost.taken(), 22);
    drop((first, second));
    assert_eq!(admitting.cost.taken(), 0);
}

fn four_units() -> u64 {
    4 * COST_UNIT
}

/// 256 small files that say they are large: whoever sends them is told, and takes no room from anybody.
#[test]
fn a_list_that_costs_more_than_its_share_is_refused_for_good() {
    let admitting = Admitting::new(
        SchedulerLimits { queued_cost: Shares::whole(4_096).of_megapixels(), ..SchedulerLimits::for_tests() },
        1,
    );
    let refused = admitting.try_admit(&[50_000_000; 256], Priority::Interactive).err().unwrap();
    assert!(
        matches!(refused, Refusal::ListTooCostly { megapixels: 12_800.., max_megapixels: 2_047..=2_048 }),
        "{refused:?}"
    );
    assert_eq!(admitting.cost.taken(), 0);
    let one = admitting.try_admit(&[u64::MAX], Priority::Interactive).unwrap();
    assert!(admitting.try_admit(&[50_000_000], Priority::Interactive).is_ok(), "one item is let in, and takes half");
    drop(one);
}

#[tokio::test]
async fn streams_wait_for_the_cost_of_others() {
    let admitting = costly(40);
    let held = admitting.admit_waiting(18 * COST_UNIT, Flow::open()).await;
    let mut waiting = std::pin::pin!(admitting.admit_waiting(four_units(), Flow::open()));
    assert!(waiting.as_mut().now_or_never().is_none());
    assert!(admitting.try_admit(&[four_units()], Priority::Interactive).is_ok(), "who waits must not be in the way");
    drop(held);
    assert!(waiting.await.is_some());
}

#[test]
fn the_retry_delay_follows_queue_and_speed() {
    let rate = Rate::of(1);
    assert_eq!(rate.half_ms(512), 0);
    rate.record(Duration::from_millis(80), 8);
    assert_eq!(rate.half_ms(200), 1_000);
    for _ in 0..100 {
        rate.record(Duration::from_millis(160), 8);
    }
    assert!((1_950..=2_000).contains(&rate.half_ms(200)));
    let doubled = Rate { part_ns: AtomicU64::new(10_000_000), workers: 2 };
    assert_eq!(doubled.half_ms(200), 500);
    let admitting = costly(1_000_000);
    assert_eq!(admitting.retry_after_ms(), 50);
    admitting.prepared(Duration::from_millis(10), COST_UNIT);
    let _held = admitting.try_admit(&[400 * COST_UNIT], Priority::Interactive);
    assert_eq!(admitting.retry_after_ms(), 2_000);
    admitting.prepared(Duration::from_secs(100), COST_UNIT);
    assert_eq!(admitting.retry_after_ms(), 5_000);
}
