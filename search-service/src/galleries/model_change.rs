//! Switching to another generation without losing an image or bringing one back.
//!
//! Three notes are kept as documents of the gallery, for each generation that does not serve. `comparison.N` is what the
//! last comparison of generation N found. `missed.N` changes with every write that generation N did not get while it had
//! a comparison to lose. `switching` says that a switch is under way.
//!
//! A comparison remembers the `missed.N` that it began with. A switch needs a comparison that went to its end, found
//! nothing, and still finds the same `missed.N`. A write that N did not get is acknowledged only after it has changed
//! `missed.N`, then seen no `switching`, then seen a generation serve that got it: so either the switch sees the note, or the
//! write sees the switch. Within one instance turns order both already.

use super::comparison::{CompareRequest, IMAGES_A_CALL};
use super::{Galleries, no_generation};
use crate::SearchError;
use descry_store::{Generation, now_ms};
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// How to switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Activation {
    /// The generation that is to serve.
    pub(crate) generation: u32,
    /// Whatever it lacks or has beyond the serving one.
    pub(crate) force: bool,
    /// Also when it has images that the serving one does not have.
    pub(crate) keep_surplus: bool,
}

/// What a comparison with the serving generation has found so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ComparisonNote {
    /// Tells it from other comparisons.
    pub(super) id: String,
    /// Number of the generation that served.
    pub(super) against: u32,
    /// What `missed.N` was when it began.
    pub(super) missed: Option<String>,
    pub(super) missing: u64,
    pub(super) surplus: u64,
    /// Where it is to go on; nothing when it went through all images. Whoever goes on somewhere else has not compared
    /// what lies between.
    pub(super) next_page_token: Option<String>,
}

