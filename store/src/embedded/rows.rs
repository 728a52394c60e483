//! Images as rows of the database, and back.

use crate::ImageMetadata;
use rusqlite::Row;

/// The columns that [`metadata`] reads, behind the image id.
pub(super) const METADATA_COLUMNS: &str = "image_id, person_id, camera_id, captured_at_ms, indexed_at_ms, attributes, \
                                           content_sha256, track_id, frame_id, crop_box";

/// Reads [`METADATA_COLUMNS`] that begin at `first`.
pub(super) fn metadata(row: &Row<'_>, first: usize) -> rusqlite::Result<(String, ImageMetadata)> {
    let attributes: String = row.get(first + 5)?;
    let attributes = serde_json::from_str(&attributes).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(first + 5, rusqlite::types::Type::Text, Box::new(error))
    })?;
    let crop_box: Option<String> = row.get(first + 9)?;
    let crop_box = crop_box.map(|crop_box| serde_json::from_str(&crop_box)).transpose().map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(first + 9, rusqlite::types::Type::Text, Box::new(error))
    })?;
    let metadata = ImageMetadata {
        person_id: row.get(first + 1)?,
        camera_id: row.get(first + 2)?,
        track_id: row.get(first + 7)?,
        frame_id: row.get(first + 8)?,
        crop_box,
        captured_at_ms: row.get(first + 3)?,
        indexed_at_ms: row.get(first + 4)?,
        attributes,
        content_sha256: row.get(first + 6)?,
    };
    Ok((row.get(first)?, metadata))
}

pub(super) fn encode_embedding(values: &[f32]) -> Vec<u8> {
    let mut blob = Vec::with_capacity(size_of_val(values));
    values.iter().for_each(|value| blob.extend_from_slice(&value.to_le_bytes()));
    blob
}

/// How far the squared length of a stored embedding may be from 1: wide enough for float32 rounding, narrow enough to
/// notice a flipped exponent bit.
const UNIT_LENGTH_TOLERANCE: f64 = 1e-3;

/// Reads a blob into `values`, or says what is wrong with it.
pub(super) fn decode_embedding(blob: &[u8], dimension: usize, values: &mut Vec<f32>) -> Result<(), String> {
    if blob.len() != dimension * size_of::<f32>() {
        return Err(format!("its embedding has {} bytes, a dimension of {dimension} needs 4 each", blob.len()));
    }
    values.clear();
    values.extend(blob.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)));
    let squared: f64 = values.iter().map(|&value| f64::from(value) * f64::from(value)).sum();
    // A value that is not finite makes the comparison false.
    if (squared - 1.0).abs() <= UNIT_LENGTH_TOLERANCE {
        return Ok(());
    }
    Err(format!("its embedding has length {} instead of 1", squared.sqrt()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_unit_embeddings_of_the_right_length_are_read() {
        let check = |values: &[f32], dimension| {
            let mut decoded = Vec::new();
            decode_embedding(&encode_embedding(values), dimension, &mut decoded).map(|()| decoded)
        };
        assert_eq!(check(&[0.6, -0.8], 2), Ok(vec![0.6, -0.8]));
        assert!(check(&[0.6, -0.8], 3).unwrap_err().contains("8 bytes"));
        for wrong in [[f32::NAN, 0.0], [f32::INFINITY, 0.0], [0.0, 0.0], [2.0, 0.0]] {
            assert!(check(&wrong, 2).unwrap_err().contains("instead of 1"));
        }
    }
}
