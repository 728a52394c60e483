//! When requests are sent: each caller after its answer (closed loop), or at times that nobody's answer moves (open).

use crate::BenchError;
use crate::arrivals::PoissonArrivals;
use crate::lane::Lane;
use crate::recorder::Recorder;
use crate::sender::Due;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// How often a waiting open loop looks whether it was stopped.
const LONGEST_SLEEP: Duration = Duration::from_millis(20);

/// Everything that sending needs.
#[derive(Debug, Clone)]
pub(crate) struct Pacer {
    /// Taken in turn.
    pub(crate) lanes: Arc<[Lane]>,
    /// One for each request that may be unanswered.
    pub(crate) permits: Arc<Semaphore>,
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) stop: CancellationToken,
}

impl Pacer {
    /// Sends whenever fewer requests are unanswered than there are permits, which is what that many callers do.
    pub(crate) async fn run_closed(self) {
        let end = tokio::time::Instant::from_std(self.recorder.window().end);
        let sending = async {
            for lane in self.lanes.iter().cycle() {
                let Ok(permit) = self.permits.clone().acquire_owned().await else { return };
                lane.send(Due { at: Instant::now(), permit });
            }
        };
        tokio::select! {
            () = sending => {}
            () = tokio::time::sleep_until(end) => {}
            () = self.stop.cancelled() => {}
        }
    }

    /// Sends at the times of `arrivals` from `begin` on, or counts what finds no permit as shed.
    ///
    /// A thread of its own: the runtime's timer is too coarse, and would be late when the runtime is busy.
    pub(crate) async fn run_open(self, begin: Instant, arrivals: PoissonArrivals) -> Result<(), BenchError> {
        let send_all = move || {
            for (arrival, lane) in arrivals.zip(self.lanes.iter().cycle()) {
                let due = begin + arrival;
                if due >= self.recorder.window().end || !self.sleep_until(due) {
                    return;
                }
                match self.permits.clone().try_acquire_owned() {
                    Ok(permit) => lane.send(Due { at: due, permit }),
                    Err(_) => self.recorder.shed(due),
                }
            }
        };
        Ok(tokio::task::spawn_blocking(send_all).await?)
    }

    /// Whether it was not stopped meanwhile.
    fn sleep_until(&self, moment: Instant) -> bool {
        loop {
            if self.stop.is_cancelled() {
                return false;
            }
            match moment.checked_duration_since(Instant::now()) {
                None | Some(Duration::ZERO) => return true,
                Some(remaining) => std::thread::sleep(remaining.min(LONGEST_SLEEP)),
            }
        }
    }
}
