//! `run.json`: what a run was asked for.

use super::durable_file;
use crate::{Recipe, TrainError};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

/// A description has about three kilobytes.
const MAX_BYTES: u64 = 1 << 20;

/// Everything that a run's numbers follow from, besides the files it names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RunDescription {
    /// What to do.
    pub(crate) recipe: Recipe,
    /// The checkpoint it starts from.
    pub(crate) base: Option<PathBuf>,
    /// That file's digest: another file under the same name is another run.
    pub(crate) base_sha256: Option<String>,
    /// Where the vocabulary came from, in words; the run has its own copy.
    pub(crate) tokenizer: String,
    /// The data set's folder, or the folder that holds it.
    pub(crate) root: PathBuf,
    /// Its annotation file's digest: other pairs are another run. `None` until the data set is read for the first time,
    /// as in runs of earlier versions.
    #[serde(default)]
    pub(crate) dataset_sha256: Option<String>,
    /// The program that started it.
    pub(crate) descry_version: String,
}

impl RunDescription {
    /// With paths that mean the same from any working folder.
    pub(super) fn write(&self, path: &Path) -> Result<(), TrainError> {
        let absolute = |path: &Path| {
            std::path::absolute(path).map_err(|source| TrainError::Unreadable { path: path.to_owned(), source })
        };
        let base = self.base.as_deref().map(absolute).transpose()?;
        let absolute = Self { base, root: absolute(&self.root)?, ..self.clone() };
        let text = serde_json::to_string_pretty(&absolute)
            .map_err(|error| TrainError::Unwritable { path: path.to_owned(), source: error.into() })?;
        durable_file::write(path, |writer| writeln!(writer, "{text}"))
    }

    pub(super) fn read(path: &Path) -> Result<Self, TrainError> {
        let unreadable = |source| TrainError::Unreadable { path: path.to_owned(), source };
        let mut text = String::new();
        File::open(path).and_then(|file| file.take(MAX_BYTES).read_to_string(&mut text)).map_err(unreadable)?;
        serde_json::from_str(&text).map_err(|error| TrainError::RunFolder {
            path: path.to_owned(),
            reason: format!(
                "it is no description of a run of descry {} ({error}); continue with the version that started the run, \
                 or start a new one",
                env!("CARGO_PKG_VERSION")
            ),
        })
    }
}
