//! Images, or embeddings of them, from files into a gallery.

mod embeddings;
mod survey;

pub use embeddings::{EmbeddingJob, ImportJob};
pub use survey::Survey;

use crate::calls::generation_address;
use crate::job::embedding_batches::all_fields;
use crate::job::image_stream::send_images;
use crate::job::reader::{Item, MAX_IMAGE_BYTES, Reader};
use crate::job::{Job, SharedJournal, identity};
use crate::metadata::{ARCHIVE_ATTRIBUTE, PATH_ATTRIBUTE, image_metadata};
use crate::{ClientError, Connection, JobObserver, JobOptions, JobReport};
use descry_intake::{
    BoxOptions, ImageEntry, ImageSource, IntakeError, JobIdentity, LeftOut, SkippedEntry, SourceOptions, TimeSources,
};
use descry_proto::search::v1::index_images_request::Start;
use descry_proto::search::v1::{CreateGalleryRequest, GallerySettings};
use std::path::PathBuf;

/// Images to be indexed. Running a job again is harmless: unchanged images are not encoded again, so an interrupted job
/// continues where it was.
#[derive(Debug, Clone, Default)]
pub struct IndexJob {
    /// The gallery; created where it is missing.
    pub gallery: String,
    /// Folders (an image's id is its path below the folder), image files (the name), lists of files in `.txt` or `.lst`
    /// (the path as written there), and tar archives or WebDataset shards (the member's path).
    pub inputs: Vec<PathBuf>,
    /// Where the inputs are frames: the boxes of people that are cut out of them.
    pub boxes: Option<BoxOptions>,
    /// Where relative paths in file lists start; the list's folder if absent.
    pub root: Option<PathBuf>,
    /// What is known of the images: a table in text with a header, JSON, or Parquet.
    pub metadata: Option<PathBuf>,
    /// What tells when images, or frames, were taken, where nothing else does.
    pub times: TimeSources,
    /// Put before every image id, so that sources that use the same names do not replace each other's images.
    pub prefix: String,
    /// Whether to index where no record of the metadata fits any image.
    pub allow_unmatched: bool,
    /// Whether what is known of images that are there already is forgotten where the job does not give it.
    pub clear_metadata: bool,
    /// Whether images are indexed that were erased on request, which takes a right to manage the gallery.
    pub allow_erased: bool,
    /// Notes what was acknowledged, so that a killed job neither reads nor sends it again.
    pub journal: Option<PathBuf>,
    /// Fills this generation of the gallery alone; 0 for the one that serves and every later one.
    pub generation: u32,
    /// At most so many images a second, so that searches stay fast; with none, as many as the service takes.
    pub max_images_per_second: Option<f32>,
    /// Attributes that filters may name, decided when the gallery is created.
    pub attributes: Vec<String>,
    /// What is noted, and when it is given up.
    pub options: JobOptions,
}

impl IndexJob {
    fn source_options(&self) -> SourceOptions {
        SourceOptions {
            root: self.root.clone(),
            metadata: self.metadata.clone(),
            prefix: self.prefix.clone(),
            allow_unmatched: self.allow_unmatched,
            max_image_bytes: MAX_IMAGE_BYTES,
            times: self.times.clone(),
        }
    }
}

impl Connection {
    /// Sends every image of the inputs and collects the acknowledgements. A service that restarts meanwhile is waited for,
    /// and gets again what it did not acknowledge.
    ///
    /// # Errors
    /// [`ClientError::Intake`] for inputs, metadata and journals that cannot be used, [`ClientError::NoImages`];
    /// [`ClientError::NoGeneration`]; [`ClientError::Incomplete`] when the service was away for too long. One bad image is
    /// no error: it is counted in the report.
    pub async fn index(&self, job: IndexJob) -> Result<JobReport, ClientError> {
        self.index_observed(job, &mut ()).await
    }

    /// As [`Connection::index`], for somebody who wants to hear of the progress.
    ///
    /// # Errors
    /// As [`Connection::index`].
    pub async fn index_observed(
        &self,
        job: IndexJob,
        observer: &mut dyn JobObserver,
    ) -> Result<JobReport, ClientError> {
        observer.opening();
        let mut source = open_source(job.inputs.clone(), job.source_options(), job.boxes.clone()).await?;
        let identity = self.identity_of(&job).await?;
        let journal = SharedJournal::open(job.journal.as_deref(), &identity)?;
        let mut running = Job::open(&job.options, journal.clone(), source.total(), observer)?;
        let start = Start {
            gallery: job.gallery,
            create: false,
            generation: job.generation,
            max_images_per_second: job.max_images_per_second.unwrap_or_default(),
            metadata_mask: job.clear_metadata.then(all_fields),
            allow_erased: job.allow_erased,
        };
        let (reader, steps) = Reader::new(journal);
        let prefix = job.prefix;
        let reading = tokio::task::spawn_blocking(move || {
            reader.read(source.by_ref().map(|item| with_source(item, &prefix)));
            source.summary()
        });
        let is_complete = send_images(&mut self.service(), &start, steps, &mut running).await?;
        let inputs = reading.await.map_err(ClientError::panicked("reading images"))?;
        if is_complete {
            if running.has_nothing() {
                return Err(no_images(&job.inputs, &inputs.left_out));
            }
            running.note_inputs(inputs);
        }
        running.finish(is_complete)
    }

