//! The signals that end a service.

use std::future::Future;
use std::io;
use tokio::signal::unix::{SignalKind, signal};

/// Resolves at the first SIGINT or SIGTERM. Handlers are in place when this returns, so no signal is missed.
///
/// # Errors
/// When the system refuses a handler.
pub fn shutdown_signal() -> io::Result<impl Future<Output = ()> + Send> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}
