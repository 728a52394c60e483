//! Whom or what a gallery is to forget, and what it holds of them.

use super::key::Thing;
use descry_store::{ImageMetadata, SearchFilter};
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// A tracker's name for one person's passage before one camera.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TrackName {
    /// Empty for images of which no camera is known.
    pub(crate) camera_id: String,
    pub(crate) track_id: String,
}

/// People, tracks and images.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Subject {
    pub(crate) person_ids: BTreeSet<String>,
    pub(crate) tracks: BTreeSet<TrackName>,
    pub(crate) image_ids: BTreeSet<String>,
}

/// What a gallery holds of a subject.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Traces {
    /// Ids of images, by the number of the generation that holds them.
    pub(crate) images: BTreeMap<u32, BTreeSet<String>>,
    /// SHA-256 of their files.
    pub(crate) files: HashSet<String>,
}

impl Traces {
    /// All images, each once.
    pub(crate) fn image_ids(&self) -> BTreeSet<&str> {
        self.images.values().flatten().map(String::as_str).collect()
    }

    /// Adds what was found. Whether anything of it is new.
    pub(crate) fn add(&mut self, generation: u32, image_id: String, metadata: &ImageMetadata) -> bool {
        let sha256 = &metadata.content_sha256;
        let is_new_file = !sha256.is_empty() && self.files.insert(sha256.to_ascii_lowercase());
        self.images.entry(generation).or_default().insert(image_id) || is_new_file
    }

    /// Ids of the images that a generation holds.
    pub(crate) fn of(&self, generation: u32) -> Vec<String> {
        self.images.get(&generation).into_iter().flatten().cloned().collect()
    }

    /// Forgets images of a generation that are not to be removed.
    pub(crate) fn leave(&mut self, generation: u32, image_ids: &HashSet<String>) {
        if let Some(found) = self.images.get_mut(&generation) {
            found.retain(|image_id| !image_ids.contains(image_id));
        }
    }

    /// Whether an image was made of the same file as one of these.
    pub(crate) fn is_copy(&self, metadata: &ImageMetadata) -> bool {
        !metadata.content_sha256.is_empty() && self.files.contains(&metadata.content_sha256.to_ascii_lowercase())
    }
}

impl Subject {
    pub(crate) fn is_empty(&self) -> bool {
        self.person_ids.is_empty() && self.tracks.is_empty() && self.image_ids.is_empty()
    }

    /// All images of its people and tracks, and some of other people: [`Subject::covers`] tells them apart. None where it
    /// names images alone.
    pub(crate) fn filter(&self) -> Option<SearchFilter> {
        let mut any = Vec::new();
        if !self.person_ids.is_empty() {
            let person_ids = self.person_ids.iter().cloned().collect();
            any.push(SearchFilter { person_ids, ..SearchFilter::default() });
        }
        if !self.tracks.is_empty() {
            let track_ids: BTreeSet<String> = self.tracks.iter().map(|track| track.track_id.clone()).collect();
            any.push(SearchFilter { track_ids: track_ids.into_iter().collect(), ..SearchFilter::default() });
        }
        (!any.is_empty()).then(|| SearchFilter { any, ..SearchFilter::default() })
    }

    /// Whether an image is one of its own.
    pub(crate) fn covers(&self, image_id: &str, metadata: &ImageMetadata) -> bool {
        let ImageMetadata { person_id, camera_id, track_id, .. } = metadata;
        let track =
            track_id.clone().map(|track_id| TrackName { camera_id: camera_id.clone().unwrap_or_default(), track_id });
        self.image_ids.contains(image_id)
            || person_id.as_ref().is_some_and(|person_id| self.person_ids.contains(person_id))
            || track.is_some_and(|track| self.tracks.contains(&track))
    }

    /// Whether a filter names one of its people, tracks or images, or of these images.
    pub(crate) fn is_named_by(&self, filter: &SearchFilter, image_ids: &BTreeSet<&str>) -> bool {
        filter.walk().into_iter().any(|(filter, _)| {
            let is_before = |camera_id: &String| {
                filter.camera_ids.is_empty() || camera_id.is_empty() || filter.camera_ids.contains(camera_id)
            };
            let is_track =
                |track: &TrackName| filter.track_ids.contains(&track.track_id) && is_before(&track.camera_id);
            filter.person_ids.iter().any(|person_id| self.person_ids.contains(person_id))
                || (!filter.track_ids.is_empty() && self.tracks.iter().any(is_track))
                || filter.image_ids.iter().any(|image_id| self.names_image(image_id, image_ids))
        })
    }

    /// Whether an image is among those that it names, or among these.
    pub(crate) fn names_image(&self, image_id: &str, image_ids: &BTreeSet<&str>) -> bool {
        self.image_ids.contains(image_id) || image_ids.contains(image_id)
    }

