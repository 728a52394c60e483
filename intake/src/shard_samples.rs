//! Tar archives of images, with or without WebDataset sidecars.

use crate::image_files;
use crate::record::{self, Record};
use crate::tar_members::{Member, TarMembers};
use crate::{Content, FileVersion, ImageEntry, KnownMetadata, SkippedEntry};
use std::collections::VecDeque;
use std::io;
use std::path::Path;

/// Largest sidecar, in bytes.
const MAX_SIDECAR_BYTES: u64 = 1 << 20;

/// Members held at once while their sample may go on. Names such as `cam.0001.jpg` make a whole archive one sample by
/// WebDataset's rule; the bound keeps it from being held in memory.
const MAX_SAMPLE_MEMBERS: usize = 32;

/// Files beside an image that tell of it, the strongest last: a sample's JSON says most and overrides the others.
const SIDECARS: [&str; 3] = ["txt", "cls", "json"];

/// Fields that WebDataset tools write about the sample and not about the image.
const SAMPLE_FIELDS: [&str; 3] = ["__key__", "__url__", "image_id"];

/// The images of one archive, a sample after another.
///
/// Members whose paths agree up to the first dot of the file name, and that stand side by side, are one sample: images,
/// and what is known of them in `.json` (a record), `.cls` (person id) and `.txt` (attribute `caption`).
pub(crate) struct ShardSamples {
    shard: String,
    members: Option<TarMembers>,
    max_image_bytes: u64,
    sample: Sample,
    ready: VecDeque<Result<ImageEntry, SkippedEntry>>,
}

#[derive(Default)]
struct Sample {
    key: String,
    images: Vec<ImageEntry>,
    image_bytes: u64,
    sidecars: Vec<Sidecar>,
}

struct Sidecar {
    path: String,
    /// The path without its ending.
    stem: String,
    ending: &'static str,
    /// The content, or why there is none.
    content: Result<Vec<u8>, String>,
}

impl ShardSamples {
    pub(crate) fn open(path: &Path, max_image_bytes: u64) -> Result<Self, SkippedEntry> {
        let shard = path.display().to_string();
        let name = path.to_string_lossy().to_lowercase();
        match TarMembers::open(path, !name.ends_with(".tar")) {
            Ok(members) => {
                let (sample, ready) = (Sample::default(), VecDeque::new());
                Ok(Self { shard, members: Some(members), max_image_bytes, sample, ready })
            }
            Err(error) => {
                Err(SkippedEntry { image_id: String::new(), origin: shard, reason: format!("cannot be read: {error}") })
            }
        }
    }

    fn origin(&self, member: &str) -> String {
        format!("{}!{member}", self.shard)
    }

    /// Reads one member, or ends the archive.
    fn advance(&mut self, mut members: TarMembers) {
        match members.next_member().and_then(|member| self.take_member(&mut members, member)) {
            Ok(true) => self.members = Some(members),
            Ok(false) => self.close_sample(),
            Err(error) => {
                self.close_sample();
                let reason = format!("damaged, what follows is lost: {error}");
                let origin = self.shard.clone();
                self.ready.push_back(Err(SkippedEntry { image_id: String::new(), origin, reason }));
            }
        }
    }

