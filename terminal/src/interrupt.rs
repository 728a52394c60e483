//! Ctrl-C for commands that finish what they began. A closed terminal and `kill` mean the same.

use std::io;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// What a shell reports of a process that Ctrl-C ended.
pub const EXIT_INTERRUPTED: u8 = 130;

/// A shell reports a process that a signal ended as this number and the signal's.
const EXIT_SIGNALLED: i32 = 128;

/// A terminal that is closed sends SIGHUP from the kernel and once more from the shell, which is one wish and not two.
const ECHO: Duration = Duration::from_secs(1);

/// Cancelled by the first Ctrl-C, so that what was sent is still acknowledged; the second ends the program.
///
/// # Errors
/// When the system refuses a handler for signals.
pub fn at_signal() -> io::Result<CancellationToken> {
    at_signal_saying("stopping when what is on its way is answered; press Ctrl-C again to stop now")
}

/// The same for commands that finish something else first: `message` says what.
///
/// # Errors
/// When the system refuses a handler for signals.
pub fn at_signal_saying(message: &'static str) -> io::Result<CancellationToken> {
    let mut signals = Signals::listen()
        .map_err(|error| io::Error::new(error.kind(), format!("cannot listen for signals: {error}")))?;
    let interrupt = CancellationToken::new();
    let cancelled_by_signal = interrupt.clone();
    tokio::spawn(async move {
        let first = signals.next().await;
        tracing::warn!("{message}");
        cancelled_by_signal.cancel();
        let began = tokio::time::Instant::now();
        loop {
            let next = signals.next().await;
            if (first, next) != (SignalKind::hangup(), SignalKind::hangup()) || began.elapsed() > ECHO {
                std::process::exit(EXIT_SIGNALLED + next.as_raw_value());
            }
        }
    });
    Ok(interrupt)
}

/// The signals that ask a command to stop.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Option<Signal>,
}

impl Signals {
    /// From when this returns on, no signal is missed.
    fn listen() -> io::Result<Self> {
        // Who began the command with `nohup` wants it to outlive the terminal.
        let hangup = if ignores_hangup() { None } else { Some(signal(SignalKind::hangup())?) };
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())?, hangup })
    }

    async fn next(&mut self) -> SignalKind {
        let hung_up = async {
            match &mut self.hangup {
                Some(hangup) => drop(hangup.recv().await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => SignalKind::interrupt(),
            _ = self.terminate.recv() => SignalKind::terminate(),
            () = hung_up => SignalKind::hangup(),
        }
    }
}

/// Whether the process was begun with SIGHUP ignored. Only Linux says so in a way that needs no unsafe code; elsewhere
/// a closed terminal stops the command.
fn ignores_hangup() -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|status| is_hangup_ignored(&status))
}

/// Reads the set of ignored signals, a hexadecimal number whose lowest bit is the first signal, SIGHUP.
fn is_hangup_ignored(status: &str) -> bool {
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    ignored.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).is_some_and(|set| set & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_signal_is_a_closed_terminal() {
        assert!(is_hangup_ignored("Name:\tdescry\nSigIgn:\t0000000000001001\nSigCgt:\t0\n"));
        assert!(!is_hangup_ignored("SigBlk:\t0000000000000001\nSigIgn:\t0000000000001000\n"));
        assert!(!is_hangup_ignored(""));
    }
}
