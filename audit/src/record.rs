//! What the log says of an event, and how much of it.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Longest text of a field in bytes; texts of queries may be longer.
const MAX_TEXT_BYTES: usize = 1_024;

/// Longest text of a query in bytes.
pub(crate) const MAX_QUERY_BYTES: usize = 16 << 10;

/// Most entries of a list.
const MAX_ENTRIES: usize = 10_000;

/// Most bytes of all texts of a list.
const MAX_LIST_BYTES: usize = 256 << 10;

/// Longest filter in bytes, as JSON.
const MAX_FILTER_BYTES: usize = 32 << 10;

/// Longest record in bytes, as JSON. Its lists are left out where it would be longer.
pub(crate) const MAX_RECORD_BYTES: usize = 1 << 20;

/// What happened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A request was worked on, and how it ended. Written before its answer leaves.
    #[default]
    Request,
    /// One search of a request with several, written before that request.
    Search,
    /// A request that changes something, or that goes on for long, begins.
    Begun,
    /// Images of a stream, written before they are acknowledged.
    Chunk,
    /// Matches of a stream, written before they leave.
    Matches,
    /// Images were removed because they had been kept long enough.
    Sweep,
    /// Requests were refused before they reached a method: how many of one kind.
    Refused,
    /// A service began, with these settings.
    Start,
    /// A service ended in good order.
    Stop,
    /// A file was begun.
    File,
    /// The end of the log was torn when a service began; what is torn was never answered.
    Mended,
    /// For a while the log could not be written, and nothing was answered.
    Interrupted,
    /// Files of the log that had been kept long enough are about to be removed.
    Removed,
    /// The head of the chain was handed to somebody else.
    Anchored,
}

/// A record. What is empty is left out of its line.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Record {
    /// What happened.
    pub kind: Kind,
    /// When it began, in milliseconds since the Unix epoch.
    pub begin_ms: i64,
    /// When it ended, in milliseconds since the Unix epoch.
    pub end_ms: i64,
    /// Who asked: the name that they proved. None where the service asks nobody to prove who they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub principal: Option<String>,
    /// The address from which they asked, with its port; none within a process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The method, such as `descry.search.v1.SearchService/Search`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rpc: Option<String>,
    /// Why they asked, in their own words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub purpose: Option<String>,
    /// The number of their case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub case_number: Option<String>,
    /// The number of what allows them to ask, such as a judge's order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorization: Option<String>,
    /// The second person who confirmed what was found, as the caller names them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verifier: Option<String>,
    /// The gallery, as it was addressed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gallery: Option<String>,
    /// The generation that answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<u32>,
    /// The model that answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// Which images counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<serde_json::Value>,
    /// What was looked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub query: Vec<QueryPart>,
    /// The standing search that is made, deleted or followed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watch: Option<String>,
    /// Hits that a person took for right, by image.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub accepted: Vec<String>,
    /// Hits that a person took for wrong, by image.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rejected: Vec<String>,
    /// Images that the request names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub image_ids: Vec<String>,
    /// SHA-256 of the ids of images that are too many to be named, each followed by a line feed. A keyed hash of that where names
    /// are hashed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_ids_sha256: Option<String>,
    /// What the caller was told, in its order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub returned: Vec<Returned>,
    /// Which calibration gave the probabilities: when it was made, in milliseconds since the Unix epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calibrated_at_ms: Option<i64>,
    /// How many there were, by what was counted.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub counts: BTreeMap<String, u64>,
    /// How the request ended, as gRPC names it: `OK`, or the kind of refusal. `CANCELLED` where nobody waited for the answer:
    /// what was asked for may have been done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// What else is to be said, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// SHA-256 of all settings of a service that begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settings_sha256: Option<String>,
    /// SHA-256 of what is torn, or the hash of the last line of files that are removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// The mark of the key with which all names in it are hashed; none where they are clear.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name_key: Option<String>,
    /// Fields of which this says less than there was.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cut: Vec<String>,
}

/// A part of what was looked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QueryPart {
    /// What it is.
    #[serde(flatten)]
    pub asked: Asked,
    /// How much it counts; negative: what is looked for is unlike it.
    pub weight: f32,
}

/// What a part of a query is, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Asked {
    /// Words as they were written.
    Text(String),
    /// Words that open with a key alone, in base64: HPKE's encapsulated key and ciphertext.
    SealedText(String),
    /// HMAC-SHA256 of words, in hexadecimal digits: equal words are seen to be equal by who has the key.
    HashedText(String),
    /// SHA-256 of an image file.
    ImageSha256(String),
    /// An image of the gallery.
    ImageId(String),
    /// SHA-256 of an embedding's values as little-endian float32.
    EmbeddingSha256(String),
}

