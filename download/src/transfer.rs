//! One file over the wire: breaks, and servers that say one thing and send another.

mod answer;

use crate::asking::{Chunks, Client, broken, pause, wrong};
use crate::error::at;
use crate::{Address, DownloadError, Progress};
use answer::Answer;
use std::fs::{self, File, OpenOptions};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;

/// So much of a file tells whether it is a web page.
const HEAD_BYTES: usize = 64;

/// What is known of a file before it comes.
pub(crate) struct Wanted<'a> {
    pub(crate) url: Address,
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
            return Err(DownloadError::TooLarge { url: self.url.to_string(), limit_bytes: self.limit_bytes });
        }
        Ok(())
    }

    /// Whether a part of so many bytes is of no use: the rest may be that of another file, or there is none.
    fn is_useless(&self, part_bytes: u64) -> bool {
        let has_name = self.is_hashed || self.tag.is_some();
        part_bytes > 0 && (!has_name || self.size_bytes.is_some_and(|size| part_bytes > size))
    }
}

/// How an attempt ended that did not fail.
enum Ended {
    Whole,
    /// The part that was here belongs to another file, and is gone.
    Discarded,
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
        let here = length(part)?;
        if wanted.is_useless(here) {
            empty(part)?;
        } else if wanted.size_bytes.is_some_and(|size| here == size && size > 0) {
            return Ok(());
        }
        let failure = match attempt(client, wanted, part, progress, &mut keep_tag) {
            Ok(Ended::Whole) => return Ok(()),
            // An empty part can't be discarded again, so this ends.
            Ok(Ended::Discarded) => continue,
            Err(failure) => failure,
        };
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
) -> Result<Ended, DownloadError> {
    let url = wanted.url.clone();
    let here = length(part)?;
    let mut headers = vec![("accept-encoding", "identity".to_owned())];
    if here > 0 {
        headers.push(("range", format!("bytes={here}-")));
        headers.extend(wanted.tag.clone().map(|tag| ("if-range", tag)));
    }
    let reply = client.ask(&url, &headers)?.last;
    let answer = Answer::of(&url, &reply, here)?;
    let Some(answer) = answer.filter(|answer| answer.continues(wanted)) else {
        empty(part)?;
        wanted.tag = None;
        return Ok(Ended::Discarded);
    };
    wanted.check_size(answer.total_bytes)?;
    if let (Some(total), Some(size)) = (answer.total_bytes, wanted.size_bytes)
        && total != size
    {
        return Err(wrong(&url, &format!("announces {total} bytes of a file that has {size}")));
    }
    let total_bytes = answer.total_bytes.or(wanted.size_bytes);
    let mut file = OpenOptions::new().create(true).truncate(false).write(true).open(part).map_err(at(part))?;
    if answer.start == 0 {
        if here > 0 {
            file.set_len(0).map_err(at(part))?;
        }
        keep_tag(answer.tag.as_deref())?;
        wanted.tag = answer.tag.filter(|_| !wanted.is_hashed);
    }
    file.seek(SeekFrom::Start(answer.start)).map_err(at(part))?;
    let mut done_bytes = answer.start;
    let mut head = Vec::new();
    let mut chunks = Chunks::of(&url, reply.into_body(), client.settings);
    while let Some(chunk) = chunks.next()? {
        if answer.start == 0 && head.len() < HEAD_BYTES {
            head.extend(chunk.iter().take(HEAD_BYTES - head.len()));
            refuse_page(&url, &head)?;
        }
        done_bytes += chunk.len() as u64;
        wanted.check_size(Some(done_bytes))?;
        if answer.end.or(total_bytes).is_some_and(|end| done_bytes > end) {
            return Err(wrong(&url, "sends more than it announced"));
        }
        file.write_all(&chunk).map_err(at(part))?;
        progress(Progress { file: wanted.name, done_bytes, total_bytes });
    }
    file.sync_all().map_err(at(part))?;
    match total_bytes {
        Some(total) if done_bytes < total => Err(broken(&url, format!("ends at {done_bytes} of {total} bytes"))),
        _ => Ok(Ended::Whole),
    }
}

fn refuse_page(url: &Address, head: &[u8]) -> Result<(), DownloadError> {
    let beginning = String::from_utf8_lossy(head).trim_start().to_ascii_lowercase();
    if beginning.starts_with("<!doctype html") || beginning.starts_with("<html") {
        return Err(wrong(url, "sends a web page where a file was asked for"));
    }
    Ok(())
}

fn length(path: &Path) -> Result<u64, DownloadError> {
    match fs::metadata(path) {
        Ok(found) => Ok(found.len()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(at(path)(error)),
    }
}

fn empty(path: &Path) -> Result<(), DownloadError> {
    File::create(path).map(drop).map_err(at(path))
}
