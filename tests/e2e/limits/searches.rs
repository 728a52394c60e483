//! Searches.

use super::{check, nested};
use crate::queries::{CAPTION, Lobby, image_id, of_parts, part, text};
use crate::services::text_search;
use descry_proto::search::v1::query_part::What;
use descry_proto::search::v1::search_batch_response::result::Outcome;
use descry_proto::search::v1::{
    AttributeCondition, EmbeddingPart, Filter, QueryPart, SearchBatchRequest, SearchRequest,
};
use prost_types::Timestamp;
use tonic::Code;

pub(super) async fn filters(lobby: &mut Lobby) {
    let request = |filter: Filter| SearchRequest { filter: Some(filter), ..text_search("lobby", CAPTION, 5) };
    let camera = || Filter { camera_ids: vec!["c5".to_owned()], ..Filter::default() };
    let attribute = |name: &str, values: usize| {
        let values = vec!["rain".to_owned(); values];
        Filter { attributes: vec![AttributeCondition { name: name.to_owned(), values }], ..Filter::default() }
    };
    let time = |seconds| Some(Timestamp { seconds, nanos: 0 });
    let many = |count: usize| Filter { any: vec![camera(); count], ..Filter::default() };
    let named = vec!["weather".to_owned(); 65];
    let conditions = named.into_iter().map(|name| AttributeCondition { name, values: vec!["rain".to_owned()] });
    for (filter, word) in [
        // Eight levels are allowed, and 64 conditions, a filter itself among them.
        (nested(camera(), 8), "nested 9 deep, at most 8"),
        (nested(camera(), 30), "nested 31 deep, at most 8"),
        (many(64), "65 conditions, at most 64"),
        (many(1_000), "1001 conditions"),
        (Filter { attributes: conditions.collect(), ..Filter::default() }, "66 conditions"),
        (nested(Filter { camera_ids: vec![String::new()], ..Filter::default() }, 3), "camera_ids"),
        (Filter { image_ids: vec!["a".to_owned(); 1_001], ..Filter::default() }, "image_ids"),
        (
            Filter { none: vec![Filter { person_ids: vec!["p".repeat(600)], ..camera() }], ..Filter::default() },
            "person_ids",
        ),
        (attribute("weather", 1_001), "filter.attributes: 1001 values"),
        (attribute("weather", 0), "at least one value"),
        (attribute("", 1), "needs a name"),
        (attribute("shift", 1), "shift"),
        (nested(attribute("weather.rain", 1), 3), "weather.rain"),
        (Filter { indexed_from: time(9), indexed_before: time(9), ..Filter::default() }, "indexed_before"),
        (Filter { indexed_from: time(i64::MAX), ..Filter::default() }, "indexed_from"),
        (nested(Filter { captured_before: time(i64::MIN), ..Filter::default() }, 2), "captured_before"),
    ] {
        check(lobby.client.search(request(filter)).await, Code::InvalidArgument, word);
    }
    // Deeper than protobuf's own limit: the message is not even read.
    assert!(lobby.client.search(request(nested(camera(), 150))).await.is_err());

    // What is just allowed gives what is asked for.
    for filter in [nested(camera(), 7), many(63)] {
        let hits = lobby.search(request(filter)).await;
        let is_there = |camera: Option<&str>| camera == Some("c5");
        assert_eq!(hits.len(), 5);
        assert!(hits.iter().all(|hit| is_there(hit.metadata.as_ref().and_then(|known| known.camera_id.as_deref()))));
    }
}

