//! One piece of work, given to one member after the other until one of them answers.

use super::EncoderPool;
use super::choice::choose;
use super::member::{InFlight, Member, Standing};
use crate::encoder_client::{Encoded, Work, again, is_broken};
use crate::metrics;
use descry_model::Fingerprint;
use descry_retry::Again;
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt as _};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tonic::{Code, Status};

/// Why no member answered.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Unanswered {
    /// What the last one that was asked said.
    #[error("{0}")]
    Failed(Status),
    /// No member runs the model any more.
    #[error("no encoder runs the model any more")]
    OtherModel,
}

/// What an outcome means for the work.
enum Verdict {
    Answered(Encoded),
    /// Another member may answer.
    Elsewhere(Unanswered),
    /// As before, but the work may be to blame: one further member is asked.
    Once(Status),
    /// Another one would say the same.
    Final(Status),
}

/// A full member asks to come back in so long, where it does not say.
const USUAL_DELAY: Duration = Duration::from_millis(500);

impl EncoderPool {
    /// Gives `work` to the less loaded of two members of a model. Where that one breaks off, refuses or runs another model
    /// by now, another one is asked at once. Where it does not answer for long, another one is asked as well: for what
    /// somebody waits for after the configured delay, for all work when it does not answer its probe.
    ///
    /// # Errors
    /// [`Unanswered`], after each member was asked at most once, and one that broke off a second time where no other is
    /// left.
    pub(super) async fn give(&self, model: &Fingerprint, work: &Work) -> Result<Encoded, Unanswered> {
        let first = match self.pick(model, work, &[]) {
            Some(first) => first?,
            None => self.pick_among_strangers(model, work, &[]).await.ok_or(Unanswered::OtherModel)?,
        };
        let mut asked = Asked { silence: first.silence(), members: Vec::new(), running: FuturesUnordered::new() };
        asked.ask(self, first, work);
        let hedge_delay = self.hedges().delay(work);
        let mut hedge = std::pin::pin!(tokio::time::sleep(hedge_delay.unwrap_or_default()));
        let mut may_hedge = hedge_delay.is_some();
        let mut may_move_doubtful = true;
        let mut may_repeat = true;
        loop {
            tokio::select! {
                biased;
                Some((member, outcome)) = asked.running.next() => {
                    let (unanswered, may_move) = match judge(&member, model, work, outcome) {
                        Verdict::Answered(encoded) => {
                            self.hedges().earn();
                            return Ok(encoded);
                        }
                        Verdict::Final(status) => return Err(Unanswered::Failed(status)),
                        Verdict::Once(status) => {
                            (Unanswered::Failed(status), std::mem::take(&mut may_move_doubtful))
                        }
                        Verdict::Elsewhere(unanswered) => (unanswered, true),
                    };
                    if !asked.running.is_empty() {
                        continue;
                    }
                    if !may_move {
                        return Err(unanswered);
                    }
                    let next = match self.pick(model, work, &asked.members) {
                        Some(next) => next?,
                        // A connection ends under a call when its server is told to stop, too; a new one may be had.
                        None if has_begun(&unanswered) && std::mem::take(&mut may_repeat) => member,
                        None if is_no_overload(&unanswered) => {
                            self.pick_among_strangers(model, work, &asked.members).await.ok_or(unanswered)?
                        }
                        None => return Err(unanswered),
                    };
                    metrics::count_encoder_call(&next.address, "moved");
                    asked.ask(self, next, work);
                }
                () = &mut hedge, if may_hedge => {
                    may_hedge = false;
                    // It is asked whether it is there at all.
                    asked.members.iter().for_each(|member| member.suspect());
                    if self.hedges().spend() {
                        self.ask_another(model, work, &mut asked);
                    }
                }
                // It is not there. That its work is done twice costs nothing.
                Ok(()) = asked.silence.changed() => self.ask_another(model, work, &mut asked),
            }
        }
    }

    /// Asks another member as well, if there is one that answers.
    fn ask_another(&self, model: &Fingerprint, work: &Work, asked: &mut Asked) {
        let Some(Ok(next)) = self.pick(model, work, &asked.members) else { return };
        if next.standing(work) < Standing::LeftOut {
            metrics::count_encoder_call(&next.address, "hedged");
            asked.ask(self, next, work);
        }
    }

