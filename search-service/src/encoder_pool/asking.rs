//! One piece of work, given to one member after the other until one of them answers.

use super::EncoderPool;
use super::asked::{Asked, Moves, Outcome, Why, silent};
use super::choice::choose;
use super::in_flight::InFlight;
use super::member::Member;
use super::standing::Standing;
use crate::SearchError;
use crate::encoder_client::{Encoded, Work, again, is_broken};
use crate::metrics;
use descry_model::Fingerprint;
use descry_retry::Again;
use futures::stream::StreamExt as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tonic::{Code, Status};

/// Why no member answered.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Unanswered {
    /// What the last one that was asked said.
    #[error("{0}")]
    Failed(Status),
    /// All members answer, and none runs the model any more.
    #[error("no encoder runs the model any more")]
    OtherModel,
}

/// What an outcome means for the work.
enum Verdict {
    Answered(Encoded),
    /// Another member may answer.
    Elsewhere(Why, Unanswered),
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
    /// [`Unanswered`], after each member was asked at most once, and those that broke off a second time where no other is
    /// left.
    pub(super) async fn give(&self, model: &Fingerprint, work: &Work) -> Result<Encoded, Unanswered> {
        let first = match self.pick(model, work, &[], Room::AsKnown) {
            Some(first) => first?,
            None => self.pick_among_strangers(model, work, &[]).await?,
        };
        let begun = Instant::now();
        let mut asked = Asked::default();
        self.ask(&mut asked, first, work);
        let hedge_delay = self.hedges().delay(work);
        let mut hedge = std::pin::pin!(tokio::time::sleep(hedge_delay.unwrap_or_default()));
        let mut may_hedge = hedge_delay.is_some();
        let mut moves = Moves::default();
        loop {
            tokio::select! {
                biased;
                Some((member, outcome)) = asked.running.next() => {
                    asked.ended(&member);
                    let (why, unanswered) = match judge(&member, model, work, outcome) {
                        Verdict::Answered(encoded) => {
                            self.hedges().earn();
                            return Ok(encoded);
                        }
                        Verdict::Final(status) => return Err(Unanswered::Failed(status)),
                        Verdict::Elsewhere(why, unanswered) => (why, unanswered),
                    };
                    if has_begun(&unanswered) {
                        moves.broke(member);
                    }
                    let may_move = moves.may_move(why, work);
                    if !asked.runs.is_empty() {
                        // The other one may hang, so a further one is asked in place of this one.
                        if may_move && self.ask_another(model, work, &mut asked, &mut moves, "moved") {
                            moves.moved(why);
                        }
                        continue;
                    }
                    if !may_move {
                        return Err(unanswered);
                    }
                    moves.moved(why);
                    let next = self.next(model, work, &asked.members, &mut moves, why, unanswered).await?;
                    self.ask_also(&mut asked, next, work, "moved");
                }
                () = &mut hedge, if may_hedge => {
                    may_hedge = false;
                    // It is asked whether it is there at all, unless it answered others.
                    asked.runs.iter().for_each(|member| member.suspect(begun));
                    if let Some(Ok(next)) = self.pick(model, work, &asked.members, Room::Free)
                        && self.hedges().spend()
                    {
                        self.ask_also(&mut asked, next, work, "hedged");
                    }
                }
                Some((member, silence)) = asked.silences.next() => {
                    if asked.is_running(&member) {
                        // It is not there. That its work is done twice costs nothing.
                        self.ask_another(model, work, &mut asked, &mut moves, "hedged");
                        asked.silences.push(silent(member, silence));
                    }
                }
            }
        }
    }

    fn ask(&self, asked: &mut Asked, member: Arc<Member>, work: &Work) {
        asked.add(Arc::clone(&member), attempt(member, work.clone(), self.limit(), self.hedges().usual()));
    }

    fn ask_also(&self, asked: &mut Asked, member: Arc<Member>, work: &Work, outcome: &'static str) {
        metrics::count_encoder_call(&member.label, outcome);
        self.ask(asked, member, work);
    }

    /// Asks another member beside those that run, if there is one that answers and has room. Tells whether there is.
    fn ask_another(
        &self,
        model: &Fingerprint,
        work: &Work,
        asked: &mut Asked,
        moves: &mut Moves,
        outcome: &'static str,
    ) -> bool {
        let next = match self.pick(model, work, &asked.members, Room::Free) {
            Some(Ok(next)) => next,
            Some(Err(_)) => return false,
            None => match moves.repeat() {
                Some(broken) => broken,
                None => return false,
            },
        };
        self.ask_also(asked, next, work, outcome);
        true
    }

