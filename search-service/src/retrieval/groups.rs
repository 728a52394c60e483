//! Which images belong together: what a hit stands for, found again from one of its images.

use descry_store::{GroupBy, GroupHit, Hit, ImageMetadata, SearchFilter};
use std::collections::BTreeMap;

/// A person or a track.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Group {
    Person(String),
    /// Its camera and its name there.
    Track(Option<String>, String),
}

impl Group {
    /// The group of an image; `None` for an image that is in none.
    pub(super) fn of(metadata: &ImageMetadata, by: GroupBy) -> Option<Self> {
        match by {
            GroupBy::Person => metadata.person_id.clone().map(Self::Person),
            GroupBy::Track => {
                metadata.track_id.clone().map(|track_id| Self::Track(metadata.camera_id.clone(), track_id))
            }
        }
    }

    /// Whether no other group's images meet [`Group::filter`].
    pub(super) fn is_told_by_its_filter(&self) -> bool {
        !matches!(self, Self::Track(None, _))
    }

    /// Conditions that all of its images meet. Of a track without camera others may meet them too, which are of the same
    /// name in some camera.
    pub(super) fn filter(&self) -> SearchFilter {
        match self {
            Self::Person(person_id) => SearchFilter { person_ids: vec![person_id.clone()], ..SearchFilter::default() },
            Self::Track(camera_id, track_id) => SearchFilter {
                camera_ids: camera_id.iter().cloned().collect(),
                track_ids: vec![track_id.clone()],
                ..SearchFilter::default()
            },
        }
    }
}

/// Conditions that all images of the groups meet, few of them however many groups there are. As for [`Group::filter`], tracks
/// without camera let others of their names in.
pub(super) fn any_of(groups: &[Group]) -> SearchFilter {
    let mut person_ids = Vec::new();
    let mut tracks: BTreeMap<&Option<String>, Vec<String>> = BTreeMap::new();
    for group in groups {
        match group {
            Group::Person(person_id) => person_ids.push(person_id.clone()),
            Group::Track(camera_id, track_id) => tracks.entry(camera_id).or_default().push(track_id.clone()),
        }
    }
    let of_camera = |(camera_id, track_ids): (&Option<String>, Vec<String>)| SearchFilter {
        camera_ids: camera_id.iter().cloned().collect(),
        track_ids,
        ..SearchFilter::default()
    };
    SearchFilter { person_ids, any: tracks.into_iter().map(of_camera).collect(), ..SearchFilter::default() }
}

/// An image as a group of its own.
pub(crate) fn alone(mut hit: Hit) -> GroupHit {
    let embedding = hit.embedding.take();
    GroupHit { score: hit.score, embedding, best: hit, images: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tracks_of_two_cameras_are_two_whatever_their_names() {
        let image = |camera: Option<&str>, track: Option<&str>| ImageMetadata {
            camera_id: camera.map(str::to_owned),
            track_id: track.map(str::to_owned),
            ..ImageMetadata::default()
        };
        let of = |camera, track| Group::of(&image(camera, track), GroupBy::Track);
        assert_ne!(of(Some("c1"), Some("1")), of(Some("c"), Some("11")));
        assert_ne!(of(None, Some("1")), of(Some("c1"), Some("1")));
        assert_eq!(of(Some("c1"), None), None);
        assert_eq!(Group::of(&image(Some("c1"), Some("1")), GroupBy::Person), None);
        let both = any_of(&[of(Some("c1"), Some("1")).unwrap(), of(Some("c2"), Some("2")).unwrap()]);
        assert!(both.matches("x", &image(Some("c2"), Some("2"))) && !both.matches("x", &image(Some("c2"), Some("1"))));
        let one = any_of(&[of(Some("c1"), Some("1")).unwrap(), of(Some("c1"), Some("2")).unwrap()]);
        assert_eq!(one.any.len(), 1, "one condition a camera");
        assert!(one.matches("x", &image(Some("c1"), Some("2"))) && !one.matches("x", &image(Some("c1"), Some("3"))));
    }
}
