//! Legal holds: images that stay as they are, whatever retention or a caller says.
//!
//! What a hold keeps is decided by what is known of an image at the moment in which it would be removed or changed, so images
//! that come later are held as well. All holds of a gallery are one document: whoever removes something reads all of them in
//! one step, and pays one small read for it. `galleries` is where they are respected.

use crate::SearchError;
use crate::validation::invalid;
use descry_store::{Generation, ImageMetadata, SearchFilter, VectorStore};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Holds of one gallery.
pub(crate) const MAX_HOLDS: usize = 1_000;

/// Bytes of all holds of a gallery as they are kept: each removal reads them.
const MAX_BYTES: usize = 4 << 20;

const KEY: &str = "holds";

/// One hold, by which some images are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Hold {
    /// Which images; all of the gallery where it restricts nothing.
    pub(crate) filter: SearchFilter,
    pub(crate) reason: String,
    pub(crate) placed_at_ms: i64,
}

impl Hold {
    /// Whether it holds the gallery as such, with whatever will be in it.
    pub(crate) fn is_of_all(&self) -> bool {
        !self.filter.restricts()
    }
}

/// The holds of a gallery at one moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Holds {
    by_name: BTreeMap<String, Hold>,
    /// As they were read, so that nothing that another instance wrote since is overwritten.
    text: Option<String>,
}

impl Holds {
    /// # Errors
    /// Also where they cannot be read: removing what a hold that is not understood may keep would be worse than refusing.
    pub(crate) async fn of(store: &dyn VectorStore, gallery: &Generation) -> Result<Self, SearchError> {
        let Some(text) = store.document(gallery, KEY).await? else { return Ok(Self::default()) };
        let by_name = serde_json::from_str(&text).map_err(|error| SearchError::failed("reading holds", error))?;
        Ok(Self { by_name, text: Some(text) })
    }

    /// Keeps them in the place of those that were read. Returns whether these were still the ones that are there.
    ///
    /// # Errors
    /// [`SearchError::Invalid`] where they are too large.
    pub(crate) async fn replace(&self, store: &dyn VectorStore, gallery: &Generation) -> Result<bool, SearchError> {
        let written = (!self.by_name.is_empty()).then(|| serde_json::to_string(&self.by_name)).transpose();
        let text = written.map_err(|error| SearchError::failed("writing holds", error))?;
        let bytes = text.as_ref().map_or(0, String::len);
        if bytes > MAX_BYTES {
            let reason = format!(
                "with it the holds of the gallery take {bytes} bytes, at most {MAX_BYTES} are allowed; name images by what \
                 is known of them (person, track, camera, time) rather than one by one"
            );
            return Err(invalid("filter", reason));
        }
        Ok(store.replace_document(gallery, KEY, self.text.as_deref(), text).await?)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.by_name.len()
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Hold> {
        self.by_name.get(name)
    }

    /// By name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&String, &Hold)> {
        self.by_name.iter()
    }

    pub(crate) fn insert(&mut self, name: String, hold: Hold) {
        self.by_name.insert(name, hold);
    }

    pub(crate) fn remove(&mut self, name: &str) -> Option<Hold> {
        self.by_name.remove(name)
    }

