//! What is kept of names: those of images, people, tracks and frames, which lead to a person.

use crate::AuditError;
use crate::key_file::{SECRET_EXPECTED, read_key};
use crate::line::hex;
use crate::record::{Asked, QueryPart, Record, Returned};
use ring::hmac;
use serde_json::Value;
use std::path::Path;

/// What is kept of names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeptNames {
    /// The names.
    #[default]
    Clear,
    /// HMAC-SHA256 of each: whoever has the key can tell which records name a certain image or person, and nobody else.
    Hashed,
}

/// What something is the name of. Names of one kind never have the hash of another's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Named {
    /// An image of a gallery.
    Image,
    /// A person, as whoever fills the gallery names them.
    Person,
    /// A tracker's name for one person's passage, without the camera.
    Track,
    /// The frame that an image was cut from.
    Frame,
    /// The hash of the ids of many images: of a single one it would tell which.
    ManyImages,
    /// Something else in a filter that may name somebody.
    Other,
}

impl Named {
    fn word(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Person => "person",
            Self::Track => "track",
            Self::Frame => "frame",
            Self::ManyImages => "images",
            Self::Other => "other",
        }
    }
}

/// Keeps hashed names apart from whatever else the same secret is used for, such as hashed words.
const NAMES_OF: &[u8] = b"descry audit name 1";

/// Digits of a key's own mark.
const MARK_DIGITS: usize = 16;

/// The secret by which names are hashed.
#[derive(Clone)]
pub struct NameKey {
    key: hmac::Key,
    mark: String,
}

impl NameKey {
    /// Reads the file that `audit.name_key_file` names: 64 hexadecimal digits.
    ///
    /// # Errors
    /// [`AuditError::Setting`] where there is no key.
    pub fn read(file: &Path) -> Result<Self, AuditError> {
        Ok(Self::of_secret(&read_key("name_key_file", file, SECRET_EXPECTED)?))
    }

    fn of_secret(secret: &[u8]) -> Self {
        // The secret is no key of what callers choose here: it is HKDF's extraction, by which hashes of names and of words are
        // strangers even where somebody uses one secret for both.
        let extracted = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, NAMES_OF), secret);
        let key = hmac::Key::new(hmac::HMAC_SHA256, extracted.as_ref());
        let mut mark = hex(hmac::sign(&key, b"mark").as_ref());
        mark.truncate(MARK_DIGITS);
        Self { key, mark }
    }

    /// By what a record says with which key its names are hashed. Tells nothing of the key.
    #[must_use]
    pub fn mark(&self) -> &str {
        &self.mark
    }

    /// A name as it is kept: 64 hexadecimal digits.
    #[must_use]
    pub fn hash(&self, named: Named, name: &str) -> String {
        let mut hashing = hmac::Context::with_key(&self.key);
        hashing.update(named.word().as_bytes());
        hashing.update(&[0]);
        hashing.update(name.as_bytes());
        hex(hashing.sign().as_ref())
    }
}

/// Keeps the names of records as the settings say.
#[derive(Clone)]
pub(crate) struct Names(Option<NameKey>);

impl Names {
    /// # Errors
    /// [`AuditError::Setting`] where names are to be hashed and there is no key.
    pub(crate) fn open(kept: KeptNames, key_file: &Path) -> Result<Self, AuditError> {
        match kept {
            KeptNames::Clear => Ok(Self(None)),
            KeptNames::Hashed => NameKey::read(key_file).map(Some).map(Self),
        }
    }

    /// The record as it may be written.
    pub(crate) fn keep(&self, mut record: Record) -> Record {
        if let Some(key) = &self.0 {
            visit_names(&mut record, &mut |named, name| *name = key.hash(named, name));
            record.name_key = Some(key.mark.clone());
        }
        record
    }
}

/// Goes through all names that a record holds.
pub(crate) fn visit_names(record: &mut Record, visit: &mut dyn FnMut(Named, &mut String)) {
    // Each field is named here, so that no new one is passed over: without a decision about it nothing compiles.
    let Record {
        kind: _,
        begin_ms: _,
        end_ms: _,
        principal: _,
        address: _,
        rpc: _,
        purpose: _,
        case_number: _,
        authorization: _,
        verifier: _,
        gallery: _,
        generation: _,
        fingerprint: _,
        filter,
        query,
        watch: _,
        accepted,
        rejected,
        image_ids,
        image_ids_sha256,
        returned,
        calibrated_at_ms: _,
        counts: _,
        status: _,
        note: _,
        settings_sha256: _,
        sha256: _,
        name_key: _,
        cut: _,
    } = record;
    // What has no name, such as an image that cannot be read, is not made to look as if it had one.
    let mut visit = |named, name: &mut String| {
        if !name.is_empty() {
            visit(named, name);
        }
    };
    [accepted, rejected, image_ids].into_iter().flatten().for_each(|name| visit(Named::Image, name));
    image_ids_sha256.iter_mut().for_each(|hash| visit(Named::ManyImages, hash));
    returned.iter_mut().for_each(|Returned { image_id, score: _, probability: _ }| visit(Named::Image, image_id));
    for QueryPart { asked, weight: _ } in query {
        match asked {
            Asked::ImageId(image_id) => visit(Named::Image, image_id),
            Asked::Text(_)
            | Asked::SealedText(_)
            | Asked::HashedText(_)
            | Asked::ImageSha256(_)
            | Asked::EmbeddingSha256(_) => {}
        }
    }
    if let Some(filter) = filter {
        visit_filter(filter, Named::Other, &mut visit);
    }
}

/// Goes through the names of a filter and of those within it. A condition that is not known here counts as one that names
/// somebody.
fn visit_filter(value: &mut Value, named: Named, visit: &mut dyn FnMut(Named, &mut String)) {
    match value {
        Value::String(name) => visit(named, name),
        Value::Array(list) => list.iter_mut().for_each(|value| visit_filter(value, named, visit)),
        Value::Object(fields) => {
            for (field, value) in fields {
                match field.as_str() {
                    "image_ids" => visit_filter(value, Named::Image, visit),
                    "person_ids" => visit_filter(value, Named::Person, visit),
                    "track_ids" => visit_filter(value, Named::Track, visit),
                    "frame_ids" => visit_filter(value, Named::Frame, visit),
                    // Places and properties, which many share.
                    "camera_ids" | "attributes" => {}
                    _ => visit_filter(value, Named::Other, visit),
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests;
