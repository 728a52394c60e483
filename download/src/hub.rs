//! A repository of a model hub, in the hub's own cache layout.

mod choice;

use crate::asking::{Client, refused, text_of, wrong};
use crate::error::at;
use crate::place::is_plain;
use crate::transfer::{Wanted, fetch_part};
use crate::web::{check, locked};
use crate::{DownloadError, Progress, Settings};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use url::Url;

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
    let place = format!("hf://{repository}@{revision}{}", file.map(|file| format!("/{file}")).unwrap_or_default());
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
    for name in choice::settings(&weights).filter(|name| names.contains(name)) {
        snapshot.fetch(&name, settings.small_limit_bytes, None, progress)?;
    }
    let found = if choice::is_index(&weights) {
        refuse_hash_of_many(&place, settings)?;
        let index = snapshot.fetch(&weights, settings.small_limit_bytes, None, progress)?;
        for shard in choice::shards(&index, &weights, settings.small_limit_bytes, &place)? {
            if !names.contains(&shard) {
                return Err(missing(format!("its index names {shard}, which the repository lacks")));
            }
            snapshot.fetch(&shard, settings.limit_bytes, None, progress)?;
        }
        index
    } else {
        snapshot.fetch(&weights, settings.limit_bytes, settings.sha256.as_deref(), progress)?
    };
    if revision != snapshot.commit {
        if let Some(parent) = reference.parent() {
            fs::create_dir_all(parent).map_err(at(parent))?;
        }
        fs::write(&reference, &snapshot.commit).map_err(at(&reference))?;
    }
    Ok(found)
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
    let url = address(client.settings, &format!("api/models/{repository}/revision/{revision}"))?;
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

fn address(settings: &Settings, rest: &str) -> Result<Url, DownloadError> {
    let text = format!("{}/{rest}", settings.endpoint);
    Url::parse(&text).map_err(|_| DownloadError::Place { place: text, reason: "HF_ENDPOINT is no address".to_owned() })
}

/// What was fetched before.
struct Kept {
    place: String,
    folder: PathBuf,
    commit: String,
}

impl Kept {
    fn take(self, file: Option<&str>, settings: &Settings) -> Result<PathBuf, DownloadError> {
        let absent = |what: String| DownloadError::Offline { what, cache: self.folder.clone() };
        let snapshot = self.folder.join("snapshots").join(&self.commit);
        let has = |name: &str| is_plain(&self.commit) && snapshot.join(name).is_file();
        let Some(weights) = choice::weights(file, has) else { return Err(absent(self.place.clone())) };
        let found = snapshot.join(&weights);
        if choice::is_index(&weights) {
            refuse_hash_of_many(&self.place, settings)?;
            let shards = choice::shards(&found, &weights, settings.small_limit_bytes, &self.place)?;
            if let Some(missing) = shards.iter().find(|shard| !has(shard)) {
                return Err(absent(format!("{missing} of {}", self.place)));
            }
        }
        check(&found, settings.sha256.as_deref(), &self.place)?;
        Ok(found)
    }
}

/// One commit of a repository, here and there.
struct Snapshot<'a> {
    client: Client<'a>,
    repository: &'a str,
    commit: String,
    /// The repository's folder of the cache.
    folder: PathBuf,
    /// The commit's folder in it.
    snapshot: PathBuf,
}

impl Snapshot<'_> {
    fn address(&self, name: &str) -> Result<Url, DownloadError> {
        address(self.client.settings, &format!("{}/resolve/{}/{name}", self.repository, self.commit))
    }

    /// Fetches a file unless it is here, and says where it is.
    fn fetch(
        &self,
        name: &str,
        limit_bytes: u64,
        sha256: Option<&str>,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<PathBuf, DownloadError> {
        let link = self.snapshot.join(name);
        let url = self.address(name)?;
        if !link.exists() {
            let content = self.content(&url)?;
            if let (Some(wanted), Some(found)) = (sha256, content.sha256())
                && !found.eq_ignore_ascii_case(wanted)
            {
                return Err(wrong(&url, &format!("has the SHA-256 {found}, not {wanted}")));
            }
            self.fetch_content(&content, &url, name, limit_bytes, progress)?;
            lead(&link, name, &content.tag)?;
        }
        check(&link, sha256, url.as_str())?;
        Ok(link)
    }

    /// Asks what a file is called in the cache, for which its first byte is enough.
    fn content(&self, url: &Url) -> Result<Content, DownloadError> {
        let asked = self.client.patiently(|| {
            let asked = self.client.ask(url, &[("range", "bytes=0-0".to_owned())])?;
            // An empty file has no first byte.
            if asked.last.status().is_success() || asked.last.status() == 416 {
                return Ok(asked);
            }
            Err(refused(url, &asked.last))
        })?;
        let tag = text_of(&asked.said, "x-linked-etag").or_else(|| text_of(&asked.said, "etag"));
        let tag = tag.map(|tag| tag.trim_start_matches("W/").trim_matches('"').to_owned());
        let plain = |tag: &String| tag.len() >= 8 && tag.chars().all(|character| character.is_ascii_alphanumeric());
        let Some(tag) = tag.filter(plain) else { return Err(wrong(url, "does not say which content it has")) };
        let size_bytes = text_of(&asked.said, "x-linked-size").and_then(|size| size.parse().ok());
        Ok(Content { tag, size_bytes })
    }

    fn fetch_content(
        &self,
        content: &Content,
        url: &Url,
        name: &str,
        limit_bytes: u64,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<(), DownloadError> {
        let Content { tag, size_bytes } = content;
        let blobs = self.folder.join("blobs");
        fs::create_dir_all(&blobs).map_err(at(&blobs))?;
        // Other clients of the hub keep parts of their own here, under a name that ends otherwise.
        let (blob, part) = (blobs.join(tag), blobs.join(format!("{tag}.descry-incomplete")));
        let _lock = locked(&blobs.join(format!("{tag}.lock")))?;
        if blob.exists() {
            return Ok(());
        }
        let sha256 = content.sha256();
        let (size_bytes, is_hashed) = (*size_bytes, sha256.is_some());
        // Only content that its hash names can be joined from parts of different days.
        let mut wanted = Wanted { url: url.clone(), name, size_bytes, limit_bytes, is_hashed, tag: None };
        fetch_part(&self.client, &mut wanted, &part, progress, |_| Ok(()))?;
        check(&part, sha256, url.as_str()).inspect_err(|_| drop(fs::remove_file(&part)))?;
        fs::rename(&part, &blob).map_err(at(&blob))
    }
}

/// What the hub says of a file.
struct Content {
    /// What it is called in the cache: the SHA-256 of large files, git's name of small ones.
    tag: String,
    size_bytes: Option<u64>,
}

impl Content {
    fn sha256(&self) -> Option<&str> {
        let is_hash = self.tag.len() == 64 && self.tag.chars().all(|character| character.is_ascii_hexdigit());
        is_hash.then_some(self.tag.as_str())
    }
}

/// Lets a snapshot's name lead to its content, as the hub's client does.
fn lead(link: &Path, name: &str, tag: &str) -> Result<(), DownloadError> {
    let Some(parent) = link.parent() else { return Ok(()) };
    fs::create_dir_all(parent).map_err(at(parent))?;
    let up = "../".repeat(2 + name.matches('/').count());
    match std::os::unix::fs::symlink(format!("{up}blobs/{tag}"), link) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(at(link)(error)),
        _ => Ok(()),
    }
}
