//! What a process takes from the machine.

use crate::BenchError;
use procfs::process::Process;

/// A process that is watched: this one, or another of this machine.
#[derive(Debug)]
pub(crate) struct ProcessMeter {
    process_id: i32,
    process: Process,
}

/// Use since the process' start.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct ProcessUsage {
    /// CPU time of all threads, in user and in system mode.
    pub(crate) cpu_s: f64,
    /// The most memory that was ever resident.
    pub(crate) peak_resident_bytes: u64,
}

impl ProcessMeter {
    pub(crate) fn of_this_process() -> Result<Self, BenchError> {
        Self::open(i32::try_from(std::process::id()).unwrap_or(i32::MAX))
    }

    /// Fails when there is no such process.
    pub(crate) fn open(process_id: i32) -> Result<Self, BenchError> {
        let process = Process::new(process_id).map_err(|source| BenchError::Process { process_id, source })?;
        Ok(Self { process_id, process })
    }

    /// Memory that is resident now.
    pub(crate) fn resident_bytes(&self) -> Result<u64, BenchError> {
        let failed = |source| BenchError::Process { process_id: self.process_id, source };
        Ok(self.process.status().map_err(failed)?.vmrss.unwrap_or_default().saturating_mul(1024))
    }

    pub(crate) fn usage(&self) -> Result<ProcessUsage, BenchError> {
        let failed = |source| BenchError::Process { process_id: self.process_id, source };
        let stat = self.process.stat().map_err(failed)?;
        let status = self.process.status().map_err(failed)?;
        Ok(ProcessUsage {
            cpu_s: (stat.utime + stat.stime) as f64 / procfs::ticks_per_second() as f64,
            peak_resident_bytes: status.vmhwm.unwrap_or_default().saturating_mul(1024),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    #[test]
    fn work_shows_in_the_cpu_time() {
        let meter = ProcessMeter::of_this_process().unwrap();
        let before = meter.usage().unwrap();
        let begin = Instant::now();
        // Until the counter moves: how long that takes is the machine's affair, that it moves is ours.
        while meter.usage().unwrap().cpu_s <= before.cpu_s {
            assert!(begin.elapsed() < Duration::from_secs(20), "the CPU time stands still");
        }
        assert!(before.peak_resident_bytes > 100_000);
    }

    #[test]
    fn a_process_that_is_not_there_is_named() {
        let error = ProcessMeter::open(i32::MAX).unwrap_err();
        assert!(error.to_string().contains(&i32::MAX.to_string()), "{error}");
    }
}
