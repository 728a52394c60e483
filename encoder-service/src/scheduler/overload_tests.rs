//! The scheduler under more load than it can carry, in a time of its own: arrivals, runs and deadlines are events, and what
//! is counted are answers that come in time.

use super::fixture::JobMaker;
use super::job::{Lost, Prepared, Priority, Ready};
use super::state::State;
use super::{BatchLimits, SchedulerLimits, Shares};
use std::time::{Duration, Instant};

/// A tower: a run takes so long, and so much more for each item.
#[derive(Debug, Clone, Copy)]
struct Profile {
    run: Duration,
    item: Duration,
    max_batch: usize,
}

const SHORT_TEXTS: Profile = Profile { run: Duration::from_millis(10), item: Duration::from_millis(1), max_batch: 32 };
const IMAGES: Profile = Profile { run: Duration::from_millis(5), item: Duration::from_millis(20), max_batch: 8 };

impl Profile {
    fn takes(self, items: usize) -> Duration {
        self.run + self.item * items as u32
    }

    /// Items a second.
    fn capacity(self) -> f64 {
        self.max_batch as f64 / self.takes(self.max_batch).as_secs_f64()
    }
}

const MAX_QUEUED: usize = 2_048;
/// Simulated, the first part without being counted.
const WARM_UP: Duration = Duration::from_secs(2);
const MEASURED: Duration = Duration::from_secs(8);

/// What became of the callers of a simulation.
#[derive(Debug, Default)]
struct Outcome {
    in_time: usize,
    late: usize,
    refused: usize,
    expired: usize,
    longest_wait: Duration,
}

/// A batch that runs: when it ends, its number, how long it takes, and when each item came and is to be answered.
type Run = (Instant, u64, Duration, Vec<(Instant, Option<Instant>)>);

/// Callers come at `factor` times what a tower can do. Runs take up to a fifth longer or shorter than they should.
fn simulate(tower: Profile, factor: f64, deadline: Option<Duration>) -> Outcome {
    let limits = SchedulerLimits {
        queued: Shares::whole(MAX_QUEUED),
        max_prepared: MAX_QUEUED,
        batch: BatchLimits { max_items: tower.max_batch, max_tokens: usize::MAX },
        ..SchedulerLimits::for_tests()
    };
    let mut state: State<(), usize> = State::new(limits, 1);
    let mut maker = JobMaker::new(MAX_QUEUED);
    let begin = Instant::now();
    let end = begin + WARM_UP + MEASURED;
    let (mut now, mut running): (Instant, Option<Run>) = (begin, None);
    let (mut queued, mut outcome) = (0, Outcome::default());
    let between = Duration::from_secs_f64(1.0 / (tower.capacity() * factor));
    let (mut next_arrival, mut random) = (begin, 1_u64);
    while now < end {
        let is_counted = now >= begin + WARM_UP;
        let run_ends = running.as_ref().map(|run| run.0);
        now = run_ends.map_or(next_arrival, |ends| ends.min(next_arrival));
        if run_ends == Some(now) {
            let Some((_, number, took, callers)) = running.take() else { continue };
            state.run_ended(number, took);
            queued -= callers.len();
            for (arrived, deadline) in callers.into_iter().filter(|_| is_counted) {
                let in_time = deadline.is_none_or(|deadline| now <= deadline);
                *(if in_time { &mut outcome.in_time } else { &mut outcome.late }) += 1;
                outcome.longest_wait = outcome.longest_wait.max(now - arrived);
            }
        } else {
            next_arrival += between;
            let deadline = deadline.map(|patience| now + patience);
            let has_time = deadline.is_none_or(|deadline| state.time_missing(1, 1, deadline, now).is_none());
            if has_time && queued < MAX_QUEUED {
                queued += 1;
                let mut job = maker.job_until((), Priority::Interactive, deadline);
                job.caller.arrived = now;
                let prepared = Prepared { item: 0, lost: Lost::default() };
                let order = state.next_order();
                job.caller.order = order;
                state.put_ready(super::job::Job { payload: Ready { prepared, length: 1 }, caller: job.caller });
            } else {
                outcome.refused += usize::from(is_counted);
            }
        }
        if running.is_none() {
            let batch = state.next_batch(now);
            queued -= batch.gone.len();
            outcome.expired += if is_counted { batch.gone.len() } else { 0 };
            if !batch.jobs.is_empty() {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let jitter = 0.8 + 0.4 * (random >> 40) as f64 / f64::from(1 << 24);
                let took = tower.takes(batch.jobs.len()).mul_f64(jitter);
                let callers = batch.jobs.iter().map(|job| (job.caller.arrived, job.caller.urgency.deadline)).collect();
                running = Some((now + took, batch.number, took, callers));
            }
        }
    }
    outcome
}

