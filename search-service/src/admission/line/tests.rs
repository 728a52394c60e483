use super::*;
use std::collections::VecDeque;

const SETTINGS: LineSettings = LineSettings { target: Duration::from_millis(100), max_running: 256, max_waiting: 4096 };

fn after(start: Instant, ms: u64) -> Instant {
    start + Duration::from_millis(ms)
}

/// To be answered by then, however late it begins.
fn by(answer_by: Instant) -> Limits {
    Limits { begin_by: answer_by, answer_by: Some(answer_by) }
}

#[test]
fn earlier_deadlines_go_first_and_those_that_are_too_late_not_at_all() {
    let start = Instant::now();
    let mut line = Line::new(LineSettings { max_running: 1, ..SETTINGS });
    line.answered(start, Duration::from_millis(10), 1);
    assert_eq!(line.arrive(start, by(after(start, 500)), 1, "first"), Arrival::Begins);
    assert!(matches!(line.arrive(start, by(after(start, 500)), 1, "patient"), Arrival::Waits(_)));
    assert!(matches!(line.arrive(start, by(after(start, 150)), 1, "hurried"), Arrival::Waits(_)));
    assert!(matches!(line.arrive(start, by(after(start, 120)), 1, "very hurried"), Arrival::Waits(_)));
    // Ten milliseconds until the first one ends, and its own ten with what they vary by.
    assert!(matches!(line.arrive(start, by(after(start, 34)), 1, "impatient"), Arrival::TooLate { .. }));
    assert!(line.next(start).is_none(), "there is no room");
    line.answered(start, Duration::from_millis(10), 1);
    assert_eq!(
        line.next(after(start, 105)),
        Some(None),
        "the very hurried one has fifteen milliseconds left, and may take more"
    );
    assert_eq!(line.next(after(start, 105)), Some(Some(("hurried", 1))));
    line.answered(start, Duration::from_millis(10), 1);
    assert_eq!(line.next(after(start, 76)), Some(Some(("patient", 1))));
    assert_eq!(line.lengths(), (1, 0));
}

#[test]
fn an_old_measurement_keeps_nobody_out() {
    let start = Instant::now();
    let mut line = Line::new(SETTINGS);
    line.answered(start, Duration::from_secs(60), 1);
    for _ in 0..8 {
        assert_eq!(line.arrive(start, by(after(start, 1)), 1, ()), Arrival::Begins);
    }
    assert!(matches!(line.arrive(start, by(after(start, 1000)), 1, ()), Arrival::TooLate { .. }));
}

/// A service that ends one search after the other, `per_second` of them, in the order in which they began; and callers
/// that come at random, `factor` times as fast.
#[derive(Debug, Clone, Copy)]
struct Simulation {
    per_second: f64,
    factor: f64,
    deadline: Option<Duration>,
    /// Of a hundred searches so many fail as soon as they begin, and as many callers leave before their deadline.
    in_hundred_fail: u64,
    in_hundred_leave: u64,
}

struct Outcome {
    answered_in_time: usize,
    answered_late: usize,
    /// Who was told at once.
    refused: usize,
    /// Who waited and was told then.
    refused_late: usize,
    possible: f64,
    longest_line: usize,
    most_allowed: f64,
}

const SIMULATED_SECONDS: f64 = 20.0;
const MAX_WAIT: Duration = Duration::from_secs(2);

/// A search that is worked on.
struct Running {
    began: f64,
    arrived: f64,
    leaves: bool,
}

struct Dice(u64);

impl Dice {
    fn fraction(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn is_of(&mut self, in_hundred: u64) -> bool {
        self.fraction() * 100.0 < in_hundred as f64
    }
}

impl Simulation {
    fn run(&self) -> Outcome {
        let start = Instant::now();
        let at = |seconds: f64| start + Duration::from_secs_f64(seconds);
        let mut line: Line<f64> = Line::new(SETTINGS);
        let mut dice = Dice(88_172_645_463_325_252);
        let service_seconds = 1.0 / self.per_second;
        let mut outcome = Outcome {
            answered_in_time: 0,
            answered_late: 0,
            refused: 0,
            refused_late: 0,
            possible: SIMULATED_SECONDS * self.per_second,
            longest_line: 0,
            most_allowed: 0.0,
        };
        let mut running: VecDeque<Running> = VecDeque::new();
        let (mut next_arrival, mut next_end) = (0.0_f64, f64::INFINITY);
        while next_arrival.min(next_end) < SIMULATED_SECONDS {
            let now = next_arrival.min(next_end);
            if next_arrival < next_end {
                let answer_by = self.deadline.map(|deadline| at(now) + deadline);
                match line.arrive(at(now), Limits { begin_by: at(now) + MAX_WAIT, answer_by }, 1, now) {
                    Arrival::Begins => self.begin(&mut line, now, now, &mut dice, &mut running),
                    Arrival::Waits(_) => {}
                    Arrival::TooLate { .. } => outcome.refused += 1,
                }
                next_arrival = now - dice.fraction().max(1e-12).ln() / (self.per_second * self.factor);
            } else if let Some(Running { began, arrived, leaves }) = running.pop_front() {
                let taken = Duration::from_secs_f64(now - began);
                if leaves {
                    line.broken_off(taken, 1);
                } else {
                    let waited = Duration::from_secs_f64(now - arrived);
                    match self.deadline.is_none_or(|deadline| waited <= deadline) {
                        true => outcome.answered_in_time += 1,
                        false => outcome.answered_late += 1,
                    }
                    line.answered(at(now), taken, 1);
                }
            }
            while let Some(next) = line.next(at(now)) {
                match next {
                    Some((arrived, _)) => self.begin(&mut line, now, arrived, &mut dice, &mut running),
                    None => outcome.refused_late += 1,
                }
            }
            if next_end <= now || next_end.is_infinite() {
                next_end = if running.is_empty() { f64::INFINITY } else { now + service_seconds };
            }
            outcome.longest_line = outcome.longest_line.max(line.lengths().1);
            outcome.most_allowed = outcome.most_allowed.max(line.allowed);
        }
        outcome
    }