/// An image that the caller was told of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Returned {
    /// Its id.
    pub image_id: String,
    /// How near it is; none in lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<f32>,
    /// The probability that it is right, where the gallery is calibrated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probability: Option<f32>,
}

impl Record {
    /// A record of this kind that begins and ends now.
    pub fn new(kind: Kind) -> Self {
        let now_ms = now_ms();
        Self { kind, begin_ms: now_ms, end_ms: now_ms, ..Self::default() }
    }

    /// Notes a number.
    pub fn count(&mut self, what: &str, number: u64) {
        self.counts.insert(what.to_owned(), number);
    }

    /// The record as JSON, within the limits: what is cut off is named in `cut`.
    ///
    /// # Errors
    /// What JSON has no words for.
    pub(crate) fn into_json(mut self) -> Result<Vec<u8>, serde_json::Error> {
        self.cut_fields();
        let json = serde_json::to_vec(&self)?;
        if json.len() <= MAX_RECORD_BYTES {
            return Ok(json);
        }
        // Letters that JSON escapes are longer than they were counted.
        self.cut_all_lists();
        serde_json::to_vec(&self)
    }

    fn cut_fields(&mut self) {
        let Self { cut, filter, query, accepted, rejected, image_ids, returned, .. } = self;
        for (name, text) in [
            ("principal", &mut self.principal),
            ("address", &mut self.address),
            ("rpc", &mut self.rpc),
            ("purpose", &mut self.purpose),
            ("case_number", &mut self.case_number),
            ("authorization", &mut self.authorization),
            ("verifier", &mut self.verifier),
            ("gallery", &mut self.gallery),
            ("fingerprint", &mut self.fingerprint),
            ("watch", &mut self.watch),
            ("note", &mut self.note),
        ] {
            if text.as_mut().is_some_and(|text| cut_text(text, MAX_TEXT_BYTES)) {
                cut.push(name.to_owned());
            }
        }
        for (name, list) in [("accepted", accepted), ("rejected", rejected), ("image_ids", image_ids)] {
            cut_list(name, list, String::len, &mut self.counts, cut);
        }
        cut_list("returned", returned, |told| told.image_id.len() + 32, &mut self.counts, cut);
        cut_list("query", query, |part| part.asked.bytes() + 32, &mut self.counts, cut);
        // A filter is looked at as it will be written; the limits of requests keep it short enough for that.
        if filter.as_ref().is_some_and(|filter| filter.to_string().len() > MAX_FILTER_BYTES) {
            *filter = None;
            cut.push("filter".to_owned());
        }
    }

    fn cut_all_lists(&mut self) {
        let Self { cut, query, accepted, rejected, image_ids, returned, filter, counts, .. } = self;
        let mut left_out = |name: &str, count: usize| {
            if count > 0 {
                counts.entry(name.to_owned()).or_insert(count as u64);
                cut.push(name.to_owned());
            }
        };
        left_out("query", std::mem::take(query).len());
        left_out("accepted", std::mem::take(accepted).len());
        left_out("rejected", std::mem::take(rejected).len());
        left_out("image_ids", std::mem::take(image_ids).len());
        left_out("returned", std::mem::take(returned).len());
        left_out("filter", usize::from(filter.take().is_some()));
        cut.sort_unstable();
        cut.dedup();
    }
}

impl Asked {
    fn bytes(&self) -> usize {
        match self {
            Self::Text(text)
            | Self::SealedText(text)
            | Self::HashedText(text)
            | Self::ImageSha256(text)
            | Self::ImageId(text)
            | Self::EmbeddingSha256(text) => text.len(),
        }
    }
}

/// Cuts a text off within the limit, between two letters. Whether there was more.
pub(crate) fn cut_text(text: &mut String, max_bytes: usize) -> bool {
    if text.len() <= max_bytes {
        return false;
    }
    text.truncate(text.floor_char_boundary(max_bytes));
    true
}

/// Keeps the first entries, and counts all of them where some are left out.
fn cut_list<Entry>(
    name: &str,
    list: &mut Vec<Entry>,
    bytes: impl Fn(&Entry) -> usize,
    counts: &mut BTreeMap<String, u64>,
    cut: &mut Vec<String>,
) {
    let mut left = MAX_LIST_BYTES;
    let fits = |entry: &Entry| {
        left = left.saturating_sub(bytes(entry));
        left > 0
    };
    let kept = list.iter().take(MAX_ENTRIES).map(fits).take_while(|fits| *fits).count();
    if kept < list.len() {
        counts.insert(name.to_owned(), list.len() as u64);
        cut.push(name.to_owned());
        list.truncate(kept);
    }
}

/// Milliseconds since the Unix epoch, as the system's clock says: a log tells when things happened by the clock that people
/// had.
pub(crate) fn now_ms() -> i64 {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
