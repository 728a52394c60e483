//! MOT Challenge's text files: frame, id, left, top, width, height, confidence, and what follows them.

use super::{BoxOptions, BoxTable, GivenBox, MAX_FILE_BYTES, Sides};
use crate::text_lines::TextLines;
use crate::{IntakeError, KnownMetadata};

/// Fields of `gt.txt` since MOT16: behind the confidence stand the class and the visibility.
const TRUTH_FIELDS: usize = 9;
/// MOT Challenge's class of a pedestrian.
const PEDESTRIAN: f64 = 1.0;

/// Reads the boxes of pedestrians. The files count pixels from 1, we from 0.
pub(super) fn read(options: &BoxOptions, table: &mut BoxTable) -> Result<(), IntakeError> {
    let path = options.path.as_path();
    let wanted = match options.category.as_deref().map(str::parse::<f64>) {
        None => PEDESTRIAN,
        Some(Ok(number)) => number,
        Some(Err(_)) => {
            return Err(IntakeError::malformed(path, "MOT's classes are numbers; give one with --category"));
        }
    };
    for line in TextLines::open(path, MAX_FILE_BYTES)? {
        let Some((place, line)) = table.usable(path, line)? else { continue };
        let fields: Result<Vec<f64>, _> =
            line.split([',', ' ', '\t']).filter(|field| !field.is_empty()).map(str::parse).collect();
        let (frame, id, sides, rest) = match fields.as_deref() {
            Ok([frame, id, left, top, width, height, rest @ ..]) => (*frame, *id, [*left, *top, *width, *height], rest),
            Ok(_) | Err(_) => {
                table.skip(path, place, "expected frame,id,left,top,width,height,confidence as numbers");
                continue;
            }
        };
        if frame.fract() != 0.0 || !(0.0..1e15).contains(&frame) {
            table.skip(path, place, format!("{frame} is no number of a frame"));
            continue;
        }
        let class = rest.get(1).copied().filter(|&class| rest.len() + 6 == TRUTH_FIELDS && class >= 1.0);
        if class.is_some_and(|class| class != wanted) {
            table.left_out.add("boxes of other categories", || super::origin(path, place));
            continue;
        }
        // In a file of truth the confidence only says whether an entry counts.
        if class.is_some() && rest.first() == Some(&0.0) {
            table.left_out.add("boxes that are marked to be ignored", || super::origin(path, place));
            continue;
        }
        let score = rest.first().copied().filter(|_| class.is_none());
        let track_id = (id >= 0.0).then(|| id.to_string());
        let mut metadata = KnownMetadata { track_id, ..KnownMetadata::default() };
        if let (Some(_), Some(visibility)) = (class, rest.get(2)) {
            metadata.attributes.insert("visibility".to_owned(), visibility.to_string());
        }
        let [left, top, width, height] = sides;
        let sides = Sides::Pixels([left - 1.0, top - 1.0, width, height]);
        table.push(path, GivenBox { frame: frame.to_string().into(), place, sides, score, metadata })?;
    }
    Ok(())
}
