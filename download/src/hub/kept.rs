//! What was fetched of a repository before.

use super::belonging::Known;
use super::{belonging, choice, refuse_hash_of_many};
use crate::place::is_plain;
use crate::web::check;
use crate::{DownloadError, Settings};
use std::path::PathBuf;

/// What was fetched of a repository before.
pub(super) struct Kept {
    /// The repository, as messages call it.
    pub(super) place: String,
    /// The repository's folder of the cache.
    pub(super) folder: PathBuf,
    /// The commit that its revision stood for.
    pub(super) commit: String,
}

impl Kept {
    /// The weights that are here, if all that belongs to them is here too.
    pub(super) fn take(self, file: Option<&str>, settings: &Settings) -> Result<PathBuf, DownloadError> {
        let absent = |what: String| DownloadError::Offline { what, cache: self.folder.clone() };
        if !is_plain(&self.commit) {
            return Err(absent(self.place.clone()));
        }
        let snapshot = self.folder.join("snapshots").join(&self.commit);
        let known = |name: &str| belonging::known(&self.folder, &self.commit, name);
        let has = |name: &str| known(name) == Known::Here;
        let Some(weights) = choice::weights(file, has) else { return Err(absent(self.place.clone())) };
        let found = snapshot.join(&weights);
        if choice::is_index(&weights) {
            refuse_hash_of_many(&self.place, settings)?;
            let shards = choice::shards(&found, &weights, settings.small_limit_bytes, &self.place)?;
            if let Some(missing) = shards.iter().find(|shard| !has(shard)) {
                return Err(absent(format!("{missing} of {}", self.place)));
            }
        }
        if let Some(missing) = belonging::first_unknown(&weights, known) {
            let (place, cache) = (self.place.clone(), self.folder.clone());
            return Err(DownloadError::Unsettled { place, missing, cache });
        }
        check(&found, settings.sha256.as_deref(), &self.place)?;
        Ok(found)
    }
}
