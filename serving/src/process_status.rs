//! What the system says of this process, in Prometheus' text format.

use std::fmt::Write as _;
use std::fs;

/// Linux counts times of processes in hundredths of a second, whatever its clock.
const TICKS_PER_SECOND: f64 = 100.0;

/// Appends the process's memory, processor time and version. What the system does not say is left out.
pub(crate) fn write(page: &mut String) {
    if let Some(bytes) = fs::read_to_string("/proc/self/status").ok().as_deref().and_then(resident_bytes) {
        metric(page, "process_resident_memory_bytes", "gauge", "Memory in use", "", bytes);
    }
    if let Some(seconds) = fs::read_to_string("/proc/self/stat").ok().as_deref().and_then(cpu_seconds) {
        metric(page, "process_cpu_seconds_total", "counter", "Processor time used", "", seconds);
    }
    let version = concat!("{version=\"", env!("CARGO_PKG_VERSION"), "\"}");
    metric(page, "descry_build_info", "gauge", "The running version", version, 1);
}

fn metric(page: &mut String, name: &str, kind: &str, help: &str, labels: &str, value: impl std::fmt::Display) {
    // Writing to a string does not fail.
    let _ = writeln!(page, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name}{labels} {value}");
}

/// From `/proc/self/status`, the only place that says it in bytes and not in pages.
fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// From `/proc/self/stat`: the fields `utime` and `stime`.
fn cpu_seconds(stat: &str) -> Option<f64> {
    // The second field is the program's name, which may hold spaces and parentheses.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(11);
    let user: u64 = times.next()?.parse().ok()?;
    let system: u64 = times.next()?.parse().ok()?;
    Some(user.checked_add(system)? as f64 / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_words_are_understood() {
        assert_eq!(resident_bytes("Name:\tx\nVmHWM:\t 9 kB\nVmRSS:\t  2048 kB\n"), Some(2 << 20));
        assert_eq!(resident_bytes("Name:\tx\n"), None);
        let stat = "7 (a) b) S 1 7 7 0 -1 4194304 100 0 0 0 150 50 0 0 20 0 8 0 12345 1000 200";
        assert_eq!(cpu_seconds(stat), Some(2.0));
        assert_eq!(cpu_seconds("7 (a) S 1"), None);
    }
}
