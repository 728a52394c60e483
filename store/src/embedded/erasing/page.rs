//! What of a page of SQLite's file holds nothing. Pure.
//!
//! SQLite puts deleted cells of a page to zero when it is told to (`secure_delete`), but a page from which half of its cells
//! move to a new one keeps their old copies between its list of cells and their contents, and nobody overwrites these when
//! the cells are deleted where they are now. So every page that changed is looked at, and what is unused is put to zero.
//! The format is <https://www.sqlite.org/fileformat2.html#b_tree_pages>.

use std::ops::Range;

/// The first page begins with the header of the file.
pub(super) const FILE_HEADER_BYTES: usize = 100;

const INDEX_INTERIOR: u8 = 2;
const TABLE_INTERIOR: u8 = 5;
const INDEX_LEAF: u8 = 10;
const TABLE_LEAF: u8 = 13;

/// SQLite takes no less for a cell or a free block.
const LEAST_CELL_BYTES: usize = 4;

/// A page of a tree, as far as its unused bytes are concerned.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct TreePage {
    /// Bytes that nobody reads.
    pub(super) unused: Vec<Range<usize>>,
    pub(super) children: Vec<u32>,
    /// The contents that go on elsewhere.
    pub(super) overflows: Vec<Overflow>,
}

/// A content that does not fit its page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Overflow {
    pub(super) first: u32,
    pub(super) bytes: u64,
}

/// A page that is none that SQLite wrote: it is left as it is.
pub(super) type Damaged = &'static str;

/// Reads a page of a tree; `None` where its first byte is that of another kind of page. `usable` are the bytes of a page that
/// SQLite uses.
pub(super) fn read(number: u32, page: &[u8], usable: usize) -> Result<Option<TreePage>, Damaged> {
    let header = if number == 1 { FILE_HEADER_BYTES } else { 0 };
    let page = page.get(..usable).ok_or("it is cut off")?;
    let kind = *page.get(header).ok_or("it is cut off")?;
    let is_interior = match kind {
        INDEX_INTERIOR | TABLE_INTERIOR => true,
        INDEX_LEAF | TABLE_LEAF => false,
        _ => return Ok(None),
    };
    let mut tree = TreePage::default();
    let cells = word(page, header + 3)?;
    let list = header + if is_interior { 12 } else { 8 };
    let list_end = list + 2 * cells;
    let contents = match word(page, header + 5)? {
        0 => 1 << 16,
        contents => contents,
    };
    if list_end > contents || contents > usable {
        return Err("its cells begin at an impossible place");
    }
    let mut used: Vec<Range<usize>> = Vec::with_capacity(cells + 1);
    used.push(0..list_end);
    for cell in 0..cells {
        let start = word(page, list + 2 * cell)?;
        if start < contents {
            return Err("a cell lies where none may be");
        }
        used.push(start..read_cell(page, start, kind, &mut tree)?);
    }
    if is_interior {
        tree.children.push(long(page, header + 8)?);
    }
    let mut block = word(page, header + 1)?;
    while block != 0 {
        let (next, bytes) = (word(page, block)?, word(page, block + 2)?);
        let is_sound = block >= contents && bytes >= LEAST_CELL_BYTES && block + bytes <= usable;
        if !is_sound || (next != 0 && next < block + bytes) {
            return Err("its free blocks are not in order");
        }
        // Its length and the place of the next one.
        used.push(block..block + LEAST_CELL_BYTES);
        block = next;
    }
    tree.unused = gaps(used, usable)?;
    Ok(Some(tree))
}

/// Notes what a cell refers to, and returns where it ends.
fn read_cell(page: &[u8], start: usize, kind: u8, tree: &mut TreePage) -> Result<usize, Damaged> {
    let mut place = start;
    if matches!(kind, INDEX_INTERIOR | TABLE_INTERIOR) {
        tree.children.push(long(page, place)?);
        place += 4;
    }
    if kind == TABLE_INTERIOR {
        place += number(page, place)?.1;
    } else {
        let (bytes, width) = number(page, place)?;
        place += width;
        if kind == TABLE_LEAF {
            place += number(page, place)?.1;
        }
        let here = bytes_here(bytes, page.len(), kind == TABLE_LEAF);
        place += here;
        if (here as u64) < bytes {
            tree.overflows.push(Overflow { first: long(page, place)?, bytes: bytes - here as u64 });
            place += 4;
        }
    }
    let end = place.max(start + LEAST_CELL_BYTES);
    if end > page.len() { Err("a cell ends behind its page") } else { Ok(end) }
}

