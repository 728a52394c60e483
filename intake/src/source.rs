//! All images of the inputs, one after another.

use crate::archive_encoding::ArchiveEncoding;
use crate::file_list::read_file_list;
use crate::frame_boxes::BoxTable;
use crate::frame_cutter::{Cutting, FrameCutter};
use crate::image_entry::id_digest;
use crate::image_records::ImageRecords;
use crate::left_out::EMPTY_INPUTS;
use crate::shard_samples::{self, ShardSamples};
use crate::time_sources::TimeTeller;
use crate::{
    BoxOptions, Content, FileVersion, ImageEntry, InputSummary, IntakeError, KnownMetadata, LeftOut, SkippedEntry,
    TimeSources, image_files,
};
use std::collections::{HashSet, VecDeque};
use std::path::{Path, PathBuf, absolute};
use std::{fs, io};

/// How inputs are read.
#[derive(Debug, Clone)]
pub struct SourceOptions {
    /// Where relative names in file lists start; the list's folder if absent.
    pub root: Option<PathBuf>,
    /// A file of records for [`read_metadata`](crate::read_metadata). They override what an archive says of its images,
    /// field by field, and may name images with the prefix or without.
    pub metadata: Option<PathBuf>,
    /// Put before every image id.
    pub prefix: String,
    /// Whether images are given where no record of the metadata fits any of them.
    pub allow_unmatched: bool,
    /// Larger images are left out.
    pub max_image_bytes: u64,
    /// What tells when images, or frames, were taken, where nothing else does.
    pub times: TimeSources,
}

/// Reads images from folders, files, file lists and tar shards.
///
/// Folders and lists are searched when it is opened, archives while it is iterated, with one sample of them in memory.
/// What cannot be read, is too large, or has an image id that came before is given as a [`SkippedEntry`].
pub struct ImageSource {
    planned: VecDeque<Planned>,
    shard: Option<ShardSamples>,
    /// Where the inputs are frames.
    cutter: Option<FrameCutter>,
    cutting: Option<Cutting>,
    box_notes: Vec<String>,
    total: Option<u64>,
    records: ImageRecords,
    left_out: LeftOut,
    seen: HashSet<u128>,
    max_image_bytes: u64,
    times: TimeTeller,
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
    /// [`IntakeError::Missing`] and [`IntakeError::UnknownEnding`] name the input; [`IntakeError::NothingMatches`] where
    /// no record of the metadata fits any image; others as [`read_metadata`](crate::read_metadata) and for unreadable
    /// lists.
    pub fn open(inputs: &[PathBuf], options: SourceOptions) -> Result<Self, IntakeError> {
        Self::open_with(inputs, options, None)
    }

    /// Opens inputs whose images are frames: the boxes of people are cut out of each. A crop's name is that of its frame with
    /// the box behind it, such as `c1/000123.jpg#412,80,64,180`. Records of the metadata name crops so, or a frame, for all that is cut out of it.
    ///
    /// # Errors
    /// As [`ImageSource::open`]; [`IntakeError::Malformed`] and others for the boxes; [`IntakeError::UnknownEnding`] for an
    /// archive.
    pub fn open_frames(inputs: &[PathBuf], options: SourceOptions, boxes: BoxOptions) -> Result<Self, IntakeError> {
        Self::open_with(inputs, options, Some(boxes))
    }

    fn open_with(inputs: &[PathBuf], options: SourceOptions, boxes: Option<BoxOptions>) -> Result<Self, IntakeError> {
        let SourceOptions { root, metadata, prefix, allow_unmatched, max_image_bytes, times } = options;
        let (mut planned, mut left_out) = (VecDeque::new(), LeftOut::default());
        for input in inputs {
            let before = planned.len();
            plan(input, root.as_deref(), &mut planned, &mut left_out)?;
            if planned.len() == before {
                left_out.add(EMPTY_INPUTS, || input.display().to_string());
            }
        }
        let records = ImageRecords::open(metadata.as_deref(), prefix)?;
        let (mut cutter, mut box_notes) = (None, Vec::new());
        if let Some(boxes) = boxes {
            let frame_ids = frame_ids(&planned)?;
            let (opened, table) = FrameCutter::open(boxes, max_image_bytes, &frame_ids)?;
            let BoxTable { skipped, left_out: unwanted, notes, .. } = table;
            planned.extend(skipped.into_iter().map(Planned::Skipped));
            left_out.extend(unwanted);
            (cutter, box_notes) = (Some(opened), notes);
        } else if !allow_unmatched {
            records.require_match(planned.iter().flat_map(names))?;
        }
        let has_shards = planned.iter().any(|planned| matches!(planned, Planned::Shard(_)));
        let total = match &cutter {
            None => (!has_shards).then_some(planned.len() as u64),
            // How many boxes are too small is known when they are cut.
            Some(cutter) => Some(cutter.total()).filter(|&total| total == 0 && planned.iter().all(is_file)),
        };
        Ok(Self {
            planned,
            shard: None,
            cutter,
            cutting: None,
            box_notes,
            total,
            records,
            left_out,
            seen: HashSet::new(),
            max_image_bytes,
            times: TimeTeller::new(times),
        })
    }

    /// Number of items that the iteration gives from the beginning to the end; not known of archives.
    pub fn total(&self) -> Option<u64> {
        self.total
    }

    /// What is known not to be read, of archives as far as they were read.
    pub fn left_out(&self) -> &LeftOut {
        &self.left_out
    }

    /// After the iteration: what is to be said of the inputs.
    pub fn summary(self) -> InputSummary {
        let (unused_metadata, first_unused_metadata) = self.records.unused();
        let notes = self.box_notes.into_iter().chain(self.records.notes).chain(self.times.notes()).collect();
        InputSummary { left_out: self.left_out, notes, unused_metadata, first_unused_metadata }
    }

