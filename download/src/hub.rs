//! A repository of a model hub, in the hub's own cache layout.

mod belonging;
mod choice;
mod kept;
mod snapshot;

use crate::asking::{Client, refused, wrong};
use crate::error::at;
use crate::place::is_plain;
use crate::web::locked;
use crate::{Address, DownloadError, Progress, Settings};
use kept::Kept;
use serde::Deserialize;
use snapshot::Snapshot;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A repository of ten thousand files takes a tenth of it.
const LISTING_LIMIT_BYTES: u64 = 16 << 20;
/// A file of that many is named where a repository has no weights of a usual name.
const SHOWN: usize = 5;

#[derive(Deserialize)]
struct Listing {
    sha: String,
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
}

/// Fetches one file with the settings beside it, or what an export needs of the repository.
pub(crate) fn fetch(
    repository: &str,
    revision: &str,
    file: Option<&str>,
    settings: &Settings,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<PathBuf, DownloadError> {
    let written = revision.replace('/', "%2F");
    let place = format!("hf://{repository}@{written}{}", file.map(|file| format!("/{file}")).unwrap_or_default());
    let folder = settings.hub_cache.join(format!("models--{}", repository.replace('/', "--")));
    let reference = folder.join("refs").join(revision);
    if settings.offline {
        let commit = fs::read_to_string(&reference).unwrap_or_else(|_| revision.to_owned());
        let kept = Kept { place, folder, commit: commit.trim().to_owned() };
        return kept.take(file, settings);
    }
    let client = Client::new(settings);
    let (commit, names) = list(&client, repository, revision)?;
    let snapshot = Snapshot { client, repository, snapshot: folder.join("snapshots").join(&commit), folder, commit };
    let missing = |reason: String| DownloadError::Place { place: place.clone(), reason };
    let weights = choice::weights(file, |name| names.contains(name)).ok_or_else(|| missing(describe(&names, file)))?;
    for name in choice::settings(&weights) {
        if names.contains(&name) {
            snapshot.fetch(&name, settings.small_limit_bytes, None, progress)?;
        } else {
            belonging::mark_absent(&snapshot.folder, &snapshot.commit, &name)?;
        }
    }
    let found = if choice::is_index(&weights) {
        refuse_hash_of_many(&place, settings)?;
        let index = snapshot.fetch(&weights, settings.small_limit_bytes, None, progress)?;
        let shards = choice::shards(&index, &weights, settings.small_limit_bytes, &place)?;
        if let Some(shard) = shards.iter().find(|shard| !names.contains(*shard)) {
            return Err(missing(format!("its index names {shard}, which the repository lacks")));
        }
        snapshot.fetch_all(shards, settings.limit_bytes, progress)?;
        index
    } else {
        snapshot.fetch(&weights, settings.limit_bytes, settings.sha256.as_deref(), progress)?
    };
    if revision != snapshot.commit {
        keep_reference(&snapshot.folder, &reference, &snapshot.commit)?;
    }
    Ok(found)
}

/// Writes down which commit a revision stands for. Other clients read it too, and whatever else lies beside it; so it is
/// replaced whole, from a file that lies elsewhere in the repository's folder.
fn keep_reference(folder: &Path, reference: &Path, commit: &str) -> Result<(), DownloadError> {
    let Some(parent) = reference.parent() else { return Ok(()) };
    fs::create_dir_all(parent).map_err(at(parent))?;
    let _lock = locked(&folder.join("reference.descry-lock"))?;
    let new = folder.join("reference.descry-incomplete");
    fs::write(&new, commit).map_err(at(&new))?;
    fs::rename(&new, reference).map_err(at(reference))
}

fn refuse_hash_of_many(place: &str, settings: &Settings) -> Result<(), DownloadError> {
    match settings.sha256 {
        None => Ok(()),
        Some(_) => Err(DownloadError::Place {
            place: place.to_owned(),
            reason: "--sha256 is for one file, and these weights are several; the hub's own hash of each is compared"
                .to_owned(),
        }),
    }
}

/// Why nothing is chosen.
fn describe(names: &BTreeSet<String>, file: Option<&str>) -> String {
    if file.is_some() {
        return "the repository has no such file".to_owned();
    }
    const ENDINGS: [&str; 5] = [".pth", ".pt", ".bin", ".safetensors", ".ckpt"];
    let mut others: Vec<&str> =
        names.iter().map(String::as_str).filter(|name| ENDINGS.iter().any(|ending| name.ends_with(ending))).collect();
    let count = others.len();
    others.truncate(SHOWN);
    match count {
        0 => "the repository has no weights".to_owned(),
        _ => format!("no weights of a usual name; add /FILE to say which are meant ({count}: {})", others.join(", ")),
    }
}

/// The commit that a revision stands for, and the files that it has.
fn list(client: &Client<'_>, repository: &str, revision: &str) -> Result<(String, BTreeSet<String>), DownloadError> {
    let url = address(client.settings, ["api", "models"], repository, ["revision", revision]);
    let text = client.patiently(|| {
        let reply = client.ask(&url, &[])?;
        if reply.last.status() != 200 {
            return Err(refused(&url, &reply.last));
        }
        client.read(&url, reply, LISTING_LIMIT_BYTES)
    })?;
    let listing: Listing =
        serde_json::from_slice(&text).map_err(|_| wrong(&url, "does not list the repository's files"))?;
    if listing.sha.is_empty() || !listing.sha.chars().all(|character| character.is_ascii_alphanumeric()) {
        return Err(wrong(&url, "names no commit"));
    }
    // What the server calls a file decides where it lies here.
    let is_inside = |name: &String| name.split('/').all(is_plain);
    Ok((listing.sha, listing.siblings.into_iter().map(|sibling| sibling.rfilename).filter(is_inside).collect()))
}

/// The address of something that a repository has.
fn address<'a>(
    settings: &Settings,
    before: impl IntoIterator<Item = &'a str>,
    repository: &'a str,
    behind: impl IntoIterator<Item = &'a str>,
) -> Address {
    settings.endpoint.below(before.into_iter().chain(repository.split('/')).chain(behind))
}
