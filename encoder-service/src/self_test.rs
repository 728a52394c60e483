//! Do the towers, on this machine and this runtime, repeat the outputs that the export stored?
//!
//! The stored outputs come from an independent evaluation of the checkpoint, not from the graphs, so this catches a
//! wrong merge, a damaged graph and a misbehaving runtime alike.

use crate::EncodeError;
use crate::tower::{OnnxTextTower, OnnxVisionTower, Tower};
use descry_model::{ModelError, ParityBounds};
use ndarray::{Array2, Array4, ArrayView2, Axis};
use ndarray_npy::{NpzReader, ReadableElement};
use std::fs::File;
use std::path::Path;

/// How far outputs lie apart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Difference {
    /// Largest difference, as a share of the other outputs' largest magnitude.
    pub relative: f32,
    /// Largest `1 - cosine` of a row.
    pub cosine_distance: f32,
}

/// What a self-test found of one tower.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TowerTest {
    /// `vision` or `text`.
    pub tower: &'static str,
    /// Against the stored outputs.
    pub parity: Difference,
    /// A row of a batch against the row alone.
    pub row_independence: Difference,
}

impl Difference {
    const NONE: Self = Self { relative: 0.0, cosine_distance: 0.0 };

    /// The larger of both, in each respect.
    pub fn max(self, other: Self) -> Self {
        Self {
            relative: self.relative.max(other.relative),
            cosine_distance: self.cosine_distance.max(other.cosine_distance),
        }
    }

    /// NaN is beyond every bound.
    fn within(self, bounds: ParityBounds) -> bool {
        self.relative <= bounds.max_relative_difference && self.cosine_distance <= bounds.max_cosine_distance
    }
}

impl TowerTest {
    /// # Errors
    /// [`EncodeError::SelfTest`] beyond the bounds.
    pub(crate) fn check(&self, parity: ParityBounds, row_independence: ParityBounds) -> Result<(), EncodeError> {
        let against = [
            ("the stored outputs", self.parity, parity),
            ("its rows run alone", self.row_independence, row_independence),
        ];
        for (other, found, bounds) in against {
            if !found.within(bounds) {
                let reason = format!(
                    "against {other}: relative difference {:.2e} (at most {:.2e}), cosine distance {:.2e} (at most \
                     {:.2e})",
                    found.relative, bounds.max_relative_difference, found.cosine_distance, bounds.max_cosine_distance
                );
                return Err(EncodeError::SelfTest { tower: self.tower, reason });
            }
        }
        Ok(())
    }
}

fn test<Input>(
    tower: &'static str,
    stored: &Array2<f32>,
    batch: &Input,
    rows: impl Iterator<Item = Input>,
    mut run: impl FnMut(&Input) -> Result<Array2<f32>, EncodeError>,
) -> Result<TowerTest, EncodeError> {
    let together = run(batch)?;
    let mut parity = compare(tower, together.view(), stored.view())?;
    let mut row_independence = Difference::NONE;
    for (index, row) in rows.enumerate() {
        let alone = run(&row)?;
        parity = parity.max(compare(tower, alone.view(), row_of(stored, index))?);
        row_independence = row_independence.max(compare(tower, row_of(&together, index), alone.view())?);
    }
    tracing::debug!(tower, ?parity, ?row_independence, "self-test");
    Ok(TowerTest { tower, parity, row_independence })
}

/// Inputs and outputs stored with a bundle.
pub(crate) struct Goldens {
    pixels: Array4<f32>,
    token_ids: Array2<i64>,
    image_features: Array2<f32>,
    text_features: Array2<f32>,
}

impl Goldens {
    /// Runs a tower on the stored images: all in one batch, then each alone.
    ///
    /// # Errors
    /// [`EncodeError::Tower`], [`EncodeError::SelfTest`] for outputs of another shape.
    pub(crate) fn test_vision(&self, vision: &mut OnnxVisionTower) -> Result<TowerTest, EncodeError> {
        let rows = self.pixels.axis_chunks_iter(Axis(0), 1).map(|row| row.to_owned());
        test(OnnxVisionTower::NAME, &self.image_features, &self.pixels, rows, |input| vision.run_array(input))
    }

