//! Twenty killed search services: while images are indexed, while a model is changed, while a sweep removes what was
//! kept long enough. Nothing acknowledged is lost, nothing is doubled, no answer is of two models.

mod indexing;
mod reembedding;
mod stand;
mod sweeping;
mod writers;

use crate::stands::Client;
use crate::stands::computed::{ComputedModel, cosine};
use crate::stands::ledger::{content_of, version_of};
use crate::stands::random::Random;
use descry_proto::search::v1::query_part::What;
use descry_proto::search::v1::{EmbeddingPart, QueryPart, SearchRequest, SearchResponse};
use std::collections::HashSet;
use std::time::Duration;
use tokio::task::JoinSet;

/// Which rounds there are; what happens at the same time in each is the system's choice.
const SEED: u64 = 20_261_124;

/// Scores are float32, summed up in another order here.
const TOLERANCE: f32 = 1e-3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_twenty_times_nothing_is_lost_doubled_or_mixed() {
    let mut random = Random::new(SEED);
    let kills = [
        indexing::rounds(8, &mut random).await,
        reembedding::rounds(6, &mut random).await,
        sweeping::rounds(6, &mut random).await,
    ];
    assert_eq!(kills.iter().sum::<u32>(), 20);
}

/// Lets writers go on for a moment. None may end before its service does.
async fn go_on(writers: &mut JoinSet<()>, moment: Duration) {
    if let Ok(ended) = tokio::time::timeout(moment, writers.join_next()).await {
        panic!("a writer ended before its service: {ended:?}");
    }
}

/// None of the writers may have ended.
fn assert_all_go_on(writers: &mut JoinSet<()>) {
    if let Some(ended) = writers.try_join_next() {
        panic!("a writer ended before its service: {ended:?}");
    }
}

/// Waits until writers have noticed that their service is gone; panics as they did.
async fn end(mut writers: JoinSet<()>) {
    while let Some(ended) = writers.join_next().await {
        ended.unwrap();
    }
}

/// Searches for an embedding of a model.
async fn search_near(client: &mut Client, gallery: &str, model: &ComputedModel, values: Vec<f32>) -> SearchResponse {
    let part = EmbeddingPart { values, fingerprint: model.fingerprint.clone() };
    let part = QueryPart { what: Some(What::Embedding(part)), weight: None };
    let request =
        SearchRequest { gallery: gallery.to_owned(), parts: vec![part], limit: 30, ..SearchRequest::default() };
    client.search(request).await.unwrap().into_inner()
}

/// Checks that one of the models gave the whole answer: each score is that of its embeddings. Returns which one.
fn answering<'a>(
    answer: &SearchResponse,
    models: &'a [ComputedModel],
    query: impl Fn(&ComputedModel) -> Vec<f32>,
) -> &'a ComputedModel {
    let model = models.iter().find(|model| model.fingerprint == answer.fingerprint);
    let model = model.unwrap_or_else(|| panic!("an answer of {:?}", answer.fingerprint));
    let query = query(model);
    let mut found = HashSet::new();
    for hit in &answer.hits {
        assert!(found.insert(&hit.image_id), "{} was found twice", hit.image_id);
        let version = version_of(hit.metadata.as_ref().unwrap());
        let score = cosine(&query, &model.embedding(&content_of(&hit.image_id, version)));
        assert!((hit.score - score).abs() < TOLERANCE, "{}: {} instead of {score}", hit.image_id, hit.score);
    }
    model
}