    /// A member for the work that was not tried yet, or when all that could do it have room again.
    fn pick(&self, model: &Fingerprint, work: &Work, tried: &[Arc<Member>]) -> Option<Result<Arc<Member>, Unanswered>> {
        let members = self.members();
        let group = members
            .iter()
            .filter(|member| member.runs(model).is_some() && !tried.iter().any(|tried| Arc::ptr_eq(tried, member)));
        let (member, standing) = choose(group, work)?;
        // Nobody waits for it, so it goes when there is room.
        if standing == Standing::Full && matches!(work, Work::Images { .. }) {
            let delay = member.full_for(work).unwrap_or_default();
            let delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
            let status = descry_retry::overloaded("all encoders of the model are full", delay_ms);
            return Some(Err(Unanswered::Failed(status)));
        }
        Some(Ok(Arc::clone(member)))
    }

    /// As [`Self::pick`], after the others were asked whether they run the model by now.
    async fn pick_among_strangers(
        &self,
        model: &Fingerprint,
        work: &Work,
        tried: &[Arc<Member>],
    ) -> Option<Arc<Member>> {
        self.find(model).await.ok()?;
        self.pick(model, work, tried)?.ok()
    }
}

/// Who was asked, and what came of it.
type Outcome = (Arc<Member>, Result<Encoded, Status>);

/// Who was asked, and who did not answer yet.
struct Asked {
    members: Vec<Arc<Member>>,
    running: FuturesUnordered<BoxFuture<'static, Outcome>>,
    /// Of the last one.
    silence: watch::Receiver<u64>,
}

impl Asked {
    fn ask(&mut self, pool: &EncoderPool, member: Arc<Member>, work: &Work) {
        self.silence = member.silence();
        self.running.push(Box::pin(attempt(Arc::clone(&member), work.clone(), pool.limit())));
        self.members.push(member);
    }
}

/// One call. Dropping it breaks the call off.
async fn attempt(member: Arc<Member>, work: Work, limit: Duration) -> Outcome {
    let in_flight = InFlight::begin(Arc::clone(&member), work.clone());
    let call = member.client.clone().encode(work, limit);
    let outcome = tokio::time::timeout(limit, call).await;
    let outcome = outcome.unwrap_or_else(|_| Err(Status::deadline_exceeded("the encoder did not answer in time")));
    if outcome.is_ok() {
        in_flight.answered();
    }
    (member, outcome)
}

/// Notes what the outcome says of the member, and tells what it means for the work.
fn judge(member: &Member, model: &Fingerprint, work: &Work, outcome: Result<Encoded, Status>) -> Verdict {
    let status = match outcome {
        Ok(encoded) if encoded.fingerprint == *model => {
            member.answered();
            return Verdict::Answered(encoded);
        }
        Ok(_) => {
            member.changed_model();
            return Verdict::Elsewhere(Unanswered::OtherModel);
        }
        Err(status) => status,
    };
    let code = status.code();
    // Something else listens there where a call is not known.
    if is_broken(&status) || matches!(code, Code::Unavailable | Code::Unimplemented) {
        member.broke(status.message());
        Verdict::Elsewhere(Unanswered::Failed(status))
    } else if code == Code::ResourceExhausted {
        let delay = match again(&status) {
            Again::After(delay) => delay,
            Again::Later | Again::Never => USUAL_DELAY,
        };
        member.push_back(work, delay);
        match work {
            Work::Text(_) | Work::QueryImage { .. } => Verdict::Once(status),
            Work::Images { .. } => Verdict::Elsewhere(Unanswered::Failed(status)),
        }
    } else if matches!(code, Code::Internal | Code::Unknown | Code::DataLoss) {
        member.failed(status.message());
        Verdict::Once(status)
    } else {
        if !matches!(code, Code::DeadlineExceeded | Code::Cancelled) {
            member.answered();
        }
        Verdict::Final(status)
    }
}

/// Whether the call was on its way when it broke, rather than that no connection came up.
fn has_begun(unanswered: &Unanswered) -> bool {
    match unanswered {
        Unanswered::Failed(status) => is_broken(status) && status.code() != Code::Unavailable,
        Unanswered::OtherModel => false,
    }
}

/// Whether it failed for another reason than that there is too much to do.
fn is_no_overload(unanswered: &Unanswered) -> bool {
    !matches!(unanswered, Unanswered::Failed(status) if status.code() == Code::ResourceExhausted)
}
