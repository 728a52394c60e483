//! Marks: what tells that something was erased, without telling what.

use crate::SearchError;
use crate::key_file::{KEY_BYTES, digits, from_digits};
use descry_store::ImageMetadata;
use ring::hmac;
use ring::rand::{SecureRandom as _, SystemRandom};

/// Bytes of a mark: so many that no two things of a million share one by chance.
pub(super) const MARK_BYTES: usize = 16;

/// The begin of an HMAC-SHA256 of something that was erased.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Mark(pub(super) [u8; MARK_BYTES]);

/// Something by which an image can be known again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Thing<'a> {
    Person(&'a str),
    /// The camera is empty where none is known.
    Track {
        camera_id: &'a str,
        track_id: &'a str,
    },
    Image(&'a str),
    /// SHA-256 of an image file in hexadecimal digits.
    File(&'a str),
}

/// All that an image can be known again by.
pub(crate) fn of_image<'a>(image_id: &'a str, metadata: &'a ImageMetadata) -> Vec<Thing<'a>> {
    let ImageMetadata { person_id, camera_id, track_id, content_sha256, .. } = metadata;
    let camera_id = camera_id.as_deref().unwrap_or_default();
    let mut things = vec![Thing::Image(image_id)];
    things.extend(Some(Thing::File(content_sha256)).filter(|_| !content_sha256.is_empty()));
    things.extend(person_id.as_deref().map(Thing::Person));
    things.extend(track_id.as_deref().map(|track_id| Thing::Track { camera_id, track_id }));
    things
}

/// The key of a gallery's marks. Never printed.
#[derive(Clone)]
pub(crate) struct MarkKey {
    key: hmac::Key,
    name: String,
}

impl MarkKey {
    fn new(secret: &[u8]) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let name = hmac::sign(&key, b"descry erasure: name of the key");
        let name = digits(name.as_ref().get(..8).unwrap_or_default());
        Self { key, name }
    }

    /// The one that a gallery has from the service's own: marks of two galleries have nothing in common.
    pub(super) fn of_service(secret: &[u8; KEY_BYTES], gallery: &str) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        Self::new(hmac::sign(&key, format!("descry erasure: gallery {gallery}").as_bytes()).as_ref())
    }

    /// The one that is kept with a gallery; none where the text is no key.
    pub(super) fn kept(text: &str) -> Option<Self> {
        let secret = from_digits(text.as_bytes()).filter(|secret| secret.len() == KEY_BYTES)?;
        Some(Self::new(&secret))
    }

    /// Tells it from other keys, and says nothing of it.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn mark(&self, thing: Thing<'_>) -> Mark {
        let file;
        let (kind, parts): (&[u8], [&str; 2]) = match thing {
            Thing::Person(person_id) => (b"person", [person_id, ""]),
            Thing::Track { camera_id, track_id } => (b"track", [camera_id, track_id]),
            Thing::Image(image_id) => (b"image", [image_id, ""]),
            Thing::File(sha256) => {
                file = sha256.to_ascii_lowercase();
                (b"file", [&file, ""])
            }
        };
        let mut context = hmac::Context::with_key(&self.key);
        context.update(b"descry erasure: ");
        context.update(kind);
        for part in parts {
            // With its length, so that no two pairs are one text.
            context.update(&(part.len() as u64).to_le_bytes());
            context.update(part.as_bytes());
        }
        let mut mark = [0; MARK_BYTES];
        mark.iter_mut().zip(context.sign().as_ref()).for_each(|(byte, signed)| *byte = *signed);
        Mark(mark)
    }
}

/// Random bytes in hexadecimal digits.
///
/// # Errors
/// [`SearchError::Failed`] where the system has no random numbers.
pub(super) fn random_digits<const BYTES: usize>() -> Result<String, SearchError> {
    let mut bytes = [0; BYTES];
    let failed = |_| SearchError::failed("drawing random numbers", std::io::Error::other("the system has none"));
    SystemRandom::new().fill(&mut bytes).map_err(failed)?;
    Ok(digits(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_of_one_key_one_kind_and_one_thing() {
        let key = MarkKey::kept(&"0f".repeat(KEY_BYTES)).unwrap();
        let things = [
            Thing::Person("7"),
            Thing::Image("7"),
            Thing::File("7"),
            Thing::Track { camera_id: "", track_id: "7" },
            Thing::Track { camera_id: "7", track_id: "" },
            Thing::Track { camera_id: "a", track_id: "bc" },
            Thing::Track { camera_id: "ab", track_id: "c" },
            Thing::Person(""),
        ];
        let mut marks: Vec<Mark> = things.map(|thing| key.mark(thing)).into();
        let service = [3; KEY_BYTES];
        for other in [
            MarkKey::kept(&"f0".repeat(KEY_BYTES)).unwrap(),
            MarkKey::of_service(&service, "lobby"),
            MarkKey::of_service(&service, "yard"),
        ] {
            assert_ne!(other.name(), key.name());
            marks.extend(things.map(|thing| other.mark(thing)));
        }
        let count = marks.len();
        marks.sort_unstable();
        marks.dedup();
        assert_eq!(marks.len(), count);
        assert_eq!(key.mark(Thing::File("AB")), key.mark(Thing::File("ab")), "digits are digits");
        assert!(MarkKey::kept("0f").is_none() && MarkKey::kept("x").is_none());
    }

    #[test]
    fn an_image_is_known_by_all_that_is_known_of_it() {
        let mut metadata = ImageMetadata { content_sha256: "ab".to_owned(), ..ImageMetadata::default() };
        assert_eq!(of_image("i", &metadata), [Thing::Image("i"), Thing::File("ab")]);
        metadata.person_id = Some("p".to_owned());
        metadata.track_id = Some("t".to_owned());
        metadata.content_sha256.clear();
        let track = |camera_id| Thing::Track { camera_id, track_id: "t" };
        assert_eq!(of_image("i", &metadata), [Thing::Image("i"), Thing::Person("p"), track("")]);
        metadata.camera_id = Some("c".to_owned());
        assert_eq!(of_image("i", &metadata)[2], track("c"));
    }
}
