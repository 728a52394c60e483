//! A model bundle on disk, opened and checked.

use crate::manifest::{MANIFEST_FILE, PARITY_FILE, TEXT_FILE, TOKENIZER_FILE, VISION_FILE};
use crate::{Fingerprint, Manifest, ModelError, TextTokenizer};
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};

/// A folder written by `descry export`, whose files are the ones its manifest describes.
#[derive(Debug, Clone)]
pub struct Bundle {
    directory: PathBuf,
    manifest: Manifest,
    fingerprint: Fingerprint,
}

impl Bundle {
    /// Reads the manifest and compares the digest of every file: a half-copied tower must not start to serve.
    ///
    /// # Errors
    /// [`ModelError::Unreadable`], [`ModelError::Manifest`] or [`ModelError::Damaged`].
    pub fn open(directory: &Path) -> Result<Self, ModelError> {
        let manifest = Manifest::read(&directory.join(MANIFEST_FILE))?;
        // Side by side: a service waits for this at its start.
        std::thread::scope(|scope| {
            let mut checks = Vec::new();
            for (file, expected) in &manifest.files {
                let path = directory.join(file);
                checks.push(scope.spawn(move || check_digest(path, expected)));
            }
            checks.into_iter().try_for_each(|check| check.join().unwrap_or_else(|panic| resume_unwind(panic)))
        })?;
        let fingerprint = manifest.fingerprint.parse()?;
        Ok(Self { directory: directory.to_owned(), manifest, fingerprint })
    }

    /// Everything about the model that is not a weight.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Name of everything that can change an embedding.
    pub fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }

    /// The folder.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The vision tower's graph.
    pub fn vision_path(&self) -> PathBuf {
        self.directory.join(VISION_FILE)
    }

    /// The text tower's graph.
    pub fn text_path(&self) -> PathBuf {
        self.directory.join(TEXT_FILE)
    }

    /// Golden inputs and outputs: arrays `pixels`, `token_ids`, `image_features`, `text_features`.
    pub fn parity_path(&self) -> PathBuf {
        self.directory.join(PARITY_FILE)
    }

    /// Builds the tokenizer.
    ///
    /// # Errors
    /// [`ModelError::Tokenizer`], also when the bundle was exported without one.
    pub fn tokenizer(&self) -> Result<TextTokenizer, ModelError> {
        if !self.manifest.files.contains_key(TOKENIZER_FILE) {
            let reason = format!(
                "{} has none for its {} token ids; export it again with --tokenizer",
                self.directory.display(),
                self.manifest.text.vocabulary_size
            );
            return Err(ModelError::Tokenizer { reason });
        }
        TextTokenizer::from_file(&self.directory.join(TOKENIZER_FILE), self.manifest.text.clone())
    }
}

fn check_digest(path: PathBuf, expected: &str) -> Result<(), ModelError> {
    match file_sha256(&path) {
        Ok(found) if found == expected => Ok(()),
        Ok(found) => Err(ModelError::Damaged { path, expected: expected.to_owned(), found }),
        Err(source) => Err(ModelError::Unreadable { path, source }),
    }
}

/// SHA-256 of a file's content as 64 lower-case hexadecimal digits, read in pieces.
///
/// # Errors
/// The system's; the caller knows what the file is for, and says so.
pub fn file_sha256(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match io::Read::read(&mut file, &mut buffer) {
            Ok(0) => break,
            Ok(count) => hasher.update(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(crate::fingerprint::hex(&hasher.finalize()))
}
