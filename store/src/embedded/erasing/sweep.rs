//! The whole file, looked through once: what releases before secure deletion left in free pages and in the unused parts of others.
//!
//! Unlike `VACUUM` this takes no room besides the file, and whatever breaks it off has done no harm.

use super::super::EmbeddedError;
use super::super::raw_file::RawFile;
use super::blanking::{Pages, not_sound};
use super::page::{Overflow, long};
use rusqlite::Connection;
use std::time::{Duration, Instant};

/// How often a long sweep says how far it is.
const SAY_EVERY: Duration = Duration::from_secs(5);

/// SQLite keeps locks at this place of the file, and no page.
const LOCK_PLACE: u64 = 1 << 30;

/// A page of a list of free pages: the number of the next one, how many this one lists, and those.
const LIST_HEADER_BYTES: usize = 8;

/// Looks through the file, into which the log is worked, and puts to zero what is unused. Returns how many bytes held something.
///
/// # Errors
/// [`EmbeddedError::NotSound`] when the file is not sound. Then free pages are left as they are, because they may hold what
/// somebody wants to save.
pub(super) fn sweep(connection: &Connection, file: &RawFile) -> Result<u64, EmbeddedError> {
    let Some(pages) = Pages::of(file)? else { return Ok(0) };
    let mut roots = vec![1];
    let mut statement = connection.prepare("SELECT rootpage FROM sqlite_schema WHERE rootpage > 0")?;
    let found = statement.query_map([], |row| row.get::<_, u32>(0))?;
    roots.extend(found.collect::<Result<Vec<_>, _>>()?);
    let is_reached = vec![false; pages.count as usize + 1];
    let mut sweep = Sweep { pages, is_reached, reached: 0, said_at: Instant::now() };
    let walked = sweep.walk(roots);
    // Also what was done of one that broke off.
    let synced = sweep.pages.sync();
    walked.and(synced)?;
    Ok(sweep.pages.blanked_bytes)
}

struct Sweep<'a> {
    pages: Pages<'a>,
    is_reached: Vec<bool>,
    reached: u64,
    said_at: Instant,
}

impl Sweep<'_> {
    fn walk(&mut self, roots: Vec<u32>) -> Result<(), EmbeddedError> {
        let mut damage = None;
        let mut next = roots;
        next.reverse();
        while let Some(number) = next.pop() {
            match self.walk_page(number) {
                Ok(mut children) => {
                    children.reverse();
                    next.append(&mut children);
                }
                // What is sound is looked through all the same.
                Err(error @ EmbeddedError::NotSound { .. }) => drop(damage.get_or_insert(error)),
                Err(error) => return Err(error),
            }
        }
        match damage {
            Some(damage) => Err(damage),
            None => self.blank_free_pages(),
        }
    }

    /// One page of a tree, with the contents that go on elsewhere. Returns the pages below.
    fn walk_page(&mut self, number: u32) -> Result<Vec<u32>, EmbeddedError> {
        self.reach(number)?;
        let tree = self.pages.blank_tree_page(number)?.ok_or_else(|| not_sound(number, "it is no page of a tree"))?;
        for overflow in tree.overflows {
            self.follow(overflow)?;
        }
        Ok(tree.children)
    }

    fn follow(&mut self, overflow: Overflow) -> Result<(), EmbeddedError> {
        let (mut number, mut left) = (overflow.first, overflow.bytes);
        loop {
            self.reach(number)?;
            let page = self.pages.read(number)?;
            let usable = self.pages.usable;
            if left <= usable as u64 - 4 {
                return self.pages.blank(number, &page, 4 + left as usize..usable);
            }
            left -= usable as u64 - 4;
            number = long(&page, 0).map_err(|reason| not_sound(number, reason))?;
        }
    }

    fn blank_free_pages(&mut self) -> Result<(), EmbeddedError> {
        let mut free = Vec::new();
        let (mut number, usable) = (self.pages.first_free, self.pages.usable);
        while number != 0 {
            self.reach(number)?;
            let list = self.pages.read(number)?;
            let failed = |reason| not_sound(number, reason);
            let listed = long(&list, 4).map_err(failed)? as usize;
            let end = LIST_HEADER_BYTES + 4 * listed;
            if end > usable {
                return Err(failed("it lists more free pages than it can"));
            }
            for place in (LIST_HEADER_BYTES..end).step_by(4) {
                let leaf = long(&list, place).map_err(failed)?;
                self.reach(leaf)?;
                free.push(leaf);
            }
            // Numbers that it listed before are nothing that was deleted, and not counted.
            let counted = self.pages.blanked_bytes;
            self.pages.blank(number, &list, end..usable)?;
            self.pages.uncounted_bytes += self.pages.blanked_bytes - counted;
            self.pages.blanked_bytes = counted;
            number = long(&list, 0).map_err(failed)?;
        }
        let page_bytes = self.pages.page_bytes;
        let lock_page = u32::try_from(LOCK_PLACE / page_bytes as u64).map_or(0, |page| page + 1);
        let unknown = (1..=self.pages.count).find(|&page| !self.has_reached(page) && page != lock_page);
        if let Some(unknown) = unknown {
            return Err(not_sound(unknown, "nothing refers to it"));
        }
        // Only now is it sure that none of them is in use.
        for number in free {
            let page = self.pages.read(number)?;
            self.pages.blank(number, &page, 0..page_bytes)?;
        }
        Ok(())
    }

    fn has_reached(&self, number: u32) -> bool {
        self.is_reached.get(number as usize).copied().unwrap_or(false)
    }

    fn reach(&mut self, number: u32) -> Result<(), EmbeddedError> {
        let reached = self.is_reached.get_mut(number as usize).filter(|_| number > 0);
        let reached = reached.ok_or_else(|| not_sound(number, "it lies behind the end of the file"))?;
        if std::mem::replace(reached, true) {
            return Err(not_sound(number, "two others refer to it"));
        }
        self.reached += 1;
        if self.said_at.elapsed() >= SAY_EVERY {
            self.said_at = Instant::now();
            let percent = self.reached * 100 / u64::from(self.pages.count).max(1);
            tracing::info!(percent, "still overwriting what was deleted from the store before");
        }
        Ok(())
    }
}
