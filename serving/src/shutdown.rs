//! The signals that end a service.

use std::future::Future;
use std::io;
use tokio::signal::unix::{SignalKind, signal};

/// What a shell reports of a process that a signal ended.
const EXIT_INTERRUPTED: i32 = 130;
const EXIT_TERMINATED: i32 = 143;

/// Resolves at the first SIGINT or SIGTERM. Handlers are in place when this returns, so no signal is missed. A second
/// signal ends the process at once, whatever is still being drained.
///
/// # Errors
/// When the system refuses a handler.
pub fn shutdown_signal() -> io::Result<impl Future<Output = ()> + Send> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut next = async move || {
        tokio::select! {
            _ = interrupt.recv() => EXIT_INTERRUPTED,
            _ = terminate.recv() => EXIT_TERMINATED,
        }
    };
    let (first, received) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        next().await;
        // Nobody waits for the first signal any more when the program is ending anyway.
        let _ = first.send(());
        let code = next().await;
        std::process::exit(code);
    });
    Ok(async move {
        let _ = received.await;
    })
}
