//! Do the towers, on this machine and this runtime, repeat the outputs that the export stored?
//!
//! The stored outputs come from an independent evaluation of the checkpoint, not from the graphs, so this catches a
//! wrong merge, a damaged graph and a misbehaving runtime alike.

use crate::EncodeError;
use crate::tower::{OnnxTextTower, OnnxVisionTower, Tower};
use descry_model::{Bundle, ModelError, ParityBounds};
use ndarray::{Array2, Array4, ArrayView2, Axis};
use ndarray_npy::{NpzReader, ReadableElement};
use std::fs::File;
use std::path::Path;

/// Runs both towers on the bundle's golden inputs: all rows in one batch, then each row alone.
///
/// # Errors
/// [`EncodeError::SelfTest`] beyond the manifest's bounds.
pub(crate) fn check(
    bundle: &Bundle,
    vision: &mut OnnxVisionTower,
    text: &mut OnnxTextTower,
) -> Result<(), EncodeError> {
    let goldens = Goldens::read(&bundle.parity_path())?;
    let bounds = bundle.manifest().parity;
    let batch = vision.run_array(&goldens.pixels)?;
    compare(OnnxVisionTower::NAME, batch.view(), goldens.image_features.view(), bounds)?;
    for (row, pixels) in goldens.pixels.axis_chunks_iter(Axis(0), 1).enumerate() {
        let alone = vision.run_array(&pixels.to_owned())?;
        compare(OnnxVisionTower::NAME, alone.view(), row_of(&goldens.image_features, row), bounds)?;
    }
    let batch = text.run_array(&goldens.token_ids)?;
    compare(OnnxTextTower::NAME, batch.view(), goldens.text_features.view(), bounds)?;
    for (row, token_ids) in goldens.token_ids.axis_chunks_iter(Axis(0), 1).enumerate() {
        let alone = text.run_array(&token_ids.to_owned())?;
        compare(OnnxTextTower::NAME, alone.view(), row_of(&goldens.text_features, row), bounds)?;
    }
    Ok(())
}

struct Goldens {
    pixels: Array4<f32>,
    token_ids: Array2<i64>,
    image_features: Array2<f32>,
    text_features: Array2<f32>,
}

impl Goldens {
    fn read(path: &Path) -> Result<Self, EncodeError> {
        let file = File::open(path).map_err(|source| ModelError::Unreadable { path: path.to_owned(), source })?;
        let mut archive = NpzReader::new(file).map_err(|error| malformed(path, error))?;
        Ok(Self {
            pixels: read_array(&mut archive, path, "pixels")?,
            token_ids: read_array(&mut archive, path, "token_ids")?,
            image_features: read_array(&mut archive, path, "image_features")?,
            text_features: read_array(&mut archive, path, "text_features")?,
        })
    }
}

fn read_array<Element: ReadableElement, Dimension: ndarray::Dimension>(
    archive: &mut NpzReader<File>,
    path: &Path,
    name: &str,
) -> Result<ndarray::Array<Element, Dimension>, EncodeError> {
    archive.by_name(name).map_err(|error| malformed(path, format!("array {name}: {error}")))
}

fn malformed(path: &Path, reason: impl std::fmt::Display) -> EncodeError {
    ModelError::Manifest { path: path.to_owned(), reason: reason.to_string() }.into()
}

fn row_of(features: &Array2<f32>, row: usize) -> ArrayView2<'_, f32> {
    features.slice(ndarray::s![row..=row, ..])
}

fn compare(
    tower: &'static str,
    found: ArrayView2<'_, f32>,
    expected: ArrayView2<'_, f32>,
    bounds: ParityBounds,
) -> Result<(), EncodeError> {
    let failed = |reason: String| EncodeError::SelfTest { tower, reason };
    if found.dim() != expected.dim() {
        return Err(failed(format!("output shape {:?}, stored {:?}", found.dim(), expected.dim())));
    }
    let largest = expected.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    let difference = found.iter().zip(expected).fold(0.0_f32, |worst, (a, b)| {
        // `max` drops NaN, which must count as the worst of all.
        let difference = (a - b).abs();
        if difference.is_nan() { f32::INFINITY } else { worst.max(difference) }
    });
    let relative = difference / largest.max(f32::MIN_POSITIVE);
    let distance = found
        .outer_iter()
        .zip(expected.outer_iter())
        .map(|(a, b)| {
            let dot = |x: ndarray::ArrayView1<'_, f32>, y: ndarray::ArrayView1<'_, f32>| -> f64 {
                x.iter().zip(y).map(|(&p, &q)| f64::from(p) * f64::from(q)).sum()
            };
            1.0 - dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
        })
        .fold(0.0_f64, f64::max);
    tracing::debug!(tower, relative, distance, "self-test");
    if relative > bounds.max_relative_difference || distance > f64::from(bounds.max_cosine_distance) {
        return Err(failed(format!(
            "relative difference {relative:.2e} (at most {:.2e}), cosine distance {distance:.2e} (at most {:.2e})",
            bounds.max_relative_difference, bounds.max_cosine_distance
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    const BOUNDS: ParityBounds = ParityBounds { max_relative_difference: 1e-4, max_cosine_distance: 1e-6 };

    #[test]
    fn only_equal_features_pass() {
        let stored = array![[1.0, -2.0], [0.5, 0.25]];
        let check = |found: Array2<f32>| compare("vision", found.view(), stored.view(), BOUNDS);
        assert!(check(array![[1.0, -2.0001], [0.5, 0.25]]).is_ok());
        assert!(check(array![[1.0, -2.01], [0.5, 0.25]]).is_err());
        assert!(check(array![[1.0, f32::NAN], [0.5, 0.25]]).is_err());
        assert!(check(array![[1.0, -2.0]]).is_err());
    }
}
