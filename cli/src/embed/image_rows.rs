//! The embeddings of all images that can be read, and what became of the others.

use crate::progress;
use anyhow::Context as _;
use descry_encoder::{Encoder, encode_each_image};
use descry_intake::{Failure, FailureReport, ImageSource, InputSummary, IntakeError};
use descry_terminal::piped_progress::PipedProgress;
use indicatif::ProgressBar;
use ndarray::Array2;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

/// Larger files are left out.
pub(super) const MAX_IMAGE_BYTES: u64 = 60 << 20;

/// Images that are read ahead.
const IMAGES_AHEAD: usize = 8;

/// Failures that are named; all of them stand in the report.
const NAMED_FAILURES: usize = 20;

/// What the images gave.
pub(super) struct ImageRows {
    /// The images that have a row, in the order of the rows.
    pub(super) ids: Vec<String>,
    values: Vec<f32>,
    dimension: usize,
    pub(super) failed: u64,
    pub(super) first_failures: Vec<Failure>,
    pub(super) inputs: InputSummary,
}

/// An image that was read, with its id and its origin, or one that could not be.
enum Read {
    Image((String, String), Vec<u8>),
    Failed(Failure),
}

impl ImageRows {
    /// Reads and encodes every image of the source.
    pub(super) async fn encode(
        encoder: &Encoder,
        mut source: ImageSource,
        report: Option<FailureReport>,
    ) -> anyhow::Result<Self> {
        let dimension = encoder.manifest().embedding_dimension;
        let mut progress = Progress::new(source.total());
        let (sender, receiver) = mpsc::channel(IMAGES_AHEAD);
        let reading = tokio::task::spawn_blocking(move || {
            // Nobody receives any more when the encoder broke down.
            let _ = source.by_ref().try_for_each(|item| sender.blocking_send(read(item)));
            source.summary()
        });
        let (bad, mut bad_ones) = mpsc::unbounded_channel();
        let images = tokio_stream::StreamExt::filter_map(ReceiverStream::new(receiver), |read| match read {
            Read::Image(names, content) => Some((names, content)),
            Read::Failed(failure) => {
                // Its other end is held below.
                let _ = bad.send(failure);
                None
            }
        });
        let mut rows = Self {
            ids: Vec::new(),
            values: Vec::new(),
            dimension,
            failed: 0,
            first_failures: Vec::new(),
            inputs: InputSummary::default(),
        };
        let mut failures = Failures { report, broken: None };
        encode_each_image(encoder, images, |(image_id, origin), embedding| {
            match embedding {
                Ok(embedding) => {
                    rows.ids.push(image_id);
                    rows.values.extend_from_slice(embedding.as_slice());
                }
                Err(reason) => rows.fail(Failure { image_id, origin, reason }, &mut failures),
            }
            while let Ok(failure) = bad_ones.try_recv() {
                rows.fail(failure, &mut failures);
            }
            progress.show(rows.ids.len() as u64, rows.failed);
        })
        .await?;
        while let Ok(failure) = bad_ones.try_recv() {
            rows.fail(failure, &mut failures);
        }
        failures.broken.map_or(Ok(()), Err)?;
        rows.inputs = reading.await.context("reading images")?;
        Ok(rows)
    }

    fn fail(&mut self, failure: Failure, failures: &mut Failures) {
        failures.write(&failure);
        self.failed += 1;
        if self.first_failures.len() < NAMED_FAILURES {
            self.first_failures.push(failure);
        }
    }

    /// # Shapes
    /// - returns: `[ids.len(), dimension]` f32
    pub(super) fn rows(&self) -> anyhow::Result<Array2<f32>> {
        let rows = Array2::from_shape_vec((self.ids.len(), self.dimension), self.values.clone());
        rows.context("the model gave embeddings of another length than its manifest says")
    }
}

fn read(item: Result<descry_intake::ImageEntry, descry_intake::SkippedEntry>) -> Read {
    let entry = match item {
        Ok(entry) => entry,
        Err(skipped) => return Read::Failed(skipped.into()),
    };
    let (image_id, origin) = (entry.image_id.clone(), entry.origin.clone());
    match entry.read(MAX_IMAGE_BYTES) {
        Ok(content) => Read::Image((image_id, origin), content),
        Err(error) => Read::Failed(Failure { image_id, origin, reason: error.to_string() }),
    }
}

/// The report, and why it could not be written on.
struct Failures {
    report: Option<FailureReport>,
    broken: Option<IntakeError>,
}

impl Failures {
    fn write(&mut self, failure: &Failure) {
        if let Some(Err(error)) = self.report.as_mut().map(|report| report.write(failure)) {
            (self.broken, self.report) = (Some(error), None);
        }
    }
}

/// A bar on a terminal, lines elsewhere.
struct Progress {
    bar: ProgressBar,
    lines: Option<PipedProgress>,
}

impl Progress {
    fn new(total: Option<u64>) -> Self {
        Self { bar: progress::counter(total, "images"), lines: PipedProgress::unless_terminal("images", total) }
    }

    fn show(&mut self, encoded: u64, failed: u64) {
        self.bar.set_position(encoded + failed);
        if let Some(lines) = &mut self.lines {
            lines.say(encoded + failed, failed);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
