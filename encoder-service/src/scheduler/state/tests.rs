use super::*;
use crate::scheduler::batch_plan::{FREE_PADDING_TOKENS, PADDING_SHARE};
use crate::scheduler::fixture::JobMaker;
use crate::scheduler::job::{Lost, Prepared};
use crate::scheduler::room::Flow;
use Priority::{Bulk, Interactive};
use proptest::prelude::*;
use std::collections::VecDeque;

type TestState = State<usize, usize>;

/// Batches of at most 2, at most 4 slots of each priority, bulk's turn every 4th time.
fn state() -> TestState {
    State::new(SchedulerLimits::for_tests(), 1)
}

fn become_ready(state: &mut TestState, job: Job<usize>) {
    let Job { payload, caller } = job;
    state.preparation_ended(caller.urgency.priority, caller.cost, None);
    state.put_ready(Job {
        payload: Ready { prepared: Prepared { item: payload, lost: Lost::default() }, length: 1 },
        caller,
    });
}

fn numbers(batch: &Batch<usize>) -> Vec<usize> {
    batch.jobs.iter().map(|job| job.payload.prepared.item).collect()
}

#[test]
fn an_interactive_item_passes_bulk_that_holds_every_slot() {
    let (mut state, mut maker) = (state(), JobMaker::new(100));
    for number in 0..10 {
        state.put_waiting(maker.job(number, Bulk));
    }
    while let Some(job) = state.next_to_prepare() {
        become_ready(&mut state, job);
    }
    assert_eq!(state.lengths(), (6, 0, 4));
    state.put_waiting(maker.job(10, Interactive));
    assert!(state.can_prepare());
    let job = state.next_to_prepare().unwrap();
    assert_eq!(job.payload, 10);
    become_ready(&mut state, job);
    assert_eq!(numbers(&state.next_batch(Instant::now())), [10, 0]);
    assert_eq!(state.next_to_prepare().unwrap().payload, 4);
    assert!(!state.can_prepare());
}

/// Two threads decode, one caller sends a list of large images: another one's small image is the next that either begins.
#[test]
fn a_small_image_waits_for_none_of_a_list_of_large_ones() {
    let limits = SchedulerLimits { max_prepared: 16, ..SchedulerLimits::for_tests() };
    let (mut state, mut maker) = (TestState::new(limits, 1), JobMaker::new(1_000));
    let list = Flow::open();
    for number in 0..256 {
        state.put_waiting(maker.costly_job(number, Interactive, list, 50_000_000));
    }
    let decoding = [state.next_to_prepare().unwrap(), state.next_to_prepare().unwrap()];
    state.put_waiting(maker.costly_job(1_000, Interactive, Flow::open(), 100_000));
    let [first, _] = decoding;
    become_ready(&mut state, first);
    assert_eq!(state.next_to_prepare().unwrap().payload, 1_000);
    assert_eq!(state.next_to_prepare().unwrap().payload, 2);
}

#[test]
fn what_is_decoded_at_once_is_bounded_and_leaves_room_for_small_images() {
    let limits = SchedulerLimits { max_prepared: 16, max_preparing_cost: 256, ..SchedulerLimits::for_tests() };
    let (mut state, mut maker) = (TestState::new(limits, 1), JobMaker::new(100));
    for number in 0..4 {
        state.put_waiting(maker.costly_job(number, Interactive, Flow::open(), 100));
    }
    let first = state.next_to_prepare().unwrap();
    assert_eq!(state.next_to_prepare().unwrap().payload, 1);
    assert!(!state.can_prepare(), "three of them cost more than may be decoded at once");
    state.put_waiting(maker.costly_job(4, Bulk, Flow::open(), 50));
    assert_eq!(state.next_to_prepare().unwrap().payload, 4);
    become_ready(&mut state, first);
    assert_eq!(state.next_to_prepare().unwrap().payload, 2);
    let (mut state, mut maker) = (TestState::new(limits, 1), JobMaker::new(100));
    state.put_waiting(maker.costly_job(0, Interactive, Flow::open(), 10_000));
    assert_eq!(state.next_to_prepare().unwrap().payload, 0, "one is decoded whatever it costs");
    state.put_waiting(maker.costly_job(1, Interactive, Flow::open(), 65));
    state.put_waiting(maker.costly_job(2, Interactive, Flow::open(), 64));
    assert_eq!(state.next_to_prepare().unwrap().payload, 2);
}

