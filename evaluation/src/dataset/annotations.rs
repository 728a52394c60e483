//! Annotation files to typed entries, with the number of the entry that is at fault.

use std::fmt;
use std::marker::PhantomData;
use std::path::Path;

use descry_model::text_input::{decode_text, plain_json, read_limited};
use serde::de::{self, Deserialize, DeserializeOwned, DeserializeSeed, Deserializer, SeqAccess, Visitor};

use super::DatasetLayout;
use crate::EvaluationError;

/// Largest annotation file that is read. The published ones are under 50 MB; a larger file is some other file.
const MAX_ANNOTATION_BYTES: u64 = 1 << 30;

/// One entry of an annotation file, the same for every layout.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Annotation {
    pub(super) split: String,
    pub(super) identity: i64,
    /// Path relative to the image folder, not yet checked.
    pub(super) image: String,
    pub(super) captions: Vec<String>,
}

/// Reads all entries of all splits, in file order.
pub(super) fn read(layout: DatasetLayout, file: &Path) -> Result<Vec<Annotation>, EvaluationError> {
    let unreadable = |source| EvaluationError::Unreadable { path: file.to_owned(), source };
    let json = read_limited(file, MAX_ANNOTATION_BYTES).map_err(unreadable)?;
    let text = decode_text(json).map_err(|reason| EvaluationError::NotText { path: file.to_owned(), reason })?;
    let json = plain_json(&text);
    match layout {
        DatasetLayout::CuhkPedes | DatasetLayout::IcfgPedes => parse::<PedesEntry>(file, json.as_bytes()),
        DatasetLayout::RstpReid => parse::<RstpReidEntry>(file, json.as_bytes()),
    }
}

/// An entry as one layout writes it. Fields that are not named here, such as CUHK-PEDES's `processed_tokens`, are ignored.
trait LayoutEntry: DeserializeOwned + Into<Annotation> {
    /// What to write instead, for messages.
    const EXPECTED: &'static str;
}

#[derive(serde::Deserialize)]
struct PedesEntry {
    split: String,
    id: Identity,
    file_path: String,
    captions: Vec<String>,
}

impl LayoutEntry for PedesEntry {
    const EXPECTED: &'static str =
        "`split` (text), `id` (integer), `file_path` (text, relative to imgs/) and `captions` (list of texts)";
}

impl From<PedesEntry> for Annotation {
    fn from(entry: PedesEntry) -> Self {
        Self { split: entry.split, identity: entry.id.0, image: entry.file_path, captions: entry.captions }
    }
}

#[derive(serde::Deserialize)]
struct RstpReidEntry {
    split: String,
    id: Identity,
    img_path: String,
    captions: Vec<String>,
}

impl LayoutEntry for RstpReidEntry {
    const EXPECTED: &'static str =
        "`split` (text), `id` (integer), `img_path` (text, relative to imgs/) and `captions` (list of texts)";
}

impl From<RstpReidEntry> for Annotation {
    fn from(entry: RstpReidEntry) -> Self {
        Self { split: entry.split, identity: entry.id.0, image: entry.img_path, captions: entry.captions }
    }
}

fn parse<Entry: LayoutEntry>(file: &Path, json: &[u8]) -> Result<Vec<Annotation>, EvaluationError> {
    let mut current_entry = None;
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let entries = EntryList::<Entry> { current_entry: &mut current_entry, entry: PhantomData };
    let parsed = entries.deserialize(&mut deserializer).and_then(|annotations| {
        deserializer.end()?;
        Ok(annotations)
    });
    parsed.map_err(|source| {
        let (path, expected) = (file.to_owned(), Entry::EXPECTED);
        match current_entry {
            Some(entry) => EvaluationError::MalformedEntry { path, entry, expected, source },
            None => EvaluationError::MalformedFile { path, expected, source },
        }
    })
}

/// Deserialises the list entry by entry: a derived `Vec` would report line and column, but not which entry.
struct EntryList<'progress, Entry> {
    /// Number of the entry being read; `None` before the first and after the last.
    current_entry: &'progress mut Option<usize>,
    entry: PhantomData<Entry>,
}

impl<'de, Entry: LayoutEntry> DeserializeSeed<'de> for EntryList<'_, Entry> {
    type Value = Vec<Annotation>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, Entry: LayoutEntry> Visitor<'de> for EntryList<'_, Entry> {
    type Value = Vec<Annotation>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list of entries")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut annotations = Vec::new();
        *self.current_entry = Some(0);
        while let Some(entry) = entries.next_element::<Entry>()? {
            annotations.push(entry.into());
            *self.current_entry = Some(annotations.len());
        }
        *self.current_entry = None;
        Ok(annotations)
    }
}

/// A person's number, which some releases write as text.
struct Identity(i64);

impl<'de> Deserialize<'de> for Identity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(IdentityVisitor)
    }
}

struct IdentityVisitor;

impl Visitor<'_> for IdentityVisitor {
    type Value = Identity;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an identity: an integer or an integer in quotes")
    }

    fn visit_i64<E: de::Error>(self, identity: i64) -> Result<Identity, E> {
        Ok(Identity(identity))
    }

    fn visit_u64<E: de::Error>(self, identity: u64) -> Result<Identity, E> {
        i64::try_from(identity).map(Identity).map_err(|_| E::invalid_value(de::Unexpected::Unsigned(identity), &self))
    }

    fn visit_str<E: de::Error>(self, identity: &str) -> Result<Identity, E> {
        identity.trim().parse().map(Identity).map_err(|_| E::invalid_value(de::Unexpected::Str(identity), &self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Windows' editors and Python's `json.dump` write them.
    #[test]
    fn marks_and_numbers_that_are_not_read_do_no_harm() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("reid_raw.json");
        let entry = r#"[{"split": "test", "id": 1, "file_path": "a.jpg", "captions": ["NaN"], "score": NaN, "area": -Infinity}]"#;
        std::fs::write(&file, format!("\u{FEFF}{entry}")).unwrap();
        let read = |file: &Path| read(DatasetLayout::CuhkPedes, file);
        assert_eq!(read(&file).unwrap()[0].captions, ["NaN"]);
        std::fs::write(&file, entry.replace("\"id\": 1", "\"id\": NaN")).unwrap();
        assert!(matches!(read(&file), Err(EvaluationError::MalformedEntry { entry: 0, .. })));
        std::fs::write(&file, [0xFF, 0xFE, b'[', 0]).unwrap();
        assert!(read(&file).unwrap_err().to_string().contains("UTF-16"));
    }

    #[test]
    fn identities_are_integers_or_integers_in_quotes() {
        for (json, expected) in [("7", 7), ("-1", -1), (r#""0007""#, 7), (r#"" 12 ""#, 12)] {
            assert_eq!(serde_json::from_str::<Identity>(json).unwrap().0, expected, "{json}");
        }
        for json in ["1.5", "null", r#""p7""#, r#""""#, "18446744073709551615", "[1]"] {
            assert!(serde_json::from_str::<Identity>(json).is_err(), "{json}");
        }
    }
}
