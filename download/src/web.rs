//! One file from an address.

use crate::asking::Client;
use crate::content_hash::{ContentHash, hexadecimal};
use crate::error::at;
use crate::transfer::{Wanted, fetch_part};
use crate::{Address, DownloadError, Progress, Settings};
use sha2::{Digest as _, Sha256};
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

/// Fetches a file, or takes the one that is here where its hash is the wanted one or nothing may be fetched.
pub(crate) fn fetch(
    url: &Address,
    settings: &Settings,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<PathBuf, DownloadError> {
    let name = url.file_name();
    let plain = |character: char| character.is_ascii_alphanumeric() || "-_.".contains(character);
    let name: String = name.chars().filter(|character| plain(*character)).collect();
    let name = if name.is_empty() || name.starts_with('.') { "checkpoint".to_owned() } else { name };
    // Files of the same name from other addresses lie beside it, each in a folder of its own.
    let key = hexadecimal(&Sha256::digest(url.with_secrets()));
    let folder = settings.web_cache.join(key.get(..16).unwrap_or(&key)).join("file");
    let target = folder.join(&name);
    let sha256 = settings.sha256.as_deref();
    if settings.offline {
        if !target.is_file() {
            return Err(DownloadError::Offline { what: url.to_string(), cache: folder });
        }
        check(&target, sha256, &url.to_string())?;
        return Ok(target);
    }
    if target.is_file() && sha256.is_some() && check(&target, sha256, &url.to_string()).is_ok() {
        return Ok(target);
    }
    fs::create_dir_all(&folder).map_err(at(&folder))?;
    let beside = |name: &str| folder.with_file_name(name);
    let (part, tag) = (beside("part.incomplete"), beside("part.tag"));
    // Two processes at once: the second one waits, and then fetches the file for itself.
    let _lock = locked(&beside("lock"))?;
    let known = fs::read_to_string(&tag).ok().filter(|tag| !tag.is_empty());
    let limit_bytes = settings.limit_bytes;
    let mut wanted =
        Wanted { url: url.clone(), name: &name, size_bytes: None, limit_bytes, is_hashed: false, tag: known };
    fetch_part(&Client::new(settings), &mut wanted, &part, progress, |found| {
        fs::write(&tag, found.unwrap_or_default()).map_err(at(&tag))
    })?;
    check(&part, sha256, &url.to_string()).inspect_err(|_| drop(fs::remove_file(&part)))?;
    fs::rename(&part, &target).map_err(at(&target))?;
    fs::remove_file(&tag).map_err(at(&tag))?;
    Ok(target)
}

/// Refuses a file that is not the wanted one, where one is wanted.
pub(crate) fn check(file: &Path, sha256: Option<&str>, place: &str) -> Result<(), DownloadError> {
    sha256.map_or(Ok(()), |wanted| ContentHash::Sha256(wanted.to_owned()).check(file, place))
}

/// A lock that ends with its process.
pub(crate) fn locked(path: &Path) -> Result<File, DownloadError> {
    let file = File::options().create(true).truncate(false).write(true).open(path).map_err(at(path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            tracing::warn!("another process fetches the same; waiting for it");
            file.lock().map_err(at(path))?;
        }
        Err(TryLockError::Error(error)) => return Err(at(path)(error)),
    }
    Ok(file)
}