/// Bulk images that come without end and fill the room as soon as there is some must not keep a large one out for good.
#[test]
fn a_large_image_is_not_kept_out_by_the_other_priority() {
    for (large, small) in [(Interactive, Bulk), (Bulk, Interactive)] {
        let limits = SchedulerLimits { max_prepared: 16, max_preparing_cost: 256, ..SchedulerLimits::for_tests() };
        let (mut state, mut maker) = (TestState::new(limits, 1), JobMaker::new(100));
        let mut under_way = std::collections::VecDeque::new();
        let mut taken = 0;
        state.put_waiting(maker.costly_job(1_000, large, Flow::open(), 200));
        for number in 0..4 {
            state.put_waiting(maker.costly_job(number, small, Flow::open(), 60));
        }
        // The large one comes while small ones are decoded.
        while let Some(job) = state.next_to_prepare() {
            if job.payload == 1_000 {
                state.put_waiting(maker.costly_job(1_000, large, Flow::open(), 200));
            }
            under_way.push_back(job);
            if under_way.len() == 3 {
                break;
            }
        }
        loop {
            let ended = under_way.pop_front().unwrap();
            state.preparation_ended(ended.caller.urgency.priority, ended.caller.cost, None);
            state.put_waiting(maker.costly_job(0, small, Flow::open(), 60));
            while let Some(job) = state.next_to_prepare() {
                under_way.push_back(job);
            }
            taken += 1;
            if under_way.iter().any(|job| job.payload == 1_000) {
                break;
            }
            assert!(taken < 60, "{large:?} waits for ever");
        }
    }
}

#[test]
fn bulk_finds_a_slot_beside_any_amount_of_interactive_work() {
    let (mut state, mut maker) = (state(), JobMaker::new(100));
    for number in 0..10 {
        state.put_waiting(maker.job(number, Interactive));
    }
    while let Some(job) = state.next_to_prepare() {
        become_ready(&mut state, job);
    }
    state.put_waiting(maker.job(10, Bulk));
    let job = state.next_to_prepare().unwrap();
    assert_eq!(job.payload, 10);
    become_ready(&mut state, job);
    let batches: Vec<Vec<usize>> = (0..4)
        .map(|_| {
            let batch = numbers(&state.next_batch(Instant::now()));
            while let Some(job) = state.next_to_prepare() {
                become_ready(&mut state, job);
            }
            batch
        })
        .collect();
    assert_eq!(batches, [vec![0, 1], vec![2, 3], vec![4, 5], vec![10, 6]]);
}

#[test]
fn a_batch_is_headed_by_its_turn_and_filled_by_length() {
    let (mut state, mut maker) = (state(), JobMaker::new(100));
    for (length, priority) in [(20, Bulk), (50, Interactive), (21, Interactive), (52, Interactive)] {
        state.put_ready(maker.ready_job(length, priority));
    }
    assert_eq!(numbers(&state.next_batch(Instant::now())), [1, 3]);
    assert_eq!(numbers(&state.next_batch(Instant::now())), [2, 0]);
    assert!(!state.has_ready());
}

#[test]
fn what_needs_no_work_is_in_no_batch() {
    let (mut state, mut maker) = (state(), JobMaker::new(100));
    for _ in 0..3 {
        state.put_ready(maker.ready_job(1, Interactive));
    }
    maker.cancel(0);
    let batch = state.next_batch(Instant::now());
    assert_eq!(numbers(&batch), [1, 2]);
    assert_eq!(batch.gone.len(), 1);
    drop(batch);
    assert_eq!(maker.queued(), 0);
    let expired = maker.expired_job(Ready { prepared: Prepared { item: 9, lost: Lost::default() }, length: 1 }, Bulk);
    state.put_ready(expired);
    let batch = state.next_batch(Instant::now());
    assert!(batch.jobs.is_empty());
    assert_eq!(batch.gone[0].0, Gone::Expired);
}