    /// Creates the gallery where it is missing, and tells what its journal is of.
    async fn identity_of(&self, job: &IndexJob) -> Result<JobIdentity, ClientError> {
        let found = self.find_or_create(new_gallery(&job.gallery, &job.attributes)).await?;
        if job.generation == 0 {
            return Ok(identity(&found.name, &found));
        }
        let generations = self.generations(&found.name).await?.generations;
        match generations.iter().find(|generation| generation.generation == job.generation) {
            Some(generation) => Ok(identity(&generation_address(&found.name, job.generation), generation)),
            None => Err(ClientError::NoGeneration { gallery: found.name, generation: job.generation }),
        }
    }
}

/// What is created where a gallery is missing.
fn new_gallery(name: &str, attributes: &[String]) -> CreateGalleryRequest {
    let settings = GallerySettings { indexed_attributes: attributes.to_vec(), ..GallerySettings::default() };
    CreateGalleryRequest { name: name.to_owned(), settings: Some(settings), ..CreateGalleryRequest::default() }
}

/// Finds the images of the inputs; fails when there can be none.
pub(crate) async fn open_source(
    inputs: Vec<PathBuf>,
    options: SourceOptions,
    boxes: Option<BoxOptions>,
) -> Result<ImageSource, ClientError> {
    let asked = inputs.clone();
    let opened = tokio::task::spawn_blocking(move || source_of(&inputs, options, boxes)).await;
    let source = opened.map_err(ClientError::panicked("looking for images"))??;
    if source.total() == Some(0) { Err(no_images(&asked, source.left_out())) } else { Ok(source) }
}

/// Opens images, or frames.
fn source_of(
    inputs: &[PathBuf],
    options: SourceOptions,
    boxes: Option<BoxOptions>,
) -> Result<ImageSource, IntakeError> {
    match boxes {
        Some(boxes) => ImageSource::open_frames(inputs, options, boxes),
        None => ImageSource::open(inputs, options),
    }
}

fn no_images(inputs: &[PathBuf], left_out: &LeftOut) -> ClientError {
    let input = inputs.first().cloned().unwrap_or_default();
    ClientError::NoImages { input, left_out: Box::new(left_out.clone()) }
}

/// Notes where an image is: its file, for contact sheets and for a change of the model, or its archive.
fn with_source(item: Result<ImageEntry, SkippedEntry>, prefix: &str) -> Item {
    item.map(|mut entry| {
        let mut metadata = image_metadata(std::mem::take(&mut entry.metadata));
        let source = match entry.path() {
            Some(path) => Some((PATH_ATTRIBUTE, path.to_string_lossy().into_owned())),
            None => archive(&entry, prefix).map(|archive| (ARCHIVE_ATTRIBUTE, archive.to_owned())),
        };
        if let Some((attribute, source)) = source {
            metadata.attributes.entry(attribute.to_owned()).or_insert(source);
        }
        (entry, metadata)
    })
}

/// The archive that an image came out of: its origin is `archive!member`.
fn archive<'a>(entry: &'a ImageEntry, prefix: &str) -> Option<&'a str> {
    entry.origin.strip_suffix(entry.image_id.strip_prefix(prefix)?)?.strip_suffix('!')
}

#[cfg(test)]
mod tests {
    use super::*;
    use descry_intake::{Content, FileVersion, KnownMetadata};

    #[test]
    fn files_are_found_again_by_their_path() {
        let entry = |content: Content, attributes: &[(&str, &str)]| ImageEntry {
            image_id: "a.jpg".to_owned(),
            origin: "/x/a.jpg".to_owned(),
            version: FileVersion { bytes: 1, modified_ms: 0 },
            metadata: KnownMetadata {
                attributes: attributes.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect(),
                ..KnownMetadata::default()
            },
            content,
        };
        let source_of = |entry, name| with_source(Ok(entry), "").unwrap().1.attributes.get(name).cloned();
        let path_of = |entry: ImageEntry| source_of(entry, PATH_ATTRIBUTE);
        assert_eq!(path_of(entry(Content::File("/x/a.jpg".into()), &[])).as_deref(), Some("/x/a.jpg"));
        assert_eq!(path_of(entry(Content::File("/x/a.jpg".into()), &[("path", "mine")])).as_deref(), Some("mine"));
        assert_eq!(path_of(entry(Content::Bytes(vec![1]), &[])), None);
        let member = |image_id: &str, origin: &str| {
            let [image_id, origin] = [image_id, origin].map(str::to_owned);
            ImageEntry { image_id, origin, ..entry(Content::Bytes(vec![1]), &[]) }
        };
        let archive_of = |entry| with_source(Ok(entry), "c1/").unwrap().1.attributes.get(ARCHIVE_ATTRIBUTE).cloned();
        assert_eq!(archive_of(member("c1/!a.jpg", "/x/!s.tar!!a.jpg")).as_deref(), Some("/x/!s.tar"));
        assert_eq!(archive_of(member("c1/a.jpg", "elsewhere")), None);
    }
}
