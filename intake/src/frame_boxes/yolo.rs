//! A folder of YOLO's label files: one for each frame, with the name of it and `.txt` behind.

use super::{BoxOptions, BoxTable, GivenBox, MAX_BOXES, MAX_FILE_BYTES, Sides};
use crate::text_lines::TextLines;
use crate::{IntakeError, KnownMetadata, SkippedEntry};
use std::path::Path;
use std::sync::Arc;
use walkdir::WalkDir;

/// Largest label file, in bytes.
const MAX_LABELS_BYTES: u64 = 64 << 20;
/// Longest field of a line; numbers are shorter.
const MAX_FIELD_BYTES: usize = 64;
const FORM: &str = "expected class, centre and size as shares of the frame, and perhaps a score and a track's id";

/// A line about somebody: where it stands, and what it says.
struct Line {
    file: Arc<Path>,
    frame: Arc<str>,
    place: u64,
    fields: Fields,
}

/// What a line says behind the class.
struct Fields {
    /// Centre, width and height as shares of the frame.
    sides: [f64; 4],
    /// A score, a track's id, or both in this order.
    more: Vec<String>,
}

/// What a folder holds, while it is read.
struct Labels<'a> {
    folder: &'a Path,
    wanted: u64,
    lines: Vec<Line>,
    line_count: usize,
    /// Of all files.
    bytes_left: u64,
    sixth_is_score: bool,
}

/// Reads the boxes of class 0, which is a person in the models that are trained on COCO.
pub(super) fn read(options: &BoxOptions, table: &mut BoxTable) -> Result<(), IntakeError> {
    let folder = options.path.as_path();
    let wanted = match options.category.as_deref().map(str::parse::<u64>) {
        None => 0,
        Some(Ok(number)) => number,
        Some(Err(_)) => {
            return Err(IntakeError::malformed(folder, "YOLO's labels hold numbers; give one with --category"));
        }
    };
    let lines = Vec::new();
    let mut labels = Labels { folder, wanted, lines, line_count: 0, bytes_left: MAX_FILE_BYTES, sixth_is_score: false };
    for entry in WalkDir::new(folder).sort_by_file_name() {
        let entry = entry.map_err(|error| IntakeError::malformed(folder, error.to_string()))?;
        let path = entry.path();
        let is_labels = path.extension().is_some_and(|ending| ending == "txt");
        if entry.file_type().is_file() && is_labels && entry.file_name() != "classes.txt" {
            let bytes = entry.metadata().map_or(0, |metadata| metadata.len());
            labels.read(path, bytes, table)?;
        }
    }
    let Labels { lines, sixth_is_score, .. } = labels;
    for line in lines {
        let (file, place) = (Arc::clone(&line.file), line.place);
        match given(line, sixth_is_score) {
            Ok(given) => table.push(folder, given)?,
            Err(reason) => table.skip(&file, place, reason),
        }
    }
    Ok(())
}

impl Labels<'_> {
    /// Reads a file. One that cannot be read any further costs no other.
    fn read(&mut self, path: &Path, bytes: u64, table: &mut BoxTable) -> Result<(), IntakeError> {
        let Some(left) = self.bytes_left.checked_sub(bytes) else {
            let reason = format!("its label files have over {MAX_FILE_BYTES} bytes; index the cameras one by one");
            return Err(IntakeError::malformed(self.folder, reason));
        };
        self.bytes_left = left;
        let frame = path.strip_prefix(self.folder).unwrap_or(path).with_extension("");
        let frame: Arc<str> = frame.iter().map(|part| part.to_string_lossy()).collect::<Vec<_>>().join("/").into();
        let file: Arc<Path> = path.into();
        let lines = match TextLines::open(path, MAX_LABELS_BYTES) {
            Ok(lines) => lines,
            Err(error) => {
                skip_file(path, &error, table);
                return Ok(());
            }
        };
        for line in lines {
            let (place, line) = match line {
                Ok(line) => line,
                Err(error) => {
                    skip_file(path, &error, table);
                    return Ok(());
                }
            };
            self.line_count += 1;
            if self.line_count > MAX_BOXES {
                return Err(super::too_many(self.folder));
            }
            match self.parse(&line) {
                Ok(Some(fields)) => {
                    let (file, frame) = (Arc::clone(&file), Arc::clone(&frame));
                    self.lines.push(Line { file, frame, place, fields });
                }
                Ok(None) => table.left_out.add("boxes of other categories", || super::origin(path, place)),
                Err(reason) => table.skip(path, place, reason),
            }
        }
        Ok(())
    }

    /// What a line says; none of another class.
    fn parse(&mut self, line: &str) -> Result<Option<Fields>, String> {
        let fields: Vec<&str> = line.split_whitespace().take(8).collect();
        // A sixth field is a score or, from a tracker, an id; a score of 1 is written like an id.
        self.sixth_is_score |= fields.len() == 6 && fields[5].contains(['.', 'e', 'E']);
        if fields.iter().any(|field| field.len() > MAX_FIELD_BYTES) {
            return Err(format!("{FORM}, of at most {MAX_FIELD_BYTES} characters"));
        }
        let [class, sides @ ..] = fields.as_slice() else { return Err(FORM.to_owned()) };
        if class.parse::<u64>().map_err(|_| FORM.to_owned())? != self.wanted {
            return Ok(None);
        }
        match sides {
            [x, y, width, height, more @ ..] if more.len() <= 2 => {
                let sides = [number(x)?, number(y)?, number(width)?, number(height)?];
                Ok(Some(Fields { sides, more: more.iter().map(|&field| field.to_owned()).collect() }))
            }
            [_, _, _, _, ..] => Err(format!("{FORM}; outlines of more points are not read")),
            _ => Err(FORM.to_owned()),
        }
    }
}

fn skip_file(path: &Path, error: &IntakeError, table: &mut BoxTable) {
    let (image_id, origin) = (String::new(), path.display().to_string());
    table.skipped.push(SkippedEntry { image_id, origin, reason: error.to_string() });
}

fn number(text: &str) -> Result<f64, String> {
    text.parse().map_err(|_| format!("{FORM}; {text:?} is no number"))
}

/// The box of a line.
fn given(line: Line, sixth_is_score: bool) -> Result<GivenBox, String> {
    let Line { frame, place, fields: Fields { sides: [x, y, width, height], more }, .. } = line;
    let (score, track_id) = match more.as_slice() {
        [score] if sixth_is_score => (Some(number(score)?), None),
        [track_id] => (None, Some(track_id.clone())),
        [score, track_id] => (Some(number(score)?), Some(track_id.clone())),
        _ => (None, None),
    };
    let sides = Sides::Shares([x - width / 2.0, y - height / 2.0, width, height]);
    Ok(GivenBox { frame, place, sides, score, metadata: KnownMetadata { track_id, ..KnownMetadata::default() } })
}
