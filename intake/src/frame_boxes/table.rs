//! Tables of boxes: in text with a header, JSON Lines, a JSON array, or Parquet.

use super::json_parts::{element, elements, shortened};
use super::{BoxTable, GivenBox, MAX_BOXES, MAX_FILE_BYTES, SCORE, Sides};
use crate::IntakeError;
use crate::csv_table::CsvTable;
use crate::flat_columns::{FlatColumns, guarded, leaves_of_table, open_parquet, row_count};
use crate::json_records::{UniqueRecord, read_line};
use crate::metadata_file::begins_as_array;
use crate::record::{self, Record};
use crate::text_file::open_text;
use crate::text_lines::TextLines;
use parquet::file::reader::FileReader as _;
use serde_json::Value;
use std::io::Read as _;
use std::path::Path;

/// The fields that say where a box lies.
const SIDES: [&str; 4] = ["left", "top", "width", "height"];
/// The field that holds all of them, as records of the metadata have it.
const BOX: &str = "box";
/// Rows of a Parquet file converted at once.
const BATCH_ROWS: usize = 4096;
/// What is looked at of a JSON file to tell what it is.
const START_BYTES: u64 = 4096;

/// Whether a JSON file is a table of ours, and not COCO's.
pub(super) fn is_table(path: &Path) -> Result<bool, IntakeError> {
    let mut start = Vec::new();
    let text = open_text(path, MAX_FILE_BYTES)?;
    text.take(START_BYTES).read_to_end(&mut start).map_err(IntakeError::unreadable(path))?;
    Ok(String::from_utf8_lossy(&start).contains("\"frame\""))
}

/// Reads the boxes of a table. A row that says nothing usable costs no other.
pub(super) fn read(path: &Path, table: &mut BoxTable) -> Result<(), IntakeError> {
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
    match ending.as_deref() {
        Some("csv" | "tsv") => {
            let mut csv = CsvTable::open(path, MAX_FILE_BYTES)?;
            table.notes.append(&mut csv.columns.notes);
            csv.read_rows(|line, row| take(path, table, line, row))
        }
        Some("parquet") => read_parquet(path, table),
        _ => read_json(path, table),
    }
}

fn read_json(path: &Path, table: &mut BoxTable) -> Result<(), IntakeError> {
    let mut text = open_text(path, MAX_FILE_BYTES)?;
    if !begins_as_array(&mut text).map_err(IntakeError::unreadable(path))? {
        for line in TextLines::of(path, text) {
            let Some((place, line)) = table.usable(path, line)? else { continue };
            take(path, table, place, read_line(&line))?;
        }
        return Ok(());
    }
    let mut bytes = Vec::new();
    text.read_to_end(&mut bytes).map_err(IntakeError::unreadable(path))?;
    let elements = elements(&bytes)
        .map_err(|reason| IntakeError::malformed(path, format!("expected an array of JSON objects: {reason}")))?;
    for (text, place) in elements.into_iter().zip(1..) {
        let record = element(text).map(|UniqueRecord(record)| record);
        let faulty = |reason| format!("expected an object with frame and sides, found {}: {reason}", shortened(text));
        take(path, table, place, record.map_err(faulty))?;
    }
    Ok(())
}

fn read_parquet(path: &Path, table: &mut BoxTable) -> Result<(), IntakeError> {
    let fault = |reason: String| IntakeError::malformed(path, reason);
    let file = open_parquet(path, MAX_FILE_BYTES)?;
    let leaves = leaves_of_table(file.metadata().file_metadata().schema_descr()).map_err(fault)?;
    let groups = file.metadata().row_groups().iter();
    let rows = groups.map(row_count).try_fold(0_usize, |sum, rows| rows.map(|rows| sum.saturating_add(rows)));
    let rows = rows.map_err(fault)?;
    if rows > MAX_BOXES {
        return Err(super::too_many(path));
    }
    let mut place = 0;
    for group in 0..file.num_row_groups() {
        let mut rows_left = row_count(file.metadata().row_group(group)).map_err(fault)?;
        let mut columns = guarded(|| FlatColumns::open(&file, group, &leaves)).map_err(fault)?;
        while rows_left > 0 {
            let count = rows_left.min(BATCH_ROWS);
            for record in guarded(|| columns.read(count)).map_err(fault)? {
                place += 1;
                take(path, table, place, Ok(record))?;
            }
            rows_left -= count;
        }
    }
    Ok(())
}

fn take(path: &Path, table: &mut BoxTable, place: u64, record: Result<Record, String>) -> Result<(), IntakeError> {
    table.require_room(path)?;
    match record.and_then(|record| given(record, place)) {
        Ok(given) => table.push(path, given)?,
        Err(reason) => table.skip(path, place, reason),
    }
    Ok(())
}

fn given(mut record: Record, place: u64) -> Result<GivenBox, String> {
    let frame = record::take_text(&mut record, "frame")?.filter(|frame| !frame.is_empty());
    let frame = frame.ok_or("no `frame`; it names the frame, or is its number")?;
    let of_list = record.remove(BOX).filter(|given| !given.is_null());
    let mut sides = [0.0; 4];
    match of_list.filter(|_| SIDES.iter().all(|name| !record.contains_key(*name))) {
        Some(given) => sides = sides_of(&given)?,
        None => {
            for (side, name) in sides.iter_mut().zip(SIDES) {
                *side = take_number(&mut record, name)?.ok_or_else(|| format!("no `{name}`, in pixels"))?;
            }
        }
    }
    let score = take_number(&mut record, SCORE)?;
    let metadata = record::known(record)?;
    Ok(GivenBox { frame: frame.into(), place, sides: Sides::Pixels(sides), score, metadata })
}

/// The sides of a list, which a table in text holds as text.
fn sides_of(given: &Value) -> Result<[f64; 4], String> {
    let parsed = given.as_str().and_then(|text| serde_json::from_str(text).ok());
    let list = parsed.as_ref().unwrap_or(given).as_array();
    let sides = list.and_then(|sides| match sides.as_slice() {
        [left, top, width, height] => Some([left.as_f64()?, top.as_f64()?, width.as_f64()?, height.as_f64()?]),
        _ => None,
    });
    let found = || shortened(given.to_string().as_bytes());
    sides.ok_or_else(|| format!("`{BOX}` must be [left, top, width, height] in pixels, found {}", found()))
}

fn take_number(record: &mut Record, name: &str) -> Result<Option<f64>, String> {
    match record.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => {
            let number = value.as_f64().or_else(|| value.as_str()?.trim().parse().ok());
            number
                .map(Some)
                .ok_or_else(|| format!("`{name}` must be a number, found {}", shortened(value.to_string().as_bytes())))
        }
    }
}
