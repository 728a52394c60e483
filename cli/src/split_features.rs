//! The embeddings of a data set's split.

use crate::output::say;
use crate::progress;
use descry_encoder::{EncodedTexts, Encoder, encode_all_images, encode_all_texts};
use descry_evaluation::Dataset;
use descry_standalone::require_tokenizer;
use ndarray::Array2;
use std::path::PathBuf;

/// The embeddings of a split's captions, in its order.
pub(crate) async fn encode_captions(encoder: &Encoder, dataset: &Dataset) -> anyhow::Result<Array2<f32>> {
    require_tokenizer(encoder)?;
    let texts: Vec<String> = dataset.captions().iter().map(|caption| caption.text.clone()).collect();
    let bar = progress::bar(texts.len(), "captions");
    let captions = encode_all_texts(encoder, &texts, |count| bar.inc(count as u64)).await?;
    bar.finish_and_clear();
    Ok(captions.features)
}

/// The embeddings of a split, in its order.
pub(crate) struct SplitFeatures {
    /// `[images, dimension]`.
    pub(crate) images: Array2<f32>,
    /// `[captions, dimension]`.
    pub(crate) captions: Array2<f32>,
    /// What of the captions is not in their embeddings.
    pub(crate) lost: LostOfTexts,
}

/// How many of a list of texts are not whole in their embeddings.
pub(crate) struct LostOfTexts {
    /// Longer than the model reads.
    pub(crate) truncated: usize,
    /// With letters that the model's vocabulary lacks.
    pub(crate) with_unknown_letters: usize,
}

impl LostOfTexts {
    pub(crate) fn of(encoded: &EncodedTexts) -> Self {
        Self { truncated: encoded.truncated, with_unknown_letters: encoded.with_unknown_letters }
    }

    /// Says it, if there is anything to say, of `texts` that are called so.
    pub(crate) fn tell(&self, texts: &str) {
        let Self { truncated, with_unknown_letters } = self;
        if *truncated > 0 {
            say!("{truncated} {texts} are longer than the model reads; their ends do not count");
        }
        if *with_unknown_letters > 0 {
            say!("{with_unknown_letters} {texts} have letters that the model's vocabulary lacks; these do not count");
        }
    }
}

/// Encodes a split's images and captions, with progress bars.
pub(crate) async fn encode_split(encoder: &Encoder, dataset: &Dataset) -> anyhow::Result<SplitFeatures> {
    require_tokenizer(encoder)?;
    let paths: Vec<PathBuf> = dataset.images().iter().map(|image| image.path.clone()).collect();
    let texts: Vec<String> = dataset.captions().iter().map(|caption| caption.text.clone()).collect();
    let bar = progress::bar(paths.len(), "images");
    let images = encode_all_images(encoder, &paths, |count| bar.inc(count as u64)).await?;
    bar.finish_and_clear();
    let bar = progress::bar(texts.len(), "captions");
    let captions = encode_all_texts(encoder, &texts, |count| bar.inc(count as u64)).await?;
    bar.finish_and_clear();
    let lost = LostOfTexts::of(&captions);
    Ok(SplitFeatures { images, captions: captions.features, lost })
}
