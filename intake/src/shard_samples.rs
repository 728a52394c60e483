//! Tar archives of images, with or without WebDataset sidecars.

use crate::image_entry::id_digest;
use crate::member_stream::{Member, MemberKind};
use crate::sidecars::{MAX_SIDECAR_BYTES, Sidecar, known, sidecar_ending, stem};
use crate::tar_members::TarMembers;
use crate::{
    Content, FileVersion, ImageEntry, KnownMetadata, LeftOut, SkippedEntry, image_files, image_signature, left_out,
};
use std::collections::{HashSet, VecDeque};
use std::io;
use std::path::Path;

/// Members held at once while their sample may go on. Names such as `cam.0001.jpg` make a whole archive one sample by
/// WebDataset's rule; the bound keeps it from being held in memory.
const MAX_SAMPLE_MEMBERS: usize = 32;

/// Endings that some writers of shards give to images of any format.
const ANY_IMAGE: [&str; 2] = ["img", "image"];

/// Sidecars that have been met without an image, for finding out whether their images stand elsewhere.
const MAX_STRAYS: usize = 1 << 20;

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
    left_out: LeftOut,
    has_items: bool,
    /// What sidecars of the images are called without their ending, and sidecars that had no image beside them.
    stems: HashSet<u128>,
    strays: Vec<(u128, String)>,
}

#[derive(Default)]
struct Sample {
    key: String,
    images: Vec<ImageEntry>,
    image_bytes: u64,
    sidecars: Vec<Sidecar>,
    /// Whether an image of it is not taken: what tells of it is no stray.
    has_refused: bool,
}

/// What a member is by its name.
enum Naming<'a> {
    Image {
        key: &'a str,
    },
    /// An image if its first bytes are an image's.
    PerhapsImage {
        key: &'a str,
    },
    Sidecar {
        key: &'a str,
        ending: &'static str,
    },
    Hidden,
    Other,
}

fn naming(path: &str) -> Naming<'_> {
    let file_name = path.rsplit('/').next().unwrap_or(path);
    // What is hidden, or in a hidden folder, is left out as in folders; macOS adds a hidden file to each image that has the
    // image's ending.
    if path.split('/').any(|part| part.starts_with('.') && part != "." && part != "..") {
        return Naming::Hidden;
    }
    let Some((_, extension)) = file_name.split_once('.') else { return Naming::Other };
    let key = &path[..path.len() - extension.len() - 1];
    if image_files::is_image(Path::new(file_name)) {
        Naming::Image { key }
    } else if let Some(ending) = sidecar_ending(path) {
        Naming::Sidecar { key, ending }
    } else if ANY_IMAGE.iter().any(|known| extension.rsplit('.').next().unwrap_or_default().eq_ignore_ascii_case(known))
    {
        Naming::PerhapsImage { key }
    } else {
        Naming::Other
    }
}

/// The ids that the images of an archive are going to have, without reading their contents. Ends where the archive is
/// damaged.
pub(crate) fn image_ids(shard: &Path) -> impl Iterator<Item = String> {
    let mut members = TarMembers::open(shard, 0).ok();
    std::iter::from_fn(move || {
        loop {
            let Member { path, kind, .. } = members.as_mut()?.next_member().ok()??;
            let Ok(path) = path else { continue };
            let path = path.trim_start_matches("./");
            if kind == MemberKind::File && matches!(naming(path), Naming::Image { .. } | Naming::PerhapsImage { .. }) {
                return Some(path.to_owned());
            }
        }
    })
}

impl ShardSamples {
    pub(crate) fn open(path: &Path, max_image_bytes: u64) -> Result<Self, SkippedEntry> {
        let shard = path.display().to_string();
        match TarMembers::open(path, max_image_bytes.max(MAX_SIDECAR_BYTES)) {
            Ok(members) => Ok(Self {
                shard,
                members: Some(members),
                max_image_bytes,
                sample: Sample::default(),
                ready: VecDeque::new(),
                left_out: LeftOut::default(),
                has_items: false,
                stems: HashSet::new(),
                strays: Vec::new(),
            }),
            Err(error) => {
                Err(SkippedEntry { image_id: String::new(), origin: shard, reason: format!("cannot be read: {error}") })
            }
        }
    }

