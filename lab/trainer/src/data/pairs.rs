//! The training split as pairs of a caption and its image.

use super::captions::tokenize_all;
use crate::TrainError;
use descry_evaluation::{Dataset, DatasetLayout};
use descry_model::{TextTokenizer, Vocabulary};
use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};

/// The split that is trained on, under the name all three data sets give it.
const TRAINING_SPLIT: &str = "train";

/// One pair for each caption, in the order of the annotation file. As in the published code (IRRA's, which both methods
/// build on), an epoch goes once through all captions, so an image comes as often as it has captions.
#[derive(Debug)]
pub(crate) struct TrainingPairs {
    pairs: Vec<Pair>,
    image_paths: Vec<PathBuf>,
    identity_count: usize,
    vocabulary: Vocabulary,
    annotations_sha256: String,
}

#[derive(Debug)]
struct Pair {
    /// Start mark, byte pairs, end mark; not padded.
    token_ids: Vec<i64>,
    identity: i64,
    /// Index into the image paths.
    image: usize,
}

impl TrainingPairs {
    /// Reads the annotations of the split `train` and tokenizes its captions; blank ones are kept. Images are not
    /// opened; some that are not there count as unreadable when their turn comes.
    ///
    /// # Errors
    /// [`TrainError::Dataset`]; [`TrainError::Model`] for a caption that cannot be tokenized; [`TrainError::Setting`]
    /// for a split without captions; [`TrainError::Unreadable`] where not one image is there.
    pub(crate) fn load(
        layout: DatasetLayout,
        root: &Path,
        tokenizer: &TextTokenizer,
        vocabulary: &Vocabulary,
    ) -> Result<Self, TrainError> {
        let dataset = Dataset::load(layout, root, TRAINING_SPLIT)?;
        if dataset.captions().is_empty() {
            let reason = format!("the split {TRAINING_SPLIT} in {} has no captions", dataset.folder().display());
            return Err(TrainError::Setting { name: "dataset".to_owned(), reason });
        }
        let annotations = dataset.folder().join(dataset.layout().annotation_file());
        let annotations_sha256 = descry_model::file_sha256(&annotations)
            .map_err(|source| TrainError::Unreadable { path: annotations, source })?;
        check_images(&dataset)?;
        let token_ids = tokenize_all(tokenizer, dataset.captions())?;
        let pairs: Vec<Pair> = dataset
            .captions()
            .iter()
            .zip(token_ids)
            .map(|(caption, token_ids)| Pair { token_ids, identity: caption.identity, image: caption.image })
            .collect();
        let identity_count = pairs.iter().map(|pair| pair.identity).collect::<HashSet<_>>().len();
        let image_paths = dataset.images().iter().map(|image| image.path.clone()).collect();
        Ok(Self { pairs, image_paths, identity_count, vocabulary: *vocabulary, annotations_sha256 })
    }

    /// Number of pairs, at least 1.
    pub(crate) fn len(&self) -> usize {
        self.pairs.len()
    }

    /// The person of a pair, as the annotation file numbers it.
    pub(crate) fn identity_of(&self, pair: usize) -> i64 {
        self.pairs[pair].identity
    }

    /// Start mark, byte pairs and end mark of a pair's caption, not padded.
    pub(crate) fn token_ids_of(&self, pair: usize) -> &[i64] {
        &self.pairs[pair].token_ids
    }

    /// Index of a pair's image, into [`TrainingPairs::image_paths`].
    pub(crate) fn image_of(&self, pair: usize) -> usize {
        self.pairs[pair].image
    }

    /// Image files of the split, in the order of the annotation file.
    pub(crate) fn image_paths(&self) -> &[PathBuf] {
        &self.image_paths
    }

    /// Number of images, those without a caption included.
    pub(crate) fn image_count(&self) -> usize {
        self.image_paths.len()
    }

    /// Number of different persons.
    pub(crate) fn identity_count(&self) -> usize {
        self.identity_count
    }

