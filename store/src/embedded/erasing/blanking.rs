//! Unused bytes of the database's file, put to zero where they lie.
//!
//! This goes past SQLite, which is sound for three reasons: nobody reads what is written; whoever calls holds the database, so
//! that nothing else writes to the file; and the log is worked in, so that no page of the file is older than the last
//! change. It takes no room, and a power loss in the middle of it leaves a file that means the same.

use super::super::EmbeddedError;
use super::super::raw_file::RawFile;
use super::page::{self, Damaged, FILE_HEADER_BYTES, TreePage, long, word};
use std::ops::Range;

/// From here on the first byte of a page that holds no tree may be that of one, because pages begin with a page's number:
/// those of more than 256 GiB at 8 KiB a page.
const FIRST_AMBIGUOUS_PAGE: u32 = 0x0200_0000;

/// As long as the longest page.
static ZEROS: [u8; 1 << 16] = [0; 1 << 16];

/// The file of a database, page by page.
pub(super) struct Pages<'a> {
    file: &'a RawFile,
    pub(super) page_bytes: usize,
    /// Bytes of a page that SQLite uses.
    pub(super) usable: usize,
    /// How many there are.
    pub(super) count: u32,
    /// The first page of the list of free ones; 0 for none.
    pub(super) first_free: u32,
    /// Bytes that were put to zero.
    pub(super) blanked_bytes: u64,
    /// As well, but they were nothing that anybody deleted.
    pub(super) uncounted_bytes: u64,
}

impl<'a> Pages<'a> {
    /// Reads how the file is divided. `None` where there is no page yet.
    pub(super) fn of(file: &'a RawFile) -> Result<Option<Self>, EmbeddedError> {
        let mut header = [0; FILE_HEADER_BYTES];
        if file.read_at(0, &mut header).map_err(EmbeddedError::Erasing)? < FILE_HEADER_BYTES {
            return Ok(None);
        }
        let divided = (|| {
            let page_bytes = match word(&header, 16)? {
                1 => 1 << 16,
                page_bytes => page_bytes,
            };
            let usable = page_bytes.saturating_sub(header[20].into());
            let has_map = long(&header, 52)? != 0;
            if page_bytes < 512 || usable < 480 || has_map {
                return Err("its header is not that of a store");
            }
            let (count, first_free) = (long(&header, 28)?, long(&header, 32)?);
            Ok(Self { file, page_bytes, usable, count, first_free, blanked_bytes: 0, uncounted_bytes: 0 })
        })();
        divided.map(Some).map_err(|reason| not_sound(1, reason))
    }

    pub(super) fn read(&self, number: u32) -> Result<Vec<u8>, EmbeddedError> {
        let mut page = vec![0; self.page_bytes];
        let read = self.file.read_at(self.offset(number), &mut page).map_err(EmbeddedError::Erasing)?;
        if read == self.page_bytes { Ok(page) } else { Err(not_sound(number, "it is cut off")) }
    }

    fn offset(&self, number: u32) -> u64 {
        u64::from(number.saturating_sub(1)) * self.page_bytes as u64
    }

    /// Puts a part of a page to zero, as far as it is not.
    pub(super) fn blank(&mut self, number: u32, page: &[u8], part: Range<usize>) -> Result<(), EmbeddedError> {
        let bytes = page.get(part.clone()).unwrap_or_default();
        // Nearly always, and compared much faster than byte by byte.
        if ZEROS.get(..bytes.len()) == Some(bytes) {
            return Ok(());
        }
        let first = bytes.iter().position(|&byte| byte != 0);
        let last = bytes.iter().rposition(|&byte| byte != 0);
        if let Some((first, last)) = first.zip(last) {
            let offset = self.offset(number) + (part.start + first) as u64;
            let zeros = ZEROS.get(..last + 1 - first).unwrap_or_default();
            self.file.write_at(offset, zeros).map_err(EmbeddedError::Erasing)?;
            self.blanked_bytes += (last + 1 - first) as u64;
        }
        Ok(())
    }

    /// Puts to zero what a page of a tree does not use. `None` where it is another kind of page.
    pub(super) fn blank_tree_page(&mut self, number: u32) -> Result<Option<TreePage>, EmbeddedError> {
        let page = self.read(number)?;
        let tree = page::read(number, &page, self.usable).map_err(|reason| not_sound(number, reason))?;
        if let Some(tree) = &tree {
            for part in &tree.unused {
                self.blank(number, &page, part.clone())?;
            }
        }
        Ok(tree)
    }

    /// As [`Pages::blank_tree_page`], for pages that just changed and may be of any kind. What SQLite does not put to zero by
    /// itself is on pages of trees alone. A damaged one is passed over: searches and checks tell of it.
    pub(super) fn blank_changed(&mut self, numbers: impl Iterator<Item = u32>) -> Result<(), EmbeddedError> {
        if self.count >= FIRST_AMBIGUOUS_PAGE {
            return Err(not_sound(FIRST_AMBIGUOUS_PAGE, "the file is too large for its pages to be told apart"));
        }
        let count = self.count;
        for number in numbers.filter(|number| (1..=count).contains(number)) {
            match self.blank_tree_page(number) {
                Err(EmbeddedError::NotSound { page, reason }) => {
                    tracing::warn!(page, reason, "a damaged page may keep some of what was deleted");
                }
                done => drop(done?),
            }
        }
        self.sync()
    }

    /// Brings to the disk what was put to zero.
    pub(super) fn sync(&self) -> Result<(), EmbeddedError> {
        if self.blanked_bytes + self.uncounted_bytes == 0 {
            Ok(())
        } else {
            self.file.sync().map_err(EmbeddedError::Erasing)
        }
    }
}

pub(super) fn not_sound(page: u32, reason: Damaged) -> EmbeddedError {
    EmbeddedError::NotSound { page, reason }
}
