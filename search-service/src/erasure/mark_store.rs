//! The marks of all galleries, where they are kept.
//!
//! A gallery's marks are documents of it, spread over [`PARTS`] of them by the mark's first bits, beside a small one that says which
//! version they are. Who adds marks writes the parts first and then another version; who reads them reads the version
//! first. So whoever finds the version that it knows knows all marks of it. Nothing is written but by compare-and-set: two
//! instances that add marks at once both do.

use super::key::{Mark, MarkKey, Thing, random_digits};
use super::marks::{Marks, PARTS, marks_of, part_of, text_of};
use crate::SearchError;
use crate::key_file::{self, KEY_BYTES};
use descry_store::{Generation, VectorStore};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// The document that says which version the marks are.
const VERSION_KEY: &str = "erased";

/// The document with the key of the marks, where the service has none of its own.
const SECRET_KEY: &str = "erased.key";

/// The setting with the service's own key.
const SETTING: &str = "erasure.key_file";

/// Most marks of a gallery: sixteen bytes each in the memory of every instance.
const MAX_MARKS: usize = 1_000_000;

/// How often a document that others change at the same time is tried to be changed.
const ATTEMPTS: usize = 100;

fn part_key(part: usize) -> String {
    format!("{VERSION_KEY}.{part:x}")
}

/// The marks' version, and whose keys they are of.
#[derive(Default, Serialize, Deserialize)]
struct Version {
    version: String,
    keys: BTreeSet<String>,
}

/// The marks of all galleries of a store.
pub(crate) struct MarkStore {
    store: Arc<dyn VectorStore>,
    secret: Option<[u8; KEY_BYTES]>,
    /// As they were read last, by gallery; of those that have any.
    cached: Mutex<HashMap<String, Arc<Marks>>>,
    max_marks: usize,
}

impl MarkStore {
    /// `key_file`: with the service's own key; none where it is empty, and each gallery gets a key that is kept with it.
    ///
    /// # Errors
    /// [`SearchError::Invalid`] where the file holds no key.
    pub(crate) fn open(store: Arc<dyn VectorStore>, key_file: &Path) -> Result<Self, SearchError> {
        let path = Some(key_file).filter(|path| !path.as_os_str().is_empty());
        let secret = path.map(|path| key_file::read_key(SETTING, path)).transpose()?;
        Ok(Self { store, secret, cached: Mutex::default(), max_marks: MAX_MARKS })
    }

    /// All marks of a gallery.
    ///
    /// # Errors
    /// [`SearchError::NotReady`] where they cannot be read, or are of a key that is not here: then nobody can say what was
    /// erased, and nothing may be written.
    pub(crate) async fn of(&self, gallery: &Generation) -> Result<Arc<Marks>, SearchError> {
        let Some(text) = self.store.document(gallery, VERSION_KEY).await? else {
            return Ok(Arc::default());
        };
        let Version { version, keys: names } =
            serde_json::from_str(&text).map_err(|_| unreadable(gallery, VERSION_KEY))?;
        if let Some(known) = self.cached(&gallery.gallery, &version) {
            return Ok(known);
        }
        let documents = self.store.documents(gallery).await?;
        let keys = self.keys(gallery, documents.get(SECRET_KEY).map(String::as_str))?;
        if names.iter().any(|name| keys.iter().all(|key| key.name() != name)) {
            let reason = format!(
                "what was erased is marked with a key that this service has not got; set {SETTING} to the file that it was \
                 marked with"
            );
            return Err(SearchError::NotReady { name: gallery.gallery.clone(), reason });
        }
        let mut marks = Vec::new();
        for key in (0..PARTS).map(part_key) {
            let Some(text) = documents.get(&key) else { continue };
            marks.extend(marks_of(text).ok_or_else(|| unreadable(gallery, &key))?);
        }
        marks.sort_unstable();
        marks.dedup();
        let marks = Arc::new(Marks { version: Some(version), keys, marks });
        self.keep(&gallery.gallery, &marks);
        Ok(marks)
    }

