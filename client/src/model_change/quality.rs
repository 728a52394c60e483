//! What a generation finds: people by their descriptions.

use super::{ModelChange, ModelChangeObserver};
use crate::ClientError;
use descry_proto::search::v1::search_batch_response::result::Outcome;
use descry_proto::search::v1::search_request::Query;
use descry_proto::search::v1::{Hit, SearchBatchRequest, SearchRequest};

/// Searches of one request.
const SEARCHES_TOGETHER: usize = 16;
const HITS: u32 = 10;
/// Percentage points that a new model may lose without a question.
const TOLERATED_LOSS: f64 = 1.0;

/// A description of somebody in the gallery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PersonQuery {
    /// The description.
    pub text: String,
    /// Whom it describes, which tells what its hits are worth.
    pub person_id: String,
}

/// Shares of the queries, in percent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quality {
    /// The best hit is the person.
    pub rank1: f64,
    /// One of the ten best hits is the person.
    pub rank10: f64,
}

/// What both models find of the same queries.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct QualityComparison {
    /// The model that serves.
    pub old: Quality,
    /// The model to change to.
    pub new: Quality,
}

impl QualityComparison {
    /// Whether switching needs a second thought: Rank-1 falls by more than a percentage point.
    pub fn is_clearly_worse(&self) -> bool {
        self.new.rank1 < self.old.rank1 - TOLERATED_LOSS
    }
}

impl ModelChange {
    /// Searches for every query in both generations. Worth its time when the new one is filled.
    ///
    /// # Errors
    /// [`ClientError::Query`] names the query that failed; [`ClientError::Refused`].
    pub async fn measure(
        &self,
        queries: &[PersonQuery],
        observer: &mut dyn ModelChangeObserver,
    ) -> Result<QualityComparison, ClientError> {
        let old = self.quality_of(self.old, queries, observer).await?;
        let new = self.quality_of(self.new, queries, observer).await?;
        Ok(QualityComparison { old, new })
    }

    async fn quality_of(
        &self,
        generation: u32,
        queries: &[PersonQuery],
        observer: &mut dyn ModelChangeObserver,
    ) -> Result<Quality, ClientError> {
        let address = self.address(generation);
        let (mut first, mut ten) = (0_usize, 0_usize);
        for (index, group) in queries.chunks(SEARCHES_TOGETHER).enumerate() {
            let search = |query: &PersonQuery| SearchRequest {
                gallery: address.clone(),
                query: Some(Query::Text(query.text.clone())),
                limit: HITS,
                ..SearchRequest::default()
            };
            let request = SearchBatchRequest { searches: group.iter().map(search).collect() };
            let results = self.connection.search_batch(request).await?.results;
            if results.len() != group.len() {
                let (answered, asked) = (results.len(), group.len());
                return Err(ClientError::ShortAnswer { what: "queries", answered, asked });
            }
            for (query, result) in group.iter().zip(results) {
                let failed = |reason| ClientError::Query { text: query.text.clone(), reason };
                let hits = match result.outcome {
                    Some(Outcome::Response(response)) => response.hits,
                    Some(Outcome::Error(error)) => return Err(failed(error.message)),
                    None => return Err(failed("the service gave no outcome".to_owned())),
                };
                let place = hits.iter().position(|hit| is_person(hit, query));
                first += usize::from(place == Some(0));
                ten += usize::from(place.is_some());
            }
            observer.searched(index * SEARCHES_TOGETHER + group.len(), queries.len());
        }
        let percent = |count: usize| 100.0 * count as f64 / queries.len().max(1) as f64;
        Ok(Quality { rank1: percent(first), rank10: percent(ten) })
    }
}

fn is_person(hit: &Hit, query: &PersonQuery) -> bool {
    hit.metadata.as_ref().is_some_and(|metadata| metadata.person_id.as_deref() == Some(&query.person_id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_less_is_tolerated() {
        let quality = |rank1| Quality { rank1, rank10: 90.0 };
        let is_clearly_worse = |new| QualityComparison { old: quality(60.0), new: quality(new) }.is_clearly_worse();
        assert!(!is_clearly_worse(59.0) && !is_clearly_worse(70.0));
        assert!(is_clearly_worse(58.9));
    }
}
