use super::*;
use std::collections::VecDeque;

const SETTINGS: LineSettings = LineSettings { target: Duration::from_millis(100), max_running: 256, max_waiting: 4096 };

fn after(start: Instant, ms: u64) -> Instant {
    start + Duration::from_millis(ms)
}

#[test]
fn earlier_deadlines_go_first_and_those_that_are_too_late_not_at_all() {
    let start = Instant::now();
    let mut line = Line::new(LineSettings { max_running: 1, ..SETTINGS });
    line.end(start, Duration::from_millis(10));
    assert_eq!(line.arrive(start, after(start, 500), "first"), Arrival::Begins);
    assert!(matches!(line.arrive(start, after(start, 500), "patient"), Arrival::Waits(_)));
    assert!(matches!(line.arrive(start, after(start, 150), "hurried"), Arrival::Waits(_)));
    assert!(matches!(line.arrive(start, after(start, 120), "very hurried"), Arrival::Waits(_)));
    // Ten milliseconds until the first one ends, and its own ten with what they vary by.
    assert!(matches!(line.arrive(start, after(start, 34), "impatient"), Arrival::TooLate { .. }));
    assert!(line.next(start).is_none(), "there is no room");
    line.end(start, Duration::from_millis(10));
    assert_eq!(
        line.next(after(start, 105)),
        Some(None),
        "the very hurried one has fifteen milliseconds left, and may take more"
    );
    assert_eq!(line.next(after(start, 105)), Some(Some("hurried")));
    line.end(start, Duration::from_millis(10));
    assert_eq!(line.next(after(start, 76)), Some(Some("patient")));
    assert_eq!(line.lengths(), (1, 0));
}

#[test]
fn an_old_measurement_keeps_nobody_out() {
    let start = Instant::now();
    let mut line = Line::new(SETTINGS);
    line.end(start, Duration::from_secs(60));
    for _ in 0..8 {
        assert_eq!(line.arrive(start, after(start, 1), ()), Arrival::Begins);
    }
    assert!(matches!(line.arrive(start, after(start, 1000), ()), Arrival::TooLate { .. }));
}

/// A service that ends one search after the other, `per_second` of them, in the order in which they began; and callers
/// that come at random, `factor` times as fast.
struct Simulation {
    per_second: f64,
    factor: f64,
    deadline: Option<Duration>,
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
}

const SIMULATED_SECONDS: f64 = 20.0;
const MAX_WAIT: Duration = Duration::from_secs(2);

impl Simulation {
    fn run(&self) -> Outcome {
        let start = Instant::now();
        let at = |seconds: f64| start + Duration::from_secs_f64(seconds);
        let mut line: Line<f64> = Line::new(SETTINGS);
        let mut random = 88_172_645_463_325_252_u64;
        let mut pause = move || {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            -((random >> 11) as f64 / (1_u64 << 53) as f64).max(1e-12).ln()
        };
        let service_seconds = 1.0 / self.per_second;
        let mut outcome = Outcome {
            answered_in_time: 0,
            answered_late: 0,
            refused: 0,
            refused_late: 0,
            possible: SIMULATED_SECONDS * self.per_second,
            longest_line: 0,
        };
        // Each with when it began and when it arrived.
        let mut running: VecDeque<(f64, f64)> = VecDeque::new();
        let (mut next_arrival, mut next_end) = (0.0_f64, f64::INFINITY);
        while next_arrival.min(next_end) < SIMULATED_SECONDS {
            if next_arrival < next_end {
                let now = next_arrival;
                let patience = self.deadline.unwrap_or(MAX_WAIT).min(MAX_WAIT);
                match line.arrive(at(now), at(now) + patience, now) {
                    Arrival::Begins => running.push_back((now, now)),
                    Arrival::Waits(_) => {}
                    Arrival::TooLate { .. } => outcome.refused += 1,
                }
                next_arrival = now + pause() / (self.per_second * self.factor);
                if next_end.is_infinite() && !running.is_empty() {
                    next_end = now + service_seconds;
                }
            } else {
                let now = next_end;
                let (began, arrived) = running.pop_front().unwrap();
                let waited = Duration::from_secs_f64(now - arrived);
                if self.deadline.is_none_or(|deadline| waited <= deadline) {
                    outcome.answered_in_time += 1;
                } else {
                    outcome.answered_late += 1;
                }
                line.end(at(now), Duration::from_secs_f64(now - began));
                while let Some(next) = line.next(at(now)) {
                    match next {
                        Some(arrived) => running.push_back((now, arrived)),
                        None => outcome.refused_late += 1,
                    }
                }
                next_end = if running.is_empty() { f64::INFINITY } else { now + service_seconds };
            }
            outcome.longest_line = outcome.longest_line.max(line.lengths().1);
        }
        outcome
    }
}

#[test]
fn overload_costs_nobody_who_is_answered() {
    for per_second in [60.0, 1_000.0] {
        for factor in [1.2, 2.0, 4.0, 10.0, 20.0] {
            for deadline_ms in [Some(250), Some(1_000), Some(30_000), None] {
                let simulation = Simulation { per_second, factor, deadline: deadline_ms.map(Duration::from_millis) };
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

#[test]
fn below_capacity_everybody_is_answered() {
    for factor in [0.2, 0.7, 0.9] {
        let outcome = Simulation { per_second: 500.0, factor, deadline: Some(Duration::from_millis(1_000)) }.run();
        assert_eq!((outcome.refused, outcome.refused_late, outcome.answered_late), (0, 0, 0), "{factor}");
    }
}
