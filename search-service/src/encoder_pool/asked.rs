//! Who was asked for a piece of work, and how it may still move on.

use super::member::Member;
use crate::encoder_client::{Encoded, Work};
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::watch;
use tonic::Status;

/// Why another member may answer what one did not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// It is not there, or not what it was.
    Away,
    /// It has no room.
    Full,
    /// It failed. The work may be to blame.
    Doubtful,
}

/// How the work may still move on. Two members that are full, or fail, speak for all.
pub(super) struct Moves {
    /// A member had no room.
    of_full: bool,
    /// A member failed, and the work may be to blame.
    of_doubtful: bool,
    /// Whose connection ended under a call, and may be made again.
    broken: VecDeque<Arc<Member>>,
    /// Those that were asked again for that.
    repeated: Vec<Arc<Member>>,
}

impl Default for Moves {
    fn default() -> Self {
        Self { of_full: true, of_doubtful: true, broken: VecDeque::new(), repeated: Vec::new() }
    }
}

impl Moves {
    pub(super) fn may_move(&self, why: Why, work: &Work) -> bool {
        match (why, work) {
            (Why::Away, _) => true,
            // Nobody waits for images: they go on to whoever has room.
            (Why::Full, Work::Images { .. }) => true,
            (Why::Full, Work::Text(_) | Work::QueryImage { .. }) => self.of_full,
            (Why::Doubtful, _) => self.of_doubtful,
        }
    }

    pub(super) fn moved(&mut self, why: Why) {
        match why {
            Why::Away => {}
            Why::Full => self.of_full = false,
            Why::Doubtful => self.of_doubtful = false,
        }
    }

    /// A connection ends under a call when its server is told to stop, too; a new one may be had, once.
    pub(super) fn broke(&mut self, member: Arc<Member>) {
        if !self.repeated.iter().any(|repeated| Arc::ptr_eq(repeated, &member)) {
            self.broken.push_back(member);
        }
    }

    /// Who is worth another call.
    pub(super) fn repeat(&mut self) -> Option<Arc<Member>> {
        let member = self.broken.pop_front()?;
        self.repeated.push(Arc::clone(&member));
        Some(member)
    }
}

/// Who was asked, and what came of it.
pub(super) type Outcome = (Arc<Member>, Result<Encoded, Status>);

/// Who was asked, and who did not answer yet.
#[derive(Default)]
pub(super) struct Asked {
    pub(super) members: Vec<Arc<Member>>,
    /// Those of them whose answer is awaited.
    pub(super) runs: Vec<Arc<Member>>,
    pub(super) running: FuturesUnordered<BoxFuture<'static, Outcome>>,
    /// One for each of them, done when it falls silent.
    pub(super) silences: FuturesUnordered<BoxFuture<'static, Silence>>,
}

/// Who fell silent, and what tells when it does so again.
pub(super) type Silence = (Arc<Member>, watch::Receiver<u64>);

impl Asked {
    /// Waits for the answer of `member` as well, which `call` brings.
    pub(super) fn add(&mut self, member: Arc<Member>, call: impl Future<Output = Outcome> + Send + 'static) {
        let silence = member.silence();
        self.silences.push(silent(Arc::clone(&member), silence));
        self.running.push(Box::pin(call));
        self.runs.push(Arc::clone(&member));
        self.members.push(member);
    }

    pub(super) fn ended(&mut self, member: &Arc<Member>) {
        self.runs.retain(|running| !Arc::ptr_eq(running, member));
    }

    pub(super) fn is_running(&self, member: &Arc<Member>) -> bool {
        self.runs.iter().any(|running| Arc::ptr_eq(running, member))
    }
}

/// Waits until a member falls silent. It holds what tells it, so that cannot end before.
pub(super) fn silent(member: Arc<Member>, mut silence: watch::Receiver<u64>) -> BoxFuture<'static, Silence> {
    Box::pin(async move {
        if silence.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        (member, silence)
    })
}