#[test]
fn the_end_comes_after_the_last_job() {
    let (mut state, mut maker) = (state(), JobMaker::new(100));
    state.put_waiting(maker.job(0, Interactive));
    state.close();
    assert!(!state.is_prepared());
    let job = state.next_to_prepare().unwrap();
    assert!(state.is_prepared() && !state.is_done());
    become_ready(&mut state, job);
    assert!(!state.is_done());
    assert_eq!(numbers(&state.next_batch(Instant::now())), [0]);
    assert!(state.is_done());
}

#[derive(Debug, Clone, Copy)]
enum Event {
    Arrives(Priority),
    IsCancelled(usize),
    PreparationBegins,
    PreparationEnds,
    BatchRuns,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => Just(Event::Arrives(Interactive)),
        3 => Just(Event::Arrives(Bulk)),
        1 => any::<usize>().prop_map(Event::IsCancelled),
        5 => Just(Event::PreparationBegins),
        5 => Just(Event::PreparationEnds),
        2 => Just(Event::BatchRuns),
    ]
}

proptest! {
    /// Whatever happens in whatever order: bounds hold, bulk is not passed over too often, and each item comes out once.
    #[test]
    fn nothing_is_lost_doubled_or_kept_waiting(events in prop::collection::vec(event(), 0..300)) {
        let (mut state, mut maker) = (state(), JobMaker::new(1_000));
        let mut preparing: VecDeque<Job<usize>> = VecDeque::new();
        let (mut arrived, mut came_out, mut passed_over) = (0, Vec::new(), 0);
        let mut end = vec![Event::PreparationBegins, Event::PreparationEnds, Event::BatchRuns];
        end = end.into_iter().cycle().take(3 * events.len()).collect();
        for event in events.into_iter().chain(end) {
            match event {
                Event::Arrives(priority) => {
                    state.put_waiting(maker.job(arrived, priority));
                    arrived += 1;
                }
                Event::IsCancelled(which) if arrived > 0 => maker.cancel(which % arrived),
                Event::IsCancelled(_) => {}
                Event::PreparationBegins => preparing.extend(state.next_to_prepare()),
                Event::PreparationEnds => {
                    if let Some(job) = preparing.pop_back() {
                        become_ready(&mut state, job);
                    }
                }
                Event::BatchRuns => {
                    let bulk_waits = state.ready.of(Bulk).iter().any(|job| job.caller.gone(Instant::now()).is_none());
                    let batch = state.next_batch(Instant::now());
                    prop_assert!(batch.jobs.len() <= 2);
                    let has_bulk = batch.jobs.iter().any(|job| job.caller.urgency.priority == Bulk);
                    passed_over = if bulk_waits && !has_bulk { passed_over + 1 } else { 0 };
                    prop_assert!(passed_over < 4);
                    came_out.extend(numbers(&batch));
                    came_out.extend(batch.gone.iter().map(|(_, job)| job.payload.prepared.item));
                }
            }
            let (_, in_preparation, ready) = state.lengths();
            prop_assert_eq!(in_preparation, preparing.len());
            prop_assert!(in_preparation + ready <= 6);
        }
        came_out.sort_unstable();
        prop_assert_eq!(came_out, (0..arrived).collect::<Vec<_>>());
        prop_assert_eq!(maker.queued(), 0);
    }
}

fn payloads(queues: &Queues<usize>, priority: Priority) -> Vec<usize> {
    queues.of(priority).iter().map(|job| job.payload).collect()
}

#[test]
fn jobs_stand_in_the_order_of_their_arrival() {
    let mut maker = JobMaker::new(8);
    let mut queues = Queues::new();
    let mut jobs: Vec<_> = (0..4).map(|number| Some(maker.job(number, Bulk))).collect();
    jobs.push(Some(maker.job(4, Interactive)));
    for position in [2, 0, 3, 1, 4] {
        queues.put(jobs[position].take().unwrap());
    }
    assert_eq!(payloads(&queues, Bulk), [0, 1, 2, 3]);
    assert_eq!(payloads(&queues, Interactive), [4]);
    let mut taken = Vec::new();
    queues.take_at(Bulk, &[0, 2], &mut taken);
    assert_eq!(taken.iter().map(|job| job.payload).collect::<Vec<_>>(), [0, 2]);
    assert_eq!(payloads(&queues, Bulk), [1, 3]);
}

