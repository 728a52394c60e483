//! A split as the towers are measured on it: every image and every caption once, unchanged.

use super::captions::{check_context_length, padded, tokenize_all};
use super::image_files::ImageFiles;
use super::pixels::{Normalisation, stack};
use super::prefetcher::{BatchWork, Prefetcher, Prefetching};
use crate::{InputSettings, LoadingSettings, TrainError};
use descry_evaluation::{Dataset, DatasetLayout};
use descry_model::TextTokenizer;
use ndarray::{Array2, Array4};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Images and captions of a split, both in the order of the annotation file.
///
/// Pixels are read again for every evaluation: memory is better spent on the training images, which come more often.
#[derive(Debug)]
pub(crate) struct EvaluationInputs {
    image_paths: Arc<Vec<PathBuf>>,
    image_identities: Vec<i64>,
    caption_identities: Vec<i64>,
    token_ids: Array2<i64>,
    files: ImageFiles,
    threads: usize,
}

impl EvaluationInputs {
    /// Reads the annotations of a split and tokenizes its captions; blank ones are kept, as published.
    ///
    /// # Errors
    /// [`TrainError::Dataset`]; [`TrainError::Unreadable`] for an image that is not there: a gallery with holes would
    /// give wrong numbers; [`TrainError::Model`] for a caption that cannot be tokenized; [`TrainError::Setting`] for
    /// one that is longer than the context.
    pub(crate) fn load(
        layout: DatasetLayout,
        root: &Path,
        split: &str,
        tokenizer: &TextTokenizer,
        input: &InputSettings,
        loading: &LoadingSettings,
    ) -> Result<Self, TrainError> {
        let dataset = Dataset::load(layout, root, split)?;
        let missing = dataset.missing_images();
        if let Some(first) = missing.first() {
            let (missing, images) = (missing.len(), dataset.images().len());
            let reason = format!("{missing} of the {images} images of {split} are not there; evaluation needs all");
            let source = io::Error::new(io::ErrorKind::NotFound, reason);
            return Err(TrainError::Unreadable { path: first.path.clone(), source });
        }
        let captions = tokenize_all(tokenizer, dataset.captions())?;
        check_context_length(captions.iter().map(Vec::len).max().unwrap_or_default(), input.context_length)?;
        Ok(Self {
            image_paths: Arc::new(dataset.images().iter().map(|image| image.path.clone()).collect()),
            image_identities: dataset.image_identities(),
            caption_identities: dataset.caption_identities(),
            token_ids: padded(captions.iter(), input.context_length),
            files: ImageFiles::new(input, loading),
            threads: loading.threads,
        })
    }

    /// Every caption.
    ///
    /// # Shapes
    /// - returns: `[captions, context_length]` i64, filled up with 0 on the right
    pub(crate) fn token_ids(&self) -> &Array2<i64> {
        &self.token_ids
    }

    /// Identity of every image, in the order of [`EvaluationInputs::pixel_batches`].
    pub(crate) fn image_identities(&self) -> &[i64] {
        &self.image_identities
    }

    /// Identity of every caption, in the order of [`EvaluationInputs::token_ids`].
    pub(crate) fn caption_identities(&self) -> &[i64] {
        &self.caption_identities
    }

    /// Every image, `batch_size` at a time, prepared one batch ahead.
    ///
    /// # Errors
    /// [`TrainError::Thread`] when a thread cannot be started.
    pub(crate) fn pixel_batches(&self, batch_size: usize) -> Result<PixelBatches, TrainError> {
        let batch_size = batch_size.max(1);
        let sizes: Vec<usize> = self.image_paths.chunks(batch_size).map(<[PathBuf]>::len).collect();
        let work = GalleryWork {
            image_paths: Arc::clone(&self.image_paths),
            files: self.files,
            normalisation: Normalisation::clip(self.files.height_px, self.files.width_px),
            batch_size,
        };
        let prefetching = Prefetching { first_batch: 0, threads: self.threads, batches_ahead: 1 };
        Ok(PixelBatches { prefetcher: Prefetcher::start(work, &sizes, prefetching)? })
    }
}

