//! Placing and lifting holds, and what they keep from being removed.
//!
//! Within one instance a hold is placed with the gallery alone, so no removal is half done then. Instances of the service
//! find each other by notes: a removal first writes `removing.ID` and then reads the holds; whoever places a hold first
//! writes it and then looks for such notes, and answers when there are none any more. So either the removal sees the hold,
//! or the hold is answered after the removal: from then on nothing is removed that it holds.
//!
//! Changes of what is known of images write no such note, which would cost every write of every image two more. One that
//! another instance has begun when a hold is placed counts as from before the hold.

use super::Galleries;
use super::model_change::unique;
use crate::SearchError;
use crate::holds::{Hold, Holds, MAX_HOLDS};
use crate::validation::invalid;
use descry_store::{Generation, Generations, PageRequest, SearchFilter, now_ms};
use std::collections::BTreeSet;
use std::future::Future;
use std::time::Duration;
use tokio::time::Instant;

const REMOVING_PREFIX: &str = "removing.";

/// How long a note of a removal counts: one that was killed must not keep holds from being placed for ever. It is longer
/// than a store takes for what it is asked.
const REMOVING_FOR_MS: i64 = 120_000;

/// How long whoever places a hold waits for removals of other instances, and how often it looks.
const PATIENCE: Duration = Duration::from_secs(10);
const LOOKING_PAUSE: Duration = Duration::from_millis(100);

/// Images that are held against the active generation at once.
const PAGE_IMAGES: usize = 512;

/// Holds that a refusal names.
const NAMED_HOLDS: usize = 4;

/// How often a change of the holds is tried while other instances change them too.
const ATTEMPTS: usize = 16;

/// What a hold that is lifted leaves, of the serving generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Released {
    /// Images that no other hold holds.
    pub(crate) images: u64,
    /// Those of them that have been kept long enough.
    pub(crate) expired: u64,
}

impl Galleries {
    /// Places a hold. Returns it with how many images of the serving generation it holds.
    pub(crate) async fn place_hold(&self, gallery: &str, name: &str, hold: Hold) -> Result<(Hold, u64), SearchError> {
        let _turn = self.turns.alone(gallery).await;
        let serving = self.store.resolve(gallery).await?;
        hold.filter.require_declared(&serving.settings.indexed_attributes)?;
        let placed = self
            .change_holds(&serving, |holds| match holds.get(name) {
                Some(placed) if (&placed.filter, &placed.reason) == (&hold.filter, &hold.reason) => Ok(placed.clone()),
                Some(_) => {
                    let reason = format!(
                        "a hold {name:?} with other conditions or another reason is there already; lift that one first, \
                         or choose another name"
                    );
                    Err(SearchError::NotReady { name: gallery.to_owned(), reason })
                }
                None if holds.len() >= MAX_HOLDS => {
                    let reason = format!("there are {MAX_HOLDS} holds already, as many as are allowed");
                    Err(invalid("name", reason))
                }
                None => {
                    holds.insert(name.to_owned(), hold.clone());
                    Ok(hold.clone())
                }
            })
            .await?;
        if self.store.is_shared() {
            self.outwait_removals(&serving).await?;
        }
        let images = self.store.count(&serving, &placed.filter).await?;
        Ok((placed, images))
    }

    /// Lifts a hold. `expired` is what has been kept long enough.
    pub(crate) async fn lift_hold(
        &self,
        gallery: &str,
        name: &str,
        expired: Vec<SearchFilter>,
    ) -> Result<Released, SearchError> {
        let _turn = self.turns.alone(gallery).await;
        let serving = self.store.resolve(gallery).await?;
        let unknown = || invalid("name", format!("gallery {gallery:?} has no hold {name:?}"));
        // Counted before: afterwards the next sweep may be faster.
        let mut left = Holds::of(&*self.store, &serving).await?;
        let Hold { filter, .. } = left.remove(name).ok_or_else(unknown)?;
        let mut released = Released { images: left.count_free(&*self.store, &serving, &filter).await?, expired: 0 };
        for expired in expired {
            let of_hold = SearchFilter { all: vec![expired, filter.clone()], ..SearchFilter::default() };
            released.expired += left.count_free(&*self.store, &serving, &of_hold).await?;
        }
        self.change_holds(&serving, |holds| holds.remove(name).ok_or_else(unknown)).await?;
        Ok(released)
    }

    /// Changes the holds of a gallery, of which other instances may change others at the same time.
    async fn change_holds<Changed>(
        &self,
        serving: &Generation,
        mut change: impl FnMut(&mut Holds) -> Result<Changed, SearchError>,
    ) -> Result<Changed, SearchError> {
        for _ in 0..ATTEMPTS {
            let mut holds = Holds::of(&*self.store, serving).await?;
            let changed = change(&mut holds)?;
            if holds.replace(&*self.store, serving).await? {
                return Ok(changed);
            }
        }
        let reason = "its holds are being changed by others; try again".to_owned();
        Err(SearchError::Unavailable { dependency: "the gallery", reason })
    }

