//! Inputs and outputs stored with a bundle, so that every machine can check that it repeats them.

use crate::ExportError;
use crate::eager::Eager;
use crate::geometry::Grid;
use descry_model::TextInput;
use ndarray::{Array2, Array3, Array4, Axis};
use ndarray_npy::NpzWriter;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use rand_distr::{Distribution as _, StandardNormal};
use std::io::Cursor;

/// Images and texts in the file: enough for a batch whose rows differ.
const IMAGES: usize = 2;
const TEXTS: usize = 4;
/// Any number; the inputs must only be the same each time.
const SEED: u64 = 0x000D_E5C7;

/// Inputs whose outputs are stored with a bundle, and by which every machine judges it: best those that will be encoded.
#[derive(Debug, Clone)]
pub struct GoldenInputs {
    pixels: Array4<f32>,
    /// Unpadded.
    texts: Vec<Vec<i64>>,
}

impl GoldenInputs {
    /// Takes a few of the images and texts of a calibration set, spread over it; of the texts from the shortest to the
    /// longest. `None` where there is none of either.
    ///
    /// # Shapes
    /// - `images`: each `[3, height, width]` f32, normalised, all of the model's size
    /// - `texts`: token ids with start and end marks, unpadded
    pub fn sample(images: &[Array3<f32>], mut texts: Vec<Vec<i64>>) -> Option<Self> {
        let views: Vec<_> = spread(images.len(), IMAGES).map(|index| images[index].view()).collect();
        let pixels = ndarray::stack(Axis(0), &views).ok()?;
        texts.sort_by_key(Vec::len);
        let texts: Vec<_> = spread(texts.len(), TEXTS).map(|index| texts[index].clone()).collect();
        (!texts.is_empty()).then_some(Self { pixels, texts })
    }

    /// Noise, where nothing is known of what will be encoded.
    pub(crate) fn noise(grid: Grid, text: &TextInput) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(SEED);
        let pixels = Array4::from_shape_simple_fn((IMAGES, 3, grid.height_px, grid.width_px), || {
            let value: f32 = StandardNormal.sample(&mut random);
            value
        });
        let ordinary_ids = u64::try_from(text.start_of_text_id.min(text.end_of_text_id)).unwrap_or_default().max(1);
        let texts = (0..TEXTS).map(|index| {
            // From the shortest text to the longest.
            let length = 2 + (text.context_length - 2) * index / (TEXTS - 1);
            let ordinary = (0..length - 2).map(|_| (random.next_u64() % ordinary_ids) as i64);
            [text.start_of_text_id].into_iter().chain(ordinary).chain([text.end_of_text_id]).collect()
        });
        Self { pixels, texts: texts.collect() }
    }
}

/// At most `count` of `available` indices, the first and the last among them.
fn spread(available: usize, count: usize) -> impl Iterator<Item = usize> {
    let count = count.min(available);
    (0..count).map(move |index| if count < 2 { 0 } else { index * (available - 1) / (count - 1) })
}

/// The content of `parity.npz`: `pixels`, `token_ids`, and what the unmerged checkpoint gives for them.
pub(crate) fn make_goldens(eager: &Eager<'_>, inputs: &GoldenInputs, text: &TextInput) -> Result<Vec<u8>, ExportError> {
    let GoldenInputs { pixels, texts } = inputs;
    let token_ids = Array2::from_shape_fn((texts.len(), text.context_length), |(row, position)| {
        texts[row].get(position).copied().unwrap_or(text.padding_id)
    });
    let image_features = eager.encode_images(pixels.view())?;
    let text_features = eager.encode_texts(&token_ids)?;
    let fault = |error: ndarray_npy::WriteNpzError| ExportError::Setting {
        name: "parity.npz".to_owned(),
        reason: error.to_string(),
    };
    let mut archive = NpzWriter::new(Cursor::new(Vec::new()));
    archive.add_array("pixels", pixels).map_err(fault)?;
    archive.add_array("token_ids", &token_ids).map_err(fault)?;
    archive.add_array("image_features", &image_features).map_err(fault)?;
    archive.add_array("text_features", &text_features).map_err(fault)?;
    Ok(archive.finish().map_err(fault)?.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_reaches_from_one_end_to_the_other() {
        let picked = |available, count| spread(available, count).collect::<Vec<_>>();
        assert_eq!(picked(128, 2), [0, 127]);
        assert_eq!(picked(10, 4), [0, 3, 6, 9]);
        assert_eq!(picked(3, 4), [0, 1, 2]);
        assert_eq!(picked(1, 4), [0]);
        assert!(picked(0, 2).is_empty());
        let images: Vec<Array3<f32>> = (0..5).map(|number| Array3::from_elem((3, 2, 1), number as f32)).collect();
        let texts = [5, 2, 9, 3, 4, 8].map(|length| vec![7; length]).to_vec();
        let GoldenInputs { pixels, texts } = GoldenInputs::sample(&images, texts).unwrap();
        assert_eq!((pixels.dim(), pixels[[0, 0, 0, 0]], pixels[[1, 2, 1, 0]]), ((2, 3, 2, 1), 0.0, 4.0));
        assert_eq!(texts.iter().map(Vec::len).collect::<Vec<_>>(), [2, 3, 5, 9]);
        assert!(GoldenInputs::sample(&[], vec![vec![7]]).is_none());
        assert!(GoldenInputs::sample(&images, Vec::new()).is_none());
    }
}
