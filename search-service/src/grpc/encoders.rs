//! What the service knows of its encoders.

use super::SearchGrpc;
use crate::SearchError;
use crate::encoder_pool::{EncoderState, Standing};
use descry_model::Fingerprint;
use descry_proto::search::v1 as proto;
use std::time::Duration;

impl SearchGrpc {
    #[expect(clippy::unused_async, reason = "all methods are called alike")]
    pub(super) async fn list_encoders(
        &self,
        _request: proto::ListEncodersRequest,
    ) -> Result<proto::ListEncodersResponse, SearchError> {
        let first = self.encoders.known_first_model();
        let encoders = self.encoders.states().into_iter().map(|state| encoder_message(state, first.as_ref()));
        Ok(proto::ListEncodersResponse { encoders: encoders.collect() })
    }
}

fn encoder_message(state: EncoderState, first: Option<&Fingerprint>) -> proto::Encoder {
    let model = state.model.as_ref();
    proto::Encoder {
        url: state.url,
        address: state.address,
        standing: standing(state.standing).into(),
        reason: state.reason,
        is_first_model: model.is_some_and(|model| first == Some(&model.fingerprint)),
        fingerprint: model.map(|model| model.fingerprint.to_string()).unwrap_or_default(),
        embedding_dimension: model.map_or(0, |model| u32::try_from(model.dimension).unwrap_or(u32::MAX)),
        in_flight: state.in_flight as u64,
        text_latency: state.text_latency.and_then(duration),
        image_latency: state.image_latency.and_then(duration),
        answered_calls: state.answered_calls,
        failed_calls: state.failed_calls,
    }
}

fn standing(standing: Standing) -> proto::EncoderStanding {
    match standing {
        Standing::Serving => proto::EncoderStanding::Serving,
        Standing::Full => proto::EncoderStanding::Full,
        Standing::Suspected => proto::EncoderStanding::Suspected,
        Standing::LeftOut => proto::EncoderStanding::LeftOut,
        Standing::Unknown => proto::EncoderStanding::Unknown,
    }
}

fn duration(duration: Duration) -> Option<prost_types::Duration> {
    prost_types::Duration::try_from(duration).ok()
}
