//! What a benchmark of the service found, as plain data. Field names are the JSON's.

use crate::LatencySummary;
use crate::encoder_plan::{EncoderPlan, LoadShape, Transport, WorkloadKind};
use serde::Serialize;
use std::collections::BTreeMap;

/// Everything that a benchmark of the service found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EncoderReport {
    /// Address of the service, or `in this process`.
    pub service: String,
    /// What runs, and on what.
    pub model: ModelSummary,
    /// What was asked for.
    pub settings: EncoderSettings,
    /// Stopped before its end; the last run is shorter than asked for.
    pub interrupted: bool,
    /// In the order in which they were measured.
    pub runs: Vec<RunReport>,
}

/// What the service says of its model. Texts are empty where it says nothing.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModelSummary {
    /// Name of everything that can change an embedding.
    pub fingerprint: String,
    /// Method, such as `clip`.
    pub family: String,
    /// Number format of the towers.
    pub precision: String,
    /// What really runs the towers.
    pub execution_provider: String,
    /// The device that the service was asked for.
    pub requested_device: String,
    /// Number format in which the device computes.
    pub device_precision: String,
    /// Why `auto` did not take the fastest device.
    pub fallback_reason: String,
}

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EncoderSettings {
    /// What was sent.
    pub kind: WorkloadKind,
    /// Items of a list; items in flight on each stream.
    pub items_per_request: usize,
    /// Streams instead of lists.
    pub streams: bool,
    /// Measured time of a run.
    pub seconds: f64,
    /// Time before it.
    pub warm_up_seconds: f64,
    /// Connections that the requests are spread over.
    pub connections: usize,
    /// Of the arrival times in open loops.
    pub seed: u64,
}

impl EncoderSettings {
    /// What `plan` asks for, over so many connections.
    pub(crate) fn of(plan: &EncoderPlan, connections: usize) -> Self {
        Self {
            kind: plan.kind,
            items_per_request: plan.items_per_request,
            streams: plan.transport == Transport::Streams,
            seconds: plan.duration.as_secs_f64(),
            warm_up_seconds: plan.warm_up.as_secs_f64(),
            connections,
            seed: plan.seed,
        }
    }
}

/// One load for one stretch of time.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunReport {
    /// Who sends when.
    pub load: LoadShape,
    /// What that load got.
    pub measured: LoadMeasurement,
    /// What the bulk images beside it got; absent when there were none.
    pub bulk_images: Option<LoadMeasurement>,
    /// Of the service's process; absent when it is not known.
    pub process: Option<ProcessMeasurement>,
}

/// Which tower a load asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ItemKind {
    /// Descriptions.
    Text,
    /// Image files.
    Image,
}

/// What one load got.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LoadMeasurement {
    /// What was sent.
    pub kind: ItemKind,
    /// Measured time; in an open loop until the last answer.
    pub elapsed_s: f64,
    /// Embeddings that came back, by measured time.
    pub items_per_s: f64,
    /// Requests answered, on streams items.
    pub requests_ok: u64,
    /// Requests that failed as a whole, by gRPC code; `Unanswered` when the benchmark's patience ended first.
    pub requests_failed: BTreeMap<String, Failure>,
    /// Arrivals of an open loop that were not sent because too many requests were unanswered.
    pub requests_shed: u64,
    /// Embeddings that came back.
    pub items_ok: u64,
    /// Items that failed within answered lists, by gRPC code.
    pub items_failed: BTreeMap<String, Failure>,
    /// Of answered requests. In an open loop from the moment at which the request was due, sent or not.
    pub latency: Option<LatencySummary>,
    /// Where the service says the time went; absent when it does not say.
    pub timings: Option<TimingSummary>,
}

/// Failures of one code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// How many.
    pub count: u64,
    /// The first one's message.
    pub first_message: String,
}

/// Where the service says the time went, averaged over answers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TimingSummary {
    /// Answers that had timings.
    pub answers: u64,
    /// Waiting.
    pub mean_queue_ms: f64,
    /// Decoding and resizing, or tokenizing.
    pub mean_prepare_ms: f64,
    /// The tower's run.
    pub mean_run_ms: f64,
    /// Items of a tower's run, averaged over runs: a run of 32 is in 32 answers, but it is one run.
    pub mean_batch_size: f64,
    /// How many answers came out of a run of so many items.
    pub answers_by_batch_size: BTreeMap<u32, u64>,
}

/// What the service's process took during a run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ProcessMeasurement {
    /// CPU time of all threads.
    pub cpu_s: f64,
    /// Cores busy on average.
    pub cpu_cores: f64,
    /// The most memory that was resident since the process' start.
    pub peak_resident_bytes: u64,
    /// The service runs in the benchmark's own process, so sending is in these numbers.
    pub includes_load_generator: bool,
}
