//! Which trace a request belongs to, as [W3C Trace Context](https://www.w3.org/TR/trace-context/) says it.
//!
//! The ids live in OpenTelemetry's [`Context`], which is there whether or not anything is exported or logged: the trace
//! must not tear because a service in the middle keeps quiet.

use crate::telemetry;
use http::HeaderMap;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator as _};
use opentelemetry::trace::{Span as _, SpanContext, SpanKind, TraceContextExt as _, TraceFlags, TraceId, Tracer as _};
use opentelemetry::{Context, context::FutureExt as _};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{IdGenerator as _, RandomIdGenerator};
use std::future::Future;
use tonic::metadata::{AsciiMetadataValue, MetadataKey, MetadataMap};
use tracing::Instrument as _;

/// Puts the running request's trace into the metadata of a call made on its behalf. Outside of a request there is none,
/// and the callee begins its own.
pub fn inject(metadata: &mut MetadataMap) {
    Context::map_current(|context| {
        TraceContextPropagator::new().inject_context(context, &mut MetadataInjector(metadata));
    });
}

/// Keeps `future` part of the running request (its trace, its log span, its caller's deadline) when it is spawned as a
/// task of its own.
pub fn within_request<F: Future>(future: F) -> impl Future<Output = F::Output> {
    future.with_current_context().in_current_span()
}

/// The trace that the caller sent. A malformed one counts as none.
pub(crate) fn extract(headers: &HeaderMap) -> Context {
    TraceContextPropagator::new().extract_with_context(&Context::new(), &HeaderExtractor(headers))
}

/// Begins a span of the server's own below the caller's, or a new trace.
pub(crate) fn begin_span(caller: &Context, name: impl FnOnce() -> String) -> Context {
    let exported = telemetry::tracer().map(|tracer| {
        let builder = tracer.span_builder(name()).with_kind(SpanKind::Server);
        tracer.build_with_context(builder, caller)
    });
    // An export that has ended makes spans without ids.
    if let Some(span) = exported.filter(|span| span.span_context().is_valid()) {
        return caller.with_span(span);
    }
    let caller_span = caller.span().span_context().clone();
    let ids = RandomIdGenerator::default();
    let (trace_id, flags) = match caller_span.trace_id() {
        // Sampled, so that services further down which export their spans do so.
        TraceId::INVALID => (ids.new_trace_id(), TraceFlags::SAMPLED),
        known => (known, caller_span.trace_flags()),
    };
    let state = caller_span.trace_state().clone();
    caller.with_remote_span_context(SpanContext::new(trace_id, ids.new_span_id(), flags, false, state))
}

struct HeaderExtractor<'a>(&'a HeaderMap);

impl Extractor for HeaderExtractor<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(|value| value.to_str().ok())
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}

struct MetadataInjector<'a>(&'a mut MetadataMap);

impl Injector for MetadataInjector<'_> {
    fn set(&mut self, key: &str, value: String) {
        // An empty tracestate says nothing.
        if value.is_empty() {
            return;
        }
        if let (Ok(key), Ok(value)) = (MetadataKey::from_bytes(key.as_bytes()), AsciiMetadataValue::try_from(value)) {
            self.0.insert(key, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};
    use proptest::prelude::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const CALLER: &str = "00f067aa0ba902b7";

    fn headers(parent: &[u8], state: &[u8]) -> HeaderMap {
        let value = |bytes| HeaderValue::from_bytes(bytes).unwrap();
        let parent = (HeaderName::from_static("traceparent"), value(parent));
        [parent, (HeaderName::from_static("tracestate"), value(state))].into_iter().collect()
    }

    fn injected(context: &Context) -> MetadataMap {
        let mut metadata = MetadataMap::new();
        let _attached = context.clone().attach();
        inject(&mut metadata);
        metadata
    }

    #[test]
    fn a_trace_goes_on_in_a_span_of_its_own() {
        let caller = extract(&headers(format!("00-{TRACE}-{CALLER}-01").as_bytes(), b"vendor=value"));
        let context = begin_span(&caller, String::new);
        assert_eq!(context.span().span_context().trace_id().to_string(), TRACE);
        let span_id = context.span().span_context().span_id().to_string();
        assert_ne!(span_id, CALLER);
        let metadata = injected(&context);
        assert_eq!(metadata.get("traceparent").unwrap(), format!("00-{TRACE}-{span_id}-01").as_str());
        assert_eq!(metadata.get("tracestate").unwrap(), "vendor=value");
    }

    #[test]
    fn what_is_not_sampled_stays_so() {
        let caller = extract(&headers(format!("00-{TRACE}-{CALLER}-00").as_bytes(), b""));
        let metadata = injected(&begin_span(&caller, String::new));
        assert!(metadata.get("traceparent").unwrap().to_str().unwrap().ends_with("-00"));
        assert!(metadata.get("tracestate").is_none());
    }

    #[test]
    fn outside_of_a_request_nothing_is_sent() {
        assert!(injected(&Context::new()).is_empty());
    }

    #[test]
    fn a_malformed_parent_begins_a_new_trace() {
        let zeros = "0".repeat(32);
        for parent in ["", "00", "00-x-y-z", &format!("00-{zeros}-{CALLER}-01"), &format!("ff-{TRACE}-{CALLER}-01")] {
            let context = begin_span(&extract(&headers(parent.as_bytes(), b"=")), String::new);
            assert!(context.span().span_context().is_valid(), "{parent}");
            assert_ne!(context.span().span_context().trace_id().to_string(), TRACE, "{parent}");
        }
    }

    proptest! {
        #[test]
        fn no_header_breaks_the_reader(
            parent in prop_oneof![
                "[0-9a-fA-F+-]{0,60}",
                "0[0-9a-f]-[0-9a-f]{30,34}-[0-9a-f]{14,18}-[0-9a-f]{1,3}(-[0-9a-f]{0,4})?",
                "[ -~]{0,80}",
            ],
            state in "[ -~]{0,80}",
            bytes in proptest::collection::vec(128_u8..=255, 0..8),
        ) {
            let parents = [parent.clone().into_bytes(), [parent.as_bytes(), &bytes].concat()];
            for parent in parents {
                let context = begin_span(&extract(&headers(&parent, state.as_bytes())), String::new);
                prop_assert!(context.span().span_context().is_valid());
                prop_assert!(injected(&context).get("traceparent").is_some());
            }
        }
    }
}