    /// Token ids of the longest caption, start and end marks included.
    pub(crate) fn longest_caption(&self) -> usize {
        self.pairs.iter().map(|pair| pair.token_ids.len()).max().unwrap_or_default()
    }

    /// What the captions' tokenizer says of its ids.
    pub(crate) fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    /// The annotation file's digest, all splits together, as 64 hexadecimal digits: it tells one data set from another.
    pub(crate) fn annotations_sha256(&self) -> &str {
        &self.annotations_sha256
    }
}

fn check_images(dataset: &Dataset) -> Result<(), TrainError> {
    let missing = dataset.missing_images();
    let Some(first) = missing.first() else { return Ok(()) };
    let images = dataset.images().len();
    if missing.len() == images {
        let reason = format!("it is not there, nor is any other of the {images} images of {TRAINING_SPLIT}");
        let source = io::Error::new(io::ErrorKind::NotFound, reason);
        return Err(TrainError::Unreadable { path: first.path.clone(), source });
    }
    tracing::warn!(missing = missing.len(), images, first = %first.path.display(), "images are not there");
    Ok(())
}

#[cfg(test)]
impl TrainingPairs {
    /// Pairs that have an identity and nothing else, for what looks at nothing else.
    pub(super) fn of_identities(identities: &[i64]) -> Self {
        let (_, vocabulary) = super::fixture::tokenizer();
        let pairs = identities.iter().map(|&identity| Pair { token_ids: Vec::new(), identity, image: 0 }).collect();
        let (image_paths, annotations_sha256) = (Vec::new(), String::new());
        Self { pairs, image_paths, identity_count: identities.len(), vocabulary, annotations_sha256 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::fixture;
    use std::fs;

    fn load(root: &Path) -> Result<TrainingPairs, TrainError> {
        let (tokenizer, vocabulary) = fixture::tokenizer();
        TrainingPairs::load(DatasetLayout::CuhkPedes, root, &tokenizer, &vocabulary)
    }

    #[test]
    fn every_caption_of_the_training_split_is_a_pair() {
        let folder = tempfile::tempdir().unwrap();
        fixture::write_dataset(folder.path(), &[("train", 7), ("test", 1), ("train", 7), ("train", 3)]);
        let pairs = load(folder.path()).unwrap();
        assert_eq!((pairs.len(), pairs.image_count(), pairs.identity_count()), (6, 3, 2));
        let identities: Vec<i64> = (0..pairs.len()).map(|pair| pairs.identity_of(pair)).collect();
        assert_eq!(identities, [7, 7, 7, 7, 3, 3]);
        let images: Vec<usize> = (0..pairs.len()).map(|pair| pairs.image_of(pair)).collect();
        assert_eq!(images, [0, 0, 1, 1, 2, 2]);
        assert!(pairs.image_paths()[2].ends_with("imgs/3.bmp"));
        let marks = [pairs.vocabulary().start_of_text_id, pairs.vocabulary().end_of_text_id];
        assert_eq!(pairs.token_ids_of(1), marks, "the second caption of an image is blank");
        assert!(pairs.token_ids_of(0).len() > 2 && pairs.longest_caption() <= fixture::CONTEXT_LENGTH);
        let annotations = fs::read(folder.path().join("reid_raw.json")).unwrap();
        assert_eq!(pairs.annotations_sha256(), descry_model::sha256_hex(&annotations));
    }

    #[test]
    fn some_images_may_be_missing_but_not_all() {
        let folder = tempfile::tempdir().unwrap();
        fixture::write_dataset(folder.path(), &[("train", 1), ("train", 2)]);
        fs::remove_file(folder.path().join("imgs/0.bmp")).unwrap();
        assert_eq!(load(folder.path()).unwrap().len(), 4);
        fs::remove_file(folder.path().join("imgs/1.bmp")).unwrap();
        let error = load(folder.path()).unwrap_err();
        assert!(matches!(&error, TrainError::Unreadable { path, .. } if path.ends_with("imgs/0.bmp")), "{error}");
        assert!(error.to_string().contains("2 images"), "{error}");
    }
}
