//! Files with holes, as GNU tar stores them in the POSIX format: without the holes, and with a map of the rest.
//!
//! The map has three spellings (<https://www.gnu.org/software/tar/manual/html_section/Sparse-Formats.html>): a record of
//! the header for each number (0.0), one record with all of them (0.1), or text in front of the content (1.0).

/// Most pieces of a file, and most bytes of a map in front of a content.
const MAX_PIECES: usize = 1 << 16;
pub(crate) const MAX_MAP_BYTES: u64 = 1 << 21;

const BLOCK_BYTES: usize = 512;

/// Place and length of each piece.
type Pieces = Vec<(u64, u64)>;

/// What the header of a file with holes says.
#[derive(Debug, Default)]
pub(crate) struct SparseContent {
    /// Its path; the one in the header is a stand-in.
    pub(crate) path: Option<Vec<u8>>,
    /// Size with the holes.
    pub(crate) bytes: u64,
    /// Where the pieces belong, and how long they are; none where that stands in front of the content.
    pieces: Option<Pieces>,
}

impl SparseContent {
    /// Reads the header's records; none where they tell of no holes.
    pub(crate) fn of<'a>(records: impl Iterator<Item = (&'a str, &'a [u8])>) -> Result<Option<Self>, String> {
        let (mut sparse, mut is_sparse, mut numbers) = (Self::default(), false, Vec::new());
        let mut stands_in_content = false;
        for (name, value) in records {
            let Some(name) = name.strip_prefix("GNU.sparse.") else { continue };
            is_sparse = true;
            match name {
                "name" => sparse.path = Some(value.to_owned()),
                "size" | "realsize" => sparse.bytes = number(value)?,
                "offset" | "numbytes" => numbers.push(number(value)?),
                "map" => {
                    for value in value.split(|&byte| byte == b',') {
                        numbers.push(number(value)?);
                    }
                }
                "major" => stands_in_content = number(value)? == 1,
                _ => {}
            }
            if numbers.len() > 2 * MAX_PIECES {
                return Err(too_many());
            }
        }
        if !is_sparse {
            return Ok(None);
        }
        if !stands_in_content {
            sparse.pieces = Some(pairs(&numbers)?);
        }
        Ok(Some(sparse))
    }

    /// The content with zeros in the holes, from what is stored.
    pub(crate) fn expand(&self, stored: &[u8]) -> Result<Vec<u8>, String> {
        let (own_pieces, content);
        let pieces = match &self.pieces {
            Some(pieces) => {
                content = stored;
                pieces
            }
            None => {
                (own_pieces, content) = map_in_front(stored)?;
                &own_pieces
            }
        };
        let ends_early = || "its map of holes tells of more than is stored".to_owned();
        let (mut whole, mut rest) = (Vec::new(), content);
        for &(offset, length) in pieces {
            let end = offset.checked_add(length).filter(|&end| end <= self.bytes);
            let end = end.ok_or_else(|| "its map of holes reaches behind its end".to_owned())?;
            let (offset, length) = (place(offset)?, place(length)?);
            if offset < whole.len() {
                return Err("its map of holes overlaps itself".to_owned());
            }
            whole.resize(offset, 0);
            whole.extend_from_slice(rest.get(..length).ok_or_else(ends_early)?);
            rest = rest.get(length..).unwrap_or_default();
            debug_assert_eq!(whole.len() as u64, end);
        }
        whole.resize(place(self.bytes)?, 0);
        Ok(whole)
    }
}

/// The numbers stand one a line: how many pieces, then place and length of each. Zeros fill the last block.
fn map_in_front(stored: &[u8]) -> Result<(Pieces, &[u8]), String> {
    let mut at = 0;
    let mut next = || -> Result<u64, String> {
        let rest = stored.get(at..).unwrap_or_default();
        let length = rest.iter().take(32).position(|&byte| byte == b'\n').ok_or_else(no_number)?;
        at += length + 1;
        number(&rest[..length])
    };
    let count = place(next()?)?;
    if count > MAX_PIECES {
        return Err(too_many());
    }
    let numbers = (0..2 * count).map(|_| next()).collect::<Result<Vec<_>, _>>()?;
    let content = stored.get(at.next_multiple_of(BLOCK_BYTES)..).unwrap_or_default();
    Ok((pairs(&numbers)?, content))
}

fn pairs(numbers: &[u64]) -> Result<Pieces, String> {
    let (pairs, rest) = numbers.as_chunks::<2>();
    if rest.is_empty() {
        Ok(pairs.iter().map(|&[offset, length]| (offset, length)).collect())
    } else {
        Err(no_number())
    }
}

fn number(text: &[u8]) -> Result<u64, String> {
    std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).ok_or_else(no_number)
}

fn no_number() -> String {
    "its map of holes is damaged".to_owned()
}

fn too_many() -> String {
    format!("it has more than {MAX_PIECES} holes")
}

fn place(number: u64) -> Result<usize, String> {
    usize::try_from(number).map_err(|_| no_number())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(records: &[(&str, &str)], stored: &[u8]) -> Result<Vec<u8>, String> {
        let records = records.iter().map(|&(name, value)| (name, value.as_bytes()));
        SparseContent::of(records)?.unwrap().expand(stored)
    }

    #[test]
    fn damaged_maps_are_refused() {
        let size = ("GNU.sparse.size", "8");
        assert_eq!(expand(&[size, ("GNU.sparse.map", "1,2,5,1")], b"abc").unwrap(), b"\0ab\0\0c\0\0");
        for map in ["1,9", "1,2,2,1", "1", "x,1", "1,4", "18446744073709551615,1"] {
            assert!(expand(&[size, ("GNU.sparse.map", map)], b"abc").is_err(), "{map}");
        }
        let in_front = [("GNU.sparse.major", "1"), ("GNU.sparse.realsize", "8")];
        for stored in [b"".as_slice(), b"9999999999999\n", b"1\n0\n", b"1\n0\n4\n"] {
            assert!(expand(&in_front, stored).is_err(), "{stored:?}");
        }
        assert!(SparseContent::of([("path", b"a".as_slice())].into_iter()).unwrap().is_none());
    }
}
