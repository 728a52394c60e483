//! Image size, patches and position embeddings.

use crate::ExportError;
use crate::checkpoint::RunSettings;
use ndarray::{Array2, Array3, s};
use std::fmt;

/// How an image is cut into patches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Grid {
    pub(crate) height_px: usize,
    pub(crate) width_px: usize,
    pub(crate) patch: usize,
    pub(crate) stride: usize,
}

impl Grid {
    pub(crate) fn new(height_px: usize, width_px: usize, patch: usize, stride: usize) -> Result<Self, ExportError> {
        let fault = |name: &str, reason: String| Err(ExportError::Setting { name: name.to_owned(), reason });
        if height_px < patch || width_px < patch {
            return fault("image-size", format!("{height_px}x{width_px} is smaller than a patch of {patch} pixels"));
        }
        if height_px > MAX_SIDE_PX || width_px > MAX_SIDE_PX {
            return fault("image-size", format!("{height_px}x{width_px} is over {MAX_SIDE_PX} pixels a side"));
        }
        if stride == 0 || stride > patch {
            return fault("stride", format!("{stride}; give 1 to the patch size, {patch}"));
        }
        let grid = Self { height_px, width_px, patch, stride };
        let positions = grid.positions();
        if positions > MAX_POSITIONS {
            let reason =
                format!("{height_px}x{width_px} at stride {stride} has {positions} positions, over {MAX_POSITIONS}");
            return fault("image-size", reason);
        }
        Ok(grid)
    }

    pub(crate) fn rows(&self) -> usize {
        (self.height_px - self.patch) / self.stride + 1
    }

    pub(crate) fn columns(&self) -> usize {
        (self.width_px - self.patch) / self.stride + 1
    }

    /// Patches and the class token.
    pub(crate) fn positions(&self) -> usize {
        1 + self.rows() * self.columns()
    }
}

impl fmt::Display for Grid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { height_px, width_px, stride, .. } = self;
        let (rows, columns) = (self.rows(), self.columns());
        write!(formatter, "{height_px}x{width_px} pixels at stride {stride}, {rows} x {columns} patches")
    }
}

const MAX_SIDE_PX: usize = 4096;
/// Attention needs the square of it; ViT-L/14 at 336 pixels has 577.
const MAX_POSITIONS: usize = 4096;

/// The side of the square grid that `positions` embeddings belong to, where there is one.
pub(crate) fn square_side(positions: usize) -> Option<usize> {
    let patches = positions.checked_sub(1)?;
    let side = patches.isqrt();
    (side > 0 && side * side == patches).then_some(side)
}

/// The grid that the settings state, where it has as many positions as are stored: others know nothing of these.
///
/// The weights' own configuration goes before a run's settings, which say what images were wanted.
pub(crate) fn stated_grid(settings: &RunSettings, patch: usize, positions: usize) -> Option<Grid> {
    let of_run = || grid_of(settings.image_size_px, settings.stride.unwrap_or(patch), patch, positions);
    trained_grid(settings, patch, positions).or_else(of_run)
}

/// The grid that the weights' own configuration states. Patches of what has one don't overlap.
pub(crate) fn trained_grid(settings: &RunSettings, patch: usize, positions: usize) -> Option<Grid> {
    grid_of(settings.trained_size_px, patch, patch, positions)
}

fn grid_of(size_px: Option<(usize, usize)>, stride: usize, patch: usize, positions: usize) -> Option<Grid> {
    let (height, width) = size_px?;
    let grid = Grid::new(height, width, patch, stride).ok()?;
    (grid.positions() == positions).then_some(grid)
}

/// Whether plain CLIP's stored positions are those of a square grid, which may be stretched. Where nothing says it,
/// embeddings that fit the wanted grid are taken for its own, be their number a square or not.
pub(crate) fn may_stretch(stated: Option<Grid>, wanted: Grid, positions: usize) -> bool {
    stated.map_or(wanted.positions() != positions, |stated| stated.rows() == stated.columns())
}