    fn begin(&self, line: &mut Line<f64>, now: f64, arrived: f64, dice: &mut Dice, running: &mut VecDeque<Running>) {
        if dice.is_of(self.in_hundred_fail) {
            line.broken_off(Duration::ZERO, 1);
        } else {
            running.push_back(Running { began: now, arrived, leaves: dice.is_of(self.in_hundred_leave) });
        }
    }
}

const FACTORS: [f64; 5] = [1.2, 2.0, 4.0, 10.0, 20.0];

#[test]
fn overload_costs_nobody_who_is_answered() {
    for per_second in [60.0, 1_000.0] {
        for factor in FACTORS {
            for deadline_ms in [Some(250), Some(1_000), Some(30_000), None] {
                let deadline = deadline_ms.map(Duration::from_millis);
                let simulation = Simulation { per_second, factor, deadline, in_hundred_fail: 0, in_hundred_leave: 0 };
                let outcome = simulation.run();
                let name = format!("{per_second}/s, {factor} times, {deadline_ms:?} ms");
                let goodput = outcome.answered_in_time as f64 / outcome.possible;
                assert!(goodput >= 0.95, "{name}: {goodput} of what is possible");
                let answered = outcome.answered_in_time + outcome.answered_late;
                assert!(outcome.answered_late * 100 <= answered, "{name}: {} late", outcome.answered_late);
                let arrived = answered + outcome.refused + outcome.refused_late;
                assert!(outcome.refused_late * 100 <= arrived, "{name}: {} waited in vain", outcome.refused_late);
                assert!(outcome.refused > 0, "{name}");
                assert!(outcome.longest_line <= 4096, "{name}");
            }
        }
    }
}

/// Searches that end at once without an answer must not make the service believe that it is fast.
#[test]
fn searches_that_fail_teach_nothing() {
    for (in_hundred_fail, in_hundred_leave) in [(30, 0), (60, 0), (0, 40), (30, 30)] {
        for factor in [4.0, 20.0] {
            let deadline = Some(Duration::from_millis(250));
            let simulation = Simulation { per_second: 1_000.0, factor, deadline, in_hundred_fail, in_hundred_leave };
            let outcome = simulation.run();
            let name = format!("{simulation:?}");
            // Who leaves has cost as much as who is answered.
            let possible = outcome.possible * (100 - in_hundred_leave) as f64 / 100.0;
            let goodput = outcome.answered_in_time as f64 / possible;
            assert!(goodput >= 0.9, "{name}: {goodput} of what is possible");
            let answered = outcome.answered_in_time + outcome.answered_late;
            assert!(outcome.answered_late * 50 <= answered, "{name}: {} late", outcome.answered_late);
            assert!(outcome.most_allowed < 200.0, "{name}: {}", outcome.most_allowed);
        }
    }
}

#[test]
fn below_capacity_everybody_is_answered() {
    for factor in [0.2, 0.7, 0.9] {
        let deadline = Some(Duration::from_millis(1_000));
        let simulation = Simulation { per_second: 500.0, factor, deadline, in_hundred_fail: 0, in_hundred_leave: 0 };
        let outcome = simulation.run();
        assert_eq!((outcome.refused, outcome.refused_late, outcome.answered_late), (0, 0, 0), "{factor}");
    }
}

/// How long a search may wait and by when it must be answered are two things: a slow one may begin late.
#[test]
fn slow_searches_wait_as_long_as_quick_ones() {
    let start = Instant::now();
    let mut line = Line::new(SETTINGS);
    line.answered(start, Duration::from_secs(2), 1);
    for _ in 0..8 {
        let limits = Limits { begin_by: after(start, 5_000), answer_by: Some(after(start, 60_000)) };
        assert_eq!(line.arrive(start, limits, 1, ()), Arrival::Begins);
    }
    for _ in 0..8 {
        let limits = Limits { begin_by: after(start, 5_000), answer_by: Some(after(start, 60_000)) };
        assert!(matches!(line.arrive(start, limits, 1, ()), Arrival::Waits(_)));
    }
    line.answered(after(start, 2_000), Duration::from_secs(2), 1);
    for _ in 0..7 {
        line.answered(after(start, 2_000), Duration::from_secs(2), 1);
    }
    assert_eq!(line.next(after(start, 2_000)), Some(Some(((), 1))));
    // Its own limit is another matter.
    let limits = Limits { begin_by: after(start, 5_000), answer_by: Some(after(start, 3_500)) };
    assert!(matches!(line.arrive(after(start, 2_000), limits, 1, ()), Arrival::TooLate { .. }));
}
