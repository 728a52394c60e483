//! The signals that ask a program to stop: Ctrl-C, `kill`, and a terminal that is closed.

use std::io;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;

/// A shell reports a process that a signal ended as this number and the signal's.
const EXIT_SIGNALLED: i32 = 128;

/// A terminal that is closed sends SIGHUP from the kernel and once more from the shell, which is one wish and not two.
const ECHO: Duration = Duration::from_secs(1);

/// SIGINT, SIGTERM and SIGHUP.
#[derive(Debug)]
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// Nothing where the process was begun with it ignored.
    hang_up: Option<Signal>,
}

impl Signals {
    /// From when this returns on, no signal is missed.
    ///
    /// # Errors
    /// When the system refuses a handler.
    pub fn listen() -> io::Result<Self> {
        // Who began the program with `nohup` wants it to outlive the terminal.
        let hang_up = if ignores_hang_up() { None } else { Some(signal(SignalKind::hangup())?) };
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())?, hang_up })
    }

    /// The next signal.
    pub async fn next(&mut self) -> SignalKind {
        let hung_up = async {
            match &mut self.hang_up {
                Some(hang_up) => drop(hang_up.recv().await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => SignalKind::interrupt(),
            _ = self.terminate.recv() => SignalKind::terminate(),
            () = hung_up => SignalKind::hangup(),
        }
    }

    /// Calls `first` at the first signal, and ends the process at the second, whatever is still being done.
    pub async fn obey(mut self, first: impl FnOnce()) {
        let signal = self.next().await;
        first();
        let began = Instant::now();
        loop {
            let next = self.next().await;
            if (signal, next) != (SignalKind::hangup(), SignalKind::hangup()) || began.elapsed() > ECHO {
                std::process::exit(EXIT_SIGNALLED + next.as_raw_value());
            }
        }
    }
}

/// Whether the process was begun with SIGHUP ignored. Only Linux says so in a way that needs no unsafe code; elsewhere
/// a closed terminal stops the program.
fn ignores_hang_up() -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|status| is_hang_up_ignored(&status))
}

/// Reads the set of ignored signals, a hexadecimal number whose lowest bit is the first signal, SIGHUP.
fn is_hang_up_ignored(status: &str) -> bool {
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    ignored.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).is_some_and(|set| set & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_signal_is_a_closed_terminal() {
        assert!(is_hang_up_ignored("Name:\tdescry\nSigIgn:\t0000000000001001\nSigCgt:\t0\n"));
        assert!(!is_hang_up_ignored("SigBlk:\t0000000000000001\nSigIgn:\t0000000000001000\n"));
        assert!(!is_hang_up_ignored(""));
    }
}