/// What becomes of stored position embeddings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fit {
    /// They are the wanted grid's.
    Same,
    /// They are taken for the wanted grid's, though a square of this side has as many.
    Taken { side: usize },
    /// They are resized from a square of this side.
    Stretched { side: usize },
}

impl Fit {
    /// - `may_resize`: whether they may be stretched from a square
    pub(crate) fn of(positions: usize, wanted: Grid, may_resize: bool) -> Self {
        match square_side(positions).filter(|&side| (side, side) != (wanted.rows(), wanted.columns())) {
            Some(side) if may_resize => Self::Stretched { side },
            Some(side) => Self::Taken { side },
            None => Self::Same,
        }
    }

    /// What to tell of it. Nothing of positions that are where they belong.
    ///
    /// - `whose`: as in "position embeddings"
    pub(crate) fn describe(self, whose: &str, wanted: Grid) -> Option<String> {
        match self {
            Self::Same => None,
            Self::Stretched { side } => Some(format!("{whose} stretched from {side} x {side}")),
            Self::Taken { side } => {
                let (rows, columns) = (wanted.rows(), wanted.columns());
                Some(format!(
                    "{whose} taken as they are, for {rows} x {columns} patches, though {side} x {side} are as many"
                ))
            }
        }
    }
}

/// Refuses a grid of as many patches as the stated one, and of another shape: its positions would mean other places.
pub(crate) fn check_order(stated: Option<Grid>, wanted: Grid) -> Result<(), ExportError> {
    match stated {
        Some(stated)
            if stated.positions() == wanted.positions()
                && (stated.rows(), stated.columns()) != (wanted.rows(), wanted.columns()) =>
        {
            Err(ExportError::OtherGrid {
                given: wanted.to_string(),
                stated: stated.to_string(),
                stated_size: format!("{}x{}", stated.height_px, stated.width_px),
            })
        }
        Some(_) | None => Ok(()),
    }
}

/// Position embeddings for `grid`: as stored where they fit, else resized from a square grid if that is allowed.
///
/// A number that fits can still be another grid: 14 × 14 positions are not those of 28 × 7. With `may_resize`, a square
/// number of stored positions is taken for a square grid.
pub(crate) fn fit_positions(stored: Array2<f32>, grid: Grid, may_resize: bool) -> Result<Array2<f32>, ExportError> {
    let found = stored.nrows();
    let expected = grid.positions();
    match Fit::of(found, grid, may_resize) {
        Fit::Stretched { side } => Ok(resize_square(&stored, side, grid.rows(), grid.columns())),
        Fit::Same | Fit::Taken { .. } if found == expected => Ok(stored),
        Fit::Same | Fit::Taken { .. } => {
            Err(ExportError::PositionCount { found, expected, height: grid.height_px, width: grid.width_px })
        }
    }
}

/// Position embeddings that were brought to a size.
#[derive(Debug, Clone, PartialEq)]
pub struct FittedPositions {
    /// `[1 + patches, width]`.
    pub positions: Array2<f32>,
    /// What was done that a person should know of: that they were resized, or that they were taken for the wanted size
    /// only because they are as many.
    pub note: Option<String>,
}

/// Position embeddings of a plain CLIP's vision tower for images of another size: as stored where they fit, unless the
/// settings say that they are a square grid's; else resized from the square grid that CLIP is trained with.
///
/// - `settings`: of the run that made them, as far as they are known
///
/// # Shapes
/// - `stored`: `[1 + patches, width]`
///
/// # Errors
/// [`ExportError::Setting`] for an image size or stride that makes no grid, [`ExportError::PositionCount`],
/// [`ExportError::OtherGrid`].
pub fn fit_image_positions(
    stored: Array2<f32>,
    settings: &RunSettings,
    (height_px, width_px): (usize, usize),
    patch_px: usize,
    stride_px: usize,
) -> Result<FittedPositions, ExportError> {
    let wanted = Grid::new(height_px, width_px, patch_px, stride_px)?;
    let count = stored.nrows();
    let stated = stated_grid(settings, patch_px, count);
    let may_resize = may_stretch(stated, wanted, count);
    if !may_resize {
        check_order(stated, wanted)?;
    }
    let positions = fit_positions(stored, wanted, may_resize)?;
    let fit = Fit::of(count, wanted, may_resize);
    let is_certain = !may_resize && stated.is_some();
    let note = fit.describe("the base's position embeddings", wanted).filter(|_| !is_certain);
    Ok(FittedPositions { positions, note })
}

