//! The gallery of a data set's split, made and read back over gRPC.

use crate::search_client::{Client, require_written};
use crate::{GalleryBenchError, Progress};
use descry_model::Embedding;
use descry_proto::search::v1 as proto;
use descry_proto::search::v1::index_images_request::{Image, Message, Start};
use futures::StreamExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// An image of the gallery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccuracyImage {
    /// Its file.
    pub path: PathBuf,
    /// Whom it shows.
    pub identity: i64,
}

/// Unlikely to be anybody's: it is deleted at the end.
const NAME: &str = "descry-bench-accuracy";

/// Images of a page.
const PAGE_IMAGES: u32 = 256;

/// How often the index's state is asked for.
const INDEX_PAUSE: Duration = Duration::from_millis(500);
/// How long it may be built.
const LONGEST_BUILD: Duration = Duration::from_secs(600);

/// A gallery that this benchmark made.
pub(crate) struct AccuracyGallery {
    pub(crate) client: Client,
}

impl AccuracyGallery {
    /// Makes it. A gallery with images in it is somebody's, or left from a run that was killed.
    pub(crate) async fn create(
        mut client: Client,
        settings: Option<proto::GallerySettings>,
    ) -> Result<Self, GalleryBenchError> {
        let request =
            proto::CreateGalleryRequest { name: NAME.to_owned(), settings, ..proto::CreateGalleryRequest::default() };
        let created = client.create_gallery(request).await;
        let created = created.map_err(|status| GalleryBenchError::refused("creating a gallery", &status))?;
        if created.into_inner().images > 0 {
            let reason = format!("the store holds a gallery {NAME:?} with images in it; delete it first");
            return Err(GalleryBenchError::Setting { setting: "--store", reason });
        }
        Ok(Self { client })
    }

    pub(crate) fn name() -> &'static str {
        NAME
    }

    pub(crate) async fn delete(mut self) -> Result<(), GalleryBenchError> {
        let request = proto::DeleteGalleryRequest { name: NAME.to_owned() };
        let deleted = self.client.delete_gallery(request).await;
        deleted.map_err(|status| GalleryBenchError::refused("deleting the gallery", &status))?;
        Ok(())
    }

    /// Indexes all image files. Their ids rise with their rows, so that equal scores rank as they do in an evaluation.
    pub(crate) async fn index(
        &self,
        images: &[AccuracyImage],
        stop: &CancellationToken,
        progress: Progress<'_>,
    ) -> Result<(), GalleryBenchError> {
        let start = Start { gallery: NAME.to_owned(), ..Start::default() };
        let start = proto::IndexImagesRequest { message: Some(Message::Start(start)) };
        let files: Vec<(usize, AccuracyImage)> = images.iter().cloned().enumerate().collect();
        // A file that cannot be read is sent empty: the service refuses it, and that ends the benchmark.
        let image = |(row, image): (usize, AccuracyImage)| async move {
            let content = tokio::task::spawn_blocking(move || std::fs::read(&image.path)).await;
            let metadata = proto::ImageMetadata { person_id: Some(image.identity.to_string()), ..Default::default() };
            let content = content.ok().and_then(Result::ok).unwrap_or_default().into();
            let image = Image { image_id: image_id(row), content, metadata: Some(metadata) };
            proto::IndexImagesRequest { message: Some(Message::Image(image)) }
        };
        let requests = futures::stream::once(std::future::ready(start))
            .chain(futures::stream::iter(files).then(image))
            .take_until(stop.clone().cancelled_owned());
        let refused = |status: tonic::Status| GalleryBenchError::refused("indexing images", &status);
        let mut answers = self.client.clone().index_images(requests).await.map_err(refused)?.into_inner();
        let mut answered = 0;
        while let Some(answer) = answers.message().await.map_err(refused)? {
            require_written(answer)?;
            answered += 1;
            progress("indexing", answered, images.len() as u64);
        }
        if answered < images.len() as u64 && !stop.is_cancelled() {
            let what = format!("{answered} answers to {} images", images.len());
            return Err(GalleryBenchError::Malformed { what });
        }
        Ok(())
    }

    /// Waits until the store has built what it builds beside the images, but not for ever: a server may put it off.
    pub(crate) async fn settle(&self, stop: &CancellationToken) -> Result<proto::IndexState, GalleryBenchError> {
        let mut client = self.client.clone();
        let begin = Instant::now();
        loop {
            let answer = client.get_gallery(proto::GetGalleryRequest { name: NAME.to_owned() }).await;
            let answer = answer.map_err(|status| GalleryBenchError::refused("describing the gallery", &status))?;
            let state = answer.into_inner().index_state();
            if state != proto::IndexState::Building || stop.is_cancelled() || begin.elapsed() > LONGEST_BUILD {
                return Ok(state);
            }
            tokio::time::sleep(INDEX_PAUSE).await;
        }
    }

    /// The embeddings as the store keeps them, by row.
    pub(crate) async fn embeddings(&self, images: usize) -> Result<Vec<Embedding>, GalleryBenchError> {
        let mut client = self.client.clone();
        let mut found: Vec<Option<Embedding>> = vec![None; images];
        let mut page_token = String::new();
        loop {
            let request = proto::ListImagesRequest {
                gallery: NAME.to_owned(),
                page_size: PAGE_IMAGES,
                page_token,
                with_embeddings: true,
                ..proto::ListImagesRequest::default()
            };
            let page = client.list_images(request).await;
            let page = page.map_err(|status| GalleryBenchError::refused("listing images", &status))?.into_inner();
            for image in page.images {
                let place = row(&image.image_id)?;
                if let Some(slot) = found.get_mut(place) {
                    *slot = Some(Embedding::normalized(image.embedding)?);
                }
            }
            if page.next_page_token.is_empty() {
                break;
            }
            page_token = page.next_page_token;
        }
        let complete: Option<Vec<Embedding>> = found.into_iter().collect();
        complete.ok_or_else(|| GalleryBenchError::Malformed { what: "the list of images lacks some".to_owned() })
    }
}

fn image_id(row: usize) -> String {
    format!("{row:09}")
}

/// Which image an id stands for.
pub(crate) fn row(image_id: &str) -> Result<usize, GalleryBenchError> {
    image_id
        .parse()
        .map_err(|_| GalleryBenchError::Malformed { what: format!("image {image_id:?}, which nobody indexed") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_rise_with_the_rows() {
        assert!(image_id(9) < image_id(10));
        assert_eq!(row(&image_id(3_074)).unwrap(), 3_074);
        assert!(row("other").is_err());
    }
}
