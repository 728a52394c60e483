//! The marks of a gallery at one moment, and how they are written down.

use super::key::{MARK_BYTES, Mark, MarkKey, Thing, of_image};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use descry_store::ImageMetadata;

/// Documents that the marks of a gallery are spread over. More would make an erasure many writes, fewer would make each of them
/// large.
pub(super) const PARTS: usize = 16;

/// What is kept away from a gallery.
#[derive(Clone, Default)]
pub(crate) struct Marks {
    /// Another one with each change; none where nothing was ever erased.
    pub(super) version: Option<String>,
    pub(super) keys: Vec<MarkKey>,
    /// In order.
    pub(super) marks: Vec<Mark>,
}

impl Marks {
    /// Whether they are as they were.
    pub(crate) fn is_version_of(&self, other: &Self) -> bool {
        self.version == other.version
    }

    pub(crate) fn contains(&self, thing: Thing<'_>) -> bool {
        !self.marks.is_empty() && self.keys.iter().any(|key| self.marks.binary_search(&key.mark(thing)).is_ok())
    }

    /// Whether an image may not be in the gallery.
    pub(crate) fn forbid(&self, image_id: &str, metadata: &ImageMetadata) -> bool {
        !self.marks.is_empty() && of_image(image_id, metadata).into_iter().any(|thing| self.contains(thing))
    }

    pub(super) fn len(&self) -> usize {
        self.marks.len()
    }
}

/// Which document a mark is in.
pub(super) fn part_of(mark: Mark) -> usize {
    let [first, ..] = mark.0;
    usize::from(first) * PARTS / 256
}

/// Marks as a document holds them.
pub(super) fn text_of(marks: &[Mark]) -> String {
    STANDARD.encode(marks.iter().flat_map(|mark| mark.0).collect::<Vec<u8>>())
}

/// What a document holds; none where it is torn, or not one of these.
pub(super) fn marks_of(text: &str) -> Option<Vec<Mark>> {
    let bytes = STANDARD.decode(text).ok()?;
    let chunks = bytes.chunks_exact(MARK_BYTES);
    if !chunks.remainder().is_empty() {
        return None;
    }
    chunks.map(|chunk| chunk.try_into().ok().map(Mark)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key_file::KEY_BYTES;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn marks_are_read_as_they_were_written(bytes in proptest::collection::vec(any::<[u8; MARK_BYTES]>(), 0..50)) {
            let marks: Vec<Mark> = bytes.into_iter().map(Mark).collect();
            let text = text_of(&marks);
            prop_assert_eq!(marks_of(&text), Some(marks.clone()));
            prop_assert!(marks.iter().all(|mark| part_of(*mark) < PARTS));
            // Four letters are three bytes, so no shorter text holds whole marks and the same.
            if let Some(torn) = text.len().checked_sub(5).and_then(|end| text.get(..end)) {
                prop_assert_ne!(marks_of(torn), Some(marks));
            }
        }
    }

    #[test]
    fn torn_documents_are_none() {
        for torn in ["AAAA", "no base64!", "AAA", "{}"] {
            assert_eq!(marks_of(torn), None, "{torn}");
        }
        assert_eq!(marks_of(""), Some(Vec::new()));
    }

    #[test]
    fn what_is_marked_by_any_key_is_forbidden() {
        let keys: Vec<MarkKey> =
            ["0f", "f0"].iter().map(|digits| MarkKey::kept(&digits.repeat(KEY_BYTES)).unwrap()).collect();
        let mut marks = vec![keys[0].mark(Thing::Person("7")), keys[1].mark(Thing::File("ab"))];
        marks.sort_unstable();
        let marks = Marks { version: None, keys, marks };
        let of = |person: Option<&str>, file: &str| ImageMetadata {
            person_id: person.map(str::to_owned),
            content_sha256: file.to_owned(),
            ..ImageMetadata::default()
        };
        assert!(marks.forbid("i", &of(Some("7"), "")) && marks.forbid("i", &of(None, "AB")));
        assert!(!marks.forbid("7", &of(Some("8"), "cd")));
        assert!(!Marks::default().forbid("i", &of(Some("7"), "ab")));
    }
}
