//! What is left of a model's accuracy when its embeddings are served: rankings of the whole service against an exact
//! float32 evaluation of the same embeddings.

use crate::accuracy_gallery::{AccuracyGallery, AccuracyImage, row};
use crate::exact_search::matrix;
use crate::ranking_metrics::ranking_metrics;
use crate::report_row::{ReportRow, Target};
use crate::search_client::{Client, client};
use crate::{GalleryBenchError, Progress};
use descry_evaluation::{RetrievalMetrics, retrieval_metrics};
use descry_model::Embedding;
use descry_proto::encoder::v1 as encoder;
use descry_proto::encoder::v1::encode_result::Outcome;
use descry_proto::encoder::v1::encoder_service_client::EncoderServiceClient;
use descry_proto::search::v1 as proto;
use descry_proto::search::v1::search_request::Query;
use futures::{StreamExt as _, TryStreamExt as _};
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

/// Captions under way at once.
const CAPTIONS_IN_FLIGHT: usize = 8;

/// A caption that is searched for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccuracyCaption {
    /// The description.
    pub text: String,
    /// Whom it describes.
    pub identity: i64,
}

/// What to measure.
#[derive(Debug, Clone, PartialEq)]
pub struct AccuracyPlan {
    /// The gallery.
    pub images: Vec<AccuracyImage>,
    /// The queries.
    pub captions: Vec<AccuracyCaption>,
    /// Hits of each; the service must allow so many. As many as there are images, or mAP means less.
    pub limit: u32,
    /// Compressed vectors of a Qdrant server.
    pub quantization: Option<proto::Quantization>,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AccuracyReport {
    /// From the rankings of the service.
    pub served: RetrievalMetrics,
    /// From the same embeddings, compared exactly.
    pub exact: RetrievalMetrics,
    /// Hits of each caption.
    pub limit: u32,
    /// How the store searched.
    pub index: &'static str,
    /// Captions longer than the model reads.
    pub truncated: u64,
    /// Whether only the first captions were asked.
    pub interrupted: bool,
}

impl AccuracyReport {
    /// A table's rows.
    pub fn rows(&self) -> Vec<ReportRow> {
        let pairs = [("Rank-1", self.served.rank1, self.exact.rank1), ("mAP", self.served.map, self.exact.map)];
        let rows = pairs.into_iter().map(|(name, served, exact)| {
            let difference = ReportRow::new(format!("{name}, difference"), served - exact, "points");
            [
                ReportRow::new(format!("{name}, served"), served, "%"),
                ReportRow::new(format!("{name}, exact"), exact, "%"),
                difference.target(Target::Within(0.2)),
            ]
        });
        rows.flatten().collect()
    }
}

/// Indexes the images, searches every caption and scores the rankings, over a channel that reaches both services. The
/// gallery is deleted at the end. `None` when `stop` came before the first answer.
///
/// # Errors
/// [`GalleryBenchError::Refused`] for what the service refuses, [`GalleryBenchError::Evaluation`] for a split that
/// cannot be scored.
pub async fn measure_accuracy(
    channel: Channel,
    plan: &AccuracyPlan,
    stop: &CancellationToken,
    progress: Progress<'_>,
) -> Result<Option<AccuracyReport>, GalleryBenchError> {
    let settings = plan.quantization.map(|quantization| proto::GallerySettings {
        qdrant: Some(proto::QdrantSettings { quantization: quantization.into(), ..Default::default() }),
        ..proto::GallerySettings::default()
    });
    let gallery = AccuracyGallery::create(client(channel.clone()), settings).await?;
    let encoder = EncoderServiceClient::new(channel);
    let measured = measure(&gallery, encoder, plan, stop, progress).await;
    // Also after a failure, which is then the one to tell.
    let deleted = gallery.delete().await;
    let measured = measured?;
    deleted?;
    Ok(measured)
}

async fn measure(
    gallery: &AccuracyGallery,
    encoder: EncoderServiceClient<Channel>,
    plan: &AccuracyPlan,
    stop: &CancellationToken,
    progress: Progress<'_>,
) -> Result<Option<AccuracyReport>, GalleryBenchError> {
    gallery.index(&plan.images, stop, progress).await?;
    progress("waiting for the index", 0, 1);
    let index = gallery.settle(stop).await?;
    if stop.is_cancelled() {
        return Ok(None);
    }
    let image_embeddings = gallery.embeddings(plan.images.len()).await?;
    let asking = plan.captions.iter().map(|caption| {
        let asked = Caption { search: gallery.client.clone(), encoder: encoder.clone() };
        asked.ask(caption.text.clone(), plan.limit)
    });
    let asking = futures::stream::iter(asking).buffered(CAPTIONS_IN_FLIGHT);
    let mut asking = std::pin::pin!(asking.take_until(stop.clone().cancelled_owned()));
    let mut answers = Vec::with_capacity(plan.captions.len());
    while let Some(answer) = asking.try_next().await? {
        answers.push(answer);
        progress("searching", answers.len() as u64, plan.captions.len() as u64);
    }
    if answers.is_empty() {
        return Ok(None);
    }
    let caption_identities: Vec<i64> =
        plan.captions.iter().take(answers.len()).map(|caption| caption.identity).collect();
    let image_identities: Vec<i64> = plan.images.iter().map(|image| image.identity).collect();
    let captions = matrix(answers.iter().map(|answer| &answer.embedding))?;
    let images = matrix(image_embeddings.iter())?;
    let exact = retrieval_metrics(captions.view(), &caption_identities, images.view(), &image_identities)?;
    let truncated = answers.iter().filter(|answer| answer.truncated).count() as u64;
    let interrupted = answers.len() < plan.captions.len();
    let rankings: Vec<Vec<usize>> = answers.into_iter().map(|answer| answer.ranking).collect();
    let served = ranking_metrics(&rankings, &caption_identities, &image_identities)?;
    let index = index_name(index);
    Ok(Some(AccuracyReport { served, exact, limit: plan.limit, index, truncated, interrupted }))
}

/// What a caption came to.
struct Answer {
    embedding: Embedding,
    /// Rows of the images found, best first.
    ranking: Vec<usize>,
    truncated: bool,
}

/// Asks for one caption.
struct Caption {
    search: Client,
    encoder: EncoderServiceClient<Channel>,
}

impl Caption {
    /// The ranking as anybody gets it, and the embedding behind it.
    async fn ask(mut self, text: String, limit: u32) -> Result<Answer, GalleryBenchError> {
        let embedding = self.encode(text.clone()).await?;
        let request = proto::SearchRequest {
            gallery: AccuracyGallery::name().to_owned(),
            query: Some(Query::Text(text)),
            limit,
            ..proto::SearchRequest::default()
        };
        let answer = self.search.search(request).await;
        let answer = answer.map_err(|status| GalleryBenchError::refused("searching", &status))?.into_inner();
        let ranking = answer.hits.iter().map(|hit| row(&hit.image_id)).collect::<Result<Vec<usize>, _>>()?;
        Ok(Answer { embedding, ranking, truncated: answer.truncated })
    }

    async fn encode(&mut self, text: String) -> Result<Embedding, GalleryBenchError> {
        let request = encoder::EncodeTextRequest { texts: vec![text], priority: encoder::Priority::Interactive.into() };
        let answer = self.encoder.encode_text(request).await;
        let answer = answer.map_err(|status| GalleryBenchError::refused("encoding a caption", &status))?;
        let result = answer.into_inner().results.into_iter().next();
        match result.and_then(|result| result.outcome) {
            Some(Outcome::Embedding(embedding)) => Ok(Embedding::normalized(embedding.values)?),
            Some(Outcome::Error(error)) => {
                Err(GalleryBenchError::Refused { activity: "encoding a caption", message: error.message })
            }
            None => Err(GalleryBenchError::Malformed { what: "a caption without an embedding".to_owned() }),
        }
    }
}

fn index_name(state: proto::IndexState) -> &'static str {
    match state {
        proto::IndexState::Unspecified => "unknown",
        proto::IndexState::Exact => "exact",
        proto::IndexState::Ready => "index ready",
        proto::IndexState::Building => "index being built",
        proto::IndexState::Failed => "index failed",
    }
}
