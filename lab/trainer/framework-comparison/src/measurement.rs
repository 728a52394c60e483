//! Times, losses and memory of a run.

use std::error::Error;
use std::time::Duration;

/// Steps whose time does not count: the first ones start threads and fetch memory from the system.
const WARM_UP_STEPS: usize = 2;

/// What the steps of one run took and reached.
pub(crate) struct Measurement {
    measured_steps: usize,
    times: Vec<Duration>,
    losses: Vec<f32>,
}

/// A run in a few numbers.
pub(crate) struct Summary {
    pub(crate) median: Duration,
    pub(crate) minimum: Duration,
    pub(crate) first_loss: f32,
    pub(crate) last_loss: f32,
}

impl Measurement {
    pub(crate) fn of_steps(measured_steps: usize) -> Result<Self, Box<dyn Error>> {
        if measured_steps == 0 {
            return Err("at least one step must be measured".into());
        }
        Ok(Self { measured_steps, times: Vec::new(), losses: Vec::new() })
    }

    /// Steps to do, with those for warming up.
    pub(crate) fn steps(&self) -> usize {
        WARM_UP_STEPS + self.measured_steps
    }

    pub(crate) fn record(&mut self, time: Duration, loss: f32) {
        self.times.push(time);
        self.losses.push(loss);
    }

    /// Fails where the steps did not train: a framework that computes nonsense may be fast.
    pub(crate) fn summary(&self) -> Result<Summary, Box<dyn Error>> {
        let (Some(&first_loss), Some(&last_loss)) = (self.losses.first(), self.losses.last()) else {
            return Err("no step was done".into());
        };
        if !last_loss.is_finite() || last_loss >= first_loss {
            return Err(format!("the loss went from {first_loss} to {last_loss}").into());
        }
        let mut times: Vec<Duration> = self.times.iter().skip(WARM_UP_STEPS).copied().collect();
        times.sort();
        let middle = times.len() / 2;
        let median = match times.as_slice() {
            [] => return Err("only warm-up steps were done".into()),
            times if times.len() % 2 == 0 => (times[middle - 1] + times[middle]) / 2,
            times => times[middle],
        };
        Ok(Summary { median, minimum: times[0], first_loss, last_loss })
    }
}

/// The most memory that this process had resident, from Linux; elsewhere unknown.
pub(crate) fn peak_memory() -> String {
    std::fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|status| status.lines().find_map(|line| line.strip_prefix("VmHWM:").map(str::to_owned)))
        .and_then(|value| value.trim().strip_suffix(" kB").and_then(|kibibytes| kibibytes.parse::<f64>().ok()))
        .map_or_else(|| "unknown".to_owned(), |kibibytes| format!("{:.0} MiB", kibibytes / 1024.0))
}