    /// After the iteration: what is neither an image nor tells of one.
    pub(crate) fn left_out(mut self) -> LeftOut {
        if !self.has_items {
            self.left_out.add(left_out::EMPTY_INPUTS, || self.shard);
        }
        self.left_out
    }

    fn origin(&self, member: &str) -> String {
        format!("{}!{member}", self.shard)
    }

    fn leave_out(&mut self, kind: &str, member: &str) {
        let shard = &self.shard;
        self.left_out.add(kind, || format!("{shard}!{member}"));
    }

    /// Reads one member, or ends the archive.
    fn advance(&mut self, mut members: TarMembers) {
        match members.next_member().and_then(|member| self.take_member(&mut members, member)) {
            Ok(true) => self.members = Some(members),
            Ok(false) => self.close(),
            Err(error) => {
                self.close();
                let reason = format!("damaged, what follows is lost: {error}");
                let origin = self.shard.clone();
                self.ready.push_back(Err(SkippedEntry { image_id: String::new(), origin, reason }));
            }
        }
    }

    /// Whether there may be another member.
    fn take_member(&mut self, members: &mut TarMembers, member: Option<Member>) -> io::Result<bool> {
        let Some(Member { path, bytes, modified_ms, kind, .. }) = member else { return Ok(false) };
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
        match kind {
            MemberKind::File => {}
            MemberKind::Folder | MemberKind::Note => return Ok(true),
            MemberKind::Special => {
                self.leave_out("devices, pipes and parts of other volumes", path);
                return Ok(true);
            }
            MemberKind::HardLink(_) | MemberKind::SymbolicLink(_) => {
                self.leave_out("links to what does not stand before them in the archive", path);
                return Ok(true);
            }
        }
        match naming(path) {
            Naming::Hidden => self.leave_out(image_files::HIDDEN, path),
            Naming::Other => self.leave_out(&image_files::kind_of(path.rsplit('/').next().unwrap_or(path)), path),
            Naming::Sidecar { key, ending } => {
                self.make_room(path, key, 0);
                let content = if bytes <= MAX_SIDECAR_BYTES {
                    members.content()?
                } else {
                    Err(format!("{bytes} bytes, at most {MAX_SIDECAR_BYTES} are read"))
                };
                self.sample.sidecars.push(Sidecar::new(path, ending, content));
            }
            Naming::Image { key } | Naming::PerhapsImage { key } => {
                if let Err(reason) = self.take_image(members, path, key, FileVersion { bytes, modified_ms })? {
                    let (image_id, origin) = (path.to_owned(), self.origin(path));
                    self.sample.has_refused = true;
                    self.ready.push_back(Err(SkippedEntry { image_id, origin, reason }));
                }
            }
        }
        Ok(true)
    }

    /// Adds an image to its sample, or says why it cannot be taken.
    fn take_image(
        &mut self,
        members: &mut TarMembers,
        path: &str,
        key: &str,
        version: FileVersion,
    ) -> io::Result<Result<(), String>> {
        if let Err(reason) = version.check_size(self.max_image_bytes) {
            self.make_room(path, key, 0);
            return Ok(Err(reason));
        }
        self.make_room(path, key, version.bytes);
        let content = match members.content()? {
            Ok(content) => content,
            Err(reason) => return Ok(Err(reason)),
        };
        if matches!(naming(path), Naming::PerhapsImage { .. }) && !image_signature::is_read(&content) {
            self.leave_out(".img and .image files whose first bytes are those of no image that is read", path);
            return Ok(Ok(()));
        }
        self.stems.insert(id_digest(key));
        self.stems.insert(id_digest(stem(path)));
        self.sample.images.push(ImageEntry {
            image_id: path.to_owned(),
            origin: self.origin(path),
            version,
            metadata: KnownMetadata::default(),
            content: Content::Bytes(content),
        });
        self.sample.image_bytes += version.bytes;
        Ok(Ok(()))
    }

