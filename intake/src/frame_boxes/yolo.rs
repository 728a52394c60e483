//! A folder of YOLO's label files: one for each frame, with the name of it and `.txt` behind.

use super::{BoxOptions, BoxTable, GivenBox, MAX_BOXES, Sides};
use crate::text_lines::TextLines;
use crate::{IntakeError, KnownMetadata, SkippedEntry};
use std::path::PathBuf;
use walkdir::WalkDir;

/// Largest label file, in bytes.
const MAX_LABELS_BYTES: u64 = 64 << 20;

/// A line: where it stands, and its fields as they are written.
struct Line {
    file: PathBuf,
    frame: String,
    place: u64,
    fields: Vec<String>,
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
    let mut lines = Vec::new();
    for entry in WalkDir::new(folder).sort_by_file_name() {
        let entry = entry.map_err(|error| IntakeError::malformed(folder, error.to_string()))?;
        let path = entry.path();
        let is_labels = path.extension().is_some_and(|ending| ending == "txt");
        if !entry.file_type().is_file() || !is_labels || entry.file_name() == "classes.txt" {
            continue;
        }
        let frame = path.strip_prefix(folder).unwrap_or(path).with_extension("");
        let frame = frame.iter().map(|part| part.to_string_lossy()).collect::<Vec<_>>().join("/");
        let read = TextLines::open(path, MAX_LABELS_BYTES).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        match read {
            Ok(read) if lines.len() + read.len() > MAX_BOXES => return Err(super::too_many(folder)),
            Ok(read) => lines.extend(read.into_iter().map(|(place, line)| {
                let fields = line.split_whitespace().map(str::to_owned).collect();
                Line { file: path.to_owned(), frame: frame.clone(), place, fields }
            })),
            Err(error) => {
                let (image_id, origin) = (String::new(), path.display().to_string());
                table.skipped.push(SkippedEntry { image_id, origin, reason: error.to_string() });
            }
        }
    }
    // A sixth field is a score or, from a tracker, an id; a score of 1 is written like an id.
    let sixth_is_score = lines.iter().any(|line| line.fields.len() == 6 && line.fields[5].contains(['.', 'e', 'E']));
    for line in lines {
        match given(&line, wanted, sixth_is_score) {
            Ok(Some(given)) => table.boxes.push(given),
            Ok(None) => {
                table.left_out.add("boxes of other categories", || super::origin(&line.file, line.place));
            }
            Err(reason) => table.skip(&line.file, line.place, reason),
        }
    }
    Ok(())
}

/// The box of a line; none of another class.
fn given(line: &Line, wanted: u64, sixth_is_score: bool) -> Result<Option<GivenBox>, String> {
    let form = "expected class, centre and size as shares of the frame, and perhaps a score and a track's id";
    let [class, sides @ ..] = line.fields.as_slice() else { return Err(form.to_owned()) };
    if class.parse::<u64>().map_err(|_| form.to_owned())? != wanted {
        return Ok(None);
    }
    let (sides, more) = sides.split_at_checked(4).ok_or_else(|| form.to_owned())?;
    let (score, track_id) = match more {
        [] => (None, None),
        [score] if sixth_is_score => (Some(score), None),
        [track_id] => (None, Some(track_id)),
        [score, track_id] => (Some(score), Some(track_id)),
        _ => return Err(format!("{form}; outlines of more points are not read")),
    };
    let number = |text: &String| text.parse::<f64>().map_err(|_| format!("{form}; {text:?} is no number"));
    let numbers = sides.iter().map(number).collect::<Result<Vec<_>, _>>()?;
    let Ok([x, y, width, height]) = <[f64; 4]>::try_from(numbers) else { return Err(form.to_owned()) };
    let sides = Sides::Shares([x - width / 2.0, y - height / 2.0, width, height]);
    let score = score.map(number).transpose()?;
    let metadata = KnownMetadata { track_id: track_id.cloned(), ..KnownMetadata::default() };
    Ok(Some(GivenBox { frame: line.frame.clone(), place: line.place, sides, score, metadata }))
}
