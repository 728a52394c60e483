//! Ctrl-C for commands that finish what they began. A closed terminal and `kill` mean the same.

use descry_serving::signals::Signals;
use std::io;
use tokio_util::sync::CancellationToken;

/// What a shell reports of a process that Ctrl-C ended.
pub const EXIT_INTERRUPTED: u8 = 130;

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
    let signals = Signals::listen()
        .map_err(|error| io::Error::new(error.kind(), format!("cannot listen for signals: {error}")))?;
    let interrupt = CancellationToken::new();
    let cancelled_by_signal = interrupt.clone();
    tokio::spawn(signals.obey(move || {
        tracing::warn!("{message}");
        cancelled_by_signal.cancel();
    }));
    Ok(interrupt)
}
