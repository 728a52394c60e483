//! Holding one generation against another, stretch by stretch.

use super::Galleries;
use super::model_change::{ComparisonNote, unique};
use crate::SearchError;
use crate::validation::invalid;
use descry_store::{Generation, PageRequest};
use std::collections::HashMap;
use std::time::Duration;
use tokio::time::Instant;

/// Images that are compared while the gallery is held alone.
const PAGE_IMAGES: usize = 512;

/// One call compares so many pages at most, for so long at most: it must end before any deadline of a call.
const PAGES_A_CALL: usize = 16;
const TIME_A_CALL: Duration = Duration::from_secs(5);

/// So many images of both generations together are compared in one call: each direction may end with a page that is not
/// full.
pub(super) const IMAGES_A_CALL: u64 = (PAGE_IMAGES * (PAGES_A_CALL - 2)) as u64;

/// Longer than any token that was given out.
const MAX_TOKEN_BYTES: usize = 256;

/// What to compare, and from where on.
pub(crate) struct CompareRequest<'a> {
    /// The one that should be complete.
    pub(crate) generation: &'a Generation,
    /// The one that it is held against.
    pub(crate) against: &'a Generation,
    /// Most ids of each list.
    pub(crate) named: usize,
    /// Where the last stretch ended; nothing begins.
    pub(crate) page_token: Option<&'a str>,
}

/// What one stretch of a comparison found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ComparedPage {
    /// Not there, or there from another file or with other metadata.
    pub(crate) missing: IdList,
    /// Only there.
    pub(crate) surplus: IdList,
    /// Images looked at.
    pub(crate) examined: u64,
    /// Where to go on; nothing behind the last stretch.
    pub(crate) next_page_token: Option<String>,
    /// Behind the last stretch: whether the generation may serve.
    pub(crate) is_ready: bool,
}

/// Ids of which all are counted and some are named.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct IdList {
    pub(crate) count: u64,
    pub(crate) first: Vec<String>,
}

impl IdList {
    fn add(&mut self, image_id: String, named: usize) {
        self.count += 1;
        if self.first.len() < named {
            self.first.push(image_id);
        }
    }
}

/// How far a comparison has come. It first goes through what should be there, then through what is.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Progress {
    comparison: String,
    direction: Direction,
    /// Where the store's last page ended.
    after: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    Missing,
    Surplus,
}

impl Progress {
    fn token(&self) -> String {
        let direction = match self.direction {
            Direction::Missing => "missing",
            Direction::Surplus => "surplus",
        };
        format!("{}/{direction}/{}", self.comparison, self.after.as_deref().unwrap_or_default())
    }

    fn parse(token: &str) -> Result<Self, SearchError> {
        let wrong = || invalid("page_token", "is no place where a page of a comparison ended");
        if token.len() > MAX_TOKEN_BYTES {
            return Err(wrong());
        }
        let mut parts = token.splitn(3, '/');
        let (Some(comparison), Some(direction), Some(after)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(wrong());
        };
        let direction = match direction {
            "missing" => Direction::Missing,
            "surplus" => Direction::Surplus,
            _ => return Err(wrong()),
        };
        let after = Some(after.to_owned()).filter(|after| !after.is_empty());
        Ok(Self { comparison: comparison.to_owned(), direction, after })
    }
}

impl Galleries {
    /// Compares one stretch of two generations. What it finds against the serving one is noted with the gallery, so that
    /// a switch can ask for it.
    pub(crate) async fn compare(&self, request: CompareRequest<'_>) -> Result<ComparedPage, SearchError> {
        let CompareRequest { generation, against, named, page_token } = request;
        let mut progress = match page_token {
            Some(token) => Progress::parse(token)?,
            None => Progress { comparison: unique(), direction: Direction::Missing, after: None },
        };
        if page_token.is_none() {
            self.begin(generation, against, &progress.comparison).await?;
        }
        let mut page = ComparedPage::default();
        let (started, mut pages) = (Instant::now(), 0);
        let mut is_over = false;
        while !is_over && pages < PAGES_A_CALL && started.elapsed() < TIME_A_CALL {
            is_over = self.compare_page(generation, against, named, &mut progress, &mut page).await?;
            pages += 1;
        }
        page.next_page_token = (!is_over).then(|| progress.token());
        page.is_ready = self.note((generation, against), (&progress.comparison, page_token), &page).await?;
        Ok(page)
    }