    /// Marks things, so that nothing that is known by them gets into the gallery any more. Returns how many marks they have.
    ///
    /// # Errors
    /// [`SearchError::NotReady`] where a gallery would have too many; those of the store.
    pub(crate) async fn add(&self, gallery: &Generation, things: &[Thing<'_>]) -> Result<u64, SearchError> {
        let known = self.of(gallery).await?;
        let key = self.key(gallery).await?;
        let marks: BTreeSet<Mark> = things.iter().map(|thing| key.mark(*thing)).collect();
        let missing: Vec<Mark> =
            marks.iter().copied().filter(|mark| known.marks.binary_search(mark).is_err()).collect();
        if missing.is_empty() {
            // Who wrote them may have been killed before anybody else could know of them.
            self.renew_version(gallery, Some(key.name())).await?;
            return Ok(marks.len() as u64);
        }
        let (count, max) = (known.len().saturating_add(missing.len()), self.max_marks);
        if count > max {
            let reason = format!(
                "it would have {count} marks of what was erased, and {max} are allowed; nothing was erased. Delete images, \
                 which are not kept away then, or begin another gallery"
            );
            return Err(SearchError::NotReady { name: gallery.gallery.clone(), reason });
        }
        self.change(gallery, &missing, BTreeSet::insert).await?;
        self.renew_version(gallery, Some(key.name())).await?;
        Ok(marks.len() as u64)
    }

    /// Takes marks away. Returns how many there were.
    ///
    /// # Errors
    /// Those of the store, and of [`MarkStore::of`].
    pub(crate) async fn take_away(&self, gallery: &Generation, things: &[Thing<'_>]) -> Result<u64, SearchError> {
        let known = self.of(gallery).await?;
        let of_all_keys = things.iter().flat_map(|thing| known.keys.iter().map(|key| key.mark(*thing)));
        let found: BTreeSet<Mark> = of_all_keys.filter(|mark| known.marks.binary_search(mark).is_ok()).collect();
        if found.is_empty() {
            return Ok(0);
        }
        let found: Vec<Mark> = found.into_iter().collect();
        self.change(gallery, &found, |marks, mark| marks.remove(&mark)).await?;
        self.renew_version(gallery, None).await?;
        Ok(found.len() as u64)
    }

    /// Of a gallery that is gone.
    pub(crate) fn forget(&self, gallery: &str) {
        self.cached.lock().unwrap_or_else(PoisonError::into_inner).remove(gallery);
    }

    fn cached(&self, gallery: &str, version: &str) -> Option<Arc<Marks>> {
        let cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        cached.get(gallery).filter(|marks| marks.version.as_deref() == Some(version)).map(Arc::clone)
    }

    fn keep(&self, gallery: &str, marks: &Arc<Marks>) {
        self.cached.lock().unwrap_or_else(PoisonError::into_inner).insert(gallery.to_owned(), Arc::clone(marks));
    }

    /// All keys that there are, the one for new marks first.
    fn keys(&self, gallery: &Generation, kept: Option<&str>) -> Result<Vec<MarkKey>, SearchError> {
        let of_service = self.secret.as_ref().map(|secret| MarkKey::of_service(secret, &gallery.gallery));
        let kept = kept.map(|text| MarkKey::kept(text).ok_or_else(|| unreadable(gallery, SECRET_KEY))).transpose()?;
        Ok(of_service.into_iter().chain(kept).collect())
    }

    /// The key for new marks; made where there is none.
    async fn key(&self, gallery: &Generation) -> Result<MarkKey, SearchError> {
        if let Some(secret) = &self.secret {
            return Ok(MarkKey::of_service(secret, &gallery.gallery));
        }
        for _ in 0..ATTEMPTS {
            if let Some(text) = self.store.document(gallery, SECRET_KEY).await? {
                return MarkKey::kept(&text).ok_or_else(|| unreadable(gallery, SECRET_KEY));
            }
            // Another instance may be faster; then its key counts.
            let text = random_digits::<KEY_BYTES>()?;
            self.store.replace_document(gallery, SECRET_KEY, None, Some(text)).await?;
        }
        Err(busy())
    }

    /// Changes the documents that hold these marks, whatever others do with them meanwhile.
    async fn change(
        &self,
        gallery: &Generation,
        marks: &[Mark],
        apply: impl Fn(&mut BTreeSet<Mark>, Mark) -> bool,
    ) -> Result<(), SearchError> {
        for part in 0..PARTS {
            let of_part: Vec<Mark> = marks.iter().copied().filter(|mark| part_of(*mark) == part).collect();
            if of_part.is_empty() {
                continue;
            }
            let key = part_key(part);
            self.replace(gallery, &key, |text| {
                let held = marks_of(text.unwrap_or_default()).ok_or_else(|| unreadable(gallery, &key))?;
                let mut held: BTreeSet<Mark> = held.into_iter().collect();
                for mark in &of_part {
                    apply(&mut held, *mark);
                }
                Ok(text_of(&held.into_iter().collect::<Vec<_>>()))
            })
            .await?;
        }
        Ok(())
    }

    /// Says that the marks are others than before.
    async fn renew_version(&self, gallery: &Generation, key: Option<&str>) -> Result<(), SearchError> {
        self.replace(gallery, VERSION_KEY, |text| {
            let before = text.map(serde_json::from_str::<Version>).transpose();
            let mut keys = before.map_err(|_| unreadable(gallery, VERSION_KEY))?.unwrap_or_default().keys;
            keys.extend(key.map(str::to_owned));
            let version = Version { version: random_digits::<16>()?, keys };
            serde_json::to_string(&version).map_err(|error| SearchError::failed("writing marks", error))
        })
        .await
    }

    async fn replace(
        &self,
        gallery: &Generation,
        key: &str,
        change: impl Fn(Option<&str>) -> Result<String, SearchError>,
    ) -> Result<(), SearchError> {
        for _ in 0..ATTEMPTS {
            let found = self.store.document(gallery, key).await?;
            let text = change(found.as_deref())?;
            if self.store.replace_document(gallery, key, found.as_deref(), Some(text)).await? {
                return Ok(());
            }
        }
        Err(busy())
    }
}

fn unreadable(gallery: &Generation, key: &str) -> SearchError {
    let reason = format!(
        "the marks of what was erased cannot be read (document {key:?}), so nothing is written that may have been; restore \
         the gallery from a backup, or make it anew"
    );
    SearchError::NotReady { name: gallery.gallery.clone(), reason }
}

fn busy() -> SearchError {
    let reason = "others change the marks of what was erased at the same time; try again".to_owned();
    SearchError::Unavailable { dependency: "the gallery", reason }
}

#[cfg(test)]
mod tests;
