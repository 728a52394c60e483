//! Searches, one by one, in batches, refined; and what their scores mean.

use super::SearchGrpc;
use super::galleries::parse_fingerprint;
use super::messages::{hit_message, item_error, search_accuracy, search_filter, timestamp};
use super::reply_room::ReplyRoom;
use crate::SearchError;
use crate::admission::Patience;
use crate::audit;
use crate::calibration::{Caption, measure};
use crate::retrieval::{Fusion, Part, PartKind, Ranking, SearchSpec};
use crate::validation::{check_gallery_name, invalid};
use descry_model::Embedding;
use descry_proto::search::v1 as proto;
use descry_proto::search::v1::query_part::What;
use descry_proto::search::v1::search_batch_response::{Result as BatchResult, result::Outcome};
use descry_proto::search::v1::search_request::Query;
use descry_serving::Access;
use descry_store::{GroupBy, Grouping, Pool};
use descry_trust::Place;
use futures::StreamExt as _;
use tracing::Instrument as _;

/// Searches of one batch that run at the same time.
const CONCURRENT_SEARCHES: usize = 16;

const CALIBRATION_RETRY_AFTER_MS: u64 = 2_000;

/// Bytes of a result that says that the reply is full.
const FULL_BYTES: usize = 128;

impl SearchGrpc {
    pub(super) async fn search(&self, request: proto::SearchRequest) -> Result<proto::SearchResponse, SearchError> {
        self.search_within(request, Patience::Usual, self.limits.max_reply_bytes).await
    }

    async fn search_within(
        &self,
        request: proto::SearchRequest,
        patience: Patience,
        max_reply_bytes: usize,
    ) -> Result<proto::SearchResponse, SearchError> {
        let search = search_spec(request)?;
        let (span, offset) =
            (tracing::info_span!("search", gallery = search.gallery, limit = search.limit), search.offset);
        let ranking = self.retriever.search(search, patience).instrument(span).await?;
        Ok(response(ranking, offset, max_reply_bytes))
    }

    /// Each search is decided by itself: one that is denied is an error among the answers.
    pub(super) async fn search_batch(
        &self,
        access: &Access,
        request: proto::SearchBatchRequest,
    ) -> Result<proto::SearchBatchResponse, SearchError> {
        let (count, max) = (request.searches.len(), self.limits.max_batch_searches);
        if count > max {
            return Err(invalid("searches", format!("{count} searches, at most {max} are allowed")));
        }
        // Some at the same time, so that the encoder runs their texts together; not all, so that their hits fit into memory.
        let max_reply_bytes = self.limits.max_reply_bytes.saturating_sub(count * FULL_BYTES);
        let searches = request.searches.into_iter();
        let answering = |search| {
            audit::of_list(search, |search| async move {
                access.permits(&search, Place::First)?;
                self.search_within(search, Patience::OfList, max_reply_bytes).await
            })
        };
        let searches: Vec<_> = searches.map(answering).collect();
        let mut answers = futures::stream::iter(searches).buffered(CONCURRENT_SEARCHES);
        let mut room = ReplyRoom::new(max_reply_bytes);
        let mut results = Vec::with_capacity(count);
        while let Some(answer) = answers.next().await {
            let outcome = match answer {
                Ok(response) => Outcome::Response(response),
                Err(error) => Outcome::Error(item_error(error)),
            };
            let result = BatchResult { outcome: Some(outcome) };
            if !room.fits(&result) {
                // What is not computed yet need not be.
                drop(answers);
                break;
            }
            results.push(result);
        }
        let left_out = (results.len()..count).map(|index| {
            let error = SearchError::ReplyFull { item: format!("searches[{index}]") };
            BatchResult { outcome: Some(Outcome::Error(item_error(error))) }
        });
        results.extend(left_out);
        Ok(proto::SearchBatchResponse { results })
    }

    pub(super) async fn refine(&self, request: proto::RefineRequest) -> Result<proto::SearchResponse, SearchError> {
        let proto::RefineRequest { search, accepted_ids, rejected_ids } = request;
        let search = search.ok_or_else(|| invalid("search", "give the search whose hits were judged"))?;
        let search = search_spec(search)?;
        let (span, offset) =
            (tracing::info_span!("refine", gallery = search.gallery, limit = search.limit), search.offset);
        let refined = self.retriever.refine(search, accepted_ids, rejected_ids).instrument(span).await;
        Ok(response(refined?, offset, self.limits.max_reply_bytes))
    }

