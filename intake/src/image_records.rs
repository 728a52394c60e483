//! The records of a metadata file on their way to the images that they tell of.

use crate::{IntakeError, KnownMetadata, MetadataById, MetadataTable, read_metadata_table};
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// Images that are looked at for what would make records fit, where none does.
const MAX_COMPARED: usize = 100_000;

/// Records without an image that are named.
const NAMED_RECORDS: usize = 5;

/// What is known of images by their names in the input, and what is put before these names.
#[derive(Default)]
pub(crate) struct ImageRecords {
    path: PathBuf,
    by_id: MetadataById,
    pub(crate) notes: Vec<String>,
    prefix: String,
}

impl ImageRecords {
    /// Reads the file of records, where there is one.
    ///
    /// # Errors
    /// As [`read_metadata_table`].
    pub(crate) fn open(path: Option<&Path>, prefix: String) -> Result<Self, IntakeError> {
        let Some(path) = path else { return Ok(Self { prefix, ..Self::default() }) };
        let MetadataTable { by_id, notes } = read_metadata_table(path)?;
        let notes = notes.into_iter().map(|note| format!("{}: {note}", path.display())).collect();
        Ok(Self { path: path.to_owned(), by_id, notes, prefix })
    }

    /// The image's id in the gallery.
    pub(crate) fn image_id(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// What the record of an image says. Records may name it with the prefix and without.
    pub(crate) fn take(&mut self, name: &str) -> Option<KnownMetadata> {
        if self.by_id.is_empty() {
            return None;
        }
        self.by_id.remove(&self.image_id(name)).or_else(|| self.by_id.remove(name))
    }

    fn fits(&self, name: &str) -> bool {
        self.by_id.contains_key(name) || (!self.prefix.is_empty() && self.by_id.contains_key(&self.image_id(name)))
    }

    /// Makes sure that a record fits one of the images. No more of them are looked at than it takes.
    ///
    /// # Errors
    /// [`IntakeError::NothingMatches`] says what the ids of both sides look like, and what would make them fit.
    pub(crate) fn require_match(&self, names: impl Iterator<Item = String>) -> Result<(), IntakeError> {
        if self.by_id.is_empty() {
            return Ok(());
        }
        let (mut images, mut compared) = (0, Vec::new());
        for name in names {
            if self.fits(&name) {
                return Ok(());
            }
            images += 1;
            if compared.len() < MAX_COMPARED {
                compared.push(name);
            }
        }
        let Some(image_id) = compared.first().map(|name| self.image_id(name)) else { return Ok(()) };
        let advice = self.advice(&compared).unwrap_or_default();
        let record_id = self.by_id.keys().min().cloned().unwrap_or_default();
        let (path, records) = (self.path.clone(), self.by_id.len());
        Err(IntakeError::NothingMatches { path, records, record_id, images, image_id, advice })
    }

    /// What would make records fit, as a sentence.
    fn advice(&self, images: &[String]) -> Option<String> {
        let names: HashSet<&str> = images.iter().map(String::as_str).collect();
        for record in self.by_id.keys().take(MAX_COMPARED) {
            if let Some((folder, rest)) = folders(record).find(|(_, rest)| names.contains(rest)) {
                return Some(format!(
                    " {record:?} would fit {rest:?} without `{folder}`: give --prefix {folder} (the images are called so \
                     in the gallery then), or take it off in the file."
                ));
            }
        }
        for image in images {
            if let Some((folder, rest)) = folders(image).find(|(_, rest)| self.by_id.contains_key(*rest)) {
                return Some(format!(
                    " {rest:?} would fit {image:?} with `{folder}` before it: index that folder by itself, or put \
                     `{folder}` before the ids in the file."
                ));
            }
            let stem = image.rsplit_once('.');
            if let Some((stem, ending)) = stem.filter(|(stem, _)| self.by_id.contains_key(*stem)) {
                return Some(format!(
                    " {stem:?} would fit {image:?} with `.{ending}` behind it: write it in the file."
                ));
            }
        }
        None
    }

    /// How many records have found no image, and the first of their ids by name.
    pub(crate) fn unused(&self) -> (u64, Vec<String>) {
        let mut ids: Vec<&String> = self.by_id.keys().collect();
        ids.sort_unstable();
        (ids.len() as u64, ids.into_iter().take(NAMED_RECORDS).cloned().collect())
    }
}

/// The folders at the front of an id, each with what is behind it.
fn folders(image_id: &str) -> impl Iterator<Item = (&str, &str)> {
    image_id.match_indices('/').map(|(place, _)| image_id.split_at(place + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(ids: &[&str], prefix: &str) -> ImageRecords {
        let by_id = ids.iter().map(|id| ((*id).to_owned(), KnownMetadata::default())).collect();
        ImageRecords { by_id, prefix: prefix.to_owned(), ..ImageRecords::default() }
    }

    fn check(ids: &[&str], prefix: &str, images: &[&str]) -> Result<(), String> {
        let images = images.iter().map(|name| (*name).to_owned());
        records(ids, prefix).require_match(images).map_err(|error| error.to_string())
    }

    #[test]
    fn one_record_that_fits_is_enough() {
        assert_eq!(check(&["x", "b"], "", &["a", "b"]), Ok(()));
        assert_eq!(check(&["c1/b"], "c1/", &["b"]), Ok(()));
        assert_eq!(check(&["b"], "c1/", &["b"]), Ok(()));
        // Nothing to compare.
        assert_eq!(check(&[], "", &["a"]), Ok(()));
        assert_eq!(check(&["a"], "", &[]), Ok(()));
    }

    #[test]
    fn where_none_fits_the_message_says_what_would() {
        let message = check(&["crops/c2/x.jpg", "crops/c2/y.jpg"], "", &["c2/w.jpg", "c2/x.jpg"]).unwrap_err();
        for part in ["2 records", "crops/c2/x.jpg", "2 images", "c2/w.jpg", "--prefix crops/", "--allow-unmatched"] {
            assert!(message.contains(part), "{part}: {message}");
        }
        let message = check(&["x.jpg"], "", &["c2/x.jpg"]).unwrap_err();
        assert!(message.contains("with `c2/` before it"), "{message}");
        let message = check(&["c2/x"], "", &["c2/x.jpg"]).unwrap_err();
        assert!(message.contains("`.jpg` behind it"), "{message}");
        assert!(check(&["1"], "", &["a/b.jpg"]).unwrap_err().contains("--allow-unmatched"));
    }

    #[test]
    fn records_are_taken_with_the_prefix_first() {
        let mut records = records(&["c1/a", "a", "z"], "c1/");
        assert!(records.take("a").is_some());
        assert_eq!(records.unused(), (2, vec!["a".to_owned(), "z".to_owned()]));
    }
}
