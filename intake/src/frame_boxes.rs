//! What a detector or a tracker found in frames, from the forms in which such programs write it.

mod coco;
pub(crate) mod frame_names;
mod json_parts;
mod mot;
mod not_numbers;
mod table;
mod yolo;

use crate::text_lines::TOO_LONG;
use crate::{IntakeError, KnownMetadata, LeftOut, SkippedEntry};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Largest file of boxes, in bytes. All its boxes are held at once.
const MAX_FILE_BYTES: u64 = 1 << 30;

/// Most boxes of a run: they take some hundred bytes each until they are cut.
const MAX_BOXES: usize = 10_000_000;

/// Most memory that boxes may take with what is known of them, in bytes: a small file can unfold to a large one.
const MAX_HELD_BYTES: u64 = 4 << 30;

/// The attribute that keeps how sure a detector was.
pub(crate) const SCORE: &str = "score";

/// A form in which boxes are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BoxFormat {
    /// COCO's detection JSON: an object with `images` and `annotations`, or a list of results.
    Coco,
    /// MOT Challenge's `det.txt` and `gt.txt`. Their pixels count from 1.
    Mot,
    /// A folder of YOLO's label files, one for each frame.
    Yolo,
    /// A table with a header, JSON Lines, a JSON array or Parquet.
    Table,
}

/// Which boxes are cut out of the frames, and how.
#[derive(Debug, Clone, Default)]
pub struct BoxOptions {
    /// The file of boxes; a folder of YOLO's.
    pub path: PathBuf,
    /// Its form, where its name and content are not to decide.
    pub format: Option<BoxFormat>,
    /// What stands for a person: a category's name or number. By default what the form lets expect.
    pub category: Option<String>,
    /// COCO JSON with the `images` that a list of results is about.
    pub images: Option<PathBuf>,
    /// Put around a box on each side: this share of its width, or of its height.
    pub padding_share: f64,
    /// Put around a box on each side, in pixels.
    pub padding_px: u32,
    /// Lower boxes are left out; in pixels, without padding, of what is inside the frame.
    pub min_height_px: u32,
    /// Narrower boxes are left out, likewise.
    pub min_width_px: u32,
    /// Boxes of lower scores are left out. A box without a score stays.
    pub min_score: f64,
    /// Whether the boxes are of frames that were turned upright by their EXIF data first, as OpenCV reads them.
    pub turns_upright: bool,
    /// Frames of more pixels are not decoded.
    pub max_frame_pixels: u64,
    /// The camera of boxes that name none.
    pub camera_id: Option<String>,
}

/// Left, top, width and height of a box.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Sides {
    /// In pixels from the frame's upper left corner.
    Pixels([f64; 4]),
    /// As shares of the frame's width and height.
    Shares([f64; 4]),
}

/// A box as a file gives it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct GivenBox {
    /// How the file names the frame: a name, a part of one, or a number. Boxes of one frame may share it.
    pub(crate) frame: Arc<str>,
    /// Where in the file it stands, for people: a line, or a place in a list.
    pub(crate) place: u64,
    pub(crate) sides: Sides,
    pub(crate) score: Option<f64>,
    pub(crate) metadata: KnownMetadata,
}

/// What a file of boxes holds.
#[derive(Debug, Default)]
pub(crate) struct BoxTable {
    pub(crate) boxes: Vec<GivenBox>,
    /// What cannot be a box.
    pub(crate) skipped: Vec<SkippedEntry>,
    /// What is not wanted.
    pub(crate) left_out: LeftOut,
    pub(crate) notes: Vec<String>,
    /// What the boxes take in memory.
    held_bytes: u64,
}

