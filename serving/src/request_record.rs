//! How a request went: one log line, three metrics and, where spans are exported, a span.

use crate::admission::Admitted;
use crate::deadline::{CallersDeadline, Deadline};
use crate::method_names::MethodName;
use crate::reply_body::ReplyBody;
use crate::trace_context;
use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use metrics::SharedString;
use opentelemetry::trace::{Status as SpanStatus, TraceContextExt as _};
use opentelemetry::{Context, KeyValue};
use std::pin::Pin;
use std::task::{self, Poll, ready};
use std::time::Instant;
use tonic::{Code, Status};
use tracing::Span;
use tracing::field::{Empty, display};

/// The name of the log span around each request. Its trace ids come from OpenTelemetry, so exports leave it out.
pub(crate) const REQUEST_SPAN: &str = "request";

/// The header or trailer in which an answer says how it went.
const GRPC_STATUS: &str = "grpc-status";

/// A request from its arrival to the end of its answer, or to its caller's departure.
pub(crate) struct RequestRecord {
    method: MethodName,
    started: Instant,
    context: Context,
    span: Span,
    admitted: Option<Admitted>,
    ended: bool,
}

impl RequestRecord {
    pub(crate) fn begin(method: MethodName, headers: &HeaderMap, deadline: Option<Deadline>) -> Self {
        let caller = trace_context::extract(headers);
        let mut context = trace_context::begin_span(&caller, || format!("{}/{}", method.service, method.method));
        if let Some(deadline) = deadline {
            context = context.with_value(deadline).with_value(CallersDeadline(deadline));
        }
        let span = {
            let ids = context.span().span_context().clone();
            // At the level of errors, so that it is there to be printed with them whatever else is filtered out.
            tracing::error_span!(
                REQUEST_SPAN,
                trace_id = %ids.trace_id(),
                span_id = %ids.span_id(),
                parent_span_id = Empty,
                rpc.service = &*method.service,
                rpc.method = &*method.method,
            )
        };
        if caller.span().span_context().is_valid() {
            span.record("parent_span_id", display(caller.span().span_context().span_id()));
        }
        let record = Self { method, started: Instant::now(), context, span, admitted: None, ended: false };
        metrics::gauge!("descry_grpc_in_flight", "service" => record.service()).increment(1.0);
        record
    }

    pub(crate) fn method(&self) -> &MethodName {
        &self.method
    }

    /// What the answer is made in.
    pub(crate) fn context(&self) -> Context {
        self.context.clone()
    }

    pub(crate) fn span(&self) -> Span {
        self.span.clone()
    }

    /// Keeps what the request has taken of what all requests share until it has ended.
    pub(crate) fn hold(&mut self, admitted: Admitted) {
        self.admitted = Some(admitted);
    }

    /// The answer, with the record at its end.
    pub(crate) fn answer(mut self, answer: http::Response<ReplyBody>) -> http::Response<RecordedBody> {
        // An answer without content says here already how it went.
        self.look_for_status(answer.headers());
        answer.map(|body| RecordedBody { body, record: self })
    }

    fn look_for_status(&mut self, headers: &HeaderMap) {
        if let Some(code) = headers.get(GRPC_STATUS) {
            self.end(Code::from_bytes(code.as_bytes()));
        }
    }

    fn service(&self) -> SharedString {
        self.method.service.clone().into()
    }

    fn method_label(&self) -> SharedString {
        self.method.method.clone().into()
    }

    fn end(&mut self, code: Code) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        self.admitted = None;
        let seconds = self.started.elapsed().as_secs_f64();
        let name = code_name(code);
        metrics::gauge!("descry_grpc_in_flight", "service" => self.service()).decrement(1.0);
        metrics::counter!("descry_grpc_requests_total",
            "service" => self.service(), "method" => self.method_label(), "code" => name)
        .increment(1);
        metrics::histogram!("descry_grpc_request_seconds", "service" => self.service(), "method" => self.method_label())
            .record(seconds);
        let duration_ms = seconds * 1000.0;
        self.span.in_scope(|| {
            if code == Code::Ok {
                tracing::debug!(code = name, duration_ms, "answered");
            } else {
                tracing::info!(code = name, duration_ms, "answered");
            }
        });
        let span = self.context.span();
        if span.is_recording() {
            span.set_attribute(KeyValue::new("rpc.system", "grpc"));
            span.set_attribute(KeyValue::new("rpc.grpc.status_code", i64::from(i32::from(code))));
            if is_fault(code) {
                span.set_status(SpanStatus::error(name));
            }
            span.end();
        }
    }
}

impl Drop for RequestRecord {
    fn drop(&mut self) {
        // Nobody waited for the end of the answer.
        self.end(Code::Cancelled);
    }
}

/// An answer's body, made in its request's trace and log span.
pub(crate) struct RecordedBody {
    body: ReplyBody,
    record: RequestRecord,
}

impl http_body::Body for RecordedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        task: &mut task::Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Self { body, record } = &mut *self;
        let frame = {
            let _attached = record.context.clone().attach();
            record.span.in_scope(|| Pin::new(body).poll_frame(task))
        };
        let frame = ready!(frame);
        match &frame {
            Some(Ok(frame)) => {
                if let Some(trailers) = frame.trailers_ref() {
                    record.look_for_status(trailers);
                }
            }
            Some(Err(status)) => record.end(status.code()),
            // No gRPC answer ends without a status.
            None => record.end(Code::Unknown),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Whether the server is to blame, as OpenTelemetry's conventions for gRPC draw the line.
fn is_fault(code: Code) -> bool {
    matches!(
        code,
        Code::Unknown
            | Code::DeadlineExceeded
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
    )
}

/// The code as gRPC's specification writes it.
#[must_use]
pub fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
