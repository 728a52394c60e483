//! Searches, whose hits come in as many replies as they need.

use crate::connection::answer;
use crate::{ClientError, Connection};
use descry_proto::search::v1::{RefineRequest, SearchRequest, SearchResponse};
use std::future::Future;

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

async fn all_hits<Asked>(
    mut request: SearchRequest,
    ask: impl Fn(SearchRequest) -> Asked,
) -> Result<SearchResponse, ClientError>
where
    Asked: Future<Output = Result<SearchResponse, ClientError>>,
{
    let mut reply = ask(request.clone()).await?;
    while reply.next_offset > 0 {
        let came = reply.next_offset.saturating_sub(request.offset);
        if came == 0 {
            return Err(ClientError::StrangeAnswer { what: "a reply that goes on where it began" });
        }
        // Without a limit the service has its own, of which nothing is left to tell.
        if request.limit > 0 {
            request.limit = request.limit.saturating_sub(came);
            if request.limit == 0 {
                break;
            }
        }
        request.offset = reply.next_offset;
        let next = ask(request.clone()).await?;
        reply.hits.extend(next.hits);
        reply.next_offset = next.next_offset;
    }
    reply.next_offset = 0;
    Ok(reply)
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
