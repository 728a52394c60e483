//! The size of the images where nobody states it, and what the summary says of it.

use super::Origin;
use crate::ExportError;
use crate::geometry::{Grid, square_side};
use descry_model::method::{IMAGE_SIZE_PX, Method};

/// Whether the method's images are square where nobody says otherwise.
fn is_square_by_birth(method: Method) -> bool {
    match method {
        Method::Clip | Method::TbpsClip => true,
        Method::Irra | Method::DmAdapter | Method::UpPerson | Method::Rde => false,
    }
}

/// The size where nobody states one: CLIP's own images are square, those of the retrieval papers are not.
pub(super) fn unstated_size(
    method: Method,
    positions: usize,
    patch: usize,
    stride: usize,
) -> Result<(usize, usize), ExportError> {
    match square_side(positions) {
        // CLIP's own patches do not overlap; a given stride changes the grid, not the image.
        Some(side) if is_square_by_birth(method) => Ok((side * patch, side * patch)),
        None if is_square_by_birth(method) && !fits_the_published_size(positions, patch, stride) => {
            let reason =
                format!("{positions} position embeddings are of no square image; give --image-size HEIGHTxWIDTH");
            Err(ExportError::Setting { name: "image-size".to_owned(), reason })
        }
        _ => Ok(IMAGE_SIZE_PX),
    }
}

/// Whether as many position embeddings belong to images of the size with which the retrieval papers train.
fn fits_the_published_size(positions: usize, patch: usize, stride: usize) -> bool {
    let (height, width) = IMAGE_SIZE_PX;
    Grid::new(height, width, patch, stride).is_ok_and(|grid| grid.positions() == positions)
}

/// Where the size is from, and which other one fits as well: sides that are swapped give as many patches.
pub(super) struct SizeOrigin<'a> {
    pub(super) size: &'a Origin<(usize, usize)>,
    pub(super) method: Method,
    pub(super) grid: Grid,
    /// What became of the position embeddings, where that is worth telling.
    pub(super) note: Option<String>,
    /// Whether the settings tell the grid.
    pub(super) is_stated: bool,
}

impl SizeOrigin<'_> {
    pub(super) fn describe(&self) -> String {
        let Self { grid, .. } = self;
        let assumed = if is_square_by_birth(self.method) && (grid.height_px, grid.width_px) != IMAGE_SIZE_PX {
            "the square grid of the position embeddings".to_owned()
        } else {
            let (height, width) = IMAGE_SIZE_PX;
            format!("nobody: the published {height}x{width} is assumed")
        };
        let show = |(height, width): (usize, usize)| format!("{height}x{width}");
        let text = self.size.describe("--image-size", show, &assumed);
        if let Some(note) = &self.note {
            // Of a square grid: the other order of the sides is as good a guess.
            return format!("{text}; {note}");
        }
        if grid.rows() == grid.columns() || self.is_stated {
            return text;
        }
        let (height, width) = (grid.height_px, grid.width_px);
        format!(
            "{text}; {width}x{height} would fit the position embeddings as well, and rank badly if {height}x{width} is right"
        )
    }
}
