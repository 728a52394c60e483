//! Whether a base's tensors fit together.

use crate::TrainError;
use crate::run::ModelShape;
use descry_model::method::clip::{
    CLASS_EMBEDDING, HEAD_WIDTH, IMAGE_NORM_AFTER, IMAGE_NORM_BEFORE, IMAGE_POSITIONS, IMAGE_PROJECTION,
    TEXT_NORM_AFTER, TEXT_POSITIONS, TEXT_PROJECTION, TOKEN_EMBEDDING,
};
use descry_model::method::{BlockKeys, Side};
use ndarray::ArrayD;
use std::collections::BTreeMap;

/// Refuses tensors that do not fit together: the fused products trust their sizes.
///
/// # Errors
/// [`TrainError::Tensor`] naming the first that does not.
pub(super) fn check(shape: &ModelShape, tensors: &BTreeMap<String, ArrayD<f32>>) -> Result<(), TrainError> {
    let base = Base(tensors);
    let (vision, text) = (shape.vision_width, base.columns(TOKEN_EMBEDDING)?);
    let dimension = base.columns(IMAGE_PROJECTION)?;
    base.expect(IMAGE_PROJECTION, &[vision, dimension])?;
    base.expect(TEXT_PROJECTION, &[text, dimension])?;
    base.expect(CLASS_EMBEDDING, &[vision])?;
    for (key, width) in [(IMAGE_POSITIONS, vision), (TEXT_POSITIONS, text)] {
        base.expect(key, &[base.rows(key)?, width])?;
    }
    for (key, width) in [(IMAGE_NORM_BEFORE, vision), (IMAGE_NORM_AFTER, vision), (TEXT_NORM_AFTER, text)] {
        base.norm(key, width)?;
    }
    for (side, width, layers) in [(Side::Vision, vision, shape.vision_layers), (Side::Text, text, shape.text_layers)] {
        if width == 0 || !width.is_multiple_of(HEAD_WIDTH) {
            let reason = format!("the width {width} is no multiple of {HEAD_WIDTH}, the width of a head");
            return Err(TrainError::Tensor { key: format!("{}.weight", side.block(0).attention_norm()), reason });
        }
        for layer in 0..layers {
            base.block(side.block(layer), width)?;
        }
    }
    Ok(())
}

/// Tensors of a base under their names.
struct Base<'a>(&'a BTreeMap<String, ArrayD<f32>>);

impl Base<'_> {
    fn block(&self, keys: BlockKeys, width: usize) -> Result<(), TrainError> {
        self.norm(&keys.attention_norm(), width)?;
        self.norm(&keys.mlp_norm(), width)?;
        self.expect(&keys.in_projection_weight(), &[3 * width, width])?;
        self.expect(&keys.in_projection_bias(), &[3 * width])?;
        let hidden = self.rows(&format!("{}.weight", keys.mlp_in()))?;
        for (layer, outputs, inputs) in
            [(keys.out_projection(), width, width), (keys.mlp_in(), hidden, width), (keys.mlp_out(), width, hidden)]
        {
            self.expect(&format!("{layer}.weight"), &[outputs, inputs])?;
            self.expect(&format!("{layer}.bias"), &[outputs])?;
        }
        Ok(())
    }

    fn norm(&self, key: &str, width: usize) -> Result<(), TrainError> {
        self.expect(&format!("{key}.weight"), &[width])?;
        self.expect(&format!("{key}.bias"), &[width])
    }

    fn expect(&self, key: &str, expected: &[usize]) -> Result<(), TrainError> {
        let shape = self.shape(key)?;
        if shape == expected {
            return Ok(());
        }
        Err(TrainError::Tensor { key: key.to_owned(), reason: format!("it is {shape:?}, expected {expected:?}") })
    }

    fn rows(&self, key: &str) -> Result<usize, TrainError> {
        Ok(self.shape(key)?.first().copied().unwrap_or_default())
    }

    fn columns(&self, key: &str) -> Result<usize, TrainError> {
        match self.shape(key)? {
            &[_, columns] => Ok(columns),
            other => {
                let reason = format!("it is {other:?}, expected a matrix");
                Err(TrainError::Tensor { key: key.to_owned(), reason })
            }
        }
    }

    fn shape(&self, key: &str) -> Result<&[usize], TrainError> {
        let missing = || TrainError::Tensor { key: key.to_owned(), reason: "it is missing".to_owned() };
        self.0.get(key).map(ArrayD::shape).ok_or_else(missing)
    }
}

#[cfg(test)]
mod tests {
    use crate::assembly::assemble;
    use crate::initialization::new_clip;
    use crate::{Method, Recipe, TrainError};
    use descry_evaluation::DatasetLayout;
    use descry_export::RunSettings;
    use ndarray::ArrayD;

    #[test]
    fn every_tensor_of_a_base_is_checked() {
        let mut recipe = Recipe::small(Method::UpPerson, DatasetLayout::CuhkPedes);
        recipe.towers.vision_layers = 1;
        recipe.towers.text_layers = 1;
        recipe.towers.text_width = 64;
        let (base, settings) = (new_clip(&recipe, 300), RunSettings::default());
        assemble(&recipe, Some(base.clone()), &settings, 300).unwrap();
        for (name, values) in &base {
            let mut longer = values.shape().to_vec();
            if let Some(last) = longer.last_mut() {
                *last += 1;
            }
            let mut damaged = base.clone();
            damaged.insert(name.clone(), ArrayD::zeros(longer));
            let error = assemble(&recipe, Some(damaged), &settings, 300).unwrap_err();
            assert!(matches!(error, TrainError::Tensor { .. }), "{name}: {error}");
            let mut damaged = base.clone();
            damaged.remove(name);
            assert!(assemble(&recipe, Some(damaged), &settings, 300).is_err(), "{name}");
        }
    }
}
