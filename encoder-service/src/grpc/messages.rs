//! Domain values as messages.

use crate::{EncodeError, EncodedImage, EncodedText, Priority, Timings};
use descry_model::Embedding;
use descry_proto::encoder::v1 as proto;
use descry_proto::encoder::v1::encode_result::Outcome;
use descry_proto::status::v1::ItemError;
use std::time::Duration;
use tonic::Status;

/// An item that was encoded.
pub(super) struct Encoded {
    embedding: Embedding,
    truncated: bool,
    timings: Timings,
}

impl From<EncodedText> for Encoded {
    fn from(text: EncodedText) -> Self {
        let EncodedText { embedding, truncated, timings } = text;
        Self { embedding, truncated, timings }
    }
}

impl From<EncodedImage> for Encoded {
    fn from(image: EncodedImage) -> Self {
        let EncodedImage { embedding, timings } = image;
        Self { embedding, truncated: false, timings }
    }
}

/// The results of a list, and the timings of the item that was answered last. Failed items stay with their neighbours;
/// when nothing succeeded, the first failure is the call's.
pub(super) fn list_results(
    items: Vec<Result<Encoded, EncodeError>>,
) -> Result<(Vec<proto::EncodeResult>, Option<proto::Timings>), Status> {
    let any_success = items.iter().any(Result::is_ok);
    // All items of a list arrive together.
    let last = items.iter().flatten().map(|encoded| encoded.timings).max_by_key(Timings::total);
    let mut results = Vec::with_capacity(items.len());
    for item in items {
        match item {
            Err(error) if !any_success => return Err(error.into()),
            item => results.push(item_result(item).0),
        }
    }
    Ok((results, last.map(timings_message)))
}

/// One item of a stream's answer, with its failure inside.
pub(super) fn stream_response(
    id: String,
    fingerprint: String,
    item: Result<Encoded, EncodeError>,
) -> proto::EncodeStreamResponse {
    let (result, timings) = item_result(item);
    proto::EncodeStreamResponse { id, fingerprint, result: Some(result), timings }
}

fn item_result(item: Result<Encoded, EncodeError>) -> (proto::EncodeResult, Option<proto::Timings>) {
    match item {
        Ok(Encoded { embedding, truncated, timings }) => {
            let outcome = Outcome::Embedding(proto::Embedding { values: embedding.into_vec() });
            (proto::EncodeResult { outcome: Some(outcome), truncated }, Some(timings_message(timings)))
        }
        Err(error) => {
            let status = Status::from(error);
            let error = ItemError { code: status.code().into(), message: status.message().to_owned() };
            (proto::EncodeResult { outcome: Some(Outcome::Error(error)), truncated: false }, None)
        }
    }
}

fn timings_message(timings: Timings) -> proto::Timings {
    let milliseconds = |time: Duration| time.as_secs_f32() * 1_000.0;
    proto::Timings {
        queue_ms: milliseconds(timings.queue),
        prepare_ms: milliseconds(timings.prepare),
        run_ms: milliseconds(timings.run),
        batch_size: u32::try_from(timings.batch_size).unwrap_or(u32::MAX),
    }
}

/// The priority asked for, or the default of the call; so is one that a newer client knows and this service does not.
pub(super) fn priority(asked: i32, default: Priority) -> Priority {
    match proto::Priority::try_from(asked) {
        Ok(proto::Priority::Interactive) => Priority::Interactive,
        Ok(proto::Priority::Bulk) => Priority::Bulk,
        Ok(proto::Priority::Unspecified) | Err(_) => default,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use descry_model::ModelError;

    fn encoded(queue_ms: u64) -> Result<Encoded, EncodeError> {
        let timings = Timings {
            queue: Duration::from_millis(queue_ms),
            prepare: Duration::from_millis(2),
            run: Duration::from_millis(30),
            batch_size: 3,
        };
        Ok(Encoded { embedding: Embedding::normalized(vec![3.0, 4.0]).unwrap(), truncated: true, timings })
    }

    fn failed() -> Result<Encoded, EncodeError> {
        Err(EncodeError::InvalidItem { item: "texts[1]".to_owned(), source: ModelError::EmptyText })
    }

    #[test]
    fn a_failed_item_stays_with_its_neighbours() {
        let (results, timings) = list_results(vec![encoded(5), failed(), encoded(1)]).unwrap();
        assert!(matches!(&results[0].outcome, Some(Outcome::Embedding(e)) if e.values == [0.6, 0.8]));
        assert!(results[0].truncated);
        assert!(matches!(&results[1].outcome, Some(Outcome::Error(error)) if error.message.contains("texts[1]")));
        let last = proto::Timings { queue_ms: 5.0, prepare_ms: 2.0, run_ms: 30.0, batch_size: 3 };
        assert_eq!(timings, Some(last));
    }

    #[test]
    fn a_list_without_any_success_fails_with_its_first_failure() {
        let status = list_results(vec![failed(), Err(EncodeError::Stopped { tower: "text" })]).unwrap_err();
        assert_eq!(status.code(), tonic::Code::InvalidArgument);
    }

    #[test]
    fn an_unknown_priority_is_the_default() {
        assert_eq!(priority(0, Priority::Bulk), Priority::Bulk);
        assert_eq!(priority(99, Priority::Interactive), Priority::Interactive);
        assert_eq!(priority(proto::Priority::Bulk.into(), Priority::Interactive), Priority::Bulk);
        assert_eq!(priority(proto::Priority::Interactive.into(), Priority::Bulk), Priority::Interactive);
    }
}
