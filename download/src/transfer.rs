//! One file over the wire: breaks, and servers that say one thing and send another.

use crate::asking::{Chunks, Client, broken, header_of, pause, refused, shown, wrong};
use crate::error::at;
use crate::{DownloadError, Progress};
use std::fs::{self, File, OpenOptions};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;
use ureq::Body;
use ureq::http::{Response, StatusCode};
use url::Url;

/// What is known of a file before it comes.
pub(crate) struct Wanted<'a> {
    pub(crate) url: Url,
    /// As progress shows it.
    pub(crate) name: &'a str,
    pub(crate) size_bytes: Option<u64>,
    pub(crate) limit_bytes: u64,
    /// The entity tag of the part that is here.
    pub(crate) tag: Option<String>,
    /// Whether its hash is known, so that parts can be joined without a tag.
    pub(crate) is_hashed: bool,
}

impl Wanted<'_> {
    fn check_size(&self, size_bytes: Option<u64>) -> Result<(), DownloadError> {
        if size_bytes.is_some_and(|size| size > self.limit_bytes) {
            return Err(DownloadError::TooLarge { url: shown(&self.url), limit_bytes: self.limit_bytes });
        }
        Ok(())
    }
}

/// Fetches a file into `part`, going on after breaks. `keep_tag` learns the entity tag of what is in it.
pub(crate) fn fetch_part(
    client: &Client<'_>,
    wanted: &mut Wanted<'_>,
    part: &Path,
    progress: &mut dyn FnMut(Progress<'_>),
    mut keep_tag: impl FnMut(Option<&str>) -> Result<(), DownloadError>,
) -> Result<(), DownloadError> {
    wanted.check_size(wanted.size_bytes)?;
    let mut most = length(part)?;
    let mut retries = client.retries();
    loop {
        let before = length(part)?;
        // Without a hash or a tag, the rest may be that of another file.
        if before > 0 && !wanted.is_hashed && wanted.tag.is_none() {
            File::create(part).map_err(at(part))?;
        } else if wanted.size_bytes.is_some_and(|size| before == size && size > 0) {
            return Ok(());
        }
        let Err(failure) = attempt(client, wanted, part, progress, &mut keep_tag) else { return Ok(()) };
        let after = length(part)?;
        if after > most {
            most = after;
            retries.succeed();
        }
        pause(&mut retries, failure)?;
    }
}

fn attempt(
    client: &Client<'_>,
    wanted: &mut Wanted<'_>,
    part: &Path,
    progress: &mut dyn FnMut(Progress<'_>),
    keep_tag: &mut impl FnMut(Option<&str>) -> Result<(), DownloadError>,
) -> Result<(), DownloadError> {
    let url = &wanted.url.clone();
    let here = length(part)?;
    let mut headers = Vec::new();
    if here > 0 {
        headers.push(("range", format!("bytes={here}-")));
        headers.extend(wanted.tag.clone().map(|tag| ("if-range", tag)));
    }
    let reply = client.ask(url, &headers)?.last;
    let start = match reply.status() {
        StatusCode::PARTIAL_CONTENT if here > 0 => match range(&reply) {
            Some((start, total)) if start == here && wanted.size_bytes.is_none_or(|size| total == Some(size)) => here,
            _ => return Err(wrong(url, "sends another part than it was asked for")),
        },
        // The server knows no parts, or the file has changed since: from the beginning.
        StatusCode::OK => 0,
        StatusCode::RANGE_NOT_SATISFIABLE => {
            File::create(part).map_err(at(part))?;
            return Err(broken(url, "the file is another one than the part that is here"));
        }
        _ => return Err(refused(url, &reply)),
    };
    if header_of(&reply, "content-type").is_some_and(|kind| kind.starts_with("text/html")) {
        return Err(wrong(url, "sends a web page where a file was asked for; is this the address of the file itself?"));
    }
    let announced = header_of(&reply, "content-length").and_then(|length| length.parse::<u64>().ok());
    let total = announced.map(|length| start.saturating_add(length));
    wanted.check_size(total)?;
    if let (Some(total), Some(size)) = (total, wanted.size_bytes)
        && total != size
    {
        return Err(wrong(url, &format!("announces {total} bytes of a file that has {size}")));
    }
    let total = total.or(wanted.size_bytes);
    let mut file = OpenOptions::new().create(true).truncate(false).write(true).open(part).map_err(at(part))?;
    if start == 0 {
        file.set_len(0).map_err(at(part))?;
        // A weak tag names no bytes, so no part may be joined to another by it.
        let tag = header_of(&reply, "etag").filter(|tag| !tag.starts_with("W/"));
        keep_tag(tag.as_deref())?;
        wanted.tag = tag.filter(|_| !wanted.is_hashed);
    }
    file.seek(SeekFrom::Start(start)).map_err(at(part))?;
    let mut done_bytes = start;
    let mut chunks = Chunks::of(url, reply.into_body(), client.settings);
    while let Some(chunk) = chunks.next()? {
        if done_bytes == 0 && is_page(&chunk) {
            return Err(wrong(url, "sends a web page where a file was asked for"));
        }
        done_bytes += chunk.len() as u64;
        wanted.check_size(Some(done_bytes))?;
        file.write_all(&chunk).map_err(at(part))?;
        progress(Progress { file: wanted.name, done_bytes, total_bytes: total });
    }
    file.sync_all().map_err(at(part))?;
    match total {
        Some(total) if done_bytes < total => Err(broken(url, format!("ends at {done_bytes} of {total} bytes"))),
        Some(total) if done_bytes > total => Err(wrong(url, &format!("sends more than the file's {total} bytes"))),
        _ => Ok(()),
    }
}

/// Start and whole length of `bytes START-END/TOTAL`.
fn range(reply: &Response<Body>) -> Option<(u64, Option<u64>)> {
    let range = header_of(reply, "content-range")?;
    let (part, total) = range.strip_prefix("bytes ")?.split_once('/')?;
    Some((part.split_once('-')?.0.parse().ok()?, total.parse().ok()))
}

fn is_page(chunk: &[u8]) -> bool {
    let beginning = String::from_utf8_lossy(&chunk[..chunk.len().min(64)]).trim_start().to_ascii_lowercase();
    beginning.starts_with("<!doctype html") || beginning.starts_with("<html")
}

fn length(path: &Path) -> Result<u64, DownloadError> {
    match fs::metadata(path) {
        Ok(found) => Ok(found.len()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(at(path)(error)),
    }
}
