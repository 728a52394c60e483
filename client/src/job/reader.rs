//! Reads image files on a thread of its own, ahead of what is sent.

use super::SharedJournal;
use descry_intake::{Failure, FileVersion, ImageEntry, SkippedEntry};
use descry_proto::search::v1::ImageMetadata;
use descry_proto::search::v1::index_images_request::Image;
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// Larger files would break the service's limit of a message, and with it the stream.
pub(crate) const MAX_IMAGE_BYTES: u64 = 60 << 20;
/// What is read ahead at most.
const IMAGES_AHEAD: usize = 32;
const KIBIBYTES_AHEAD: usize = 64 << 10;

/// An image of the input, and what the gallery is to know of it.
pub(crate) type Item = Result<(ImageEntry, ImageMetadata), SkippedEntry>;

/// What reading came to.
pub(crate) enum Step {
    Image(Box<ReadImage>),
    /// The journal has it.
    Known,
    Failed(Failure),
}

/// An image in memory.
pub(crate) struct ReadImage {
    pub(super) image: Image,
    pub(super) origin: String,
    pub(super) version: FileVersion,
    /// Its share of the memory for what is read ahead; given back when the image is taken up.
    pub(super) _room: Option<OwnedSemaphorePermit>,
}

/// Fills the channel of what is read ahead.
pub(crate) struct Reader {
    steps: mpsc::Sender<Step>,
    room: Arc<Semaphore>,
    journal: SharedJournal,
    runtime: Handle,
}

impl Reader {
    /// A reader and where its steps arrive.
    pub(crate) fn new(journal: SharedJournal) -> (Self, mpsc::Receiver<Step>) {
        let (steps, receiver) = mpsc::channel(IMAGES_AHEAD);
        let room = Arc::new(Semaphore::new(KIBIBYTES_AHEAD));
        (Self { steps, room, journal, runtime: Handle::current() }, receiver)
    }

    /// Reads the files that the journal does not know. Blocks its thread; ends early when nobody takes the steps.
    pub(crate) fn read(self, items: impl Iterator<Item = Item>) {
        for item in items {
            let step = match item {
                Ok((entry, _)) if self.journal.contains(&entry.image_id, &entry.version) => Step::Known,
                Ok((entry, metadata)) => self.read_one(entry, metadata),
                Err(skipped) => Step::Failed(skipped.into()),
            };
            if self.steps.blocking_send(step).is_err() {
                return;
            }
        }
    }

    fn read_one(&self, entry: ImageEntry, metadata: ImageMetadata) -> Step {
        let (image_id, origin, version) = (entry.image_id.clone(), entry.origin.clone(), entry.version);
        let kibibytes = version.bytes.min(MAX_IMAGE_BYTES).div_ceil(1024);
        let kibibytes = u32::try_from(kibibytes).unwrap_or(u32::MAX);
        // Nobody closes the semaphore; without a permit the image is read all the same.
        let room = self.runtime.block_on(Arc::clone(&self.room).acquire_many_owned(kibibytes)).ok();
        match entry.read(MAX_IMAGE_BYTES) {
            Ok(content) => {
                let image = Image { image_id, content: content.into(), metadata: Some(metadata) };
                Step::Image(Box::new(ReadImage { image, origin, version, _room: room }))
            }
            Err(error) => Step::Failed(Failure { image_id, origin, reason: error.to_string() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use descry_intake::{Content, KnownMetadata};

    fn item(image_id: &str, content: Content) -> Item {
        let entry = ImageEntry {
            image_id: image_id.to_owned(),
            origin: image_id.to_owned(),
            version: FileVersion { bytes: 3, modified_ms: 0 },
            metadata: KnownMetadata::default(),
            content,
        };
        Ok((entry, ImageMetadata::default()))
    }

    #[tokio::test]
    async fn one_bad_file_is_one_failure() {
        let (reader, mut steps) = Reader::new(SharedJournal::default());
        let items =
            vec![item("good", Content::Bytes(vec![1, 2, 3])), item("gone", Content::File("/nowhere/gone.jpg".into()))];
        let reading = tokio::task::spawn_blocking(move || reader.read(items.into_iter()));
        assert!(matches!(steps.recv().await, Some(Step::Image(image)) if image.image.content.len() == 3));
        assert!(matches!(steps.recv().await, Some(Step::Failed(failure)) if failure.image_id == "gone"));
        assert!(steps.recv().await.is_none());
        reading.await.unwrap();
    }
}
