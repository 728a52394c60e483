//! The ranges of activations on a calibration set, for int8 bundles.

use crate::captions::MAX_CAPTION_FILE_BYTES;
use anyhow::Context as _;
use descry_encoder::{EncoderConfig, OnnxTextTower, OnnxVisionTower, RangeObserver, Tower as _};
use descry_evaluation::{Dataset, DatasetLayout};
use descry_export::{ActivationRanges, Export, GoldenInputs, RANGE_PREFIX};
use descry_intake::{image_files, read_text};
use descry_model::TextTokenizer;
use descry_model::text_input::read_limited;
use indicatif::ProgressBar;
use std::path::{Path, PathBuf};

/// Enough that the maxima hardly move any more; taken evenly from the whole set.
const MAX_IMAGES: usize = 128;
const MAX_CAPTIONS: usize = 512;
const MAX_IMAGE_PIXELS: u64 = 50_000_000;
const MAX_IMAGE_BYTES: u64 = 64 << 20;
/// What a plain folder's captions stand in, one a line.
const CAPTIONS_FILE: &str = "captions.txt";

/// Images and captions like those that will be searched.
pub(crate) struct CalibrationSet {
    images: Vec<PathBuf>,
    captions: Vec<String>,
}

impl CalibrationSet {
    /// Reads a data set's training split (its test split is for measuring), or a folder of images with a captions file.
    pub(crate) fn find(folder: &Path) -> anyhow::Result<Self> {
        let (images, captions) = match DatasetLayout::detect(folder) {
            Some(layout) => {
                let dataset = Dataset::load(layout, folder, "train").context(
                    "--calibrate takes a data set's `train` split, because `test` is for measuring; for other images give \
                     a folder of them with a captions.txt",
                )?;
                let images = dataset.images().iter().map(|image| image.path.clone()).collect();
                (images, dataset.captions().iter().map(|caption| caption.text.clone()).collect())
            }
            None => {
                let captions = folder.join(CAPTIONS_FILE);
                let text = read_text(&captions, MAX_CAPTION_FILE_BYTES)
                    .context("one caption a line is expected beside the images")?;
                let found = image_files::find(folder);
                if let Some(error) = found.unreadable.into_iter().next() {
                    return Err(error).context("cannot read the whole folder");
                }
                (found.images, text.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect())
            }
        };
        let set = Self { images: evenly(images, MAX_IMAGES), captions: evenly(captions, MAX_CAPTIONS) };
        anyhow::ensure!(!set.images.is_empty(), "{}: no images to calibrate on", folder.display());
        anyhow::ensure!(!set.captions.is_empty(), "{}: no captions to calibrate on", folder.display());
        Ok(set)
    }
}

/// At most `count` items, spread over the whole list.
fn evenly<Item>(items: Vec<Item>, count: usize) -> Vec<Item> {
    let step = items.len().div_ceil(count).max(1);
    items.into_iter().step_by(step).collect()
}

/// Runs the model in float32 on a calibration set. Returns the largest magnitudes that went into its products, and some of
/// the set's images and captions to judge the narrower towers by.
pub(crate) fn observe_ranges(
    export: &Export,
    set: &CalibrationSet,
    display: &ProgressBar,
) -> anyhow::Result<(ActivationRanges, Option<GoldenInputs>)> {
    let mut config = EncoderConfig::load(None)?;
    config.sessions.threads = 0;
    let (image_input, text_input) = export.inputs();
    let json = export.tokenizer_json().context("calibration needs captions, and so a tokenizer; give --tokenizer")?;
    let tokenizer = TextTokenizer::from_bytes(json, text_input)?;
    let graphs = export.calibration_graphs()?;
    let mut vision = RangeObserver::open(OnnxVisionTower::NAME, &graphs.vision, RANGE_PREFIX, &config)?;
    drop(graphs.vision);
    let mut images = Vec::with_capacity(set.images.len());
    for (index, path) in set.images.iter().enumerate() {
        display.set_message(format!("calibrating: image {} of {}", index + 1, set.images.len()));
        let bytes = read_limited(path, MAX_IMAGE_BYTES).with_context(|| format!("cannot read {}", path.display()))?;
        let pixels = descry_model::preprocess_image(&bytes, &image_input, MAX_IMAGE_PIXELS)
            .with_context(|| path.display().to_string())?;
        vision.observe_image(&pixels)?;
        images.push(pixels);
    }
    let mut ranges = vision.into_ranges();
    let mut text = RangeObserver::open(OnnxTextTower::NAME, &graphs.text, RANGE_PREFIX, &config)?;
    drop(graphs.text);
    let mut texts = Vec::with_capacity(set.captions.len());
    for (index, caption) in set.captions.iter().enumerate() {
        display.set_message(format!("calibrating: caption {} of {}", index + 1, set.captions.len()));
        let token_ids = tokenizer.tokenize(caption).with_context(|| format!("the caption {caption:?}"))?.token_ids;
        text.observe_text(&token_ids)?;
        texts.push(token_ids);
    }
    ranges.extend(text.into_ranges());
    Ok((ranges, GoldenInputs::sample(&images, texts)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_spread_over_the_whole_list() {
        assert_eq!(evenly((0..10).collect(), 4), [0, 3, 6, 9]);
        assert_eq!(evenly((0..3).collect(), 4), [0, 1, 2]);
        assert!(evenly(Vec::<i32>::new(), 4).is_empty());
    }
}
