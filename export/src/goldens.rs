//! Inputs and outputs stored with a bundle, so that every machine can check that it repeats them.

use crate::ExportError;
use crate::eager::Eager;
use crate::geometry::Grid;
use descry_model::TextInput;
use ndarray::{Array2, Array4};
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

/// The content of `parity.npz`: `pixels`, `token_ids`, and what the unmerged checkpoint gives for them.
pub(crate) fn make_goldens(eager: &Eager<'_>, grid: Grid, text: &TextInput) -> Result<Vec<u8>, ExportError> {
    let mut random = ChaCha8Rng::seed_from_u64(SEED);
    let pixels = Array4::from_shape_simple_fn((IMAGES, 3, grid.height_px, grid.width_px), || {
        let value: f32 = StandardNormal.sample(&mut random);
        value
    });
    let mut token_ids = Array2::from_elem((TEXTS, text.context_length), text.padding_id);
    let ordinary_ids = u64::try_from(text.start_of_text_id.min(text.end_of_text_id)).unwrap_or_default().max(1);
    for (index, mut row) in token_ids.outer_iter_mut().enumerate() {
        // From the shortest text to the longest.
        let length = 2 + (text.context_length - 2) * index / (TEXTS - 1);
        row[0] = text.start_of_text_id;
        for position in 1..length - 1 {
            row[position] = (random.next_u64() % ordinary_ids) as i64;
        }
        row[length - 1] = text.end_of_text_id;
    }
    let image_features = eager.encode_images(pixels.view())?;
    let text_features = eager.encode_texts(&token_ids)?;
    let fault = |error: ndarray_npy::WriteNpzError| ExportError::Setting {
        name: "parity.npz".to_owned(),
        reason: error.to_string(),
    };
    let mut archive = NpzWriter::new(Cursor::new(Vec::new()));
    archive.add_array("pixels", &pixels).map_err(fault)?;
    archive.add_array("token_ids", &token_ids).map_err(fault)?;
    archive.add_array("image_features", &image_features).map_err(fault)?;
    archive.add_array("text_features", &text_features).map_err(fault)?;
    Ok(archive.finish().map_err(fault)?.into_inner())
}