    pub(super) async fn calibrate(&self, request: proto::CalibrateRequest) -> Result<proto::Calibration, SearchError> {
        let proto::CalibrateRequest { gallery, captions } = request;
        check_gallery_name(&gallery)?;
        let (count, limits) = (captions.len(), &self.limits);
        if count > limits.max_calibration_captions {
            let reason = format!("{count} captions, at most {} are allowed", limits.max_calibration_captions);
            return Err(invalid("captions", reason));
        }
        if let Some(index) = captions.iter().position(|caption| caption.text.len() > limits.max_text_bytes) {
            let reason = format!("is longer than {} bytes", limits.max_text_bytes);
            return Err(invalid(format!("captions[{index}].text"), reason));
        }
        let captions = captions.into_iter().map(|caption| {
            let proto::calibrate_request::Caption { text, person_id } = caption;
            Caption { text, person_id }
        });
        // Its captions go before bulk work, so there are few of them at a time.
        let Ok(_calibrating) = self.calibrating.try_acquire() else {
            return Err(SearchError::Overloaded {
                what: "the one place for a calibration",
                retry_after_ms: CALIBRATION_RETRY_AFTER_MS,
            });
        };
        let generation = self.store.resolve(&gallery).await?;
        let calibration = measure(&self.encoders, &*self.store, &generation, captions.collect()).await?;
        self.calibrations.put(&generation, &calibration).await?;
        Ok(proto::Calibration {
            fingerprint: calibration.fingerprint,
            background_captions: calibration.background_captions,
            labelled_captions: calibration.labelled_captions,
            calibrated_at: Some(timestamp(calibration.calibrated_at_ms)),
        })
    }
}

/// A request in the service's own words. Bounds are the retriever's to check.
fn search_spec(request: proto::SearchRequest) -> Result<SearchSpec, SearchError> {
    let fusion = match request.fusion() {
        proto::Fusion::Unspecified | proto::Fusion::Embedding => Fusion::Embedding,
        proto::Fusion::ReciprocalRank => Fusion::ReciprocalRank,
    };
    let parts = match (request.query, request.parts) {
        (Some(Query::Text(text)), parts) if parts.is_empty() => vec![Part { kind: PartKind::Text(text), weight: 1.0 }],
        (Some(Query::Image(image)), parts) if parts.is_empty() => {
            vec![Part { kind: PartKind::Image(image), weight: 1.0 }]
        }
        (Some(_), _) => return Err(invalid("query", "give `text` or `image` or `parts`, only one of them")),
        (None, parts) if parts.is_empty() => return Err(invalid("query", "give `text`, `image` or `parts`")),
        (None, parts) => query_parts(parts)?,
    };
    let grouping = grouping(request.group_by, request.pool, request.group_by_person)?;
    let usize_of = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
    Ok(SearchSpec {
        gallery: request.gallery,
        parts,
        fusion,
        limit: usize_of(request.limit),
        offset: usize_of(request.offset),
        filter: request.filter.map(search_filter).transpose()?.unwrap_or_default(),
        min_score: request.min_score,
        grouping,
        suppress_duplicates_above: Some(request.suppress_duplicates_above).filter(|above| *above != 0.0),
        exact: request.exact,
        max_sightings: usize_of(request.max_sightings),
        accuracy: search_accuracy(request.accuracy, "accuracy")?,
        has_accepted_hits: false,
    })
}

/// What hits stand for. The earlier `group_by_person` means what it always meant, persons by their best images.
fn grouping(group_by: i32, pool: i32, group_by_person: bool) -> Result<Option<Grouping>, SearchError> {
    use proto::{GroupBy as By, Pool as Pooled};
    let named = By::try_from(group_by).map_err(|_| invalid("group_by", format!("{group_by} is not known")))?;
    let pooled = Pooled::try_from(pool).map_err(|_| invalid("pool", format!("{pool} is not known")))?;
    let by = match (named, group_by_person) {
        (By::Unspecified | By::Person, true) | (By::Person, false) => Some(GroupBy::Person),
        (By::Image | By::Track, true) => {
            return Err(invalid("group_by_person", "asks for persons, and `group_by` for something else"));
        }
        (By::Track, false) => Some(GroupBy::Track),
        (By::Unspecified | By::Image, false) => None,
    };
    let pool = match pooled {
        Pooled::Best => Pool::Best,
        Pooled::Unspecified if named == By::Unspecified => Pool::Best,
        Pooled::Unspecified | Pooled::Mean => Pool::Mean,
    };
    if by.is_none() && pooled != Pooled::Unspecified {
        return Err(invalid("pool", "says how groups are scored; `group_by` says of what they are"));
    }
    Ok(by.map(|by| Grouping { by, pool }))
}

