//! Indexing from image files against what the encoder alone does with the same files, in turns within one run.

use crate::report_row::{ReportRow, Target};
use crate::search_client::{Client, client, require_written};
use crate::{GalleryBenchError, Progress};
use bytes::Bytes;
use descry_bench::RatioSummary;
use descry_proto::encoder::v1 as encoder;
use descry_proto::encoder::v1::encode_result::Outcome as Encoded;
use descry_proto::encoder::v1::encoder_service_client::EncoderServiceClient;
use descry_proto::search::v1 as proto;
use descry_proto::search::v1::index_images_request::{Image, Message, Start};
use serde::Serialize;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

const GALLERY: &str = "bench";

/// What to measure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexingPlan {
    /// Images of a turn: so many that filling and emptying the pipeline weighs little.
    pub turn_images: usize,
    /// New turns begin for so long.
    pub duration: Duration,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct IndexingReport {
    /// Different image files.
    pub files: u64,
    /// Images of a turn.
    pub turn_images: u64,
    /// Turns that count.
    pub turns: u64,
    /// From image file to durable entry.
    pub indexed_images_per_s: f64,
    /// From image file to embedding, by the encoder service alone.
    pub encoded_images_per_s: f64,
    /// The rate of indexing as a share of the encoder's, of each turn.
    pub share: RatioSummary,
    /// Whether it was ended early.
    pub interrupted: bool,
}

impl IndexingReport {
    /// A table's rows.
    pub fn rows(&self) -> Vec<ReportRow> {
        vec![
            ReportRow::new("indexing", self.indexed_images_per_s, "images/s"),
            ReportRow::new("encoding alone", self.encoded_images_per_s, "images/s"),
            ReportRow::new("share, median", self.share.median, "").target(Target::AtLeast(0.95)),
            ReportRow::new("share, lower quartile", self.share.lower_quartile, ""),
            ReportRow::new("share, upper quartile", self.share.upper_quartile, ""),
        ]
    }
}

/// Indexes and encodes the images over and over, in turns, over a channel that reaches both services. The first turn
/// warms up. `None` when `stop` came before a second one was complete.
///
/// # Errors
/// [`GalleryBenchError::Setting`] without images, [`GalleryBenchError::Refused`] for an image that is not indexed or
/// encoded.
pub async fn measure_indexing(
    channel: Channel,
    files: &[Bytes],
    plan: &IndexingPlan,
    stop: &CancellationToken,
    progress: Progress<'_>,
) -> Result<Option<IndexingReport>, GalleryBenchError> {
    if files.is_empty() || plan.turn_images == 0 {
        let reason = "there must be at least one image in a turn".to_owned();
        return Err(GalleryBenchError::Setting { setting: "--turn-images", reason });
    }
    let sides = Sides { search: client(channel.clone()), encoder: encoder_client(channel), files };
    let duration_ms = plan.duration.as_millis() as u64;
    let mut times: Vec<(f64, f64)> = Vec::new();
    sides.turn(0, plan.turn_images).await?;
    let begin = Instant::now();
    let mut turn = 0;
    while begin.elapsed() < plan.duration || times.is_empty() {
        if stop.is_cancelled() {
            break;
        }
        turn += 1;
        times.push(sides.turn(turn, plan.turn_images).await?);
        progress("indexing and encoding in turns", (begin.elapsed().as_millis() as u64).min(duration_ms), duration_ms);
    }
    let Some(share) = RatioSummary::of_times(&times) else { return Ok(None) };
    let images = (times.len() * plan.turn_images) as f64;
    Ok(Some(IndexingReport {
        files: files.len() as u64,
        turn_images: plan.turn_images as u64,
        turns: times.len() as u64,
        indexed_images_per_s: images / times.iter().map(|(indexing, _)| indexing).sum::<f64>(),
        encoded_images_per_s: images / times.iter().map(|(_, encoding)| encoding).sum::<f64>(),
        share,
        interrupted: stop.is_cancelled(),
    }))
}

struct Sides<'a> {
    search: Client,
    encoder: EncoderServiceClient<Channel>,
    files: &'a [Bytes],
}

impl Sides<'_> {
    /// Seconds of indexing and of encoding. Which goes first alternates.
    async fn turn(&self, turn: usize, images: usize) -> Result<(f64, f64), GalleryBenchError> {
        let (indexing, encoding) = if turn.is_multiple_of(2) {
            let indexing = self.index(turn, images).await?;
            (indexing, self.encode(images).await?)
        } else {
            let encoding = self.encode(images).await?;
            (self.index(turn, images).await?, encoding)
        };
        Ok((indexing.as_secs_f64(), encoding.as_secs_f64()))
    }

    fn file(&self, position: usize) -> Bytes {
        self.files.get(position % self.files.len()).cloned().unwrap_or_default()
    }

    /// Under ids of this turn, so that nothing is there already.
    async fn index(&self, turn: usize, images: usize) -> Result<Duration, GalleryBenchError> {
        let start = Start { gallery: GALLERY.to_owned(), create: true, ..Start::default() };
        let image = |position: usize| {
            let image_id = format!("turn-{turn}/{position}");
            Message::Image(Image { image_id, content: self.file(position), metadata: None })
        };
        let messages = std::iter::once(Message::Start(start)).chain((0..images).map(image));
        let requests: Vec<proto::IndexImagesRequest> =
            messages.map(|message| proto::IndexImagesRequest { message: Some(message) }).collect();
        let refused = |status: tonic::Status| GalleryBenchError::refused("indexing images", &status);
        let mut search = self.search.clone();
        let begin = Instant::now();
        let mut answers = search.index_images(futures::stream::iter(requests)).await.map_err(refused)?.into_inner();
        let mut answered = 0;
        while let Some(answer) = answers.message().await.map_err(refused)? {
            require_written(answer)?;
            answered += 1;
        }
        let elapsed = begin.elapsed();
        require_all(answered, images)?;
        Ok(elapsed)
    }

    async fn encode(&self, images: usize) -> Result<Duration, GalleryBenchError> {
        let request = |position: usize| encoder::EncodeImageStreamRequest {
            id: position.to_string(),
            image: self.file(position),
            priority: encoder::Priority::Bulk.into(),
            ..Default::default()
        };
        let requests: Vec<encoder::EncodeImageStreamRequest> = (0..images).map(request).collect();
        let refused = |status: tonic::Status| GalleryBenchError::refused("encoding images", &status);
        let mut encoder = self.encoder.clone();
        let begin = Instant::now();
        let answers = encoder.encode_image_stream(futures::stream::iter(requests)).await;
        let mut answers = answers.map_err(refused)?.into_inner();
        let mut answered = 0;
        while let Some(answer) = answers.message().await.map_err(refused)? {
            match answer.result.and_then(|result| result.outcome) {
                Some(Encoded::Embedding(_)) => answered += 1,
                Some(Encoded::Error(error)) => {
                    let activity = "encoding an image";
                    return Err(GalleryBenchError::Refused { activity, message: error.message });
                }
                None => return Err(GalleryBenchError::Malformed { what: "an answer without a result".to_owned() }),
            }
        }
        let elapsed = begin.elapsed();
        require_all(answered, images)?;
        Ok(elapsed)
    }
}

fn require_all(answered: usize, images: usize) -> Result<(), GalleryBenchError> {
    if answered == images {
        return Ok(());
    }
    Err(GalleryBenchError::Malformed { what: format!("{answered} answers to {images} images") })
}

fn encoder_client(channel: Channel) -> EncoderServiceClient<Channel> {
    EncoderServiceClient::new(channel).max_encoding_message_size(usize::MAX)
}
