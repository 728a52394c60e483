//! Embeddings that a caller has from the encoder service: the search service answers them without asking an encoder.

use super::{CAPTION, Lobby, NOWHERE, ids, image_id, keep_in, of_parts, part};
use crate::services::text_search;
use descry_proto::encoder::v1::EncodeTextRequest;
use descry_proto::encoder::v1::encode_result::Outcome;
use descry_proto::search::v1::EmbeddingPart;
use descry_proto::search::v1::query_part::What;
use descry_qdrant_server::TestQdrant;
use descry_search::SearchConfig;
use descry_tests::TestStack;
use tonic::Code;

/// The embedding of a text, from the encoder service.
pub(crate) async fn encoded(stack: &TestStack, text: &str) -> EmbeddingPart {
    let request = EncodeTextRequest { texts: vec![text.to_owned()], ..EncodeTextRequest::default() };
    let reply = stack.encoder().await.encode_text(request).await.unwrap().into_inner();
    match &reply.results[0].outcome {
        Some(Outcome::Embedding(embedding)) => {
            EmbeddingPart { values: embedding.values.clone(), fingerprint: reply.fingerprint.clone() }
        }
        other => panic!("{other:?}"),
    }
}

/// Fills a gallery, and searches it again where no encoder can be reached.
async fn check(keep: impl Fn(&mut SearchConfig)) {
    let stack = TestStack::start_with(|_, search| keep(search)).await;
    let mut lobby = Lobby::fill(stack.search().await).await;
    let by_text = lobby.search(text_search("lobby", CAPTION, 10)).await;
    let embedding = encoded(&stack, CAPTION).await;
    drop(lobby);
    stack.stop().await;

    let stack = TestStack::start_with(|_, search| {
        keep(search);
        search.encoder.url = NOWHERE.to_owned();
    })
    .await;
    let mut client = stack.search().await;
    let status = client.search(text_search("lobby", CAPTION, 10)).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "there is no encoder: {status}");
    let by = |embedding: &EmbeddingPart| part(What::Embedding(embedding.clone()), 1.0);
    let request = of_parts(vec![by(&embedding)], 10);
    let reply = client.search(request).await.unwrap().into_inner();
    assert_eq!(reply.fingerprint, embedding.fingerprint);
    assert_eq!(ids(&reply.hits), ids(&by_text));
    assert!(reply.hits.iter().zip(&by_text).all(|(a, b)| (a.score - b.score).abs() < 1e-4));
    // Nor is one asked for an image of the gallery, and any length will do.
    let long =
        EmbeddingPart { values: embedding.values.iter().map(|value| value * 50.0).collect(), ..embedding.clone() };
    let request = of_parts(vec![by(&long), part(image_id("p2601_c1_1.jpg"), 0.1)], 10);
    let hits = client.search(request).await.unwrap().into_inner().hits;
    assert!(hits[..4].iter().all(|hit| hit.image_id.starts_with("p2601_")), "{:?}", ids(&hits));

    let other = EmbeddingPart { fingerprint: "5a".repeat(32), ..embedding.clone() };
    let status = client.search(of_parts(vec![by(&other)], 10)).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition, "{status}");
    for fingerprint in [&embedding.fingerprint, &other.fingerprint] {
        assert!(status.message().contains(fingerprint), "{fingerprint} is not in: {status}");
    }
    let short = EmbeddingPart { values: embedding.values[..5].to_vec(), ..embedding.clone() };
    let status = client.search(of_parts(vec![by(&short)], 10)).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition, "{status}");
    assert!(status.message().contains("dimension 128, got 5"), "{status}");
    stack.stop().await;
}

#[tokio::test]
async fn embeddings_are_searched_without_encoder_on_the_embedded_store() {
    let data = tempfile::tempdir().unwrap();
    let path = data.path().join("galleries.sqlite3");
    check(|search| search.embedded.path.clone_from(&path)).await;
}

#[tokio::test]
async fn embeddings_are_searched_without_encoder_on_qdrant() {
    let server = TestQdrant::start().unwrap();
    check(|search| keep_in(&server, search)).await;
}