#[test]
fn bulk_has_every_nth_turn_and_whatever_nobody_else_wants() {
    let mut turns = Turns::new(4);
    let both: Vec<_> = (0..8).map(|_| turns.take(true, true).unwrap()).collect();
    let four = [Interactive, Interactive, Interactive, Bulk];
    assert_eq!(both, [four, four].concat());
    assert_eq!(turns.take(false, true), Some(Bulk));
    assert_eq!(turns.take(true, false), Some(Interactive));
    assert_eq!(turns.take(false, false), None);
    assert_eq!(Turns::new(1).take(true, true), Some(Bulk));
}

#[test]
fn what_nobody_waits_for_is_found_and_told_apart() {
    let mut maker = JobMaker::new(8);
    let mut queues = Queues::new();
    for number in 0..4 {
        queues.put(maker.job(number, Interactive));
    }
    let expired = maker.expired_job(4, Bulk);
    queues.put(expired);
    maker.cancel(1);
    maker.cancel(3);
    let mut gone = Vec::new();
    queues.take_gone(Instant::now(), 3, &mut gone);
    let found: Vec<_> = gone.iter().map(|(reason, job)| (*reason, job.payload)).collect();
    assert_eq!(found, [(Gone::Cancelled, 1), (Gone::Expired, 4)]);
    assert_eq!(payloads(&queues, Interactive), [0, 2, 3], "beyond the window nothing is looked at");
}

fn fill(head: usize, lengths: &[usize], max_items: usize, max_tokens: usize) -> Vec<usize> {
    BatchPlan::new(head, BatchLimits { max_items, max_tokens }).fill(lengths.iter().copied())
}

#[test]
fn items_of_one_length_go_in_the_order_of_arrival() {
    assert_eq!(fill(1, &[1; 10], 4, usize::MAX), [0, 1, 2]);
    assert_eq!(fill(1, &[], 4, usize::MAX), [0_usize; 0]);
    assert_eq!(fill(1, &[1], 1, usize::MAX), [0_usize; 0]);
}

#[test]
fn similar_lengths_go_together() {
    assert_eq!(fill(20, &[70, 21, 5, 19, 20], 4, 2048), [1, 3, 4]);
}

#[test]
fn the_token_budget_counts_padding() {
    // Three of 30 make 90; the 40 would make 4 × 40.
    assert_eq!(fill(30, &[30, 30, 40], 8, 120), [0, 1]);
    // A head beyond the budget runs alone.
    assert_eq!(fill(200, &[200, 10], 8, 120), [0_usize; 0]);
}

#[test]
fn a_little_padding_is_free_and_a_lot_is_not() {
    assert_eq!(fill(10, &[70], 8, 2048), [0]);
    assert_eq!(fill(10, &[10, 10, 10, 70], 8, 2048), [0, 1, 2]);
}

proptest! {
    #[test]
    fn limits_hold_and_the_nearest_go_first(
        head in 2_usize..78,
        lengths in prop::collection::vec(2_usize..78, 0..80),
        max_items in 1_usize..40,
        max_tokens in 1_usize..3000,
    ) {
        let added = fill(head, &lengths, max_items, max_tokens);
        prop_assert!(added.windows(2).all(|pair| pair[0] < pair[1]));
        let batch: Vec<usize> = added.iter().map(|&position| lengths[position]).chain([head]).collect();
        let computed = batch.len() * batch.iter().copied().max().unwrap();
        let padding = computed - batch.iter().sum::<usize>();
        prop_assert!(batch.len() <= max_items);
        prop_assert!(added.is_empty() || computed <= max_tokens);
        prop_assert!(padding <= FREE_PADDING_TOKENS.max(computed / PADDING_SHARE));
        let alike = lengths.iter().filter(|&&length| length == head).count();
        let fitting = (max_items - 1).min((max_tokens / head).saturating_sub(1)).min(alike);
        prop_assert!(batch.iter().filter(|&&length| length == head).count() > fitting);
    }
}