pub(super) async fn parts(lobby: &mut Lobby) {
    let fingerprint = lobby.client.search(text_search("lobby", CAPTION, 1)).await.unwrap().into_inner().fingerprint;
    let embedding = |values: Vec<f32>, fingerprint: &str| {
        part(What::Embedding(EmbeddingPart { values, fingerprint: fingerprint.to_owned() }), 1.0)
    };
    let by_text = |weight| part(text(CAPTION), weight);
    let by_image = |weight| part(image_id("p2601_c1_1.jpg"), weight);
    for (parts, word) in [
        (vec![by_text(1.0); 17], "17 parts"),
        (vec![by_text(1.0), QueryPart { what: None, weight: None }], "query.parts[1]"),
        (vec![by_text(1.0), by_image(f32::NAN)], "query.parts[1].weight"),
        (vec![by_text(f32::INFINITY), by_image(1.0)], "query.parts[0].weight"),
        (vec![by_text(1.0), by_image(f32::NEG_INFINITY)], "query.parts[1].weight"),
        (vec![by_text(100.5)], "query.weight"),
        (vec![by_image(1.0), by_image(-1.0)], "cancel"),
        (vec![by_image(1.0), by_image(1.0), by_image(-2.0)], "cancel"),
        (vec![by_text(-1.0)], "positive weight"),
        (vec![by_text(-1.0), by_image(-0.5)], "positive weight"),
        (vec![by_text(0.0), by_image(0.0)], "positive weight"),
        (vec![by_text(1.0), part(text(""), 1.0)], "query.parts[1].text"),
        (vec![by_text(1.0), part(text(&"a".repeat(20_000)), 1.0)], "query.parts[1].text"),
        (vec![by_text(1.0), part(What::Image(b"no image".to_vec().into()), 1.0)], "query.parts[1].image"),
        (vec![by_text(1.0), part(image_id(""), 1.0)], "query.parts[1].image_id"),
        (vec![by_text(1.0), part(image_id("unknown.jpg"), 1.0)], "unknown.jpg"),
        (vec![embedding(vec![1.0; 128], "")], "fingerprint"),
        (vec![embedding(vec![1.0; 128], "no fingerprint")], "fingerprint"),
        (vec![embedding(vec![1.0; 128], &fingerprint.to_uppercase())], "fingerprint"),
        (vec![by_text(1.0), embedding(Vec::new(), &fingerprint)], "query.parts[1].embedding"),
        (vec![embedding(vec![0.0; 128], &fingerprint)], "embedding"),
        (vec![embedding(vec![f32::NAN; 128], &fingerprint)], "embedding"),
        (vec![embedding(vec![f32::INFINITY; 128], &fingerprint)], "embedding"),
    ] {
        check(lobby.client.search(of_parts(parts, 5)).await, Code::InvalidArgument, word);
    }
    for length in [1, 127, 129, 60_000] {
        let request = of_parts(vec![by_text(1.0), embedding(vec![1.0; length], &fingerprint)], 5);
        check(lobby.client.search(request).await, Code::FailedPrecondition, &format!("128, got {length}"));
    }
    assert_eq!(lobby.search(of_parts(vec![by_text(100.0), by_image(-100.0)], 5)).await.len(), 5);
}

pub(super) async fn numbers_and_addresses(lobby: &mut Lobby) {
    let usual = text_search("lobby", CAPTION, 5);
    for (request, word) in [
        (SearchRequest { limit: 1_001, ..usual.clone() }, "limit"),
        (SearchRequest { limit: 1, offset: 1_000, ..usual.clone() }, "limit"),
        (SearchRequest { limit: u32::MAX, offset: u32::MAX, ..usual.clone() }, "limit"),
        (SearchRequest { max_sightings: 10_001, ..usual.clone() }, "max_sightings"),
        (SearchRequest { min_score: Some(1.5), ..usual.clone() }, "min_score"),
        (SearchRequest { min_score: Some(f32::NAN), ..usual.clone() }, "min_score"),
        (SearchRequest { suppress_duplicates_above: 2.0, ..usual.clone() }, "suppress_duplicates_above"),
        (SearchRequest { suppress_duplicates_above: f32::NAN, ..usual.clone() }, "suppress_duplicates_above"),
        (SearchRequest { parts: vec![part(text(CAPTION), 1.0)], ..usual.clone() }, "only one"),
        (SearchRequest { query: None, ..usual.clone() }, "query"),
        (text_search("lobby.1.2", CAPTION, 5), "gallery"),
        (text_search("lobby.01", CAPTION, 5), "gallery"),
        (text_search("lobby.-1", CAPTION, 5), "gallery"),
        (text_search(".1", CAPTION, 5), "gallery"),
    ] {
        check(lobby.client.search(request).await, Code::InvalidArgument, word);
    }
    for address in ["lobby.999", "lobby.4294967295", "nowhere.1"] {
        check(lobby.client.search(text_search(address, CAPTION, 5)).await, Code::NotFound, "has no generation");
    }
    // The one generation that there is, and the last hits that can be reached.
    let first = lobby.search(text_search("lobby.1", CAPTION, 5)).await;
    let by_name = lobby.search(usual.clone()).await;
    assert!(first.iter().map(|hit| &hit.image_id).eq(by_name.iter().map(|hit| &hit.image_id)));
    assert!(lobby.search(SearchRequest { limit: 1, offset: 999, ..usual.clone() }).await.is_empty());

    let batch = |count: usize| SearchBatchRequest { searches: vec![usual.clone(); count] };
    check(lobby.client.search_batch(batch(65)).await, Code::InvalidArgument, "65 searches, at most 64");
    let full = lobby.client.search_batch(batch(64)).await.unwrap().into_inner();
    assert_eq!(full.results.len(), 64);
    let is_whole =
        |outcome: &Option<Outcome>| matches!(outcome, Some(Outcome::Response(reply)) if reply.hits.len() == 5);
    assert!(full.results.iter().all(|result| is_whole(&result.outcome)), "{full:?}");
}
