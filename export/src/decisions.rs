//! What no tensor says: image size, stride, number of chosen experts. Who decided each is told with the bundle, because a
//! wrong one gives a model that works, only badly.

mod block_facts;
mod image_size;
mod pixels;

use crate::activation::BlockFacts;
use crate::checkpoint::{PixelSettings, RunSettings};
use crate::geometry::{Fit, Grid};
use crate::request::ModelFlags;
use crate::tensors::Tensors;
use crate::weights::PositionSource;
use crate::{ExportError, clip, geometry};
use descry_model::method::Method;
use descry_model::method::clip::IMAGE_POSITIONS;
use descry_model::method::dm_adapter::TOP_K;
use image_size::SizeOrigin;
use std::fmt::Display;

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
    Flag { value: Value, stated: Option<(Value, Statement)> },
    Stated(Value, Statement),
    Nobody,
}

/// How the files beside the weights state a setting.
#[derive(Debug, Clone, Copy)]
enum Statement {
    /// It is written there.
    Written,
    /// It is what this library takes where nothing is written.
    LeftTo(&'static str),
}

impl<Value: Copy + PartialEq> Origin<Value> {
    fn of(flag: Option<Value>, settings: Option<Value>) -> Self {
        Self::of_statement(flag, settings.map(|value| (value, Statement::Written)))
    }

    fn of_statement(flag: Option<Value>, stated: Option<(Value, Statement)>) -> Self {
        match (flag, stated) {
            (Some(value), stated) => Self::Flag { value, stated },
            (None, Some((value, statement))) => Self::Stated(value, statement),
            (None, None) => Self::Nobody,
        }
    }

    fn value(&self) -> Option<Value> {
        match self {
            Self::Flag { value, .. } | Self::Stated(value, _) => Some(*value),
            Self::Nobody => None,
        }
    }

    /// - `flag`: its name
    /// - `show`: a value in words
    /// - `assumed`: what was taken where nobody states it
    fn describe<Shown: Display>(&self, flag: &str, show: impl Fn(Value) -> Shown, assumed: &str) -> String {
        match self {
            Self::Flag { value, stated: Some((other, statement)) } if value != other => match statement {
                Statement::Written => format!("{flag}, though the settings say {}", show(*other)),
                Statement::LeftTo(library) => format!("{flag}, though the default of {library} is {}", show(*other)),
            },
            Self::Flag { .. } => flag.to_owned(),
            Self::Stated(_, Statement::Written) => "the settings".to_owned(),
            Self::Stated(_, Statement::LeftTo(library)) => {
                format!("the default of {library}, as the settings name none")
            }
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
    source: &PositionSource,
) -> Result<Decisions, ExportError> {
    let (_, patch) = clip::vision_sizes(tensors)?;
    let [positions, _] = tensors.shape(IMAGE_POSITIONS, "[positions, width]")?;
    let size = Origin::of(flags.image_size_px, settings.image_size_px);
    let stride = Origin::of(flags.stride, settings.stride);
    let top_k = Origin::of(flags.top_k, settings.topk);
    let stride_px = stride.value().unwrap_or(patch);
    let (height, width) = match size.value() {
        Some(size) => size,
        None => image_size::unstated_size(method, positions, patch, stride_px)?,
    };
    let grid = Grid::new(height, width, patch, stride_px)?;
    let stated = geometry::stated_grid(settings, patch, positions);
    let (may_resize, note) = match source {
        PositionSource::Checkpoint => {
            // Only plain CLIP's square grid may be stretched: a fine-tuned model knows the grid it was trained on.
            let may_resize = method == Method::Clip && geometry::may_stretch(stated, grid, positions);
            if !may_resize {
                geometry::check_order(stated, grid)?;
            }
            // A run's settings tell the grid of a model that was trained by it. Plain CLIP was trained before.
            let is_certain = match method {
                Method::Clip => geometry::trained_grid(settings, patch, positions).is_some(),
                Method::Irra | Method::DmAdapter | Method::UpPerson | Method::Rde | Method::TbpsClip => {
                    stated.is_some()
                }
            };
            let fit = Fit::of(positions, grid, may_resize);
            (may_resize, fit.describe("position embeddings", grid).filter(|_| may_resize || !is_certain))
        }
        // They were brought to the grid when they were read.
        PositionSource::Base { note } => {
            geometry::check_order(stated, grid)?;
            (false, note.clone())
        }
    };
    let size_origin = SizeOrigin { size: &size, method, grid, note, is_stated: stated.is_some() };
    let mut origins = vec![
        ("image size taken from", size_origin.describe()),
        ("stride taken from", stride.describe("--stride", |px| px, "nobody: assumed that patches do not overlap")),
    ];
    if method == Method::DmAdapter {
        let assumed = format!("nobody: the published {TOP_K} is assumed; give --topk if the run had another");
        origins.push(("top-k taken from", top_k.describe("--topk", |count| count, &assumed)));
    }
    let (heads, heads_origin) = block_facts::decide_heads(tensors, method, settings, flags)?;
    let (activations, activation_origin) = block_facts::decide_activations(tensors, method, settings, flags);
    origins.extend([("attention heads", heads_origin), ("activation", activation_origin)]);
    if settings.caption_rules.is_some() {
        let origin = settings.saved_by.map_or_else(|| "the settings".to_owned(), published);
        origins.push(("caption preparation", origin));
    }
    let (pixels, pixels_origin) = pixels::decide_pixels(method, settings);
    origins.extend(pixels_origin.map(|origin| ("image preparation", origin)));
    let [vision_facts, text_facts] =
        [0, 1].map(|tower| BlockFacts { heads: heads[tower], activation: activations[tower] });
    Ok(Decisions { grid, top_k: top_k.value().unwrap_or(TOP_K), may_resize, vision_facts, text_facts, pixels, origins })
}

fn published(method: Method) -> String {
    format!("as the published code of {method} has it")
}
