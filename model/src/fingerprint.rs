//! The name of everything that can change an embedding.

use crate::ModelError;
use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;

/// SHA-256 over the towers, the preprocessing, the tokenizer and the precision of a model bundle.
///
/// Two embeddings may be compared only when their fingerprints are equal: same dimension with another model is silent
/// garbage, so every gallery stores the fingerprint that filled it and refuses any other.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// Hashes labelled parts. Labels and lengths are hashed too, so that no two lists of parts collide by concatenation.
    pub fn of_parts<'a>(parts: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Self {
        let mut hasher = Sha256::new();
        for (label, bytes) in parts {
            hasher.update((label.len() as u64).to_le_bytes());
            hasher.update(label.as_bytes());
            hasher.update((bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        }
        Self(hex(&hasher.finalize()))
    }

    /// The name of the same model where a device computes in another number format than the bundle states.
    #[must_use]
    pub fn computed_in(&self, number_format: &str) -> Self {
        Self::of_parts([("model", self.0.as_bytes()), ("computed in", number_format.as_bytes())])
    }

    /// All 64 hexadecimal digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first 12 digits, for people to read. Comparisons always use the whole.
    pub fn short(&self) -> &str {
        &self.0[..12]
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl FromStr for Fingerprint {
    type Err = ModelError;

    fn from_str(text: &str) -> Result<Self, ModelError> {
        let is_digest = text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if !is_digest {
            return Err(ModelError::MalformedFingerprint { text: text.chars().take(80).collect() });
        }
        Ok(Self(text.to_owned()))
    }
}

/// SHA-256 of `bytes` as 64 lower-case hexadecimal digits.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_do_not_collide_by_concatenation() {
        let one = Fingerprint::of_parts([("a", b"bc".as_slice())]);
        let other = Fingerprint::of_parts([("ab", b"c".as_slice())]);
        assert_ne!(one, other);
    }

    #[test]
    fn parses_what_it_prints_and_nothing_else() {
        let fingerprint = Fingerprint::of_parts([("vision", b"x".as_slice())]);
        assert_eq!(fingerprint.to_string().parse::<Fingerprint>().unwrap(), fingerprint);
        for text in ["", "abc", &"g".repeat(64), &"A".repeat(64)] {
            assert!(text.parse::<Fingerprint>().is_err());
        }
    }

    #[test]
    fn hashes_as_sha256sum_does() {
        assert_eq!(sha256_hex(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