impl BoxTable {
    /// Reads the boxes of people.
    ///
    /// # Errors
    /// Faults of the file as a whole: [`IntakeError::Missing`], [`IntakeError::Unreadable`], [`IntakeError::TooLarge`],
    /// [`IntakeError::Malformed`], [`IntakeError::MalformedRecord`], [`IntakeError::UnknownEnding`].
    pub(crate) fn read(options: &BoxOptions) -> Result<Self, IntakeError> {
        let path = options.path.as_path();
        if !path.exists() {
            return Err(IntakeError::Missing { path: path.to_owned() });
        }
        let mut table = Self::default();
        match options.format.map_or_else(|| format_of(path), Ok)? {
            BoxFormat::Coco => coco::read(options, &mut table)?,
            BoxFormat::Mot => mot::read(options, &mut table)?,
            BoxFormat::Yolo => yolo::read(options, &mut table)?,
            BoxFormat::Table => table::read(path, &mut table)?,
        }
        let Self { boxes, left_out, .. } = &mut table;
        boxes.retain(|found| {
            let is_wanted = found.score.is_none_or(|score| score >= options.min_score);
            if !is_wanted {
                left_out.add("boxes below the least score", || origin(path, found.place));
            }
            is_wanted
        });
        Ok(table)
    }

    /// Takes a box.
    ///
    /// # Errors
    /// [`IntakeError::Malformed`] says that there are too many, or that they take too much memory.
    fn push(&mut self, path: &Path, given: GivenBox) -> Result<(), IntakeError> {
        self.require_room(path)?;
        // A name that is shared was counted when it came first, as good as always.
        let own_name = if Arc::strong_count(&given.frame) == 1 { given.frame.len() } else { 0 };
        self.held_bytes += (size_of::<GivenBox>() + own_name) as u64 + given.metadata.held_bytes();
        if self.held_bytes > MAX_HELD_BYTES {
            let reason = format!(
                "its boxes, with what is known of them, take over {MAX_HELD_BYTES} bytes of memory; index the cameras one by \
                 one, or leave columns out"
            );
            return Err(IntakeError::malformed(path, reason));
        }
        self.boxes.push(given);
        Ok(())
    }

    /// Makes sure that one more box may come.
    ///
    /// # Errors
    /// [`IntakeError::Malformed`] says that there are too many.
    fn require_room(&self, path: &Path) -> Result<(), IntakeError> {
        if self.boxes.len() + self.skipped.len() < MAX_BOXES { Ok(()) } else { Err(too_many(path)) }
    }

    /// A line, where it can be read. What is wrong with it alone is noted, and costs no other.
    fn usable(
        &mut self,
        path: &Path,
        line: Result<(u64, String), IntakeError>,
    ) -> Result<Option<(u64, String)>, IntakeError> {
        self.require_room(path)?;
        match line {
            Err(IntakeError::MalformedRecord { line, reason, .. }) if reason != TOO_LONG => {
                self.skip(path, line, reason);
                Ok(None)
            }
            other => other.map(Some),
        }
    }

    fn skip(&mut self, path: &Path, place: u64, reason: impl Into<String>) {
        let (image_id, origin) = (String::new(), origin(path, place));
        self.skipped.push(SkippedEntry { image_id, origin, reason: reason.into() });
    }
}

fn too_many(path: &Path) -> IntakeError {
    IntakeError::malformed(path, format!("over {MAX_BOXES} boxes; index the cameras one by one"))
}

/// Where a box stands.
pub(crate) fn origin(path: &Path, place: u64) -> String {
    format!("{}:{place}", path.display())
}

fn format_of(path: &Path) -> Result<BoxFormat, IntakeError> {
    if path.is_dir() {
        return Ok(BoxFormat::Yolo);
    }
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
    match ending.as_deref() {
        Some("txt") => Ok(BoxFormat::Mot),
        Some("csv" | "tsv" | "jsonl" | "ndjson" | "parquet") => Ok(BoxFormat::Table),
        Some("json") => Ok(if table::is_table(path)? { BoxFormat::Table } else { BoxFormat::Coco }),
        _ => {
            let known = "boxes as COCO's .json, MOT's .txt, a folder of YOLO's labels, or a table (.csv, .tsv, .jsonl, \
                         .json, .parquet); or give --boxes-format";
            Err(IntakeError::UnknownEnding { path: path.to_owned(), known })
        }
    }
}

#[cfg(test)]
mod tests;