    /// Names of those that hold an image.
    pub(crate) fn of_image<'a>(
        &'a self,
        image_id: &'a str,
        known: &'a ImageMetadata,
    ) -> impl Iterator<Item = &'a str> + 'a {
        self.iter().filter(move |(_, hold)| hold.filter.matches(image_id, known)).map(|(name, _)| name.as_str())
    }

    pub(crate) fn hold(&self, image_id: &str, known: &ImageMetadata) -> bool {
        self.of_image(image_id, known).next().is_some()
    }

    /// Names of those that hold an image, and would not any more if that was known of it.
    pub(crate) fn left_by(&self, image_id: &str, before: &ImageMetadata, after: &ImageMetadata) -> Vec<String> {
        let left = self
            .iter()
            .filter(|(_, hold)| hold.filter.matches(image_id, before) && !hold.filter.matches(image_id, after));
        left.map(|(name, _)| name.clone()).collect()
    }

    /// Those of some images that are held; nothing where none can be.
    pub(crate) fn held_of(&self, wanted: &SearchFilter) -> Option<SearchFilter> {
        let any: Vec<SearchFilter> = self.filters();
        (!any.is_empty()).then(|| SearchFilter { all: vec![wanted.clone()], any, ..SearchFilter::default() })
    }

    /// Those of some images that are not held; nothing where all are.
    pub(crate) fn free_of(&self, wanted: &SearchFilter) -> Option<SearchFilter> {
        if self.iter().any(|(_, hold)| hold.is_of_all()) {
            return None;
        }
        let none = self.filters();
        if none.is_empty() {
            return Some(wanted.clone());
        }
        Some(SearchFilter { all: vec![wanted.clone()], none, ..SearchFilter::default() })
    }

    fn filters(&self) -> Vec<SearchFilter> {
        self.by_name.values().map(|hold| hold.filter.clone()).collect()
    }

    /// How many of some images are held.
    pub(crate) async fn count_held(
        &self,
        store: &dyn VectorStore,
        generation: &Generation,
        wanted: &SearchFilter,
    ) -> Result<u64, SearchError> {
        Ok(match self.held_of(wanted) {
            Some(held) => store.count(generation, &held).await?,
            None => 0,
        })
    }

    /// How many of some images are not held.
    pub(crate) async fn count_free(
        &self,
        store: &dyn VectorStore,
        generation: &Generation,
        wanted: &SearchFilter,
    ) -> Result<u64, SearchError> {
        Ok(match self.free_of(wanted) {
            Some(free) => store.count(generation, &free).await?,
            None => 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_person(person: &str) -> SearchFilter {
        SearchFilter { person_ids: vec![person.to_owned()], ..SearchFilter::default() }
    }

    fn of_camera(camera: &str) -> SearchFilter {
        SearchFilter { camera_ids: vec![camera.to_owned()], ..SearchFilter::default() }
    }

    fn holds(filters: &[(&str, SearchFilter)]) -> Holds {
        let mut holds = Holds::default();
        for (name, filter) in filters {
            let hold = Hold { filter: filter.clone(), reason: "a case".to_owned(), placed_at_ms: 5 };
            holds.insert((*name).to_owned(), hold);
        }
        holds
    }

    fn known(person: &str, camera: &str) -> ImageMetadata {
        ImageMetadata {
            person_id: Some(person.to_owned()),
            camera_id: Some(camera.to_owned()),
            ..ImageMetadata::default()
        }
    }

    #[test]
    fn images_are_either_held_or_free() {
        let images = [known("7", "c1"), known("7", "c2"), known("8", "c2"), known("9", "c3")];
        let wanted = of_camera("c2");
        for (held, names) in [
            (holds(&[]), vec![]),
            (holds(&[("a", of_person("7"))]), vec!["a"]),
            (holds(&[("a", of_person("7")), ("b", of_person("8"))]), vec!["a"]),
            (holds(&[("all", SearchFilter::default()), ("b", of_person("8"))]), vec!["all"]),
        ] {
            assert_eq!(held.of_image("x", &images[0]).collect::<Vec<_>>(), names);
            for image in &images {
                let is_wanted = wanted.matches("x", image);
                let is_held = held.held_of(&wanted).is_some_and(|filter| filter.matches("x", image));
                let is_free = held.free_of(&wanted).is_some_and(|filter| filter.matches("x", image));
                assert_eq!(is_held, is_wanted && held.hold("x", image), "{image:?}");
                assert_eq!(is_free, is_wanted && !held.hold("x", image), "{image:?}");
            }
        }
    }

    #[test]
    fn an_image_may_not_leave_one_hold_for_another() {
        let held = holds(&[("a", of_person("7")), ("b", of_camera("c2"))]);
        let before = known("7", "c2");
        assert_eq!(held.left_by("x", &before, &known("7", "c2")), Vec::<String>::new());
        assert_eq!(held.left_by("x", &before, &known("8", "c2")), ["a"]);
        assert_eq!(held.left_by("x", &before, &known("8", "c1")), ["a", "b"]);
        // What was not held may come and go.
        assert_eq!(held.left_by("x", &known("8", "c1"), &known("9", "c1")), Vec::<String>::new());
    }
}
