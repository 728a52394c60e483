//! One split of a published data set: the gallery, and the captions that query it.

mod annotations;
mod layout;

use std::path::{Component, Path, PathBuf};

use annotations::Annotation;
pub use layout::DatasetLayout;

use crate::{EvaluationError, SplitSize};

/// Folder inside every data set that image paths are relative to.
const IMAGE_FOLDER: &str = "imgs";

/// One image of the gallery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatasetImage {
    /// The image as the annotation file names it, relative to `imgs/`; the name published rankings use.
    pub name: String,
    /// Where the file should be. Not checked at load, see [`Dataset::missing_images`].
    pub path: PathBuf,
    /// The person shown.
    pub identity: i64,
}

/// One sentence that describes one image, and queries for every image of the same person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatasetCaption {
    /// The sentence as annotated; blank ones are scored like any other, as the published evaluation does.
    pub text: String,
    /// The person described.
    pub identity: i64,
    /// Index into [`Dataset::images`] of the image that the sentence was written for.
    pub image: usize,
}

/// The images and captions of one split, both in the order of the annotation file.
///
/// In these benchmarks the gallery is every image of the split and the queries are all of its captions. An image that
/// the file lists twice is in the gallery twice, as in the published evaluation.
#[derive(Debug, Clone)]
pub struct Dataset {
    layout: DatasetLayout,
    folder: PathBuf,
    split: String,
    images: Vec<DatasetImage>,
    captions: Vec<DatasetCaption>,
}

impl Dataset {
    /// Reads the annotations of one split; image files are neither opened nor looked for.
    ///
    /// `root` is the data set's own folder, or a parent that holds it under its published name or as the only
    /// direct subfolder with such an annotation file. Every entry of the file must parse; paths and captions are
    /// checked in the asked-for split only, so a flaw in the training data does not prevent a test.
    ///
    /// # Errors
    /// - [`EvaluationError::NotAFolder`], [`EvaluationError::MissingAnnotation`], [`EvaluationError::AmbiguousRoot`]:
    ///   `root` does not lead to one data set
    /// - [`EvaluationError::Unreadable`], [`EvaluationError::NotText`]: the file cannot be read, or is too large
    /// - [`EvaluationError::MalformedFile`], [`EvaluationError::MalformedEntry`]: it does not hold what the layout says
    /// - [`EvaluationError::UnknownSplit`]: no entry is of that split
    /// - [`EvaluationError::EscapingPath`]: an entry of the split is unusable
    pub fn load(layout: DatasetLayout, root: &Path, split: &str) -> Result<Self, EvaluationError> {
        let folder = layout.locate(root)?;
        let file = folder.join(layout.annotation_file());
        let annotations = annotations::read(layout, &file)?;
        if !annotations.iter().any(|annotation| annotation.split == split) {
            let available = split_sizes(&annotations);
            return Err(EvaluationError::UnknownSplit { path: file, split: split.to_owned(), available });
        }
        let image_folder = folder.join(IMAGE_FOLDER);
        let mut images = Vec::new();
        let mut captions = Vec::new();
        for (entry, annotation) in annotations.into_iter().enumerate() {
            let Annotation { split: entry_split, identity, image, captions: texts } = annotation;
            if entry_split != split {
                continue;
            }
            if !stays_inside(&image) {
                return Err(EvaluationError::EscapingPath { path: file, entry, image });
            }
            let index = images.len();
            captions.extend(texts.into_iter().map(|text| DatasetCaption { text, identity, image: index }));
            images.push(DatasetImage { path: image_folder.join(&image), name: image, identity });
        }
        Ok(Self { layout, folder, split: split.to_owned(), images, captions })
    }

