//! All images of the inputs, one after another.

use crate::file_list::read_file_list;
use crate::image_entry::id_digest;
use crate::shard_samples::ShardSamples;
use crate::{
    Content, FileVersion, ImageEntry, IntakeError, KnownMetadata, MetadataById, SkippedEntry, image_files,
    read_metadata,
};
use std::collections::{HashSet, VecDeque};
use std::path::{Path, PathBuf, absolute};
use std::{fs, io};

/// How inputs are read.
#[derive(Debug, Clone)]
pub struct SourceOptions {
    /// Where relative names in file lists start; the list's folder if absent.
    pub root: Option<PathBuf>,
    /// A file of records for [`read_metadata`]. They override what an archive says of its images, field by field.
    pub metadata: Option<PathBuf>,
    /// Larger images are left out.
    pub max_image_bytes: u64,
}

/// Reads images from folders, files, file lists and tar shards.
///
/// Folders and lists are searched when it is opened, archives while it is iterated, with one sample of them in memory.
/// What cannot be read, is too large, or has an image id that came before is given as a [`SkippedEntry`].
pub struct ImageSource {
    planned: VecDeque<Planned>,
    shard: Option<ShardSamples>,
    total: Option<u64>,
    metadata: MetadataById,
    seen: HashSet<u128>,
    max_image_bytes: u64,
}

enum Planned {
    File { image_id: String, path: PathBuf },
    Shard(PathBuf),
    Skipped(SkippedEntry),
}

impl ImageSource {
    /// Opens the inputs: a folder (an image's id is its path below it, with `/` between the parts), an image file (its
    /// name), a `.txt` or `.lst` file with one path a line (the path as written there), or a tar archive, plain or in
    /// gzip (the member's path).
    ///
    /// # Errors
    /// [`IntakeError::Missing`] and [`IntakeError::UnknownEnding`] name the input; others as [`read_metadata`] and for
    /// unreadable lists.
    pub fn open(inputs: &[PathBuf], options: SourceOptions) -> Result<Self, IntakeError> {
        let SourceOptions { root, metadata, max_image_bytes } = options;
        let mut planned = VecDeque::new();
        for input in inputs {
            plan(input, root.as_deref(), &mut planned)?;
        }
        let metadata = metadata.as_deref().map(read_metadata).transpose()?.unwrap_or_default();
        let has_shards = planned.iter().any(|planned| matches!(planned, Planned::Shard(_)));
        let total = (!has_shards).then_some(planned.len() as u64);
        Ok(Self { planned, shard: None, total, metadata, seen: HashSet::new(), max_image_bytes })
    }

    /// Number of items that the iteration gives from the beginning to the end; not known of archives.
    pub fn total(&self) -> Option<u64> {
        self.total
    }

    /// After the iteration: how many metadata records have no image, and the first of their image ids by name.
    pub fn unused_metadata(&self) -> (usize, Option<String>) {
        (self.metadata.len(), self.metadata.keys().min().cloned())
    }

    /// Adds the metadata file's record and refuses ids that came before.
    fn complete(&mut self, item: Result<ImageEntry, SkippedEntry>) -> Result<ImageEntry, SkippedEntry> {
        match item {
            Ok(mut entry) => {
                if !self.seen.insert(id_digest(&entry.image_id)) {
                    let reason = "another input has this image id; index their common folder, or one at a time";
                    let ImageEntry { image_id, origin, .. } = entry;
                    return Err(SkippedEntry { image_id, origin, reason: reason.to_owned() });
                }
                if let Some(known) = self.metadata.remove(&entry.image_id) {
                    entry.metadata.overlay(known);
                }
                Ok(entry)
            }
            Err(skipped) => {
                // The image exists, so its record is no stray.
                self.metadata.remove(&skipped.image_id);
                Err(skipped)
            }
        }
    }
}

