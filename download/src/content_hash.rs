//! The hash of what arrived, and the one that it must have.

use crate::DownloadError;
use crate::error::at;
use sha1_smol::Sha1;
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

const READ_BYTES: usize = 1 << 20;

/// A hash that names a content, in hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ContentHash {
    /// SHA-256 of the content, as large files have it.
    Sha256(String),
    /// SHA-1 as git names a content by it: over `blob `, the length, a zero byte and the content.
    /// Source: "Git Internals - Git Objects" in the Git book.
    GitSha1(String),
}

impl ContentHash {
    /// The hash that an entity tag of a hub is, told by its length.
    pub(crate) fn of_tag(tag: &str) -> Option<Self> {
        if !tag.chars().all(|character| character.is_ascii_hexdigit()) {
            return None;
        }
        match tag.len() {
            40 => Some(Self::GitSha1(tag.to_owned())),
            64 => Some(Self::Sha256(tag.to_owned())),
            _ => None,
        }
    }

    /// Refuses a file of another content. `place` is what a message calls it.
    pub(crate) fn check(&self, file: &Path, place: &str) -> Result<(), DownloadError> {
        let (name, wanted, found) = match self {
            Self::Sha256(wanted) => ("SHA-256", wanted, sha256_of(file)?),
            Self::GitSha1(wanted) => ("git hash", wanted, git_sha1_of(file)?),
        };
        if found.eq_ignore_ascii_case(wanted) {
            return Ok(());
        }
        Err(DownloadError::Wrong { url: place.to_owned(), reason: format!("has the {name} {found}, not {wanted}") })
    }
}

/// Bytes as two hexadecimal digits each.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn sha256_of(path: &Path) -> Result<String, DownloadError> {
    let mut hasher = Sha256::new();
    read_all(path, |bytes| hasher.update(bytes))?;
    Ok(hexadecimal(&hasher.finalize()))
}

fn git_sha1_of(path: &Path) -> Result<String, DownloadError> {
    let mut hasher = Sha1::new();
    let length = path.metadata().map_err(at(path))?.len();
    hasher.update(format!("blob {length}\0").as_bytes());
    read_all(path, |bytes| hasher.update(bytes))?;
    Ok(hasher.digest().to_string())
}

fn read_all(path: &Path, mut take: impl FnMut(&[u8])) -> Result<(), DownloadError> {
    let mut file = File::open(path).map_err(at(path))?;
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let length = file.read(&mut buffer).map_err(at(path))?;
        if length == 0 {
            return Ok(());
        }
        take(buffer.get(..length).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `sha256sum` and `git hash-object` print of a file with `{}`.
    const SHA256: &str = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
    const GIT: &str = "9e26dfeeb6e641a33dae4961196235bdb965b21b";

    #[test]
    fn the_hashes_are_those_of_the_usual_programs() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.json");
        std::fs::write(&file, "{}").unwrap();
        for hash in [SHA256, GIT, &GIT.to_uppercase()] {
            ContentHash::of_tag(hash).unwrap().check(&file, "here").unwrap();
        }
        std::fs::write(&file, "{ }").unwrap();
        for (hash, name) in [(SHA256, "SHA-256"), (GIT, "git hash")] {
            let error = ContentHash::of_tag(hash).unwrap().check(&file, "here").unwrap_err().to_string();
            assert!(error.contains("here") && error.contains(name) && error.contains(hash), "{error}");
        }
        for tag in ["", "c0ffee", &GIT[1..], &GIT.replace('9', "z"), &SHA256.repeat(2)] {
            assert_eq!(ContentHash::of_tag(tag), None, "{tag}");
        }
    }
}
