//! What becomes of the metadata that an image has already when somebody tells more of it.

use crate::SearchError;
use crate::validation::invalid;
use descry_store::ImageMetadata;
use std::collections::BTreeSet;

/// Which fields of what is known a change replaces.
///
/// What is not given is kept: who indexes a folder again without its metadata file must not lose what the file said.
/// Whoever wants a field cleared names it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum MetadataMask {
    /// Those that are given, attribute by attribute.
    #[default]
    Given,
    /// All of them, whether given or not.
    Everything,
    /// These, whether given or not, and no others.
    Named(NamedFields),
}

/// Fields by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct NamedFields {
    person_id: bool,
    camera_id: bool,
    track_id: bool,
    frame_id: bool,
    crop_box: bool,
    captured_at: bool,
    all_attributes: bool,
    attributes: BTreeSet<String>,
}

impl MetadataMask {
    /// The mask of these paths.
    ///
    /// # Errors
    /// [`SearchError::Invalid`] for a path that names no field, and for more attributes than an image may have.
    pub(crate) fn of_paths(paths: &[String], max_attributes: usize) -> Result<Self, SearchError> {
        const FIELD: &str = "metadata_mask";
        let mut named = NamedFields::default();
        for path in paths {
            match path.as_str() {
                "*" => return Ok(Self::Everything),
                "person_id" => named.person_id = true,
                "camera_id" => named.camera_id = true,
                "track_id" => named.track_id = true,
                "frame_id" => named.frame_id = true,
                "box" => named.crop_box = true,
                "captured_at" => named.captured_at = true,
                "attributes" => named.all_attributes = true,
                other => match other.strip_prefix("attributes.").filter(|name| !name.is_empty()) {
                    Some(name) => drop(named.attributes.insert(name.to_owned())),
                    None => {
                        let known = "person_id, camera_id, track_id, frame_id, box, captured_at, attributes, \
                                     attributes.NAME and *";
                        let shown: String = other.chars().take(80).collect();
                        return Err(invalid(FIELD, format!("names {shown:?}; there are {known}")));
                    }
                },
            }
            if named.attributes.len() > max_attributes {
                return Err(invalid(FIELD, format!("names more than {max_attributes} attributes")));
            }
        }
        Ok(Self::Named(named))
    }

    /// What is known of an image afterwards. The file's hash and the time of indexing are the new ones in any case: they
    /// belong to the embedding.
    pub(crate) fn applied(&self, given: ImageMetadata, held: Option<&ImageMetadata>) -> ImageMetadata {
        let Some(held) = held else { return given };
        match self {
            Self::Everything => given,
            Self::Given => {
                let mut attributes = held.attributes.clone();
                attributes.extend(given.attributes);
                ImageMetadata {
                    person_id: given.person_id.or_else(|| held.person_id.clone()),
                    camera_id: given.camera_id.or_else(|| held.camera_id.clone()),
                    track_id: given.track_id.or_else(|| held.track_id.clone()),
                    frame_id: given.frame_id.or_else(|| held.frame_id.clone()),
                    crop_box: given.crop_box.or(held.crop_box),
                    captured_at_ms: given.captured_at_ms.or(held.captured_at_ms),
                    attributes,
                    ..given
                }
            }
            Self::Named(named) => named.applied(given, held),
        }
    }
}

impl NamedFields {
    fn applied(&self, mut given: ImageMetadata, held: &ImageMetadata) -> ImageMetadata {
        let attributes = if self.all_attributes {
            given.attributes
        } else {
            let mut attributes = held.attributes.clone();
            for name in &self.attributes {
                match given.attributes.remove(name) {
                    Some(value) => drop(attributes.insert(name.clone(), value)),
                    None => drop(attributes.remove(name)),
                }
            }
            attributes
        };
        ImageMetadata {
            person_id: if self.person_id { given.person_id } else { held.person_id.clone() },
            camera_id: if self.camera_id { given.camera_id } else { held.camera_id.clone() },
            track_id: if self.track_id { given.track_id } else { held.track_id.clone() },
            frame_id: if self.frame_id { given.frame_id } else { held.frame_id.clone() },
            crop_box: if self.crop_box { given.crop_box } else { held.crop_box },
            captured_at_ms: if self.captured_at { given.captured_at_ms } else { held.captured_at_ms },
            attributes,
            ..given
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn metadata(person: Option<&str>, camera: Option<&str>, attributes: &[(&str, &str)]) -> ImageMetadata {
        let attributes: BTreeMap<String, String> =
            attributes.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        let (person_id, camera_id) = (person.map(str::to_owned), camera.map(str::to_owned));
        ImageMetadata { person_id, camera_id, attributes, ..ImageMetadata::default() }
    }

    fn mask(paths: &[&str]) -> MetadataMask {
        let paths: Vec<String> = paths.iter().map(|&path| path.to_owned()).collect();
        MetadataMask::of_paths(&paths, 4).unwrap()
    }

    #[test]
    fn what_is_not_given_is_kept() {
        let held = ImageMetadata { captured_at_ms: Some(5), ..metadata(Some("7"), None, &[("coat", "red")]) };
        let new = ImageMetadata { content_sha256: "ab".to_owned(), indexed_at_ms: 9, ..ImageMetadata::default() };
        let kept = MetadataMask::Given.applied(new.clone(), Some(&held));
        assert_eq!(kept, ImageMetadata { content_sha256: "ab".to_owned(), indexed_at_ms: 9, ..held.clone() });
        let more = metadata(None, Some("c2"), &[("hat", "no"), ("coat", "blue")]);
        let known = MetadataMask::Given.applied(more, Some(&held));
        assert_eq!((known.person_id.as_deref(), known.camera_id.as_deref()), (Some("7"), Some("c2")));
        assert_eq!(known.attributes, metadata(None, None, &[("coat", "blue"), ("hat", "no")]).attributes);
        assert_eq!(MetadataMask::Everything.applied(new.clone(), Some(&held)), new);
        assert_eq!(MetadataMask::Given.applied(new.clone(), None), new);
    }

    #[test]
    fn a_field_is_cleared_by_its_name_alone() {
        let held =
            ImageMetadata { captured_at_ms: Some(5), ..metadata(Some("7"), Some("c1"), &[("a", "1"), ("b", "2")]) };
        let given = metadata(Some("8"), None, &[("a", "3"), ("c", "4")]);
        let known = mask(&["camera_id", "attributes.a", "attributes.b"]).applied(given.clone(), Some(&held));
        // A mask is the whole of what changes: the person and the attribute `c` are not named.
        let expected = ImageMetadata { captured_at_ms: Some(5), ..metadata(Some("7"), None, &[("a", "3")]) };
        assert_eq!(known, expected);
        let known = mask(&["attributes", "captured_at"]).applied(given.clone(), Some(&held));
        assert_eq!(known, metadata(Some("7"), Some("c1"), &[("a", "3"), ("c", "4")]));
        assert_eq!(mask(&["person_id", "*"]).applied(given.clone(), Some(&held)), given);
    }

    #[test]
    fn a_mask_names_fields_that_there_are_and_not_too_many() {
        for wrong in ["person", "attributes.", "metadata.person_id", ""] {
            assert!(MetadataMask::of_paths(&[wrong.to_owned()], 4).is_err(), "{wrong}");
        }
        let many: Vec<String> = (0..5).map(|number| format!("attributes.{number}")).collect();
        assert!(MetadataMask::of_paths(&many, 4).is_err());
    }
}
