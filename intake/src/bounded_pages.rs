//! The pages of a Parquet column, as long as they are not too large together with those of the other columns.

use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::errors::{ParquetError, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Largest page, in bytes. Most programs write about a mebibyte, and some a column of a row group in one.
const MAX_PAGE_BYTES: u64 = 256 << 20;

/// Most of what the columns of a row group hold at once, in bytes: of each a page, and its dictionary.
const MAX_HELD_BYTES: u64 = 1 << 30;

/// Gives the pages of another reader, and an error in place of one that is too large.
///
/// A page is in memory when its size is known: what a file says of that before counts for nothing.
pub(crate) struct BoundedPages {
    pages: Box<dyn PageReader>,
    /// Of all columns together.
    held_bytes: Arc<AtomicU64>,
    page_bytes: u64,
    dictionary_bytes: u64,
}

impl BoundedPages {
    pub(crate) fn new(pages: Box<dyn PageReader>, held_bytes: Arc<AtomicU64>) -> Self {
        Self { pages, held_bytes, page_bytes: 0, dictionary_bytes: 0 }
    }

    /// Counts a page in the place of the one before.
    fn count(&mut self, page: &Page) -> Result<()> {
        let bytes = page.buffer().len() as u64;
        if bytes > MAX_PAGE_BYTES {
            return Err(ParquetError::General(format!(
                "a page has {bytes} bytes, at most {MAX_PAGE_BYTES} are read; write smaller row groups"
            )));
        }
        let is_dictionary = matches!(page, Page::DictionaryPage { .. });
        let before = if is_dictionary { &mut self.dictionary_bytes } else { &mut self.page_bytes };
        let given_up = std::mem::replace(before, bytes);
        self.held_bytes.fetch_sub(given_up, Ordering::Relaxed);
        let held = self.held_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if held > MAX_HELD_BYTES {
            return Err(ParquetError::General(format!(
                "the pages of its columns have over {MAX_HELD_BYTES} bytes together; write smaller row groups"
            )));
        }
        Ok(())
    }
}

impl Iterator for BoundedPages {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

impl PageReader for BoundedPages {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        let page = self.pages.get_next_page()?;
        page.as_ref().map_or(Ok(()), |page| self.count(page))?;
        Ok(page)
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        self.pages.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Result<()> {
        self.pages.skip_next_page()
    }

    fn at_record_boundary(&mut self) -> Result<bool> {
        self.pages.at_record_boundary()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use parquet::basic::Encoding;
    use std::vec::IntoIter;

    /// Pages of these sizes, of which the first is a dictionary.
    struct Sizes(IntoIter<usize>, bool);

    impl Iterator for Sizes {
        type Item = Result<Page>;

        fn next(&mut self) -> Option<Self::Item> {
            self.get_next_page().transpose()
        }
    }

    impl PageReader for Sizes {
        fn get_next_page(&mut self) -> Result<Option<Page>> {
            let is_dictionary = std::mem::take(&mut self.1);
            Ok(self.0.next().map(|bytes| {
                let (buf, num_values, encoding) = (vec![0; bytes].into(), 1, Encoding::PLAIN);
                if is_dictionary {
                    return Page::DictionaryPage { buf, num_values, encoding, is_sorted: false };
                }
                let (def_level_encoding, rep_level_encoding) = (Encoding::RLE, Encoding::RLE);
                Page::DataPage { buf, num_values, encoding, def_level_encoding, rep_level_encoding, statistics: None }
            }))
        }

        fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
            Ok(None)
        }

        fn skip_next_page(&mut self) -> Result<()> {
            Ok(())
        }
    }

    fn column(sizes: &[usize], held: &Arc<AtomicU64>) -> BoundedPages {
        let sizes = Vec::from(sizes);
        BoundedPages::new(Box::new(Sizes(sizes.into_iter(), true)), Arc::clone(held))
    }

    #[test]
    fn what_is_held_at_once_is_bounded_and_what_follows_is_not() {
        let held = Arc::new(AtomicU64::new(0));
        for page in column(&[100, 30, 20, 10], &held) {
            page.unwrap();
        }
        assert_eq!(held.load(Ordering::Relaxed), 110, "the dictionary and the last page");
        held.store(MAX_HELD_BYTES - 5, Ordering::Relaxed);
        let complaint = column(&[6], &held).get_next_page().unwrap_err().to_string();
        assert!(complaint.contains("1073741824 bytes together"), "{complaint}");
        let large = column(&[MAX_PAGE_BYTES as usize + 1], &Arc::default()).get_next_page().unwrap_err().to_string();
        assert!(large.contains("smaller row groups"), "{large}");
    }
}
