//! What a member is working on, as seen from here.

use super::member::Member;
use crate::encoder_client::Work;
use crate::metrics;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Work that was given to a member; its load until this is dropped.
pub(super) struct InFlight {
    member: Arc<Member>,
    work: Work,
    begun: Instant,
    usual: Duration,
    is_trial: bool,
    is_answered: bool,
}

impl InFlight {
    /// What is waited for longer than `usual` without an answer makes the member a slow one.
    pub(super) fn begin(member: Arc<Member>, work: Work, usual: Duration) -> Self {
        let is_trial = member.begin_trial();
        member.load(&work).begin(work.items());
        metrics::encoder_has_in_flight(&member.label, member.in_flight());
        Self { member, work, begun: Instant::now(), usual, is_trial, is_answered: false }
    }

    /// It was answered with what it asked for.
    pub(super) fn answered(mut self) {
        self.is_answered = true;
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let took = self.begun.elapsed();
        self.member.load(&self.work).end(self.work.items(), took, self.is_answered, self.usual);
        metrics::encoder_has_in_flight(&self.member.label, self.member.in_flight());
        if self.is_trial && !self.is_answered {
            self.member.end_trial();
        }
    }
}
