//! Searches, whose hits come in as many replies as they need.

use crate::connection::answer;
use crate::{ClientError, Connection};
use descry_proto::search::v1::search_batch_response::{Result as BatchResult, result::Outcome};
use descry_proto::search::v1::{RefineRequest, SearchBatchRequest, SearchBatchResponse, SearchRequest, SearchResponse};
use std::future::Future;
use tonic::Code;

/// What a search without a limit means, by the protocol.
const USUAL_HITS: u32 = 10;

impl Connection {
    /// Ranks a gallery's images for a description. Hits that do not fit into one reply are asked for again, from the first
    /// that is missing; a gallery that changes meanwhile may show a hit twice, or leave one out.
    ///
    /// # Errors
    /// [`ClientError::Refused`].
    pub async fn search(&self, request: SearchRequest) -> Result<SearchResponse, ClientError> {
        let asked = |request: SearchRequest| async move { answer(self.service().search(request).await) };
        all_hits(request, asked).await
    }

    /// Several searches at once, each answered for itself. Those for which a reply has no room are asked for again.
    ///
    /// # Errors
    /// [`ClientError::Refused`].
    pub async fn search_batch(&self, request: SearchBatchRequest) -> Result<SearchBatchResponse, ClientError> {
        let asked = |request: SearchRequest| async move { answer(self.service().search(request).await) };
        let mut left = request.searches;
        let mut results = Vec::with_capacity(left.len());
        loop {
            let request = SearchBatchRequest { searches: left.clone() };
            let mut came = answer(self.service().search_batch(request).await)?.results;
            // The first of a batch always has room.
            let fitting = came.iter().position(is_left_out).filter(|fitting| *fitting > 0);
            came.truncate(fitting.unwrap_or(came.len()));
            for (result, search) in came.iter_mut().zip(&left) {
                if let Some(Outcome::Response(reply)) = &mut result.outcome {
                    add_missing_hits(search.clone(), reply, asked).await?;
                }
            }
            results.append(&mut came);
            match fitting {
                Some(fitting) => drop(left.drain(..fitting.min(left.len()))),
                None => return Ok(SearchBatchResponse { results }),
            }
        }
    }

    /// Ranks the rest of a gallery anew after some hits were accepted and others rejected. All of its hits come, as in
    /// [`Connection::search`].
    ///
    /// # Errors
    /// [`ClientError::Refused`].
    pub async fn refine(&self, request: RefineRequest) -> Result<SearchResponse, ClientError> {
        let RefineRequest { search, accepted_ids, rejected_ids } = request;
        let asked = |search: SearchRequest| {
            let (accepted_ids, rejected_ids) = (accepted_ids.clone(), rejected_ids.clone());
            let request = RefineRequest { search: Some(search), accepted_ids, rejected_ids };
            async move { answer(self.service().refine(request).await) }
        };
        match search {
            Some(search) => all_hits(search, asked).await,
            // The service says what is missing.
            None => answer(self.service().refine(RefineRequest { search: None, accepted_ids, rejected_ids }).await),
        }
    }
}

/// Whether a batch had no room for this one's hits; the service names it by its place.
fn is_left_out(result: &BatchResult) -> bool {
    let full = Code::ResourceExhausted as i32;
    matches!(&result.outcome, Some(Outcome::Error(error)) if error.code == full && error.message.starts_with("searches["))
}

async fn all_hits<Asked>(
    request: SearchRequest,
    ask: impl Fn(SearchRequest) -> Asked,
) -> Result<SearchResponse, ClientError>
where
    Asked: Future<Output = Result<SearchResponse, ClientError>>,
{
    let mut reply = ask(request.clone()).await?;
    add_missing_hits(request, &mut reply, ask).await?;
    Ok(reply)
}

/// Asks for the hits of a search that its reply had no room for.
async fn add_missing_hits<Asked>(
    mut request: SearchRequest,
    reply: &mut SearchResponse,
    ask: impl Fn(SearchRequest) -> Asked,
) -> Result<(), ClientError>
where
    Asked: Future<Output = Result<SearchResponse, ClientError>>,
{
    while reply.next_offset > 0 {
        let came = reply.next_offset.saturating_sub(request.offset);
        if came == 0 {
            return Err(ClientError::StrangeAnswer { what: "a reply that goes on where it began" });
        }
        let limit = if request.limit == 0 { USUAL_HITS } else { request.limit };
        request.limit = limit.saturating_sub(came);
        if request.limit == 0 {
            break;
        }
        request.offset = reply.next_offset;
        let next = ask(request.clone()).await?;
        reply.hits.extend(next.hits);
        reply.next_offset = next.next_offset;
    }
    reply.next_offset = 0;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use descry_proto::search::v1::Hit;
    use std::sync::Mutex;

    #[tokio::test]
    async fn hits_come_in_as_many_replies_as_they_need() {
        let asked = Mutex::new(Vec::new());
        let of_three = |request: SearchRequest| {
            asked.lock().unwrap().push((request.offset, request.limit));
            // Ten hits in all, three to a reply.
            let until = (request.offset + request.limit).min(10);
            let here = request.offset..until.min(request.offset + 3);
            let next_offset = if here.end < until { here.end } else { 0 };
            let hits = here.map(|number| Hit { image_id: number.to_string(), ..Hit::default() }).collect();
            async move { Ok(SearchResponse { hits, next_offset, ..SearchResponse::default() }) }
        };
        let request = SearchRequest { offset: 1, limit: 8, ..SearchRequest::default() };
        let reply = all_hits(request, of_three).await.unwrap();
        let ids: Vec<&str> = reply.hits.iter().map(|hit| hit.image_id.as_str()).collect();
        assert_eq!(ids, ["1", "2", "3", "4", "5", "6", "7", "8"]);
        assert_eq!((reply.next_offset, asked.into_inner().unwrap()), (0, vec![(1, 8), (4, 5), (7, 2)]));
    }

    #[tokio::test]
    async fn a_reply_that_goes_nowhere_ends_the_search() {
        let nowhere = |request: SearchRequest| async move {
            Ok(SearchResponse { next_offset: request.offset, ..SearchResponse::default() })
        };
        let request = SearchRequest { offset: 5, limit: 5, ..SearchRequest::default() };
        assert!(matches!(all_hits(request, nowhere).await, Err(ClientError::StrangeAnswer { .. })));
    }
}