    /// Adds the metadata file's record and refuses ids that came before.
    fn complete(&mut self, item: Result<ImageEntry, SkippedEntry>) -> Result<ImageEntry, SkippedEntry> {
        match item {
            Ok(mut entry) => {
                let known = self.records.take(&entry.image_id);
                let name = match &self.cutter {
                    None => entry.image_id.clone(),
                    // The numbers of a box are no time.
                    Some(_) => entry.metadata.frame_id.clone().unwrap_or_default(),
                };
                entry.image_id = self.records.image_id(&entry.image_id);
                if !self.seen.insert(id_digest(&entry.image_id)) {
                    let reason = if self.cutter.is_some() {
                        "another box of this frame lies there already"
                    } else {
                        "another input has this image id; index their common folder, or each input by itself with a \
                         --prefix of its own"
                    };
                    let ImageEntry { image_id, origin, .. } = entry;
                    return Err(SkippedEntry { image_id, origin, reason: reason.to_owned() });
                }
                if let Some(known) = known {
                    entry.metadata.overlay(known);
                }
                let (content, max_bytes) = (&entry.content, self.max_image_bytes);
                self.times.tell(&name, &mut entry.metadata, || content.exif_time(max_bytes));
                Ok(entry)
            }
            Err(mut skipped) => {
                if !skipped.image_id.is_empty() {
                    // The image exists, so its record is no stray.
                    self.records.take(&skipped.image_id);
                    skipped.image_id = self.records.image_id(&skipped.image_id);
                }
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
            if let Some(shard) = self.shard.take() {
                self.left_out.extend(shard.left_out());
            }
            if let (Some(cutter), Some(cutting)) = (&self.cutter, &mut self.cutting) {
                if let Some(item) = cutter.next_of(cutting, &mut self.left_out) {
                    return Some(self.complete(item));
                }
                self.cutting = None;
            }
            let item = match self.planned.pop_front()? {
                Planned::File { image_id, path } if self.cutter.is_some() => {
                    let (record, left_out) = (self.records.take(&image_id), &mut self.left_out);
                    let cutter = self.cutter.as_mut();
                    self.cutting = cutter.and_then(|cutter| cutter.take_up(image_id, path, record, left_out));
                    continue;
                }
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

/// The names of what is planned, as records would give them.
fn names(planned: &Planned) -> Box<dyn Iterator<Item = String> + '_> {
    match planned {
        Planned::File { image_id, .. } => Box::new(std::iter::once(image_id.clone())),
        Planned::Skipped(skipped) => Box::new(Some(skipped.image_id.clone()).filter(|id| !id.is_empty()).into_iter()),
        Planned::Shard(path) => Box::new(shard_samples::image_ids(path)),
    }
}

fn is_file(planned: &Planned) -> bool {
    matches!(planned, Planned::File { .. })
}

/// The names of frames.
///
/// # Errors
/// [`IntakeError::UnknownEnding`] for archives: a box may be of any of their members, and they are read once from front to back.
fn frame_ids(planned: &VecDeque<Planned>) -> Result<Vec<&str>, IntakeError> {
    let mut frame_ids = Vec::new();
    for planned in planned {
        match planned {
            Planned::File { image_id, .. } => frame_ids.push(image_id.as_str()),
            Planned::Skipped(_) => {}
            Planned::Shard(path) => {
                let known = "frames in a folder, as images or in a list of files; unpack the archive";
                return Err(IntakeError::UnknownEnding { path: path.clone(), known });
            }
        }
    }
    Ok(frame_ids)
}

fn plan(
    input: &Path,
    root: Option<&Path>,
    planned: &mut VecDeque<Planned>,
    left_out: &mut LeftOut,
) -> Result<(), IntakeError> {
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
        plan_folder(&path, planned, left_out);
    } else if image_files::is_image(&path) {
        let folder = path.parent().unwrap_or(&path);
        planned.push_back(plan_file(folder, &path));
    } else if ends_in(&[".txt", ".lst"]) {
        let files = read_file_list(&path, root)?;
        planned.extend(files.into_iter().map(|(image_id, path)| Planned::File { image_id, path }));
    } else if ends_in(&[".tar", ".tar.gz", ".tgz"]) {
        if !metadata.is_file() {
            return Err(IntakeError::malformed(
                &path,
                "it is no regular file, so it cannot be read twice; save it first",
            ));
        }
        planned.push_back(Planned::Shard(path));
    } else if metadata.is_file()
        && let Err(error) = ArchiveEncoding::of(&path)
    {
        return Err(IntakeError::Unreadable { path, source: error });
    } else {
        let known = "a folder, an image (.jpg, .jpeg, .jfif, .jpe, .pjpeg, .png, .webp, .bmp), a list of files (.txt, \
                     .lst) or an archive (.tar, .tar.gz, .tgz)";
        return Err(IntakeError::UnknownEnding { path: input.to_owned(), known });
    }
    Ok(())
}

fn plan_folder(folder: &Path, planned: &mut VecDeque<Planned>, left_out: &mut LeftOut) {
    let found = image_files::find(folder);
    left_out.extend(found.left_out);
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
            match version.check_size(max_image_bytes) {
                Ok(()) => {
                    let (metadata, content) = (KnownMetadata::default(), Content::File(path));
                    return Ok(ImageEntry { image_id, origin, version, metadata, content });
                }
                Err(reason) => reason,
            }
        }
        Ok(_) => "not a file".to_owned(),
        Err(error) => format!("cannot be read: {error}"),
    };
    Err(SkippedEntry { image_id, origin, reason })
}

#[cfg(test)]
mod tests;