    /// Whether there may be another member.
    fn take_member(&mut self, members: &mut TarMembers, member: Option<Member>) -> io::Result<bool> {
        let Some(Member { path, bytes, modified_ms, is_file }) = member else { return Ok(false) };
        let path = match path {
            Ok(path) => path,
            Err(path) => {
                let origin = self.origin(&String::from_utf8_lossy(&path));
                let reason = "its name is not UTF-8; rename it".to_owned();
                self.ready.push_back(Err(SkippedEntry { image_id: String::new(), origin, reason }));
                return Ok(true);
            }
        };
        let path = path.trim_start_matches("./");
        let file_name = path.rsplit('/').next().unwrap_or(path);
        // Hidden files are left out as in folders; macOS adds one to each image that has the image's ending.
        let Some((_, extension)) = file_name.split_once('.').filter(|(base, _)| is_file && !base.is_empty()) else {
            return Ok(true);
        };
        let key = &path[..path.len() - extension.len() - 1];
        let (stem, ending) = path.rsplit_once('.').unwrap_or((path, ""));
        if image_files::is_image(Path::new(file_name)) {
            if bytes > self.max_image_bytes {
                let origin = self.origin(path);
                let skipped = SkippedEntry::too_large(path.to_owned(), origin, bytes, self.max_image_bytes);
                self.ready.push_back(Err(skipped));
                return Ok(true);
            }
            self.make_room(key, bytes);
            let image = ImageEntry {
                image_id: path.to_owned(),
                origin: self.origin(path),
                version: FileVersion { bytes, modified_ms },
                metadata: KnownMetadata::default(),
                content: Content::Bytes(members.content()?),
            };
            self.sample.images.push(image);
            self.sample.image_bytes += bytes;
        } else if let Some(ending) = SIDECARS.into_iter().find(|known| ending.eq_ignore_ascii_case(known)) {
            self.make_room(key, 0);
            let content = if bytes <= MAX_SIDECAR_BYTES {
                Ok(members.content()?)
            } else {
                Err(format!("{bytes} bytes, at most {MAX_SIDECAR_BYTES} are read"))
            };
            let (path, stem) = (path.to_owned(), stem.to_owned());
            self.sample.sidecars.push(Sidecar { path, stem, ending, content });
        }
        Ok(true)
    }

    /// Ends the sample in hand if the next member is of another, or does not fit in beside it.
    fn make_room(&mut self, key: &str, bytes: u64) {
        let Sample { key: current, images, image_bytes, sidecars } = &self.sample;
        let is_full = images.len() + sidecars.len() >= MAX_SAMPLE_MEMBERS
            || (!images.is_empty() && image_bytes.saturating_add(bytes) > self.max_image_bytes);
        if current != key || is_full {
            self.close_sample();
            self.sample.key = key.to_owned();
        }
    }

    fn close_sample(&mut self) {
        let Sample { key, images, sidecars, .. } = std::mem::take(&mut self.sample);
        for mut image in images {
            match known(&key, &image.image_id, &sidecars) {
                Ok(metadata) => {
                    image.metadata = metadata;
                    self.ready.push_back(Ok(image));
                }
                Err(reason) => {
                    let ImageEntry { image_id, origin, .. } = image;
                    self.ready.push_back(Err(SkippedEntry { image_id, origin, reason }));
                }
            }
        }
    }
}

impl Iterator for ShardSamples {
    type Item = Result<ImageEntry, SkippedEntry>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(item) = self.ready.pop_front() {
                return Some(item);
            }
            let members = self.members.take()?;
            self.advance(members);
        }
    }
}

/// What the sidecars say of an image: those of the whole sample, and those named like the image up to its last dot.
fn known(key: &str, image_id: &str, sidecars: &[Sidecar]) -> Result<KnownMetadata, String> {
    let image_stem = image_id.rsplit_once('.').map_or(image_id, |(stem, _)| stem);
    let mut known = KnownMetadata::default();
    for ending in SIDECARS {
        for sidecar in sidecars {
            if sidecar.ending == ending && (sidecar.stem == key || sidecar.stem == image_stem) {
                known.overlay(read_sidecar(sidecar).map_err(|reason| format!("{}: {reason}", sidecar.path))?);
            }
        }
    }
    Ok(known)
}

fn read_sidecar(sidecar: &Sidecar) -> Result<KnownMetadata, String> {
    let content = sidecar.content.as_deref().map_err(Clone::clone)?;
    if sidecar.ending == "json" {
        let mut record: Record =
            serde_json::from_slice(content).map_err(|error| format!("expected a JSON object: {error}"))?;
        for name in SAMPLE_FIELDS {
            record.remove(name);
        }
        return record::known(record);
    }
    let text = std::str::from_utf8(content).map_err(|_| "not UTF-8".to_owned())?.trim();
    let mut known = KnownMetadata::default();
    if !text.is_empty() {
        if sidecar.ending == "cls" {
            known.person_id = Some(text.to_owned());
        } else {
            known.attributes.insert("caption".to_owned(), text.to_owned());
        }
    }
    Ok(known)
}

#[cfg(test)]
mod tests;