pub(super) fn query_parts(parts: Vec<proto::QueryPart>) -> Result<Vec<Part>, SearchError> {
    let part = |(index, part): (usize, proto::QueryPart)| {
        let field = |name: &str| format!("query.parts[{index}].{name}");
        let kind = match part.what {
            Some(What::Text(text)) => PartKind::Text(text),
            Some(What::Image(image)) => PartKind::Image(image),
            Some(What::ImageId(image_id)) => PartKind::GalleryImage(image_id),
            Some(What::Embedding(embedding)) => {
                let fingerprint = parse_fingerprint(&field("fingerprint"), &embedding.fingerprint)?;
                let embedding = Embedding::normalized(embedding.values)
                    .map_err(|error| invalid(field("embedding"), error.to_string()))?;
                PartKind::Embedding(embedding, fingerprint)
            }
            None => return Err(invalid(format!("query.parts[{index}]"), "is neither text nor image")),
        };
        Ok(Part { kind, weight: part.weight.unwrap_or(1.0) })
    };
    parts.into_iter().enumerate().map(part).collect()
}

/// The hits that fit into a reply, one after another, and where those that do not begin.
fn response(ranking: Ranking, offset: usize, max_reply_bytes: usize) -> proto::SearchResponse {
    let found = ranking.hits.len();
    let mut room = ReplyRoom::new(max_reply_bytes.saturating_sub(ranking.uncounted.unknown_letters.len()));
    let hits = room.fill(ranking.hits.into_iter().map(hit_message));
    let next_offset = if hits.len() < found { u32::try_from(offset + hits.len()).unwrap_or(u32::MAX) } else { 0 };
    proto::SearchResponse {
        hits,
        fingerprint: ranking.fingerprint.to_string(),
        truncated: ranking.uncounted.truncated,
        unknown_letters: ranking.uncounted.unknown_letters,
        not_in_gallery_probability: ranking.not_in_gallery,
        next_offset,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_asked_for_in_two_ways_that_must_agree() {
        let of = |group_by: proto::GroupBy, pool: proto::Pool, group_by_person| {
            grouping(group_by.into(), pool.into(), group_by_person)
        };
        use proto::{GroupBy as By, Pool as Pooled};
        let found = |group_by, pool, group_by_person| of(group_by, pool, group_by_person).unwrap();
        let person = |pool| Some(Grouping { by: GroupBy::Person, pool });
        assert_eq!(found(By::Unspecified, Pooled::Unspecified, false), None);
        assert_eq!(found(By::Unspecified, Pooled::Unspecified, true), person(Pool::Best), "as it always was");
        assert_eq!(found(By::Unspecified, Pooled::Mean, true), person(Pool::Mean));
        assert_eq!(found(By::Person, Pooled::Unspecified, true), person(Pool::Mean));
        assert_eq!(found(By::Person, Pooled::Best, false), person(Pool::Best));
        let track = Some(Grouping { by: GroupBy::Track, pool: Pool::Mean });
        assert_eq!(found(By::Track, Pooled::Unspecified, false), track);
        for (group_by, pool, group_by_person, field) in [
            (By::Track, Pooled::Unspecified, true, "group_by_person"),
            (By::Image, Pooled::Unspecified, true, "group_by_person"),
            (By::Image, Pooled::Mean, false, "pool"),
            (By::Unspecified, Pooled::Best, false, "pool"),
        ] {
            let error = of(group_by, pool, group_by_person).unwrap_err().to_string();
            assert!(error.contains(field), "{error}");
        }
        assert!(grouping(99, 0, false).unwrap_err().to_string().contains("99 is not known"));
    }
}
