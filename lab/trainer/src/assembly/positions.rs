//! Position embeddings of the vision tower for the recipe's images.

use crate::run::ModelShape;
use crate::{Recipe, TrainError};
use descry_export::ExportError;
use descry_model::method::clip::IMAGE_POSITIONS;
use ndarray::{ArrayD, Ix2};
use std::collections::BTreeMap;

/// Resizes the position embeddings of a square grid, as CLIP's are, to the recipe's images.
///
/// # Errors
/// [`TrainError::Setting`] for images that make no grid, [`TrainError::Checkpoint`] for positions that fit none.
pub(super) fn fit(
    recipe: &Recipe,
    shape: &ModelShape,
    tensors: &mut BTreeMap<String, ArrayD<f32>>,
) -> Result<(), TrainError> {
    let stored = tensors.get(IMAGE_POSITIONS).cloned().and_then(|stored| stored.into_dimensionality::<Ix2>().ok());
    let Some(stored) = stored else {
        return Err(TrainError::Tensor { key: IMAGE_POSITIONS.to_owned(), reason: "expected a matrix".to_owned() });
    };
    let size_px = (recipe.input.height_px, recipe.input.width_px);
    let fitted =
        descry_export::fit_image_positions(stored, size_px, shape.patch_px, shape.stride_px).map_err(with_our_names)?;
    tensors.insert(IMAGE_POSITIONS.to_owned(), fitted.into_dyn());
    Ok(())
}

/// The export names its own flags.
fn with_our_names(error: ExportError) -> TrainError {
    if let ExportError::Setting { name, reason } = error {
        let name = match name.as_str() {
            "image-size" => "input.height_px, input.width_px".to_owned(),
            "stride" => "input.stride_px".to_owned(),
            _ => name,
        };
        return TrainError::Setting { name, reason };
    }
    error.into()
}

#[cfg(test)]
mod tests {
    use crate::assembly::assemble;
    use crate::initialization::new_clip;
    use crate::{Method, Recipe, TrainError};
    use descry_evaluation::DatasetLayout;

    /// The setting that is at fault.
    #[track_caller]
    fn at_fault(change: impl FnOnce(&mut Recipe)) -> String {
        let mut recipe = Recipe::small(Method::Clip, DatasetLayout::CuhkPedes);
        let base = new_clip(&recipe, 300);
        change(&mut recipe);
        match assemble(&recipe, Some(base), 300) {
            Err(TrainError::Setting { name, .. }) => name,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn images_that_make_no_grid_are_told_by_the_settings_of_training() {
        assert_eq!(at_fault(|recipe| recipe.input.width_px = 8), "input.height_px, input.width_px");
        assert_eq!(at_fault(|recipe| recipe.input.stride_px = Some(17)), "input.stride_px");
    }
}