/// Images in order, `[images, 3, height, width]` f32 each, resized and normalised. Ends after an error.
pub(crate) struct PixelBatches {
    prefetcher: Prefetcher<GalleryWork>,
}

impl Iterator for PixelBatches {
    type Item = Result<Array4<f32>, TrainError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.prefetcher.next_batch()
    }
}

struct GalleryWork {
    image_paths: Arc<Vec<PathBuf>>,
    files: ImageFiles,
    normalisation: Normalisation,
    batch_size: usize,
}

impl BatchWork for GalleryWork {
    /// `[3, height, width]`.
    type Sample = Vec<f32>;
    type Batch = Array4<f32>;

    fn sample(&self, batch: usize, position: usize) -> Result<Option<Vec<f32>>, TrainError> {
        let path = &self.image_paths[batch * self.batch_size + position];
        let image = self.files.read(path).map_err(|source| TrainError::Unreadable { path: path.clone(), source })?;
        let mut pixels = vec![0.0; image.samples.len()];
        self.normalisation.write(&image, &mut pixels);
        Ok(Some(pixels))
    }

    fn assemble(&self, _batch: usize, samples: Vec<Vec<f32>>) -> Result<Array4<f32>, TrainError> {
        stack(&samples, self.files.height_px, self.files.width_px)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::fixture;
    use descry_model::{ImageInput, preprocess_image};
    use ndarray::{Axis, concatenate};
    use std::fs;

    fn load(root: &Path, threads: usize) -> Result<EvaluationInputs, TrainError> {
        let (tokenizer, _) = fixture::tokenizer();
        let (input, loading) = (fixture::input(), fixture::loading(threads));
        EvaluationInputs::load(DatasetLayout::CuhkPedes, root, "test", &tokenizer, &input, &loading)
    }

    #[test]
    fn a_split_comes_whole_and_as_serving_sees_it() {
        let folder = tempfile::tempdir().unwrap();
        let images = [("test", 4), ("train", 4), ("test", 2), ("test", 4), ("test", 1), ("test", 9)];
        fixture::write_dataset(folder.path(), &images);
        let inputs = load(folder.path(), 3).unwrap();
        assert_eq!(inputs.image_identities(), [4, 2, 4, 1, 9]);
        assert_eq!(inputs.caption_identities(), [4, 4, 2, 2, 4, 4, 1, 1, 9, 9]);
        assert_eq!(inputs.token_ids().dim(), (10, fixture::CONTEXT_LENGTH));
        let batches: Vec<Array4<f32>> = inputs.pixel_batches(2).unwrap().map(Result::unwrap).collect();
        assert_eq!(batches.iter().map(|batch| batch.dim().0).collect::<Vec<_>>(), [2, 2, 1]);
        let views: Vec<_> = batches.iter().map(|batch| batch.view()).collect();
        let pixels = concatenate(Axis(0), &views).unwrap();
        for (row, path) in pixels.outer_iter().zip(inputs.image_paths.iter()) {
            let served = preprocess_image(&fs::read(path).unwrap(), &ImageInput::clip(16, 8), 1_000_000).unwrap();
            assert_eq!(row, served);
        }
        let whole: Vec<Array4<f32>> = inputs.pixel_batches(100).unwrap().map(Result::unwrap).collect();
        assert_eq!(whole, [pixels]);
    }

    #[test]
    fn a_gallery_with_holes_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        fixture::write_dataset(folder.path(), &[("test", 1), ("test", 2), ("test", 3)]);
        let inputs = load(folder.path(), 1).unwrap();
        let damaged = folder.path().join("imgs/1.bmp");
        fs::write(&damaged, b"no image").unwrap();
        let mut batches = inputs.pixel_batches(1).unwrap();
        assert!(batches.next().unwrap().is_ok());
        let error = batches.next().unwrap().unwrap_err();
        assert!(matches!(&error, TrainError::Unreadable { path, .. } if path == &damaged), "{error}");
        assert!(batches.next().is_none());
        fs::remove_file(&damaged).unwrap();
        let error = load(folder.path(), 1).unwrap_err();
        assert!(matches!(&error, TrainError::Unreadable { path, .. } if path == &damaged), "{error}");
        assert!(error.to_string().contains("1 of the 3 images"), "{error}");
    }
}