    /// As [`Goldens::test_vision`], on the stored texts: all padded to the longest, then each as long as it is.
    ///
    /// # Errors
    /// As [`Goldens::test_vision`].
    pub(crate) fn test_text(&self, text: &mut OnnxTextTower) -> Result<TowerTest, EncodeError> {
        // Alone without padding, as a lone request runs.
        let rows = self.token_ids.outer_iter().map(|row| {
            let end =
                row.iter().enumerate().fold(0, |best, (position, id)| if *id > row[best] { position } else { best });
            row.slice(ndarray::s![..=end]).insert_axis(Axis(0)).to_owned()
        });
        test(OnnxTextTower::NAME, &self.text_features, &self.token_ids, rows, |input| text.run_array(input))
    }

    /// Reads a bundle's `parity.npz`.
    ///
    /// # Errors
    /// [`EncodeError::Bundle`].
    pub(crate) fn read(path: &Path) -> Result<Self, EncodeError> {
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
) -> Result<Difference, EncodeError> {
    if found.dim() != expected.dim() {
        let reason = format!("output shape {:?}, expected {:?}", found.dim(), expected.dim());
        return Err(EncodeError::SelfTest { tower, reason });
    }
    let largest = expected.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    let difference = found.iter().zip(expected).fold(0.0_f32, |worst, (a, b)| {
        // `max` drops NaN, which must count as the worst of all.
        let difference = (a - b).abs();
        if difference.is_nan() { f32::INFINITY } else { worst.max(difference) }
    });
    let cosine_distance = found
        .outer_iter()
        .zip(expected.outer_iter())
        .map(|(a, b)| {
            let dot = |x: ndarray::ArrayView1<'_, f32>, y: ndarray::ArrayView1<'_, f32>| -> f64 {
                x.iter().zip(y).map(|(&p, &q)| f64::from(p) * f64::from(q)).sum()
            };
            1.0 - dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
        })
        .fold(0.0_f64, f64::max);
    Ok(Difference { relative: difference / largest.max(f32::MIN_POSITIVE), cosine_distance: cosine_distance as f32 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    const BOUNDS: ParityBounds = ParityBounds { max_relative_difference: 1e-4, max_cosine_distance: 1e-6 };

    #[test]
    fn only_equal_features_pass() {
        let stored = array![[1.0, -2.0], [0.5, 0.25]];
        let passes = |found: Array2<f32>| {
            compare("vision", found.view(), stored.view()).is_ok_and(|difference| difference.within(BOUNDS))
        };
        assert!(passes(array![[1.0, -2.0001], [0.5, 0.25]]));
        assert!(!passes(array![[1.0, -2.01], [0.5, 0.25]]));
        assert!(!passes(array![[1.0, f32::NAN], [0.5, 0.25]]));
        assert!(!passes(array![[1.0, -2.0]]));
    }

    #[test]
    fn a_row_that_feels_its_neighbours_is_told() {
        let stored = array![[1.0, 2.0], [3.0, 4.0]];
        let batch = array![[0.0], [1.0]];
        let rows = [array![[0.0]], array![[1.0]]];
        let together = |input: &Array2<f32>| {
            let shift = 0.01 * (input.nrows() as f32 - 1.0);
            let first = input[[0, 0]] as usize;
            Ok(stored.slice(ndarray::s![first..first + input.nrows(), ..]).mapv(|value| value + shift))
        };
        let found = test("text", &stored, &batch, rows.into_iter(), together).unwrap();
        let loose = ParityBounds { max_relative_difference: 1.0, max_cosine_distance: 1.0 };
        assert!(found.check(loose, BOUNDS).unwrap_err().to_string().contains("run alone"));
        assert!(found.check(loose, loose).is_ok());
    }
}
