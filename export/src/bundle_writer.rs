//! A bundle on disk, complete or not there at all.

use crate::ExportError;
use crate::abandoned::{self, PlaceLock};
use descry_model::manifest::MANIFEST_FILE;
use descry_model::text_input::read_limited;
use descry_model::{Manifest, ParityBounds, sha256_hex};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// A bundle in a temporary folder beside its final place: it can be verified there, and only [`StagedBundle::publish`]
/// puts it where others look. Dropping it removes it.
#[derive(Debug)]
pub struct StagedBundle {
    staging: PathBuf,
    target: PathBuf,
    manifest: Manifest,
    published: bool,
    /// Tells other exports that this one is at work.
    _lock: Option<File>,
}

impl StagedBundle {
    /// Writes `files` and a manifest that lists them.
    pub(crate) fn write(
        target: &Path,
        files: Vec<(&str, Vec<u8>)>,
        mut manifest: Manifest,
    ) -> Result<Self, ExportError> {
        check_target(target)?;
        manifest.files = files.iter().map(|(name, content)| ((*name).to_owned(), sha256_hex(content))).collect();
        manifest.fingerprint = manifest.compute_fingerprint().to_string();
        let staging = abandoned::staging_path(target);
        let lock = abandoned::claim(&staging, target)?;
        let staged = Self { staging, target: target.to_owned(), manifest, published: false, _lock: lock };
        for (name, content) in files {
            write_file(&staged.staging.join(name), &content)?;
        }
        staged.write_manifest()?;
        Ok(staged)
    }

    fn write_manifest(&self) -> Result<(), ExportError> {
        let mut text = serde_json::to_string_pretty(&self.manifest)
            .map_err(|error| ExportError::Setting { name: MANIFEST_FILE.to_owned(), reason: error.to_string() })?;
        text.push('\n');
        write_file(&self.staging.join(MANIFEST_FILE), text.as_bytes())
    }

    /// States how closely a runtime must repeat the stored outputs, and a row of a batch the row alone.
    ///
    /// # Errors
    /// [`ExportError::Unwritable`].
    pub fn state_bounds(&mut self, parity: ParityBounds, row_independence: ParityBounds) -> Result<(), ExportError> {
        self.manifest.parity = parity;
        self.manifest.row_independence = row_independence;
        self.write_manifest()
    }

    /// Adds a line to the manifest's summary.
    ///
    /// # Errors
    /// [`ExportError::Unwritable`].
    pub fn summarise(&mut self, name: &str, value: String) -> Result<(), ExportError> {
        self.manifest.summary.insert(name.to_owned(), value);
        self.write_manifest()
    }

    /// Where the bundle is now.
    pub fn path(&self) -> &Path {
        &self.staging
    }

    /// The bundle's manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Moves the bundle to its final place, replacing a bundle that was there.
    ///
    /// # Errors
    /// [`ExportError::Unwritable`].
    pub fn publish(mut self) -> Result<Manifest, ExportError> {
        let unwritable = |source| ExportError::Unwritable { path: self.target.clone(), source };
        let _place = PlaceLock::take(&self.target).map_err(unwritable)?;
        // Again: the folder may have changed while the towers were verified.
        check_target(&self.target)?;
        let replaced = self.staging.with_extension(abandoned::REPLACED);
        if self.target.exists() {
            fs::rename(&self.target, &replaced).map_err(unwritable)?;
        }
        fs::rename(&self.staging, &self.target).map_err(unwritable)?;
        self.published = true;
        // The new bundle is in its place; an old one that cannot be removed is only untidy.
        let _ = fs::remove_dir_all(&replaced);
        Ok(self.manifest.clone())
    }
}

impl Drop for StagedBundle {
    fn drop(&mut self) {
        if !self.published {
            // Nothing more can be done for a folder that cannot be removed.
            let _ = fs::remove_dir_all(&self.staging);
        }
    }
}

/// Refuses to replace anything but a bundle, whole and with nothing beside it.
pub(crate) fn check_target(target: &Path) -> Result<(), ExportError> {
    let refuse = |reason: String| {
        Err(ExportError::Setting { name: "out".to_owned(), reason: format!("{} {reason}", target.display()) })
    };
    if target.file_name().is_none() {
        return refuse("is not a folder that can be created".to_owned());
    }
    let entries = match fs::read_dir(target) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(ExportError::Unwritable { path: target.to_owned(), source }),
    };
    let known = listed_files(&target.join(MANIFEST_FILE));
    for entry in entries {
        let entry = entry.map_err(|source| ExportError::Unwritable { path: target.to_owned(), source })?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if known.is_empty() || (name != MANIFEST_FILE && !known.contains(&name)) {
            return refuse(format!("holds {name:?}, which is no part of a bundle; give another folder, or remove it"));
        }
    }
    Ok(())
}

/// The files that a manifest lists, of whatever format: a bundle of an older one is still a bundle, and is replaced.
fn listed_files(manifest: &Path) -> BTreeSet<String> {
    const MAX_BYTES: u64 = 1 << 20;
    let Ok(text) = read_limited(manifest, MAX_BYTES) else { return BTreeSet::new() };
    let Ok(content) = serde_json::from_slice::<serde_json::Value>(&text) else { return BTreeSet::new() };
    match content.get("files").and_then(serde_json::Value::as_object) {
        Some(files) if content.get("fingerprint").is_some() => files.keys().cloned().collect(),
        _ => BTreeSet::new(),
    }
}

fn write_file(path: &Path, content: &[u8]) -> Result<(), ExportError> {
    let unwritable = |source| ExportError::Unwritable { path: path.to_owned(), source };
    let mut file = File::create(path).map_err(unwritable)?;
    file.write_all(content).map_err(unwritable)?;
    file.sync_all().map_err(unwritable)
}
