//! What a generation finds: people by their descriptions.

use crate::captions::Caption;
use crate::connection::{Client, answer};
use crate::progress;
use descry_proto::search::v1::search_batch_response::result::Outcome;
use descry_proto::search::v1::search_request::Query;
use descry_proto::search::v1::{Hit, SearchBatchRequest, SearchRequest};

/// Searches of one request.
const SEARCHES_TOGETHER: usize = 16;
const HITS: u32 = 10;
/// Percentage points that a new model may lose without a question.
const TOLERATED_LOSS: f64 = 1.0;

/// Shares of the queries, in percent.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Quality {
    /// The best hit is the person.
    pub(super) rank1: f64,
    /// One of the ten best hits is the person.
    pub(super) rank10: f64,
}

/// Whether switching needs a second thought.
pub(super) fn is_clearly_worse(old: &Quality, new: &Quality) -> bool {
    new.rank1 < old.rank1 - TOLERATED_LOSS
}

/// Searches for every query in a generation.
pub(super) async fn measure(mut client: Client, address: &str, queries: &[Caption]) -> anyhow::Result<Quality> {
    let bar = progress::bar(queries.len(), "queries");
    let (mut first, mut ten) = (0_usize, 0_usize);
    for group in queries.chunks(SEARCHES_TOGETHER) {
        let search = |query: &Caption| SearchRequest {
            gallery: address.to_owned(),
            query: Some(Query::Text(query.text.clone())),
            limit: HITS,
            ..SearchRequest::default()
        };
        let request = SearchBatchRequest { searches: group.iter().map(search).collect() };
        let results = answer(client.search_batch(request).await)?.results;
        anyhow::ensure!(
            results.len() == group.len(),
            "the service answered {} of {} queries",
            results.len(),
            group.len()
        );
        for (query, result) in group.iter().zip(results) {
            let hits = match result.outcome {
                Some(Outcome::Response(response)) => response.hits,
                Some(Outcome::Error(error)) => anyhow::bail!("searching for {:?}: {}", query.text, error.message),
                None => anyhow::bail!("searching for {:?}: the service gave no outcome", query.text),
            };
            let place = hits.iter().position(|hit| is_person(hit, query));
            first += usize::from(place == Some(0));
            ten += usize::from(place.is_some());
        }
        bar.inc(group.len() as u64);
    }
    bar.finish_and_clear();
    let percent = |count: usize| 100.0 * count as f64 / queries.len().max(1) as f64;
    Ok(Quality { rank1: percent(first), rank10: percent(ten) })
}

fn is_person(hit: &Hit, query: &Caption) -> bool {
    query.person_id.is_some() && hit.metadata.as_ref().is_some_and(|metadata| metadata.person_id == query.person_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_less_is_tolerated() {
        let quality = |rank1| Quality { rank1, rank10: 90.0 };
        assert!(!is_clearly_worse(&quality(60.0), &quality(59.0)));
        assert!(!is_clearly_worse(&quality(60.0), &quality(70.0)));
        assert!(is_clearly_worse(&quality(60.0), &quality(58.9)));
    }
}
