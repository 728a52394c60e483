//! Files beside an image of an archive that tell of it.

use crate::KnownMetadata;
use crate::json_records::UniqueRecord;
use crate::record;

/// Largest sidecar, in bytes.
pub(crate) const MAX_SIDECAR_BYTES: u64 = 1 << 20;

/// Their endings, the strongest last: a sample's JSON says most and overrides the others.
const SIDECARS: [&str; 3] = ["txt", "cls", "json"];

/// Fields that WebDataset tools write about the sample and not about the image.
const SAMPLE_FIELDS: [&str; 3] = ["__key__", "__url__", "image_id"];

/// One of them.
#[derive(Clone)]
pub(crate) struct Sidecar {
    pub(crate) path: String,
    ending: &'static str,
    /// The content, or why there is none.
    pub(crate) content: Result<Vec<u8>, String>,
}

/// The ending of a sidecar's name, where it is one.
pub(crate) fn sidecar_ending(path: &str) -> Option<&'static str> {
    let (_, ending) = path.rsplit_once('.')?;
    SIDECARS.into_iter().find(|known| ending.eq_ignore_ascii_case(known))
}

impl Sidecar {
    pub(crate) fn new(path: &str, ending: &'static str, content: Result<Vec<u8>, String>) -> Self {
        Self { path: path.to_owned(), ending, content }
    }

    /// Whether it tells of an image: of the whole sample, or because it is named like the image up to its last dot.
    pub(crate) fn tells_of(&self, key: &str, image_path: &str) -> bool {
        let stem = stem(&self.path);
        stem == key || stem == self::stem(image_path)
    }
}

/// A path without its ending.
pub(crate) fn stem(path: &str) -> &str {
    path.rsplit_once('.').map_or(path, |(stem, _)| stem)
}

/// What the sidecars of a sample say of one of its images.
pub(crate) fn known(key: &str, image_path: &str, sidecars: &[Sidecar]) -> Result<KnownMetadata, String> {
    let mut known = KnownMetadata::default();
    for ending in SIDECARS {
        for sidecar in sidecars {
            if sidecar.ending == ending && sidecar.tells_of(key, image_path) {
                known.overlay(read(sidecar).map_err(|reason| format!("{}: {reason}", sidecar.path))?);
            }
        }
    }
    Ok(known)
}

fn read(sidecar: &Sidecar) -> Result<KnownMetadata, String> {
    let content = sidecar.content.as_deref().map_err(Clone::clone)?;
    // Some programs begin a file with a byte order mark.
    let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
    if sidecar.ending == "json" {
        let UniqueRecord(mut record) =
            serde_json::from_slice(content).map_err(|error| format!("expected a JSON object: {error}"))?;
        for name in SAMPLE_FIELDS {
            record.remove(name);
        }
        return record::known(record);
    }
    let text = std::str::from_utf8(content).map_err(|_| "not UTF-8".to_owned())?.trim();
    let mut known = KnownMetadata::default();
    if !text.is_empty() {
        if sidecar.ending == "cls" {
            known.person_id = Some(text.to_owned());
        } else {
            known.attributes.insert("caption".to_owned(), text.to_owned());
        }
    }
    Ok(known)
}
