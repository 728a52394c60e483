//! What no tensor says: image size, stride, number of chosen experts. Who decided each is told with the bundle, because a
//! wrong one gives a model that works, only badly.

use crate::activation::{Activation, BlockFacts};
use crate::checkpoint::{PixelSettings, RunSettings};
use crate::geometry::{Grid, square_side};
use crate::request::ModelFlags;
use crate::tensors::Tensors;
use crate::{ExportError, clip, geometry};
use descry_model::ResizeFilter;
use descry_model::method::clip::{HEAD_WIDTH, IMAGE_POSITIONS};
use descry_model::method::dm_adapter::TOP_K;
use descry_model::method::{IMAGE_SIZE_PX, Method};
use std::fmt::Display;

/// A number that only OpenAI's archives carry beside the weights.
const OPENAI_ONLY: &str = "input_resolution";

/// The settings that an export goes by.
pub(crate) struct Decisions {
    pub(crate) grid: Grid,
    pub(crate) top_k: usize,
    /// Whether position embeddings of a square grid may be stretched to the grid.
    pub(crate) may_resize: bool,
    pub(crate) vision_facts: BlockFacts,
    pub(crate) text_facts: BlockFacts,
    pub(crate) pixels: PixelSettings,
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
        None => unstated_size(method, positions, patch, stride_px)?,
    };
    let grid = Grid::new(height, width, patch, stride_px)?;
    let stated = geometry::stated_grid(settings, patch, positions);
    // Only plain CLIP's square grid may be stretched: a fine-tuned model knows the grid it was trained on.
    let may_resize = method == Method::Clip && geometry::may_stretch(stated, grid, positions);
    if !may_resize {
        geometry::check_order(stated, grid)?;
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
    let (heads, heads_origin) = decide_heads(tensors, method, settings, flags)?;
    let (activations, activation_origin) = decide_activations(tensors, method, settings, flags);
    origins.extend([("attention heads", heads_origin), ("activation", activation_origin)]);
    if settings.caption_rules.is_some() {
        let origin = settings.saved_by.map_or_else(|| "the settings".to_owned(), published);
        origins.push(("caption preparation", origin));
    }
    let pixels = settings.pixels.unwrap_or_default();
    if pixels != PixelSettings::default() {
        let filter = pixels.resize_filter.unwrap_or(ResizeFilter::PillowBilinear).name();
        let origin = settings.saved_by.map_or_else(|| "the settings".to_owned(), published);
        origins.push(("image preparation", format!("{filter}, {origin}; whole images, nothing is cropped")));
    }
    let [vision_facts, text_facts] =
        [0, 1].map(|tower| BlockFacts { heads: heads[tower], activation: activations[tower] });
    Ok(Decisions { grid, top_k: top_k.value().unwrap_or(TOP_K), may_resize, vision_facts, text_facts, pixels, origins })
}

fn published(method: Method) -> String {
    format!("as the published code of {method} has it")
}

/// Whether the method's images are square where nobody says otherwise.
fn is_square_by_birth(method: Method) -> bool {
    match method {
        Method::Clip | Method::TbpsClip => true,
        Method::Irra | Method::DmAdapter | Method::UpPerson | Method::Rde => false,
    }
}

/// Heads of the vision and the text tower, and who says so. Any number that divides the width gives a model that runs, so it
/// is stated or assumed, and never found.
fn decide_heads(
    tensors: &Tensors<'_>,
    method: Method,
    settings: &RunSettings,
    flags: &ModelFlags,
) -> Result<([usize; 2], String), ExportError> {
    let (vision_width, _) = clip::vision_sizes(tensors)?;
    let widths = [vision_width, clip::text_width(tensors)?];
    let stated = Origin::of(flags.heads, settings.vision_heads.zip(settings.text_heads));
    let fault = |reason: String| ExportError::Setting { name: "heads".to_owned(), reason };
    let heads = match stated.value() {
        Some((vision, text)) => [vision, text],
        None => widths.map(|width| width / HEAD_WIDTH),
    };
    for (name, width, heads) in [("vision", widths[0], heads[0]), ("text", widths[1], heads[1])] {
        if stated.value().is_none() && (width == 0 || !width.is_multiple_of(HEAD_WIDTH)) {
            return Err(fault(format!(
                "the {name} tower is {width} wide, no multiple of {HEAD_WIDTH}, the width of a head in OpenAI's models; give \
                 the number of heads, --heads VISION,TEXT"
            )));
        }
        if heads == 0 || !width.is_multiple_of(heads) {
            return Err(fault(format!("{heads} heads do not share the {name} tower's width of {width} equally")));
        }
    }
    let assumed = if method != Method::Clip {
        "as the published code computes".to_owned()
    } else {
        format!("nobody says it: one head per {HEAD_WIDTH} of the width is assumed")
    };
    let show = |(vision, text)| format!("{vision} and {text}");
    let origin = stated.describe("--heads", show, &assumed);
    Ok((heads, format!("{} (vision), {} (text), {origin}", heads[0], heads[1])))
}

/// Activations of the vision and the text tower, and who says so.
fn decide_activations(
    tensors: &Tensors<'_>,
    method: Method,
    settings: &RunSettings,
    flags: &ModelFlags,
) -> ([Activation; 2], String) {
    let given = flags.activation.map(|activation| (activation, activation));
    let stated = Origin::of(given, settings.vision_activation.zip(settings.text_activation));
    let (vision, text) = stated.value().unwrap_or((Activation::QuickGelu, Activation::QuickGelu));
    let show = |(vision, text): (Activation, Activation)| {
        if vision == text { vision.to_string() } else { format!("{vision} (vision), {text} (text)") }
    };
    let assumed = if method != Method::Clip {
        "as the published code computes"
    } else if tensors.contains(OPENAI_ONLY) {
        "as in OpenAI's archives"
    } else {
        "nobody says it: assumed, as OpenAI's models have it; most of OpenCLIP's own want --activation gelu"
    };
    let origin = stated.describe("--activation", show, assumed);
    ([vision, text], format!("{}, {origin}", show((vision, text))))
}

/// The size where nobody states one: CLIP's own images are square, those of the retrieval papers are not.
fn unstated_size(method: Method, positions: usize, patch: usize, stride: usize) -> Result<(usize, usize), ExportError> {
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
    let assumed = if is_square_by_birth(method) && (grid.height_px, grid.width_px) != IMAGE_SIZE_PX {
        "the square grid of the position embeddings".to_owned()
    } else {
        let (height, width) = IMAGE_SIZE_PX;
        format!("nobody: the published {height}x{width} is assumed")
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
