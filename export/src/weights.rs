//! Where the weights of an export come from: a checkpoint, alone or over a base, or random numbers.

use crate::checkpoint::{Checkpoint, RunSettings, published_settings};
use crate::geometry::Grid;
use crate::request::{ExportRequest, ModelFlags, ModelSource};
use crate::tensors::Tensors;
use crate::{ExportError, clip, geometry, random};
use descry_model::method::clip::IMAGE_POSITIONS;
use descry_model::method::{IMAGE_SIZE_PX, tbps_clip};
use descry_model::{Method, Source};
use ndarray::{Array2, ArrayD, Ix2};
use std::collections::BTreeMap;

/// A state dict as it was trained, the run's settings, and where both are from.
pub(crate) struct Unmerged {
    pub(crate) tensors: BTreeMap<String, ArrayD<f32>>,
    pub(crate) settings: RunSettings,
    pub(crate) source: Source,
    pub(crate) positions: PositionSource,
}

/// Where the vision tower's position embeddings are from.
pub(crate) enum PositionSource {
    /// As the checkpoint has them, or as they were drawn.
    Checkpoint,
    /// The base's, already brought to the size of the run's images.
    Base {
        /// What became of them, where that is worth telling.
        note: Option<String>,
    },
}

/// Reads a request's checkpoint, filled in from its base, or draws random weights.
pub(crate) fn load(request: &ExportRequest) -> Result<Unmerged, ExportError> {
    match &request.source {
        ModelSource::Checkpoint { path, config, base } => {
            let checkpoint = match config {
                Some(config) => Checkpoint::open_with_settings(path, config)?,
                None => Checkpoint::open(path)?,
            };
            let mut tensors = checkpoint.tensors;
            let mut source = Source { checkpoint: checkpoint.source_sha256, base: None };
            let mut settings = checkpoint.settings;
            let mut positions = PositionSource::Checkpoint;
            if let Some(base) = base {
                let base = Checkpoint::open(base)?;
                if base.method()? != Method::Clip {
                    let reason = "the base is fine-tuned itself; give plain CLIP".to_owned();
                    return Err(ExportError::Setting { name: "base".to_owned(), reason });
                }
                source.base = Some(base.source_sha256);
                positions = fill_from_base(&mut tensors, base.tensors, [&settings, &base.settings], &request.flags)?;
                settings = settings.or(base.settings.of_blocks());
            }
            Ok(Unmerged { tensors, settings, source, positions })
        }
        ModelSource::Random { preset, method, seed } => {
            let published_size_px = if *method == Method::TbpsClip { tbps_clip::IMAGE_SIZE_PX } else { IMAGE_SIZE_PX };
            let (height, width) = request.flags.image_size_px.unwrap_or(published_size_px);
            let stride = request.flags.stride;
            let tensors = random::random_tensors_for_grid(*preset, *method, *seed, |patch| {
                Ok(Grid::new(height, width, patch, stride.unwrap_or(patch))?.positions())
            })?;
            let settings = RunSettings { image_size_px: Some((height, width)), ..published_settings(*method) };
            let checkpoint = format!("random {preset:?} {method}, seed {seed}");
            Ok(Unmerged {
                tensors,
                settings,
                source: Source { checkpoint, base: None },
                positions: PositionSource::Checkpoint,
            })
        }
    }
}

/// Adds the base's tensors where the checkpoint has none, its square grid of positions stretched to the run's size, and says
/// what became of these.
///
/// - `settings`: the run's and the base's
fn fill_from_base(
    tensors: &mut BTreeMap<String, ArrayD<f32>>,
    base: BTreeMap<String, ArrayD<f32>>,
    [settings, of_base]: [&RunSettings; 2],
    flags: &ModelFlags,
) -> Result<PositionSource, ExportError> {
    let lacks_positions = !tensors.contains_key(IMAGE_POSITIONS);
    for (key, tensor) in base {
        tensors.entry(key).or_insert(tensor);
    }
    if !lacks_positions {
        return Ok(PositionSource::Checkpoint);
    }
    let (_, patch) = clip::vision_sizes(&Tensors::new(tensors))?;
    let stride = flags.stride.or(settings.stride).unwrap_or(patch);
    let (height, width) = flags.image_size_px.or(settings.image_size_px).unwrap_or(IMAGE_SIZE_PX);
    let stored: Option<Array2<f32>> =
        tensors.get(IMAGE_POSITIONS).and_then(|stored| stored.clone().into_dimensionality::<Ix2>().ok());
    let Some(stored) = stored else { return Ok(PositionSource::Checkpoint) };
    let fitted = geometry::fit_image_positions(stored, of_base, (height, width), patch, stride)?;
    tensors.insert(IMAGE_POSITIONS.to_owned(), fitted.positions.into_dyn());
    Ok(PositionSource::Base { note: fitted.note })
}