/// Bilinear interpolation without antialiasing, corners not aligned: `torch.nn.functional.interpolate`'s default.
fn resize_square(stored: &Array2<f32>, side: usize, rows: usize, columns: usize) -> Array2<f32> {
    let width = stored.ncols();
    let source = |row: usize, column: usize| stored.row(1 + row * side + column);
    let vertical = interpolation(side, rows);
    let horizontal = interpolation(side, columns);
    let mut patches = Array3::zeros((rows, columns, width));
    for (row, &(top, bottom, down)) in vertical.iter().enumerate() {
        for (column, &(left, right, along)) in horizontal.iter().enumerate() {
            let upper = &source(top, left) * (1.0 - along) + &source(top, right) * along;
            let lower = &source(bottom, left) * (1.0 - along) + &source(bottom, right) * along;
            patches.slice_mut(s![row, column, ..]).assign(&(upper * (1.0 - down) + lower * down));
        }
    }
    let mut resized = Array2::zeros((1 + rows * columns, width));
    resized.row_mut(0).assign(&stored.row(0));
    for (index, patch) in patches.rows().into_iter().enumerate() {
        resized.row_mut(1 + index).assign(&patch);
    }
    resized
}

/// For each output position: the two source positions and the second one's share.
fn interpolation(input: usize, output: usize) -> Vec<(usize, usize, f32)> {
    let scale = input as f32 / output as f32;
    (0..output)
        .map(|position| {
            let center = ((position as f32 + 0.5) * scale - 0.5).max(0.0);
            let first = (center as usize).min(input - 1);
            (first, (first + 1).min(input - 1), center - first as f32)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlapping_patches_are_counted() {
        let grid = Grid::new(384, 128, 16, 12).unwrap();
        assert_eq!((grid.rows(), grid.columns()), (31, 10));
        assert!(Grid::new(8, 128, 16, 16).is_err());
        assert!(Grid::new(384, 128, 16, 0).is_err());
        assert!(Grid::new(384, 128, 16, 17).is_err());
        assert!(Grid::new(4096, 4096, 16, 1).is_err());
    }

    #[test]
    fn resizing_follows_pytorch() {
        // torch.nn.functional.interpolate(torch.tensor([[[[1., 2.], [3., 4.]]]]), (3, 4), mode='bilinear')
        let stored = Array2::from_shape_vec((5, 1), vec![9.0, 1.0, 2.0, 3.0, 4.0]).unwrap();
        let resized = resize_square(&stored, 2, 3, 4);
        let expected = [9.0, 1.0, 1.25, 1.75, 2.0, 2.0, 2.25, 2.75, 3.0, 3.0, 3.25, 3.75, 4.0];
        for (found, expected) in resized.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        }
    }

    #[test]
    fn a_wrong_number_of_positions_names_both() {
        let grid = Grid::new(384, 128, 16, 16).unwrap();
        let message = fit_positions(Array2::zeros((25, 4)), grid, true).unwrap_err().to_string();
        assert!(message.contains("25") && message.contains("193"), "{message}");
        assert!(fit_positions(Array2::zeros((50, 4)), grid, false).is_err());
        assert_eq!(fit_positions(Array2::zeros((50, 4)), grid, true).unwrap().nrows(), 193);
        // 14 x 14 stored, 28 x 7 wanted: as many, but others.
        let tall = Grid::new(448, 112, 16, 16).unwrap();
        let stored = Array2::from_shape_fn((197, 1), |(row, _)| row as f32);
        assert_ne!(fit_positions(stored.clone(), tall, true).unwrap(), stored);
        assert_eq!(fit_positions(stored.clone(), tall, false).unwrap(), stored);
    }
}
