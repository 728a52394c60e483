//! Room in a queue, without threads.

use super::*;
use futures::FutureExt as _;

fn admitting(max_queued: usize, share: usize) -> Admitting {
    let limits = SchedulerLimits {
        max_queued,
        max_queued_bulk_lists: share,
        max_queued_streams: share,
        ..SchedulerLimits::for_tests()
    };
    Admitting::new(limits, 1)
}

#[test]
fn a_list_is_admitted_as_a_whole_or_not_at_all() {
    let admitting = admitting(4, 4);
    let mut three = admitting.try_admit(3, Priority::Interactive).unwrap();
    assert!(admitting.try_admit(2, Priority::Interactive).is_none());
    assert_eq!(admitting.queued(), 3);
    let one = three.split_one().unwrap();
    drop(three);
    assert_eq!(admitting.queued(), 1);
    drop(one);
    assert!(admitting.try_admit(4, Priority::Interactive).is_some());
}

#[test]
fn bulk_leaves_room_for_interactive() {
    let admitting = admitting(4, 3);
    assert!(admitting.try_admit(4, Priority::Bulk).is_none());
    let mut bulk = admitting.try_admit(3, Priority::Bulk).unwrap();
    assert!(admitting.try_admit(1, Priority::Bulk).is_none());
    assert!(admitting.try_admit(1, Priority::Interactive).is_some());
    drop(bulk.split_one());
    assert!(admitting.try_admit(1, Priority::Bulk).is_some());
}

#[tokio::test]
async fn streams_that_wait_take_no_room_from_bulk_lists() {
    let admitting = admitting(4, 2);
    let _streaming = (admitting.admit_waiting().await.unwrap(), admitting.admit_waiting().await.unwrap());
    let mut waiting = std::pin::pin!(admitting.admit_waiting());
    assert!(waiting.as_mut().now_or_never().is_none());
    assert!(admitting.try_admit(2, Priority::Bulk).is_some());
}

#[tokio::test]
async fn streams_wait_for_room_and_leave_some() {
    let admitting = admitting(4, 3);
    let mut list = (admitting.admit_waiting().await, admitting.admit_waiting().await, admitting.admit_waiting().await);
    let mut waiting = std::pin::pin!(admitting.admit_waiting());
    assert!(waiting.as_mut().now_or_never().is_none());
    assert!(admitting.try_admit(1, Priority::Interactive).is_some(), "who waits must not be in the way");
    drop(list.0.take());
    assert!(waiting.await.is_some());
}

#[test]
fn the_retry_delay_follows_queue_and_speed() {
    let rate = RunRate { item_ns: AtomicU64::new(0), runners: 1 };
    assert_eq!(rate.retry_after_ms(512), 50);
    rate.record(Duration::from_millis(80), 8);
    assert_eq!(rate.retry_after_ms(200), 1_000);
    assert_eq!(rate.retry_after_ms(1_000_000), 5_000);
    for _ in 0..100 {
        rate.record(Duration::from_millis(160), 8);
    }
    assert!((1_950..=2_000).contains(&rate.retry_after_ms(200)));
    let doubled = RunRate { item_ns: AtomicU64::new(10_000_000), runners: 2 };
    assert_eq!(doubled.retry_after_ms(200), 500);
}
