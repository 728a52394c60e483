//! What no tensor says: image size, stride, number of chosen experts. Who decided each is told with the bundle, because a
//! wrong one gives a model that works, only badly.

use crate::checkpoint::RunSettings;
use crate::geometry::{Grid, square_side};
use crate::request::ModelFlags;
use crate::tensors::Tensors;
use crate::{ExportError, clip};
use descry_model::method::clip::IMAGE_POSITIONS;
use descry_model::method::dm_adapter::TOP_K;
use descry_model::method::{IMAGE_SIZE_PX, Method};
use std::fmt::Display;

/// The settings that an export goes by.
pub(crate) struct Decisions {
    pub(crate) grid: Grid,
    pub(crate) top_k: usize,
    /// Whether position embeddings of a square grid may be stretched to the grid.
    pub(crate) may_resize: bool,
    /// What was taken from where, for the summary.
    pub(crate) origins: Vec<(&'static str, String)>,
}

/// Who states a setting.
enum Origin<Value> {
    Flag { value: Value, settings: Option<Value> },
    Settings(Value),
    Nobody,
}

impl<Value: Copy + PartialEq> Origin<Value> {
    fn of(flag: Option<Value>, settings: Option<Value>) -> Self {
        match (flag, settings) {
            (Some(value), settings) => Self::Flag { value, settings },
            (None, Some(value)) => Self::Settings(value),
            (None, None) => Self::Nobody,
        }
    }

    fn value(&self) -> Option<Value> {
        match self {
            Self::Flag { value, .. } | Self::Settings(value) => Some(*value),
            Self::Nobody => None,
        }
    }

    /// - `flag`: its name
    /// - `show`: a value in words
    /// - `assumed`: what was taken where nobody states it
    fn describe<Shown: Display>(&self, flag: &str, show: impl Fn(Value) -> Shown, assumed: &str) -> String {
        match self {
            Self::Flag { value, settings: Some(other) } if value != other => {
                format!("{flag}, though the settings say {}", show(*other))
            }
            Self::Flag { .. } => flag.to_owned(),
            Self::Settings(_) => "the settings".to_owned(),
            Self::Nobody => assumed.to_owned(),
        }
    }
}

/// Decides by flags, then by the run's settings, then by what the method's paper used.
///
/// # Errors
/// [`ExportError::Setting`] for sizes that make no grid; [`ExportError::OtherGrid`] for a flag whose grid has as many
/// patches as the one that the settings state, and is another.
pub(crate) fn decide(
    tensors: &Tensors<'_>,
    method: Method,
    settings: &RunSettings,
    flags: &ModelFlags,
) -> Result<Decisions, ExportError> {
    let (_, patch) = clip::vision_sizes(tensors)?;
    let [positions, _] = tensors.shape(IMAGE_POSITIONS, "[positions, width]")?;
    let size = Origin::of(flags.image_size_px, settings.image_size_px);
    let stride = Origin::of(flags.stride, settings.stride);
    let top_k = Origin::of(flags.top_k, settings.topk);
    let stride_px = stride.value().unwrap_or(patch);
    let (height, width) = match size.value() {
        Some(size) => size,
        None if method == Method::Clip => square_size(positions, patch)?,
        None => IMAGE_SIZE_PX,
    };
    let grid = Grid::new(height, width, patch, stride_px)?;
    // Settings that do not fit the embeddings know nothing of their grid.
    let stated = settings
        .image_size_px
        .and_then(|(height, width)| Grid::new(height, width, patch, settings.stride.unwrap_or(patch)).ok())
        .filter(|stated| stated.positions() == positions);
    // Only plain CLIP's square grid may be stretched: a fine-tuned model knows the grid it was trained on.
    let may_resize = method == Method::Clip && stated.is_none_or(|stated| stated.rows() == stated.columns());
    let is_other = |stated: &Grid| (stated.rows(), stated.columns()) != (grid.rows(), grid.columns());
    if let Some(stated) = stated.filter(is_other)
        && !may_resize
        && grid.positions() == positions
    {
        return Err(ExportError::OtherGrid {
            given: grid.to_string(),
            stated: stated.to_string(),
            stated_size: format!("{}x{}", stated.height_px, stated.width_px),
        });
    }
    let stretched_from =
        square_side(positions).filter(|&side| may_resize && (side, side) != (grid.rows(), grid.columns()));
    let mut origins = vec![
        ("image size taken from", describe_size(&size, method, grid, stretched_from, stated.is_some())),
        ("stride taken from", stride.describe("--stride", |px| px, "nobody: assumed that patches do not overlap")),
    ];
    if method == Method::DmAdapter {
        let assumed = format!("nobody: the published {TOP_K} is assumed; give --topk if the run had another");
        origins.push(("top-k taken from", top_k.describe("--topk", |count| count, &assumed)));
    }
    Ok(Decisions { grid, top_k: top_k.value().unwrap_or(TOP_K), may_resize, origins })
}

fn square_size(positions: usize, patch: usize) -> Result<(usize, usize), ExportError> {
    let Some(side) = square_side(positions) else {
        let reason = format!("{positions} position embeddings are of no square image; give --image-size HEIGHTxWIDTH");
        return Err(ExportError::Setting { name: "image-size".to_owned(), reason });
    };
    // CLIP's own patches do not overlap; a given stride changes the grid, not the image.
    let side_px = side * patch;
    Ok((side_px, side_px))
}

/// Where the size is from, and which other one fits as well: sides that are swapped give as many patches.
///
/// - `stretched_from`: the side of the stored grid, where it is another
/// - `is_stated`: whether the settings tell the grid
fn describe_size(
    size: &Origin<(usize, usize)>,
    method: Method,
    grid: Grid,
    stretched_from: Option<usize>,
    is_stated: bool,
) -> String {
    let assumed = match method {
        Method::Clip => "the square grid of the position embeddings".to_owned(),
        Method::DmAdapter | Method::UpPerson => {
            let (height, width) = IMAGE_SIZE_PX;
            format!("nobody: the published {height}x{width} is assumed")
        }
    };
    let show = |(height, width): (usize, usize)| format!("{height}x{width}");
    let mut text = size.describe("--image-size", show, &assumed);
    if let Some(side) = stretched_from {
        // To any size: the other order of the sides is as good a guess.
        text += &format!("; position embeddings stretched from {side} x {side}");
        return text;
    }
    let is_square = grid.rows() == grid.columns();
    if !is_square && !is_stated {
        let (height, width) = (grid.height_px, grid.width_px);
        text += &format!(
            "; {width}x{height} would fit the position embeddings as well, and rank badly if {height}x{width} is right"
        );
    }
    text
}