    /// Whether a text that nobody here can read quotes one of its names, or one of these images.
    pub(crate) fn is_quoted_by(&self, json: &str, image_ids: &BTreeSet<&str>) -> bool {
        let names =
            self.person_ids.iter().chain(self.tracks.iter().map(|track| &track.track_id)).chain(&self.image_ids);
        let quoted = |name: &str| serde_json::to_string(name).is_ok_and(|quoted| json.contains(&quoted));
        names.map(String::as_str).chain(image_ids.iter().copied()).any(quoted)
    }

    /// What it is known by, and what it was found to be.
    pub(crate) fn things<'a>(&'a self, traces: &'a Traces) -> Vec<Thing<'a>> {
        let tracks = self.tracks.iter();
        let tracks = tracks.map(|TrackName { camera_id, track_id }| Thing::Track { camera_id, track_id });
        let persons = self.person_ids.iter().map(|person_id| Thing::Person(person_id));
        let named = self.image_ids.iter().map(|image_id| Thing::Image(image_id));
        let found = traces.image_ids().into_iter().map(Thing::Image);
        let files = traces.files.iter().map(|sha256| Thing::File(sha256));
        persons.chain(tracks).chain(named).chain(found).chain(files).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    fn subject() -> Subject {
        let track = |camera_id: &str, track_id: &str| TrackName {
            camera_id: camera_id.to_owned(),
            track_id: track_id.to_owned(),
        };
        let tracks = [track("c1", "5"), track("", "6")].into();
        Subject { person_ids: set(&["p"]), tracks, image_ids: set(&["i.jpg"]) }
    }

    fn metadata(person: Option<&str>, camera: Option<&str>, track: Option<&str>) -> ImageMetadata {
        let [person_id, camera_id, track_id] = [person, camera, track].map(|text| text.map(str::to_owned));
        ImageMetadata { person_id, camera_id, track_id, ..ImageMetadata::default() }
    }

    #[test]
    fn a_track_counts_within_its_camera() {
        let subject = subject();
        for (expected, image_id, known) in [
            (true, "x", metadata(Some("p"), None, None)),
            (true, "x", metadata(None, Some("c1"), Some("5"))),
            (true, "x", metadata(None, None, Some("6"))),
            (true, "i.jpg", metadata(Some("q"), None, None)),
            (false, "x", metadata(Some("q"), Some("c2"), Some("5"))),
            (false, "x", metadata(None, None, Some("5"))),
            (false, "x", metadata(None, Some("c1"), Some("6"))),
            (false, "p", metadata(None, None, None)),
        ] {
            assert_eq!(subject.covers(image_id, &known), expected, "{image_id} {known:?}");
            let may_be_found = subject.filter().unwrap().matches(image_id, &known);
            assert!(may_be_found || !expected || image_id == "i.jpg", "{known:?}");
        }
        assert_eq!(Subject { image_ids: set(&["i"]), ..Subject::default() }.filter(), None);
    }

    #[test]
    fn a_filter_names_it_however_deep() {
        let subject = subject();
        let images = BTreeSet::from(["found.jpg"]);
        let of = |text: &str| serde_json::from_str::<SearchFilter>(text).unwrap();
        for (expected, filter) in [
            (true, r#"{"person_ids":["a","p"]}"#),
            (true, r#"{"none":[{"any":[{"person_ids":["p"]}]}]}"#),
            (true, r#"{"image_ids":["found.jpg"]}"#),
            (true, r#"{"all":[{"image_ids":["i.jpg"]}]}"#),
            (true, r#"{"track_ids":["5"]}"#),
            (true, r#"{"track_ids":["5"],"camera_ids":["c1","c2"]}"#),
            (true, r#"{"track_ids":["6"],"camera_ids":["c2"]}"#),
            (false, r#"{"track_ids":["5"],"camera_ids":["c2"]}"#),
            (false, r#"{"camera_ids":["c1"],"person_ids":["5"]}"#),
            (false, "{}"),
        ] {
            assert_eq!(subject.is_named_by(&of(filter), &images), expected, "{filter}");
        }
        assert!(subject.is_quoted_by(r#"{"who":"p"}"#, &images) && subject.is_quoted_by(r#"["found.jpg"]"#, &images));
        assert!(!subject.is_quoted_by(r#"{"who":"pp","path":"x/found.jpg"}"#, &images));
    }

    #[test]
    fn copies_are_known_by_their_file() {
        let file = |sha256: &str| ImageMetadata { content_sha256: sha256.to_owned(), ..ImageMetadata::default() };
        let mut traces = Traces::default();
        assert!(traces.add(1, "a".to_owned(), &file("AB")) && traces.add(2, "a".to_owned(), &file("ab")));
        assert!(!traces.add(2, "a".to_owned(), &file("ab")));
        assert!(traces.is_copy(&file("ab")) && !traces.is_copy(&file("")) && !traces.is_copy(&file("cd")));
        assert_eq!(traces.image_ids(), BTreeSet::from(["a"]));
        let things = subject().things(&traces).len();
        assert_eq!(things, 1 + 2 + 1 + 1 + 1);
    }
}