impl Iterator for ImageSource {
    type Item = Result<ImageEntry, SkippedEntry>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(item) = self.shard.as_mut().and_then(Iterator::next) {
                return Some(self.complete(item));
            }
            self.shard = None;
            let item = match self.planned.pop_front()? {
                Planned::File { image_id, path } => file_entry(image_id, path, self.max_image_bytes),
                Planned::Skipped(skipped) => Err(skipped),
                Planned::Shard(path) => match ShardSamples::open(&path, self.max_image_bytes) {
                    Ok(shard) => {
                        self.shard = Some(shard);
                        continue;
                    }
                    Err(skipped) => Err(skipped),
                },
            };
            return Some(self.complete(item));
        }
    }
}

fn plan(input: &Path, root: Option<&Path>, planned: &mut VecDeque<Planned>) -> Result<(), IntakeError> {
    let metadata = fs::metadata(input).map_err(|source| {
        let path = input.to_owned();
        if source.kind() == io::ErrorKind::NotFound {
            IntakeError::Missing { path }
        } else {
            IntakeError::Unreadable { path, source }
        }
    })?;
    // Origins are for people and other programs to find the image again, wherever they stand.
    let path = absolute(input).map_err(IntakeError::unreadable(input))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let ends_in = |endings: &[&str]| endings.iter().any(|ending| name.ends_with(*ending));
    if metadata.is_dir() {
        plan_folder(&path, planned);
    } else if image_files::is_image(&path) {
        let folder = path.parent().unwrap_or(&path);
        planned.push_back(plan_file(folder, &path));
    } else if ends_in(&[".txt", ".lst"]) {
        let files = read_file_list(&path, root)?;
        planned.extend(files.into_iter().map(|(image_id, path)| Planned::File { image_id, path }));
    } else if ends_in(&[".tar", ".tar.gz", ".tgz"]) {
        planned.push_back(Planned::Shard(path));
    } else {
        let known = "a folder, an image (.jpg, .jpeg, .png, .webp, .bmp), a list of files (.txt, .lst) or an archive \
                     (.tar, .tar.gz, .tgz)";
        return Err(IntakeError::UnknownEnding { path: input.to_owned(), known });
    }
    Ok(())
}

fn plan_folder(folder: &Path, planned: &mut VecDeque<Planned>) {
    let found = image_files::find(folder);
    for error in found.unreadable {
        let origin = error.path().unwrap_or(folder).display().to_string();
        let reason = format!("cannot be read: {error}");
        planned.push_back(Planned::Skipped(SkippedEntry { image_id: String::new(), origin, reason }));
    }
    planned.extend(found.images.iter().map(|path| plan_file(folder, path)));
}

/// Names a file by its path below the folder, with `/` between the parts whatever the system's separator.
fn plan_file(folder: &Path, path: &Path) -> Planned {
    let below = path.strip_prefix(folder).unwrap_or(path);
    match below.iter().map(|part| part.to_str()).collect::<Option<Vec<_>>>() {
        Some(parts) => Planned::File { image_id: parts.join("/"), path: path.to_owned() },
        None => Planned::Skipped(SkippedEntry {
            image_id: String::new(),
            origin: path.display().to_string(),
            reason: "its name is not UTF-8; rename it".to_owned(),
        }),
    }
}

fn file_entry(image_id: String, path: PathBuf, max_image_bytes: u64) -> Result<ImageEntry, SkippedEntry> {
    let origin = path.display().to_string();
    let reason = match fs::metadata(&path) {
        Ok(metadata) if metadata.is_file() => {
            let version = FileVersion::of(&metadata);
            if version.bytes > max_image_bytes {
                return Err(SkippedEntry::too_large(image_id, origin, version.bytes, max_image_bytes));
            }
            let (metadata, content) = (KnownMetadata::default(), Content::File(path));
            return Ok(ImageEntry { image_id, origin, version, metadata, content });
        }
        Ok(_) => "not a file".to_owned(),
        Err(error) => format!("cannot be read: {error}"),
    };
    Err(SkippedEntry { image_id, origin, reason })
}

#[cfg(test)]
mod tests;
