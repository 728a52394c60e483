//! What a server says of the bytes that it is about to send.

use super::Wanted;
use crate::asking::{header_of, refused, wrong};
use crate::{Address, DownloadError};
use ureq::Body;
use ureq::http::{Response, StatusCode};

const ANOTHER_PART: &str = "sends another part than it was asked for";

/// Which bytes come, and of which file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    /// The first byte that comes.
    pub(super) start: u64,
    /// The byte behind the last one that comes, where the server says so.
    pub(super) end: Option<u64>,
    /// The size of the whole file, where the server says so.
    pub(super) total_bytes: Option<u64>,
    /// The entity tag, where it names bytes: a weak one does not, so no part may be joined to another by it.
    pub(super) tag: Option<String>,
}

impl Answer {
    /// Reads a reply to a question for all that is behind `here` bytes. `None` where the file has no such bytes.
    pub(super) fn of(url: &Address, reply: &Response<Body>, here: u64) -> Result<Option<Self>, DownloadError> {
        let tag = header_of(reply, "etag").filter(|tag| !tag.starts_with("W/"));
        let length = header_of(reply, "content-length").and_then(|length| length.parse().ok());
        let answer = match reply.status() {
            StatusCode::PARTIAL_CONTENT if here > 0 => {
                let range = header_of(reply, "content-range").as_deref().and_then(Range::parse);
                let range = range.filter(|range| range.start == here && length.is_none_or(|length| range.has(length)));
                let Some(Range { start, end, total_bytes }) = range else { return Err(wrong(url, ANOTHER_PART)) };
                Self { start, end: Some(end), total_bytes, tag }
            }
            // The server knows no parts, or the file has changed since: from the beginning.
            StatusCode::OK => Self { start: 0, end: length, total_bytes: length, tag },
            StatusCode::RANGE_NOT_SATISFIABLE if here > 0 => return Ok(None),
            _ => return Err(refused(url, reply)),
        };
        if header_of(reply, "content-type").is_some_and(|kind| kind.starts_with("text/html")) {
            return Err(wrong(
                url,
                "sends a web page where a file was asked for; is this the address of the file itself?",
            ));
        }
        if header_of(reply, "content-encoding").is_some_and(|encoding| !encoding.eq_ignore_ascii_case("identity")) {
            return Err(wrong(url, "sends the file compressed, though it was asked for the file as it is"));
        }
        Ok(Some(answer))
    }

    /// Whether it begins the file, or is known to be the rest of what is here: by a hash that is compared in the end, else
    /// by the tag. A rest whose end nobody knows would never be whole.
    pub(super) fn continues(&self, wanted: &Wanted<'_>) -> bool {
        let is_same = wanted.is_hashed || (self.tag.is_some() && self.tag == wanted.tag);
        self.start == 0 || (is_same && self.total_bytes.or(wanted.size_bytes).is_some())
    }
}

/// `bytes START-LAST/TOTAL`, or `*` for a total that is unknown.
struct Range {
    start: u64,
    end: u64,
    total_bytes: Option<u64>,
}

impl Range {
    fn parse(text: &str) -> Option<Self> {
        let (part, total) = text.strip_prefix("bytes ")?.split_once('/')?;
        let (start, last) = part.split_once('-')?;
        let end = last.parse::<u64>().ok()?.checked_add(1)?;
        let total_bytes = if total == "*" { None } else { Some(total.parse().ok()?) };
        let range = Self { start: start.parse().ok()?, end, total_bytes };
        (range.start < end && total_bytes.is_none_or(|total| end <= total)).then_some(range)
    }

    fn has(&self, length_bytes: u64) -> bool {
        self.end - self.start == length_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_strictly() {
        let read = |text: &str| Range::parse(text).map(|range| (range.start, range.end, range.total_bytes));
        assert_eq!(read("bytes 9-99/100"), Some((9, 100, Some(100))));
        assert_eq!(read("bytes 9-49/*"), Some((9, 50, None)));
        for wrong in [
            "",
            "bytes",
            "bytes 9-8/100",
            "bytes 9-100/100",
            "bytes */100",
            "bytes -9-20/100",
            "bytes 9-99/",
            "bytes 9-99",
            "items 9-99/100",
            "bytes 0-18446744073709551615/*",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
