//! Whole lists, in order, for programs that hold an [`Encoder`] themselves: embedding files and evaluating data sets.

use crate::{EncodeError, EncodedImage, Encoder, Urgency};
use descry_model::Embedding;
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use ndarray::Array2;
use std::cell::Cell;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// Items of one request, and requests in flight: enough that preparing one overlaps running the other, few enough that
/// the decoded images of a large data set never lie in memory together.
const GROUP: usize = 32;
const GROUPS_IN_FLIGHT: usize = 2;

/// Encodes image files.
///
/// # Shapes
/// - returns: `[paths.len(), dimension]` f32, rows of unit length, in the order of `paths`
///
/// # Errors
/// [`EncodeError`] naming the first file that cannot be read or decoded; nothing is skipped, or rows would shift.
pub async fn encode_all_images(
    encoder: &Encoder,
    paths: &[PathBuf],
    progress: impl Fn(usize),
) -> Result<Array2<f32>, EncodeError> {
    let groups = futures::stream::iter(paths.chunks(GROUP.min(encoder.limits().max_items))).map(|group| async move {
        let images = read_files(group.to_vec(), encoder.limits().max_image_bytes as u64).await?;
        let images = encoder.encode_images(images, Urgency::BULK).await?;
        let name = |(path, result): (&PathBuf, Result<EncodedImage, EncodeError>)| match result {
            Ok(image) => Ok(image.embedding),
            Err(error) => Err(name_item(path, error)),
        };
        group.iter().zip(images).map(name).collect()
    });
    collect(encoder, paths.len(), groups.buffered(GROUPS_IN_FLIGHT), progress).await
}

/// Encodes images as they come, each with something that the caller knows it by. `done` hears of each in their order: its
/// embedding, or why it has none. One image without an embedding costs no other its own.
///
/// # Errors
/// [`EncodeError`] for what is no image's fault.
pub async fn encode_each_image<Tag>(
    encoder: &Encoder,
    images: impl Stream<Item = (Tag, Vec<u8>)>,
    mut done: impl FnMut(Tag, Result<Embedding, String>),
) -> Result<(), EncodeError> {
    let groups = images.chunks(GROUP.min(encoder.limits().max_items)).map(|group| async move {
        let (tags, contents): (Vec<Tag>, Vec<Vec<u8>>) = group.into_iter().unzip();
        let encoded = encoder.encode_images(contents, Urgency::BULK).await?;
        Ok::<_, EncodeError>((tags, encoded))
    });
    let mut groups = std::pin::pin!(groups.buffered(GROUPS_IN_FLIGHT));
    while let Some((tags, encoded)) = groups.try_next().await? {
        for (tag, result) in tags.into_iter().zip(encoded) {
            match result {
                Ok(image) => done(tag, Ok(image.embedding)),
                Err(EncodeError::InvalidItem { source, .. }) => done(tag, Err(source.to_string())),
                Err(other) => return Err(other),
            }
        }
    }
    Ok(())
}

/// The embeddings of a list of texts, and how much of the texts is in them.
#[derive(Debug, Clone, PartialEq)]
pub struct EncodedTexts {
    /// `[texts, dimension]` f32, rows of unit length, in the order of the texts.
    pub features: Array2<f32>,
    /// How many texts were longer than the model reads.
    pub truncated: usize,
    /// How many texts have letters that the model's vocabulary lacks.
    pub with_unknown_letters: usize,
}

/// Encodes texts.
///
/// # Errors
/// [`EncodeError`] naming the first text that cannot be encoded, counted from 1.
pub async fn encode_all_texts(
    encoder: &Encoder,
    texts: &[String],
    progress: impl Fn(usize),
) -> Result<EncodedTexts, EncodeError> {
    let (truncated, with_unknown_letters) = (Cell::new(0), Cell::new(0));
    let (count_truncated, count_unknown) = (&truncated, &with_unknown_letters);
    let group_length = GROUP.min(encoder.limits().max_items);
    let groups = futures::stream::iter(texts.chunks(group_length).enumerate()).map(|(index, group)| async move {
        let encoded = encoder.encode_texts(group.to_vec(), Urgency::BULK).await?;
        let mut embeddings = Vec::with_capacity(group.len());
        for (offset, result) in encoded.into_iter().enumerate() {
            let number = index * group_length + offset + 1;
            let text = result.map_err(|error| name_item(Path::new(&format!("text {number}")), error))?;
            count_truncated.set(count_truncated.get() + usize::from(text.truncated));
            count_unknown.set(count_unknown.get() + usize::from(text.unknown_letters.is_some()));
            embeddings.push(text.embedding);
        }
        Ok(embeddings)
    });
    let features = collect(encoder, texts.len(), groups.buffered(GROUPS_IN_FLIGHT), progress).await?;
    Ok(EncodedTexts { features, truncated: truncated.get(), with_unknown_letters: with_unknown_letters.get() })
}

async fn collect(
    encoder: &Encoder,
    rows: usize,
    groups: impl futures::Stream<Item = Result<Vec<Embedding>, EncodeError>>,
    progress: impl Fn(usize),
) -> Result<Array2<f32>, EncodeError> {
    let mut features = Array2::zeros((rows, encoder.manifest().embedding_dimension));
    let mut next_row = 0;
    let mut groups = std::pin::pin!(groups);
    while let Some(group) = groups.try_next().await? {
        for embedding in &group {
            let mut row = features.row_mut(next_row);
            if embedding.dimension() != row.len() {
                let reason = format!("{} features, the manifest says {}", embedding.dimension(), row.len());
                return Err(EncodeError::Tower { tower: "any", reason });
            }
            row.assign(&ndarray::ArrayView1::from(embedding.as_slice()));
            next_row += 1;
        }
        progress(group.len());
    }
    Ok(features)
}

/// Reads no more of a file than it takes to see that it is too large, whatever its size is said to be.
async fn read_files(paths: Vec<PathBuf>, max_image_bytes: u64) -> Result<Vec<Vec<u8>>, EncodeError> {
    let reading = tokio::task::spawn_blocking(move || {
        let read = |path: PathBuf| {
            let mut content = Vec::new();
            let read = File::open(&path).and_then(|file| file.take(max_image_bytes + 1).read_to_end(&mut content));
            read.map(|_| content).map_err(|error| EncodeError::InvalidRequest {
                reason: format!("cannot read {}: {error}", path.display()),
            })
        };
        paths.into_iter().map(read).collect()
    });
    reading.await.map_err(|error| EncodeError::Tower { tower: "vision", reason: error.to_string() })?
}

/// Puts the file's or text's name in place of its position in a request that nobody sees.
fn name_item(name: &Path, error: EncodeError) -> EncodeError {
    match error {
        EncodeError::InvalidItem { source, .. } => {
            EncodeError::InvalidItem { item: name.display().to_string(), source }
        }
        other @ (EncodeError::InvalidRequest { .. }
        | EncodeError::Overloaded { .. }
        | EncodeError::TooCostly { .. }
        | EncodeError::NoTime { .. }
        | EncodeError::TooManyStreams { .. }
        | EncodeError::Expired { .. }
        | EncodeError::Stopped { .. }
        | EncodeError::Bundle(_)
        | EncodeError::RuntimeLibrary { .. }
        | EncodeError::Device { .. }
        | EncodeError::Session { .. }
        | EncodeError::Tower { .. }
        | EncodeError::SelfTest { .. }
        | EncodeError::Server(_)) => other,
    }
}
