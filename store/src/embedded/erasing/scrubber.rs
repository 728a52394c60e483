//! The thread that overwrites what was deleted, a moment after it was.

use super::super::database::Database;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What is deleted within this time is overwritten at once.
const PAUSE: Duration = Duration::from_millis(500);

/// How long it is between two attempts, at first and at most.
const FIRST_RETRY: Duration = Duration::from_millis(200);
const LAST_RETRY: Duration = Duration::from_secs(10);

/// How often it is said that it does not come to an end.
const SAY_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// Ends with its thread when it is dropped.
pub(in super::super) struct Scrubber {
    bell: Arc<Bell>,
    thread: Option<JoinHandle<()>>,
}

/// What wakes the thread.
#[derive(Debug, Default)]
pub(in super::super) struct Bell {
    wanted: Mutex<Wanted>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Wanted {
    scrubbing: bool,
    end: bool,
}

impl Scrubber {
    /// Without a thread: what is due is done when it is asked for.
    pub(in super::super) fn idle() -> Self {
        Self { bell: Arc::default(), thread: None }
    }

    pub(in super::super) fn start(database: Weak<tokio::sync::Mutex<Database>>) -> std::io::Result<Self> {
        let bell = Arc::<Bell>::default();
        let heard = Arc::clone(&bell);
        let thread = std::thread::Builder::new().name("descry-scrub".to_owned());
        let thread = thread.spawn(move || while heard.wait() && scrub(&database, &heard) {})?;
        Ok(Self { bell, thread: Some(thread) })
    }

    pub(in super::super) fn bell(&self) -> Arc<Bell> {
        Arc::clone(&self.bell)
    }
}

impl Drop for Scrubber {
    fn drop(&mut self) {
        self.bell.lock().end = true;
        self.bell.changed.notify_all();
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            tracing::error!("the thread that overwrites what was deleted failed");
        }
    }
}

impl Bell {
    fn lock(&self) -> MutexGuard<'_, Wanted> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something is to be overwritten.
    pub(in super::super) fn ring(&self) {
        self.lock().scrubbing = true;
        self.changed.notify_all();
    }

    /// Waits until something is to be overwritten, and a little for more of it. False at the end.
    fn wait(&self) -> bool {
        let wanted = self.changed.wait_while(self.lock(), |wanted| !wanted.scrubbing && !wanted.end);
        let is_end = wanted.unwrap_or_else(PoisonError::into_inner).end;
        if is_end || self.ends_within(PAUSE) {
            return false;
        }
        self.lock().scrubbing = false;
        true
    }

    fn ends_within(&self, time: Duration) -> bool {
        let waited = self.changed.wait_timeout_while(self.lock(), time, |wanted| !wanted.end);
        waited.unwrap_or_else(PoisonError::into_inner).0.end
    }
}

/// Tries until it is done. False at the end.
fn scrub(database: &Weak<tokio::sync::Mutex<Database>>, bell: &Bell) -> bool {
    let began = Instant::now();
    let (mut retry, mut said_at) = (FIRST_RETRY, None::<Instant>);
    loop {
        let Some(database) = database.upgrade() else { return false };
        let done = {
            let mut database = database.blocking_lock();
            // A call may have done it meanwhile.
            if database.is_erasing_due() { database.erase_always() } else { Ok(true) }
        };
        drop(database);
        if let Ok(true) = done {
            if said_at.is_some() {
                tracing::info!(seconds = began.elapsed().as_secs(), "what was deleted is overwritten");
            }
            return true;
        }
        if said_at.unwrap_or(began).elapsed() >= SAY_AGAIN_AFTER {
            said_at = Some(Instant::now());
            let reason = done.err().map_or_else(|| "searches read from it".to_owned(), |error| error.to_string());
            tracing::warn!(reason, "what was deleted is still in the log of the store; it is tried again");
        }
        if bell.ends_within(retry) {
            return false;
        }
        retry = (retry * 2).min(LAST_RETRY);
    }
}