    /// Notes that a comparison with the serving generation begins.
    async fn begin(&self, generation: &Generation, against: &Generation, id: &str) -> Result<(), SearchError> {
        let _turn = self.turns.alone(&generation.gallery).await;
        let serving = self.store.resolve(&generation.gallery).await?;
        if serving.number != against.number {
            return Ok(());
        }
        let missed = self.missed(&serving, generation.number).await?;
        let note = ComparisonNote {
            id: id.to_owned(),
            against: against.number,
            missed,
            missing: 0,
            surplus: 0,
            next_page_token: Some(String::new()),
        };
        self.put_comparison(&serving, generation.number, &note).await
    }

    /// Adds what a stretch found to the note of its comparison, if that is still the last one and if the stretch begins
    /// where the last one ended. Returns whether the generation may serve.
    async fn note(
        &self,
        (generation, against): (&Generation, &Generation),
        (id, page_token): (&str, Option<&str>),
        page: &ComparedPage,
    ) -> Result<bool, SearchError> {
        let _turn = self.turns.alone(&generation.gallery).await;
        let serving = self.store.resolve(&generation.gallery).await?;
        let note = self.valid_comparison(&serving, generation.number).await?;
        let goes_on = |note: &ComparisonNote| {
            note.id == id
                && note.against == against.number
                && note.next_page_token.as_deref() == Some(page_token.unwrap_or_default())
        };
        let Some(mut note) = note.filter(goes_on) else { return Ok(false) };
        note.missing += page.missing.count;
        note.surplus += page.surplus.count;
        note.next_page_token.clone_from(&page.next_page_token);
        self.put_comparison(&serving, generation.number, &note).await?;
        Ok(note.next_page_token.is_none() && note.missing == 0)
    }

    /// Compares one page of images, with the gallery held alone: no write is half done meanwhile. Returns whether it was
    /// the last one.
    async fn compare_page(
        &self,
        generation: &Generation,
        against: &Generation,
        named: usize,
        progress: &mut Progress,
        page: &mut ComparedPage,
    ) -> Result<bool, SearchError> {
        let _turn = self.turns.alone(&generation.gallery).await;
        let (from, of) = match progress.direction {
            Direction::Missing => (against, generation),
            Direction::Surplus => (generation, against),
        };
        let request = PageRequest { after: progress.after.take(), limit: PAGE_IMAGES, ..PageRequest::default() };
        let listed = self.store.listing(from, request).await?;
        page.examined += listed.images.len() as u64;
        let images: HashMap<String, _> = listed.images.into_iter().collect();
        let mut ids: Vec<String> = images.keys().cloned().collect();
        ids.sort_unstable();
        let known = self.store.images(of, &ids).await?;
        for image_id in ids {
            let other = known.get(&image_id);
            match progress.direction {
                Direction::Missing if !other.is_some_and(|other| images[&image_id].is_same_image(other)) => {
                    page.missing.add(image_id, named);
                }
                // What differs is in both, so it is no surplus but missing.
                Direction::Surplus if other.is_none() => page.surplus.add(image_id, named),
                Direction::Missing | Direction::Surplus => {}
            }
        }
        progress.after = listed.next;
        if progress.after.is_some() {
            return Ok(false);
        }
        let is_over = progress.direction == Direction::Surplus;
        progress.direction = Direction::Surplus;
        Ok(is_over)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_continue_where_a_page_ended() {
        for (direction, after) in [(Direction::Missing, Some("77")), (Direction::Surplus, None)] {
            let progress = Progress { comparison: "1-2-3".to_owned(), direction, after: after.map(str::to_owned) };
            assert_eq!(Progress::parse(&progress.token()).unwrap(), progress);
        }
        for wrong in ["", "a", "a/b", "a/b/c", "/"] {
            assert!(Progress::parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