    /// Ends the sample in hand if the next member is of another, or does not fit in beside it.
    fn make_room(&mut self, path: &str, key: &str, bytes: u64) {
        let Sample { key: current, images, image_bytes, sidecars, .. } = &self.sample;
        let is_full = images.len() + sidecars.len() >= MAX_SAMPLE_MEMBERS
            || (!images.is_empty() && image_bytes.saturating_add(bytes) > self.max_image_bytes);
        if current != key {
            self.close_sample();
            self.sample.key = key.to_owned();
        } else if is_full {
            self.close_all_but(stem(path));
        }
    }

    /// Ends what is done of a sample that does not fit into memory: all but the members of one image, and what tells of all
    /// images of the sample.
    fn close_all_but(&mut self, of_image: &str) {
        let key = self.sample.key.clone();
        let (images, done): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.sample.images).into_iter().partition(|image| stem(&image.image_id) == of_image);
        let is_needed = |sidecar: &&Sidecar| stem(&sidecar.path) == of_image || stem(&sidecar.path) == key;
        let carried: Vec<Sidecar> = self.sample.sidecars.iter().filter(is_needed).cloned().collect();
        if done.is_empty() || images.len() + carried.len() >= MAX_SAMPLE_MEMBERS {
            self.sample.images = done.into_iter().chain(images).collect();
            self.close_sample();
            self.sample.key = key;
            return;
        }
        // What is carried over may tell of an image that is still to come.
        let is_stray = |sidecar: &Sidecar| stem(&sidecar.path) != of_image && stem(&sidecar.path) != key;
        let sidecars = std::mem::take(&mut self.sample.sidecars);
        for sidecar in sidecars.iter().filter(|sidecar| is_stray(sidecar)) {
            let tells = self.sample.has_refused || done.iter().any(|image| sidecar.tells_of(&key, &image.image_id));
            if !tells && self.strays.len() < MAX_STRAYS {
                self.strays.push((id_digest(stem(&sidecar.path)), self.origin(&sidecar.path)));
            }
        }
        self.get_ready(&key, done, &sidecars);
        let image_bytes = images.iter().map(|image| image.version.bytes).sum();
        // What tells of all images has told of those that are done.
        let has_refused = self.sample.has_refused || carried.iter().any(|sidecar| stem(&sidecar.path) == key);
        self.sample = Sample { key, images, image_bytes, sidecars: carried, has_refused };
    }

    fn close_sample(&mut self) {
        let Sample { key, images, sidecars, has_refused, .. } = std::mem::take(&mut self.sample);
        for sidecar in &sidecars {
            let tells = has_refused || images.iter().any(|image| sidecar.tells_of(&key, &image.image_id));
            if !tells && self.strays.len() < MAX_STRAYS {
                self.strays.push((id_digest(stem(&sidecar.path)), self.origin(&sidecar.path)));
            }
        }
        self.get_ready(&key, images, &sidecars);
    }

    /// Gives images with what the sidecars of their sample say of them.
    fn get_ready(&mut self, key: &str, images: Vec<ImageEntry>, sidecars: &[Sidecar]) {
        for mut image in images {
            match known(key, &image.image_id, sidecars) {
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

    /// Ends the last sample. Now it is known whether sidecars without an image have one elsewhere.
    fn close(&mut self) {
        self.close_sample();
        for (stem, origin) in std::mem::take(&mut self.strays) {
            let kind = if self.stems.contains(&stem) {
                "sidecars (.json, .cls, .txt) whose image stands elsewhere in the archive; write each beside its image \
                 (tar --sort=name)"
            } else {
                "sidecars (.json, .cls, .txt) without an image"
            };
            self.left_out.add(kind, || origin);
        }
    }
}

impl Iterator for ShardSamples {
    type Item = Result<ImageEntry, SkippedEntry>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(item) = self.ready.pop_front() {
                self.has_items = true;
                return Some(item);
            }
            let members = self.members.take()?;
            self.advance(members);
        }
    }
}

#[cfg(test)]
mod tests;
