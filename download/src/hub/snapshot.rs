//! One commit of a repository, here and there: its files, each under the name of its content.

use super::address;
use crate::asking::{Client, refused, text_of, wrong};
use crate::content_hash::ContentHash;
use crate::error::at;
use crate::transfer::{Wanted, fetch_part};
use crate::web::{check, locked};
use crate::{Address, DownloadError, Progress};
use std::fs;
use std::path::{Path, PathBuf};
use ureq::http::HeaderMap;

/// One commit of a repository, here and there.
pub(super) struct Snapshot<'a> {
    pub(super) client: Client<'a>,
    pub(super) repository: &'a str,
    pub(super) commit: String,
    /// The repository's folder of the cache.
    pub(super) folder: PathBuf,
    /// The commit's folder in it.
    pub(super) snapshot: PathBuf,
}

/// What the hub says of a file.
pub(super) struct Content {
    url: Address,
    /// What it is called in the cache: the SHA-256 of large files, git's name of small ones.
    tag: String,
    hash: ContentHash,
    pub(super) size_bytes: Option<u64>,
}

impl Snapshot<'_> {
    /// Fetches a file unless it is here, and says where it is.
    pub(super) fn fetch(
        &self,
        name: &str,
        limit_bytes: u64,
        sha256: Option<&str>,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<PathBuf, DownloadError> {
        let link = self.snapshot.join(name);
        let url = self.address(name);
        if !link.exists() {
            let content = self.content(name)?;
            if let (Some(wanted), ContentHash::Sha256(found)) = (sha256, &content.hash)
                && !found.eq_ignore_ascii_case(wanted)
            {
                return Err(wrong(&url, &format!("has the SHA-256 {found}, not {wanted}")));
            }
            self.fetch_content(&content, name, limit_bytes, progress)?;
        }
        check(&link, sha256, &url.to_string())?;
        Ok(link)
    }

    /// Fetches files that belong together, none of them before it is known that all of them are within the limit.
    pub(super) fn fetch_all(
        &self,
        names: impl IntoIterator<Item = String>,
        limit_bytes: u64,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<(), DownloadError> {
        let too_large = || DownloadError::TooLarge { url: format!("hf://{}", self.repository), limit_bytes };
        let mut left_bytes = limit_bytes;
        let mut missing = Vec::new();
        for name in names {
            let link = self.snapshot.join(&name);
            let size_bytes = if link.exists() {
                Some(link.metadata().map_err(at(&link))?.len())
            } else {
                let content = self.content(&name)?;
                let size_bytes = content.size_bytes;
                missing.push((name, content));
                size_bytes
            };
            left_bytes = left_bytes.checked_sub(size_bytes.unwrap_or(0)).ok_or_else(too_large)?;
        }
        for (name, content) in missing {
            // What was announced is counted already; what was not is counted as it comes.
            let announced_bytes = content.size_bytes.unwrap_or(0);
            let fetched = self.fetch_content(&content, &name, left_bytes.saturating_add(announced_bytes), progress);
            fetched
                .map_err(|error| if matches!(error, DownloadError::TooLarge { .. }) { too_large() } else { error })?;
            let link = self.snapshot.join(&name);
            let found_bytes = link.metadata().map_err(at(&link))?.len();
            left_bytes = left_bytes.checked_sub(found_bytes.saturating_sub(announced_bytes)).ok_or_else(too_large)?;
        }
        Ok(())
    }

    fn address(&self, name: &str) -> Address {
        let file = ["resolve", self.commit.as_str()].into_iter().chain(name.split('/'));
        address(self.client.settings, [], self.repository, file)
    }

    /// Asks what a file is called in the cache, for which its first byte is enough.
    fn content(&self, name: &str) -> Result<Content, DownloadError> {
        let url = self.address(name);
        let asked = self.client.patiently(|| {
            let headers = [("accept-encoding", "identity".to_owned()), ("range", "bytes=0-0".to_owned())];
            let asked = self.client.ask(&url, &headers)?;
            // An empty file has no first byte.
            if asked.last.status().is_success() || asked.last.status() == 416 {
                return Ok(asked);
            }
            Err(refused(&url, &asked.last))
        })?;
        let tag = text_of(&asked.said, "x-linked-etag").or_else(|| text_of(&asked.said, "etag"));
        let tag = tag.map(|tag| tag.trim_start_matches("W/").trim_matches('"').to_owned());
        let hashed = tag.and_then(|tag| Some((ContentHash::of_tag(&tag)?, tag)));
        let Some((hash, tag)) = hashed else { return Err(wrong(&url, "does not name its content by a hash")) };
        let linked = text_of(&asked.said, "x-linked-size").and_then(|size| size.parse().ok());
        let size_bytes = linked.or_else(|| whole_size(asked.last.headers()));
        Ok(Content { url, tag, hash, size_bytes })
    }

    fn fetch_content(
        &self,
        content: &Content,
        name: &str,
        limit_bytes: u64,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<(), DownloadError> {
        let Content { url, tag, hash, size_bytes } = content;
        let blobs = self.folder.join("blobs");
        fs::create_dir_all(&blobs).map_err(at(&blobs))?;
        // Other clients of the hub keep parts of their own here, under a name that ends otherwise.
        let (blob, part) = (blobs.join(tag), blobs.join(format!("{tag}.descry-incomplete")));
        let _lock = locked(&blobs.join(format!("{tag}.lock")))?;
        if !blob.exists() {
            let (url, size_bytes) = (url.clone(), *size_bytes);
            // The hash tells in the end whether parts of different days belong together.
            let mut wanted = Wanted { url, name, size_bytes, limit_bytes, is_hashed: true, tag: None };
            fetch_part(&self.client, &mut wanted, &part, progress, |_| Ok(()))?;
            hash.check(&part, &wanted.url.to_string()).inspect_err(|_| drop(fs::remove_file(&part)))?;
            fs::rename(&part, &blob).map_err(at(&blob))?;
        }
        lead(&self.snapshot.join(name), name, tag)
    }
}

/// The size of a file whose first byte came, or all of it.
fn whole_size(headers: &HeaderMap) -> Option<u64> {
    match text_of(headers, "content-range") {
        Some(range) => range.rsplit_once('/')?.1.parse().ok(),
        None => text_of(headers, "content-length")?.parse().ok(),
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
