//! The embeddings of a data set's split.

use crate::progress;
use descry_encoder::{Encoder, encode_all_images, encode_all_texts};
use descry_evaluation::Dataset;
use descry_standalone::require_tokenizer;
use ndarray::Array2;
use std::path::PathBuf;

/// The embeddings of a split's captions, in its order.
pub(crate) async fn encode_captions(encoder: &Encoder, dataset: &Dataset) -> anyhow::Result<Array2<f32>> {
    require_tokenizer(encoder)?;
    let texts: Vec<String> = dataset.captions().iter().map(|caption| caption.text.clone()).collect();
    let bar = progress::bar(texts.len(), "captions");
    let (captions, _) = encode_all_texts(encoder, &texts, |count| bar.inc(count as u64)).await?;
    bar.finish_and_clear();
    Ok(captions)
}

/// The embeddings of a split, in its order.
pub(crate) struct SplitFeatures {
    /// `[images, dimension]`.
    pub(crate) images: Array2<f32>,
    /// `[captions, dimension]`.
    pub(crate) captions: Array2<f32>,
    /// Captions longer than the model reads.
    pub(crate) truncated: usize,
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
    let (captions, truncated) = encode_all_texts(encoder, &texts, |count| bar.inc(count as u64)).await?;
    bar.finish_and_clear();
    Ok(SplitFeatures { images, captions, truncated })
}