impl ComparisonNote {
    /// Whether it went through all images.
    fn is_complete(&self) -> bool {
        self.next_page_token.is_none()
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct SwitchingNote {
    /// Milliseconds since the Unix epoch. A switch that was killed must not hold up writes for ever.
    until_ms: i64,
}

const SWITCHING_KEY: &str = "switching";

/// How long writes of other instances look out for a switch, and how long a switch may take. The difference is what
/// clocks may differ by.
const SWITCHING_FOR_MS: i64 = 60_000;
const SWITCH_WITHIN: Duration = Duration::from_secs(20);

fn comparison_key(number: u32) -> String {
    format!("comparison.{number}")
}

fn missed_key(number: u32) -> String {
    format!("missed.{number}")
}

/// A text that no instance has used before.
pub(super) fn unique() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    format!("{:x}-{:x}-{:x}", now_ms(), std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

impl Galleries {
    /// The comparison of a generation with the serving one, as far as nothing was missed since.
    pub(super) async fn valid_comparison(
        &self,
        serving: &Generation,
        number: u32,
    ) -> Result<Option<ComparisonNote>, SearchError> {
        let Some(text) = self.store.document(serving, &comparison_key(number)).await? else { return Ok(None) };
        let missed = self.missed(serving, number).await?;
        let note = serde_json::from_str::<ComparisonNote>(&text).ok();
        Ok(note.filter(|note| note.against == serving.number && note.missed == missed))
    }

    /// What tells writes that a generation did not get from each other.
    pub(super) async fn missed(&self, serving: &Generation, number: u32) -> Result<Option<String>, SearchError> {
        Ok(self.store.document(serving, &missed_key(number)).await?)
    }

    pub(super) async fn is_switching(&self, serving: &Generation) -> Result<bool, SearchError> {
        let text = self.store.document(serving, SWITCHING_KEY).await?;
        let note = text.and_then(|text| serde_json::from_str::<SwitchingNote>(&text).ok());
        Ok(note.is_some_and(|note| now_ms() < note.until_ms))
    }

    pub(super) async fn put_comparison(
        &self,
        serving: &Generation,
        number: u32,
        note: &ComparisonNote,
    ) -> Result<(), SearchError> {
        self.put_note(serving, &comparison_key(number), note).await
    }

    async fn put_note(&self, serving: &Generation, key: &str, note: &impl Serialize) -> Result<(), SearchError> {
        let text = serde_json::to_string(note).map_err(|error| SearchError::failed("writing a note", error))?;
        Ok(self.store.put_document(serving, key, Some(text)).await?)
    }

    pub(super) async fn forget_comparison(&self, serving: &Generation, number: u32) -> Result<(), SearchError> {
        for key in [comparison_key(number), missed_key(number)] {
            self.store.put_document(serving, &key, None).await?;
        }
        Ok(())
    }

    /// Notes that generations did not get a write, before it is acknowledged. Returns whether there was something to note.
    pub(super) async fn note_missed(&self, serving: &Generation, numbers: &[u32]) -> Result<bool, SearchError> {
        let mut is_noted = false;
        for &number in numbers {
            // A comparison that begins after this look sees the write.
            if self.valid_comparison(serving, number).await?.is_some() {
                self.store.put_document(serving, &missed_key(number), Some(unique())).await?;
                is_noted = true;
            }
        }
        Ok(is_noted)
    }

    /// Lets a generation serve, if it lacks nothing that the active one has and has nothing beyond it, or if that is
    /// forced.
    pub(crate) async fn activate(&self, gallery: &str, activation: Activation) -> Result<Generation, SearchError> {
        let number = activation.generation;
        if !activation.force {
            self.compare_if_small(gallery, activation).await?;
        }
        let _turn = self.turns.alone(gallery).await;
        let serving = &self.store.resolve(gallery).await?;
        if serving.number == number {
            return Ok(serving.clone());
        }
        let started = Instant::now();
        let until_ms = now_ms().saturating_add(SWITCHING_FOR_MS);
        self.put_note(serving, SWITCHING_KEY, &SwitchingNote { until_ms }).await?;
        let next = match self.check_switch(serving, activation, started).await {
            Ok(next) => next,
            Err(error) => {
                self.store.put_document(serving, SWITCHING_KEY, None).await?;
                return Err(error);
            }
        };
        let late = |_| SearchError::DeadlineExceeded { activity: "switching generations" };
        // Where it is not known what came of this, the note stays until its time is over: it may come about yet.
        tokio::time::timeout(SWITCH_WITHIN, self.store.activate(&next)).await.map_err(late)??;
        self.store.put_document(&next, SWITCHING_KEY, None).await?;
        tracing::info!(gallery, generation = number, model = next.fingerprint.short(), "another generation serves");
        Ok(next)
    }

    /// Whether a switch loses nothing, asked after the note of it is there. Returns the generation that is to serve.
    async fn check_switch(
        &self,
        serving: &Generation,
        activation: Activation,
        started: Instant,
    ) -> Result<Generation, SearchError> {
        let Activation { generation: number, force, keep_surplus } = activation;
        let generations = self.store.generations(&serving.gallery).await?;
        if generations.active.number != serving.number {
            let reason = "another generation serves by now; look again".to_owned();
            return Err(SearchError::NotReady { name: serving.gallery.clone(), reason });
        }
        let next = generations.find(number).ok_or_else(|| no_generation(&serving.gallery, number))?;
        if !force {
            require_ready(serving, next, self.valid_comparison(serving, number).await?, keep_surplus)?;
        }
        // What was compared with the next one when it served before says nothing of when it serves again.
        for other in generations.all() {
            let key = comparison_key(other.number);
            let text = self.store.document(serving, &key).await?;
            let note = text.and_then(|text| serde_json::from_str::<ComparisonNote>(&text).ok());
            if note.is_some_and(|note| note.against == number) {
                self.store.put_document(serving, &key, None).await?;
            }
        }
        if started.elapsed() > SWITCH_WITHIN {
            return Err(SearchError::DeadlineExceeded { activity: "preparing to switch generations" });
        }
        Ok(next.clone())
    }

    /// Galleries that one call can go through need no comparison of the caller's.
    async fn compare_if_small(&self, gallery: &str, activation: Activation) -> Result<(), SearchError> {
        let Activation { generation: number, keep_surplus, .. } = activation;
        let generations = self.store.generations(gallery).await?;
        if generations.active.number == number {
            return Ok(());
        }
        let next = generations.find(number).ok_or_else(|| no_generation(gallery, number))?;
        let note = self.valid_comparison(&generations.active, number).await?;
        if require_ready(&generations.active, next, note, keep_surplus).is_ok() {
            return Ok(());
        }
        // A comparison that could not end here would only take the place of one that a client is going through.
        let (own, other) = tokio::try_join!(self.store.describe(next), self.store.describe(&generations.active))?;
        if own.images + other.images > IMAGES_A_CALL {
            return Ok(());
        }
        let request = CompareRequest { generation: next, against: &generations.active, named: 0, page_token: None };
        self.compare(request).await.map(drop)
    }
}

fn require_ready(
    serving: &Generation,
    next: &Generation,
    note: Option<ComparisonNote>,
    keep_surplus: bool,
) -> Result<(), SearchError> {
    let (number, active) = (next.number, serving.number);
    let reason = match note {
        None => format!(
            "generation {number} was not compared with generation {active} since the last write that it did not get; \
             compare it, or force the change"
        ),
        Some(note) if note.missing > 0 => format!(
            "generation {number} lacks {} images that generation {active} has; fill it and compare it again, or force \
             the change",
            note.missing
        ),
        Some(note) if !note.is_complete() => format!(
            "generation {number} was not compared with generation {active} to the end; do that first, or force the change"
        ),
        Some(note) if note.surplus > 0 && !keep_surplus => format!(
            "generation {number} has {} images that generation {active} does not have; remove them, keep them \
             (keep_surplus), or force the change",
            note.surplus
        ),
        Some(_) => return Ok(()),
    };
    Err(SearchError::NotReady { name: serving.gallery.clone(), reason })
}
