//! Batches for bare towers.

use crate::BenchError;
use bytes::Bytes;
use descry_model::{ImageInput, TextInput, TextTokenizer, preprocess_image};
use ndarray::{Array2, Array4, Axis, Zip};

/// Decoding limit of benchmark images, that of the service's defaults.
pub(crate) const MAX_IMAGE_PIXELS: u64 = 50_000_000;

/// What text towers read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TextInputs {
    /// Captions, each batch padded to its own longest.
    Captions {
        /// In the order in which they fill batches.
        captions: Vec<String>,
        /// Sorts them by their number of token ids first, so that a batch's captions are about equally long.
        group_by_length: bool,
    },
    /// Texts that are all of this many token ids, start and end marks included.
    Tokens(usize),
}

/// Token ids of all captions, tokenized, in the order in which they fill batches.
pub(crate) fn tokenize(tokenizer: &TextTokenizer, captions: &[String]) -> Result<Vec<Vec<i64>>, BenchError> {
    captions.iter().map(|caption| Ok(tokenizer.tokenize(caption)?.token_ids)).collect()
}

/// The order of texts by their lengths, stable, shortest first.
pub(crate) fn order_by_length(texts: &[Vec<i64>]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..texts.len()).collect();
    order.sort_by_key(|&position| texts.get(position).map_or(0, Vec::len));
    order
}

/// A text of `tokens` ids: the marks, and in between ids that no tower takes for the end mark.
pub(crate) fn filler_text(tokens: usize, input: &TextInput) -> Result<Vec<i64>, BenchError> {
    if !(2..=input.context_length).contains(&tokens) {
        let reason = format!("must be 2 to {}, the model's context length", input.context_length);
        return Err(BenchError::Setting { setting: "--tokens", reason });
    }
    let fillers = (input.end_of_text_id / 2).max(1);
    let mut text = vec![input.start_of_text_id];
    text.extend((1..).take(tokens - 2).map(|position: i64| 1 + position * 31 % fillers));
    text.push(input.end_of_text_id);
    Ok(text)
}

/// Whole batches of texts, repeated from the start where there are too few for one.
///
/// # Shapes
/// - returns: `[batch_size, tokens]` i64 each; `tokens` is the context length or that of the batch's longest text
pub(crate) fn text_batches(
    texts: &[Vec<i64>],
    batch_size: usize,
    input: &TextInput,
    pad_to_context: bool,
) -> Vec<Array2<i64>> {
    let whole = texts.len() / batch_size.max(1);
    let taken: Vec<&Vec<i64>> = texts.iter().cycle().take(batch_size * whole.max(1)).collect();
    let pad = |batch: &[&Vec<i64>]| {
        let longest = batch.iter().map(|text| text.len()).max().unwrap_or_default();
        let tokens = if pad_to_context { input.context_length } else { longest };
        let mut padded = Array2::from_elem((batch.len(), tokens), input.padding_id);
        for (mut row, text) in padded.outer_iter_mut().zip(batch) {
            for (target, &token_id) in row.iter_mut().zip(text.iter()) {
                *target = token_id;
            }
        }
        padded
    };
    taken.chunks(batch_size.max(1)).map(pad).collect()
}

/// One batch of images, repeated from the start where there are too few.
///
/// # Shapes
/// - returns: `[batch_size, 3, height, width]` f32, as the tower reads them
pub(crate) fn image_batch(images: &[Bytes], batch_size: usize, input: &ImageInput) -> Result<Array4<f32>, BenchError> {
    let mut batch = Array4::zeros((batch_size, 3, input.height_px, input.width_px));
    for (mut row, (position, image)) in batch.axis_iter_mut(Axis(0)).zip(images.iter().enumerate().cycle()) {
        let pixels = preprocess_image(image, input, MAX_IMAGE_PIXELS)
            .map_err(|source| BenchError::Image { position, source })?;
        Zip::from(&mut row).and(&pixels).for_each(|target, &value| *target = value);
    }
    Ok(batch)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    fn input() -> TextInput {
        TextInput {
            context_length: 6,
            vocabulary_size: 101,
            start_of_text_id: 99,
            end_of_text_id: 100,
            mask_id: None,
            padding_id: 0,
            caption_rules: None,
        }
    }

    #[test]
    fn batches_are_whole_and_padded_to_their_own_longest() {
        let texts = vec![vec![99, 100], vec![99, 5, 100], vec![99, 5, 6, 100], vec![99, 100], vec![99, 7, 100]];
        let batches = text_batches(&texts, 2, &input(), false);
        assert_eq!(batches, [array![[99, 100, 0], [99, 5, 100]], array![[99, 5, 6, 100], [99, 100, 0, 0]]]);
        let padded = text_batches(&texts, 2, &input(), true);
        assert!(padded.iter().all(|batch| batch.dim() == (2, 6)));
        // Too few texts for a batch: they come again.
        assert_eq!(text_batches(&texts, 8, &input(), false)[0].dim(), (8, 4));
    }

    #[test]
    fn grouping_puts_texts_of_a_length_together() {
        let texts = vec![vec![1; 4], vec![1; 2], vec![1; 4], vec![1; 2]];
        assert_eq!(order_by_length(&texts), [1, 3, 0, 2]);
    }

    #[test]
    fn filler_texts_end_where_they_should() {
        let text = filler_text(6, &input()).unwrap();
        assert_eq!((text.len(), text[0], text[5]), (6, 99, 100));
        assert!(text[1..5].iter().all(|&id| (1..99).contains(&id)), "{text:?}");
        for tokens in [0, 1, 7] {
            let message = filler_text(tokens, &input()).unwrap_err().to_string();
            assert!(message.contains("--tokens: must be 2 to 6"), "{message}");
        }
    }

    #[test]
    fn images_fill_a_batch_in_turn() {
        let images = crate::synthetic_images::synthetic_jpegs(2, 1).unwrap();
        let batch = image_batch(&images, 3, &ImageInput::clip(24, 8)).unwrap();
        assert_eq!(batch.dim(), (3, 3, 24, 8));
        assert_eq!(batch.index_axis(Axis(0), 0), batch.index_axis(Axis(0), 2));
        assert_ne!(batch.index_axis(Axis(0), 0), batch.index_axis(Axis(0), 1));
        let error = image_batch(&[Bytes::from_static(b"none")], 1, &ImageInput::clip(24, 8)).unwrap_err();
        assert!(error.to_string().starts_with("image 0: not a readable image"), "{error}");
    }
}