    /// Who is asked after all that were asked have failed, the last one with `unanswered`.
    async fn next(
        &self,
        model: &Fingerprint,
        work: &Work,
        tried: &[Arc<Member>],
        moves: &mut Moves,
        why: Why,
        unanswered: Unanswered,
    ) -> Result<Arc<Member>, Unanswered> {
        let room = if why == Why::Full { Room::Free } else { Room::AsKnown };
        if let Some(next) = self.pick(model, work, tried, room) {
            return next;
        }
        if let Some(broken) = moves.repeat() {
            return Ok(broken);
        }
        if why == Why::Full {
            return Err(unanswered);
        }
        let picked = self.pick_among_strangers(model, work, tried).await;
        match unanswered {
            // Somebody who does not answer may be the one that runs the model.
            Unanswered::OtherModel => picked,
            Unanswered::Failed(_) => picked.map_err(|_| unanswered),
        }
    }

    /// A member for the work that was not tried yet, or when all that could do it have room again.
    fn pick(
        &self,
        model: &Fingerprint,
        work: &Work,
        tried: &[Arc<Member>],
        room: Room,
    ) -> Option<Result<Arc<Member>, Unanswered>> {
        let members = self.members();
        let group = members
            .iter()
            .filter(|member| member.runs(model).is_some() && !tried.iter().any(|tried| Arc::ptr_eq(tried, member)));
        let (member, standing) = choose(group, work)?;
        if standing >= Standing::LeftOut {
            self.places().resolve_soon();
        }
        // Nobody waits for it, so it goes when there is room.
        if standing == Standing::Full && matches!(work, Work::Images { .. }) {
            let delay = member.full_for(work).unwrap_or_default();
            let delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
            let status = descry_retry::overloaded("all encoders of the model are full", delay_ms);
            return Some(Err(Unanswered::Failed(status)));
        }
        if room == Room::Free && standing >= Standing::Full {
            return None;
        }
        Some(Ok(Arc::clone(member)))
    }

    /// As [`Self::pick`], after the others were asked whether they run the model by now, and, where that finds nobody,
    /// names were resolved again: what stood behind them may have moved.
    ///
    /// # Errors
    /// [`Unanswered::OtherModel`] when all of them answer and run others, else what may be over soon.
    async fn pick_among_strangers(
        &self,
        model: &Fingerprint,
        work: &Work,
        tried: &[Arc<Member>],
    ) -> Result<Arc<Member>, Unanswered> {
        let picked = self.pick_among_known_strangers(model, work, tried).await;
        let is_passing = matches!(picked, Err(Unanswered::Failed(_)));
        if is_passing && self.places().resolved_again(self.limit()).await {
            return self.pick_among_known_strangers(model, work, tried).await;
        }
        picked
    }

    /// As [`Self::pick_among_strangers`], with the addresses that names stood for of late.
    async fn pick_among_known_strangers(
        &self,
        model: &Fingerprint,
        work: &Work,
        tried: &[Arc<Member>],
    ) -> Result<Arc<Member>, Unanswered> {
        match self.find(model).await {
            Ok(_) => self.pick(model, work, tried, Room::AsKnown).unwrap_or_else(|| {
                let reason = format!("no encoder of the model {model} answers");
                Err(Unanswered::Failed(Status::unavailable(reason)))
            }),
            Err(Some(error)) => Err(Unanswered::Failed(unreachable(error))),
            Err(None) => Err(Unanswered::OtherModel),
        }
    }
}

/// The status of an encoder that could not be asked what it runs: work for which nobody waits is patient with it.
fn unreachable(error: SearchError) -> Status {
    if let SearchError::Overloaded { retry_after_ms, .. } = error {
        return descry_retry::overloaded("an encoder has no room to say what it runs", retry_after_ms);
    }
    let reason = if let SearchError::Unavailable { reason, .. } = error { reason } else { error.to_string() };
    Status::unavailable(reason)
}

/// Which members may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Room {
    /// Those that stand best, however that is.
    AsKnown,
    /// Only those that answer and have room. Under overload a call to one that is known to be full only makes it worse.
    Free,
}

/// One call. Dropping it breaks the call off.
async fn attempt(member: Arc<Member>, work: Work, limit: Duration, usual: Duration) -> Outcome {
    let in_flight = InFlight::begin(Arc::clone(&member), work.clone(), usual);
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
            return Verdict::Elsewhere(Why::Away, Unanswered::OtherModel);
        }
        Err(status) => status,
    };
    let code = status.code();
    // Something else listens there where a call is not known.
    if is_broken(&status) || matches!(code, Code::Unavailable | Code::Unimplemented) {
        member.broke(status.message());
        Verdict::Elsewhere(Why::Away, Unanswered::Failed(status))
    } else if code == Code::ResourceExhausted {
        let delay = match again(&status) {
            Again::After(delay) => delay,
            Again::Later | Again::Never => USUAL_DELAY,
        };
        member.push_back(work, delay);
        Verdict::Elsewhere(Why::Full, Unanswered::Failed(status))
    } else if matches!(code, Code::Internal | Code::Unknown | Code::DataLoss) {
        member.failed(status.message());
        Verdict::Elsewhere(Why::Doubtful, Unanswered::Failed(status))
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