/// How much of a content lies on the page itself.
fn bytes_here(bytes: u64, usable: usize, is_table: bool) -> usize {
    let usable = usable as u64;
    let most = if is_table { usable - 35 } else { (usable - 12) * 64 / 255 - 23 };
    if bytes <= most {
        return bytes as usize;
    }
    let least = (usable - 12) * 32 / 255 - 23;
    let wanted = least + (bytes - least) % (usable - 4);
    (if wanted <= most { wanted } else { least }) as usize
}

/// What no part covers. Parts that overlap are no parts of a sound page.
fn gaps(mut used: Vec<Range<usize>>, usable: usize) -> Result<Vec<Range<usize>>, Damaged> {
    used.sort_unstable_by_key(|part| part.start);
    let (mut gaps, mut end) = (Vec::new(), 0);
    for part in used {
        if part.start < end {
            return Err("its cells overlap");
        }
        if part.start > end {
            gaps.push(end..part.start);
        }
        end = part.end;
    }
    if end < usable {
        gaps.push(end..usable);
    }
    Ok(gaps)
}

pub(super) fn word(bytes: &[u8], place: usize) -> Result<usize, Damaged> {
    let found = bytes.get(place..).and_then(|rest| rest.first_chunk::<2>()).ok_or("it is cut off")?;
    Ok(u16::from_be_bytes(*found).into())
}

pub(super) fn long(bytes: &[u8], place: usize) -> Result<u32, Damaged> {
    let found = bytes.get(place..).and_then(|rest| rest.first_chunk::<4>()).ok_or("it is cut off")?;
    Ok(u32::from_be_bytes(*found))
}

/// A number of one to nine bytes, and how many those are.
fn number(bytes: &[u8], place: usize) -> Result<(u64, usize), Damaged> {
    let mut value = 0_u64;
    for width in 1..=9 {
        let byte = *bytes.get(place + width - 1).ok_or("it is cut off")?;
        if width == 9 {
            return Ok((value << 8 | u64::from(byte), width));
        }
        value = value << 7 | u64::from(byte & 0x7f);
        if byte < 0x80 {
            return Ok((value, width));
        }
    }
    Err("it is cut off")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const USABLE: usize = 512;

    /// A leaf of a table with two cells, of 5 and 7 bytes, and a free block of 12 bytes between them.
    fn leaf() -> Vec<u8> {
        let mut page = vec![0xee; USABLE];
        page[..12].copy_from_slice(&[TABLE_LEAF, 0x01, 0xed, 0, 2, 0x01, 0xe8, 0, 0x01, 0xf9, 0x01, 0xe8]);
        page[0x1e8..0x1ed].copy_from_slice(&[3, 1, 7, 7, 7]);
        page[0x1ed..0x1f1].copy_from_slice(&[0, 0, 0, 12]);
        page[0x1f9..0x200].copy_from_slice(&[5, 2, 8, 8, 8, 8, 8]);
        page
    }

    #[test]
    fn what_lies_between_cells_is_unused() {
        let read = read(2, &leaf(), USABLE).unwrap().unwrap();
        assert_eq!(read.unused, [12..0x1e8, 0x1f1..0x1f9]);
        assert_eq!((read.children, read.overflows), (vec![], vec![]));
    }

    #[test]
    fn a_page_that_sqlite_would_not_write_is_left_alone() {
        let broken = |place: usize, byte: u8| {
            let mut page = leaf();
            page[place] = byte;
            read(2, &page, USABLE)
        };
        assert_eq!(broken(11, 0xea), Err("its cells overlap"));
        assert_eq!(broken(11, 0xe0), Err("a cell lies where none may be"));
        assert_eq!(broken(0x1f9, 9), Err("a cell ends behind its page"));
        assert_eq!(broken(0x1f0, 3), Err("its free blocks are not in order"));
        assert_eq!(broken(5, 3), Err("its cells begin at an impossible place"));
        assert_eq!(broken(0, 7), Ok(None), "no page of a tree");
    }

    proptest! {
        #[test]
        fn whatever_a_page_holds_is_read_without_panic(mut page in proptest::collection::vec(any::<u8>(), USABLE),
                                                       kind in prop::sample::select(vec![2_u8, 5, 10, 13])) {
            page[0] = kind;
            page[3] = 0;
            let _ = read(2, &page, USABLE);
        }
    }
}