    /// As [`Dataset::load`], of a split whose image files are all there.
    ///
    /// # Errors
    /// Those of [`Dataset::load`], and [`EvaluationError::MissingImages`].
    pub fn load_with_images(layout: DatasetLayout, root: &Path, split: &str) -> Result<Self, EvaluationError> {
        let dataset = Self::load(layout, root, split)?;
        let missing = dataset.missing_images();
        match missing.first() {
            Some(first) => Err(EvaluationError::MissingImages { count: missing.len(), first: first.path.clone() }),
            None => Ok(dataset),
        }
    }

    /// The layout it was read in.
    pub fn layout(&self) -> DatasetLayout {
        self.layout
    }

    /// The data set's own folder, which holds the annotation file and `imgs/`.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Name of the split.
    pub fn split(&self) -> &str {
        &self.split
    }

    /// The gallery; rows of image embeddings go in this order.
    pub fn images(&self) -> &[DatasetImage] {
        &self.images
    }

    /// The queries; rows of caption embeddings go in this order.
    pub fn captions(&self) -> &[DatasetCaption] {
        &self.captions
    }

    /// Identity of every image, in order, as [`retrieval_metrics`](crate::retrieval_metrics) takes them.
    pub fn image_identities(&self) -> Vec<i64> {
        self.images.iter().map(|image| image.identity).collect()
    }

    /// Camera of every image, in order, where the names of all of them tell it, as `0012_c3_0017.jpg` and Market-1501's
    /// `0012_c3s1_000176_01.jpg` do. A person's images of one camera are the nearest thing to tracks that these data sets
    /// have.
    pub fn image_cameras(&self) -> Option<Vec<&str>> {
        self.images.iter().map(|image| camera_of(&image.name)).collect()
    }

    /// Identity of every caption, in order, as [`retrieval_metrics`](crate::retrieval_metrics) takes them.
    pub fn caption_identities(&self) -> Vec<i64> {
        self.captions.iter().map(|caption| caption.identity).collect()
    }

    /// Images that are not on disk, in order.
    ///
    /// Loading does not check this: annotations alone are enough to score stored embeddings. Whoever encodes should
    /// ask first, so that an incomplete download is reported whole and before an hour of encoding.
    pub fn missing_images(&self) -> Vec<&DatasetImage> {
        self.images.iter().filter(|image| !image.path.is_file()).collect()
    }
}

/// Whether an annotated path names something below the folder it is joined to.
fn stays_inside(image: &str) -> bool {
    let path = Path::new(image);
    path.file_name().is_some()
        && path.components().all(|component| matches!(component, Component::Normal(_) | Component::CurDir))
}

/// The camera in a file's name: behind an underscore, `c` and a number, then the end of the part or `s` and a sequence.
fn camera_of(image: &str) -> Option<&str> {
    let stem = Path::new(image).file_stem()?.to_str()?;
    stem.split('_').skip(1).find_map(|part| {
        let number = part.strip_prefix('c')?;
        let digits = number.bytes().take_while(u8::is_ascii_digit).count();
        let is_camera = digits > 0 && matches!(number.as_bytes().get(digits), None | Some(b's'));
        is_camera.then(|| &part[..=digits])
    })
}

fn split_sizes(annotations: &[Annotation]) -> Vec<SplitSize> {
    let mut sizes: Vec<SplitSize> = Vec::new();
    for annotation in annotations {
        match sizes.iter_mut().find(|size| size.name == annotation.split) {
            Some(size) => size.images += 1,
            None => sizes.push(SplitSize { name: annotation.split.clone(), images: 1 }),
        }
    }
    sizes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cameras_are_read_from_names_that_tell_them() {
        for (name, camera) in [
            ("test/p2601_c3_0.jpg", Some("c3")),
            ("0012_c14_0017.jpg", Some("c14")),
            ("Market/0012_c3s1_000176_01.jpg", Some("c3")),
            ("CUHK01/0363004.png", None),
            ("c3_0001.jpg", None),
            ("0012_coat_1.jpg", None),
            ("0012_c3x_1.jpg", None),
        ] {
            assert_eq!(camera_of(name), camera, "{name}");
        }
    }
}
