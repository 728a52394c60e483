//! Position embeddings of the vision tower for the recipe's images.

use crate::run::ModelShape;
use crate::{Recipe, TrainError};
use descry_export::{ExportError, RunSettings};
use descry_model::method::clip::IMAGE_POSITIONS;
use ndarray::{ArrayD, Ix2};
use std::collections::BTreeMap;

/// Position embeddings for the recipe's images: the base's own where they fit, else resized from a square grid, as CLIP's
/// are.
///
/// - `settings`: what is known of the base
///
/// # Errors
/// [`TrainError::Setting`] for images that make no grid, [`TrainError::Checkpoint`] for positions that fit none.
pub(super) fn fit(
    recipe: &Recipe,
    shape: &ModelShape,
    settings: &RunSettings,
    tensors: &mut BTreeMap<String, ArrayD<f32>>,
) -> Result<(), TrainError> {
    let stored = tensors.get(IMAGE_POSITIONS).cloned().and_then(|stored| stored.into_dimensionality::<Ix2>().ok());
    let Some(stored) = stored else {
        return Err(TrainError::Tensor { key: IMAGE_POSITIONS.to_owned(), reason: "expected a matrix".to_owned() });
    };
    let size_px = (recipe.input.height_px, recipe.input.width_px);
    let fitted = descry_export::fit_image_positions(stored, settings, size_px, shape.patch_px, shape.stride_px)
        .map_err(with_our_names)?;
    if let Some(note) = fitted.note {
        tracing::info!("{note}");
    }
    tensors.insert(IMAGE_POSITIONS.to_owned(), fitted.positions.into_dyn());
    Ok(())
}

/// The export names its own flags.
fn with_our_names(error: ExportError) -> TrainError {
    const SIZE: &str = "input.height_px, input.width_px";
    if let ExportError::Setting { name, reason } = error {
        let name = match name.as_str() {
            "image-size" => SIZE.to_owned(),
            "stride" => "input.stride_px".to_owned(),
            _ => name,
        };
        return TrainError::Setting { name, reason };
    }
    if let ExportError::OtherGrid { given, stated, stated_size } = error {
        let reason = format!(
            "come to {given}; the settings beside the base say {stated}, which are as many, and on which its position \
             embeddings were trained; give {stated_size}"
        );
        return TrainError::Setting { name: SIZE.to_owned(), reason };
    }
    error.into()
}

#[cfg(test)]
mod tests {
    use crate::assembly::assemble;
    use crate::initialization::new_clip;
    use crate::{Method, Recipe, TrainError};
    use descry_evaluation::DatasetLayout;
    use descry_export::RunSettings;
    use descry_model::method::clip::IMAGE_POSITIONS;
    use ndarray::ArrayD;

    /// The setting that is at fault.
    #[track_caller]
    fn at_fault(change: impl FnOnce(&mut Recipe)) -> String {
        let mut recipe = Recipe::small(Method::Clip, DatasetLayout::CuhkPedes);
        let base = new_clip(&recipe, 300);
        change(&mut recipe);
        match assemble(&recipe, Some(base), &RunSettings::default(), 300) {
            Err(TrainError::Setting { name, .. }) => name,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn images_that_make_no_grid_are_told_by_the_settings_of_training() {
        assert_eq!(at_fault(|recipe| recipe.input.width_px = 8), "input.height_px, input.width_px");
        assert_eq!(at_fault(|recipe| recipe.input.stride_px = Some(17)), "input.stride_px");
    }

    /// The positions of a base with 17 of them, for images of a size.
    fn fitted(size_px: (usize, usize), settings: &RunSettings) -> Result<(ArrayD<f32>, ArrayD<f32>), TrainError> {
        let mut recipe = Recipe::small(Method::Clip, DatasetLayout::CuhkPedes);
        (recipe.input.height_px, recipe.input.width_px) = (128, 32);
        let base = new_clip(&recipe, 300);
        let stored = base[IMAGE_POSITIONS].clone();
        assert_eq!(stored.shape()[0], 17);
        (recipe.input.height_px, recipe.input.width_px) = size_px;
        let assembled = assemble(&recipe, Some(base), settings, 300)?;
        Ok((stored, assembled.model.parameters().values().unwrap()[IMAGE_POSITIONS].clone()))
    }

    /// Sixteen patches are a square number, and 8 x 2 of them are not a square grid's: stretched, each would mean another
    /// place than the one that it was trained for.
    #[test]
    fn positions_that_fit_the_images_are_taken_as_they_are() {
        let stated = |size_px| RunSettings { image_size_px: Some(size_px), ..RunSettings::default() };
        for settings in [RunSettings::default(), stated((128, 32))] {
            let (stored, found) = fitted((128, 32), &settings).unwrap();
            assert_eq!(found, stored, "{settings:?}");
        }
        // Of a square that is known to be one, be it beside what a run wanted, and of as many as no square of the wanted size
        // has.
        let square = RunSettings { trained_size_px: Some((64, 64)), ..stated((128, 32)) };
        for (size_px, settings) in
            [((128, 32), stated((64, 64))), ((128, 32), square), ((128, 48), RunSettings::default())]
        {
            let (stored, found) = fitted(size_px, &settings).unwrap();
            assert_ne!(found, stored, "{settings:?}");
            assert_eq!(found.shape()[0], 1 + size_px.0 / 16 * (size_px.1 / 16));
        }
        let message = fitted((32, 128), &stated((128, 32))).unwrap_err().to_string();
        assert!(message.contains("input.height_px") && message.contains("give 128x32"), "{message}");
    }
}