    /// Until no instance removes anything that it began to remove before this call.
    async fn outwait_removals(&self, serving: &Generation) -> Result<(), SearchError> {
        let begun = Instant::now();
        // Those that begin later read the hold.
        let mut awaited: Option<BTreeSet<String>> = None;
        loop {
            let notes = self.store.documents(serving).await?.into_iter();
            let notes = notes.filter(|(key, _)| key.starts_with(REMOVING_PREFIX));
            let mut there = BTreeSet::new();
            for (key, until_ms) in notes {
                if until_ms.parse::<i64>().is_ok_and(|until_ms| now_ms() < until_ms) {
                    there.insert(key);
                } else {
                    self.store.put_document(serving, &key, None).await?;
                }
            }
            let before = awaited.unwrap_or_else(|| there.clone());
            let left: BTreeSet<String> = before.intersection(&there).cloned().collect();
            if left.is_empty() {
                return Ok(());
            }
            if begun.elapsed() > PATIENCE {
                let reason =
                    "the hold is placed, but another instance is still removing images that it may have begun to \
                              remove before; place the same hold again to see when that is over"
                        .to_owned();
                return Err(SearchError::Unavailable { dependency: "the gallery", reason });
            }
            awaited = Some(left);
            tokio::time::sleep(LOOKING_PAUSE).await;
        }
    }

    /// Removes something, with a note for whoever places a hold meanwhile. `removing` must read the holds itself, after it
    /// was begun.
    pub(super) async fn noted<Answer>(
        &self,
        gallery: &Generation,
        removing: impl Future<Output = Result<Answer, SearchError>>,
    ) -> Result<Answer, SearchError> {
        if !self.store.is_shared() {
            return removing.await;
        }
        let key = format!("{REMOVING_PREFIX}{}", unique());
        let until_ms = now_ms().saturating_add(REMOVING_FOR_MS);
        self.store.put_document(gallery, &key, Some(until_ms.to_string())).await?;
        let answer = removing.await;
        // Where it is not known what came of it, the note stays until its time is over: it may come about yet.
        if answer.as_ref().err().is_none_or(|error| !error.is_passing())
            && let Err(error) = self.store.put_document(gallery, &key, None).await
            && !SearchError::from(error.clone()).is_not_found()
        {
            tracing::warn!(gallery = gallery.gallery, %error, "the note of a removal is left until its time is over");
        }
        answer
    }

    /// Refuses to delete a gallery that is held, or of which an image is, in any generation.
    pub(super) async fn require_unheld(&self, generations: &Generations) -> Result<(), SearchError> {
        let gallery = &generations.active;
        let holds = Holds::of(&*self.store, gallery).await?;
        let mut names = Vec::new();
        for (name, hold) in holds.iter() {
            let mut keeps = hold.is_of_all();
            for generation in generations.all() {
                keeps = keeps || self.store.count(generation, &hold.filter).await? > 0;
            }
            if keeps {
                names.push(name.clone());
            }
            if names.len() > NAMED_HOLDS {
                break;
            }
        }
        if names.is_empty() {
            return Ok(());
        }
        let what = "it is not deleted, because images of it are held".to_owned();
        Err(SearchError::Held { name: gallery.gallery.clone(), what, holds: names })
    }

    /// Refuses to delete a generation with images under a hold that the active one lacks.
    pub(super) async fn require_held_elsewhere(
        &self,
        generation: &Generation,
        active: &Generation,
    ) -> Result<(), SearchError> {
        let holds = Holds::of(&*self.store, active).await?;
        let Some(filter) = holds.held_of(&SearchFilter::default()) else { return Ok(()) };
        let mut request = PageRequest { filter, after: None, limit: PAGE_IMAGES };
        loop {
            let page = self.store.listing(generation, request.clone()).await?;
            let ids: Vec<String> = page.images.iter().map(|(image_id, _)| image_id.clone()).collect();
            let there = self.store.images(active, &ids).await?;
            if let Some((image_id, known)) = page.images.iter().find(|(image_id, known)| {
                // Another picture may have its id there.
                there.get(image_id).is_none_or(|there| there.content_sha256 != known.content_sha256)
            }) {
                let what = format!(
                    "generation {} is not deleted, because it has images that are held and that generation {} lacks",
                    generation.number, active.number
                );
                let names = holds.of_image(image_id, known).map(str::to_owned).collect();
                return Err(SearchError::Held { name: active.gallery.clone(), what, holds: names });
            }
            let Some(after) = page.next else { return Ok(()) };
            request.after = Some(after);
        }
    }
}
