//! The certain end of a program that was asked to stop.
//!
//! Requests have their time to finish, and work that is left is given up. What cannot be given up, such as a call into a
//! library or a file system that does not return, must not keep the process: whoever asked it to stop would have to kill it.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// The exit code of a process that did not stop in time: of software that failed, as in sysexits.h.
pub const EXIT_HANGING: i32 = 70;

/// Time for the last words; what holds up the stop may hold up the log as well.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// Time for what libraries do at the exit.
const EXIT: Duration = Duration::from_secs(1);

/// Ends the process after `limit` with [`EXIT_HANGING`], and says so, if it has not ended by itself.
pub(crate) fn end_within(limit: Duration) {
    let watching = thread::Builder::new().name("shutdown-watchdog".to_owned()).spawn(move || {
        thread::sleep(limit);
        let (told, tell) = mpsc::channel::<()>();
        let telling = thread::Builder::new().spawn(move || {
            tracing::error!(
                limit_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX),
                "stopping takes too long, something hangs; the process ends now"
            );
            drop(told);
        });
        if telling.is_ok() {
            // Told or not, this goes on.
            let _ = tell.recv_timeout(LAST_WORDS);
        }
        let exiting = thread::Builder::new().spawn(|| std::process::exit(EXIT_HANGING));
        if exiting.is_ok() {
            thread::sleep(EXIT);
        }
        std::process::abort();
    });
    if let Err(error) = watching {
        tracing::warn!(%error, "nobody watches whether the process ends");
    }
}