/// Answers in time a second, as a part of what the tower can do.
fn goodput(tower: Profile, outcome: &Outcome) -> f64 {
    outcome.in_time as f64 / MEASURED.as_secs_f64() / tower.capacity()
}

#[test]
fn goodput_holds_at_any_load_and_what_is_let_in_is_answered_in_time() {
    let seconds = |seconds: f64| Some(Duration::from_secs_f64(seconds));
    for (tower, deadline, least) in [
        (SHORT_TEXTS, seconds(0.25), 0.9),
        (SHORT_TEXTS, seconds(1.0), 0.9),
        (SHORT_TEXTS, None, 0.9),
        (IMAGES, seconds(1.0), 0.9),
        (IMAGES, None, 0.9),
        // There is time for one and a half full batches, so smaller ones run, in which an item costs more.
        (IMAGES, seconds(0.25), 0.87),
    ] {
        for factor in [1.2, 2.0, 4.0, 10.0, 20.0] {
            let outcome = simulate(tower, factor, deadline);
            let (goodput, answered) = (goodput(tower, &outcome), outcome.in_time + outcome.late);
            let case = format!("{factor} times the load, deadline {deadline:?}: {goodput:.2} of the peak, {outcome:?}");
            assert!(goodput >= least, "{case}");
            assert!(outcome.late * 100 <= answered, "{case}");
            assert!(outcome.expired * 20 <= answered, "{case}");
        }
    }
}

#[test]
fn nobody_is_refused_where_there_is_time() {
    for (tower, deadline) in [(SHORT_TEXTS, 250), (SHORT_TEXTS, 1_000), (IMAGES, 1_000)] {
        let outcome = simulate(tower, 0.7, Some(Duration::from_millis(deadline)));
        assert_eq!((outcome.refused, outcome.late, outcome.expired), (0, 0, 0), "{outcome:?}");
    }
}

/// In how long one item would be answered.
fn time(state: &State<(), usize>, cost: u64) -> Duration {
    let now = Instant::now();
    state.time_missing(1, cost, now, now).unwrap_or_default()
}

/// However long a run took once: the next caller finds nobody before it, is tried, and corrects what was expected.
#[test]
fn one_slow_run_does_not_close_the_door_for_good() {
    let mut state: State<(), usize> = State::new(SchedulerLimits::for_tests(), 1);
    let mut maker = JobMaker::new(8);
    let run = |state: &mut State<(), usize>, took: Duration| {
        let batch = state.next_batch(Instant::now());
        state.run_ended(batch.number, took);
    };
    state.put_ready(maker.ready_job(1, Priority::Interactive));
    run(&mut state, Duration::from_secs(60));
    state.put_ready(maker.ready_job(1, Priority::Interactive));
    assert!(time(&state, 1) > Duration::from_secs(60));
    for _ in 0..40 {
        run(&mut state, Duration::from_millis(10));
        assert_eq!(time(&state, 1), Duration::ZERO, "nobody is before it");
        state.put_ready(maker.ready_job(1, Priority::Interactive));
    }
    assert!(time(&state, 1) < Duration::from_millis(40));
}

/// Preparation counts, too: who comes behind large images is told how long they will take.
#[test]
fn the_time_of_decoding_is_foreseen() {
    let mut state: State<(), usize> = State::new(SchedulerLimits::for_tests(), 1);
    let mut maker = JobMaker::new(100);
    let list = super::Flow::open();
    for _ in 0..10 {
        state.put_waiting(maker.costly_job((), Priority::Interactive, list, 1 << 20));
    }
    let job = state.next_to_prepare().unwrap();
    state.preparation_ended(Priority::Interactive, job.caller.cost, Some(Duration::from_millis(100)));
    let large = time(&state, 1 << 30);
    assert!(large.abs_diff(Duration::from_millis(100 * (9 + 1024))) < Duration::from_millis(1), "{large:?}");
    let small = time(&state, 1 << 16);
    assert!(small < Duration::from_millis(10), "a small image has its turn before them: {small:?}");
}
