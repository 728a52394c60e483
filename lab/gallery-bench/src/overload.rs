//! How many searches a service answers in time when more come than it can do.
//!
//! The service runs elsewhere, as in production. First callers ask one search after the other, which tells the most that
//! it can do; then searches come at a multiple of that, at random and without regard of answers, each with a deadline.

use crate::GalleryBenchError;
use crate::latencies::Latencies;
use crate::overload_report::{OverloadReport, OverloadStep};
use crate::search_client::{Client, client};
use descry_bench::PoissonArrivals;
use descry_proto::search::v1 as proto;
use futures::stream::{FuturesUnordered, StreamExt as _};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::transport::Endpoint;
use tonic::{Code, Request};

/// What is measured.
#[derive(Debug, Clone)]
pub struct OverloadPlan {
    /// The service's address.
    pub url: String,
    /// The gallery to search.
    pub gallery: String,
    /// Descriptions, asked in turn.
    pub texts: Vec<String>,
    /// Multiples of the most that the service can do.
    pub factors: Vec<f64>,
    /// Deadlines of searches; `None` for none.
    pub deadlines: Vec<Option<Duration>>,
    /// How long each load lasts.
    pub step: Duration,
    /// Connections over which searches come.
    pub connections: usize,
    /// Searches under way at once while the most is measured.
    pub callers: usize,
}

/// Searches under way at once in an open loop, of all connections: a service that answers nothing must not fill the memory
/// of this one.
const MAX_UNDER_WAY: usize = 20_000;
/// After a load, how long is waited for what is still under way where there is no deadline.
const LAST_ANSWERS: Duration = Duration::from_secs(10);

/// Measures; what an interruption prevents is missing.
///
/// # Errors
/// [`GalleryBenchError::Connect`], [`GalleryBenchError::Refused`] when not even a lone search is answered.
pub async fn measure_overload(
    plan: &OverloadPlan,
    stop: &CancellationToken,
    progress: crate::Progress<'_>,
) -> Result<OverloadReport, GalleryBenchError> {
    let mut clients = Vec::with_capacity(plan.connections);
    for _ in 0..plan.connections.max(1) {
        clients.push(client(Endpoint::from_shared(plan.url.clone())?.connect().await?));
    }
    let asking = Arc::new(Asking { clients, gallery: plan.gallery.clone(), texts: plan.texts.clone() });
    let first = asking.ask(0, None).await;
    first.map_err(|status| GalleryBenchError::refused("searching", &status))?;
    let steps = (plan.factors.len() * plan.deadlines.len()) as u64 + 1;
    progress("the most that it can do", 0, steps);
    let peak_per_s = asking.peak(plan.callers, plan.step, stop).await;
    let mut report = OverloadReport { peak_per_s, steps: Vec::new(), interrupted: false };
    for factor in &plan.factors {
        for deadline in &plan.deadlines {
            if stop.is_cancelled() {
                report.interrupted = true;
                return Ok(report);
            }
            progress(&format!("{factor} times as many"), 1 + report.steps.len() as u64, steps);
            let step = Arc::clone(&asking).load(*factor, peak_per_s, *deadline, plan.step, stop).await?;
            report.steps.push(step);
        }
    }
    Ok(report)
}

struct Asking {
    clients: Vec<Client>,
    gallery: String,
    texts: Vec<String>,
}

impl Asking {
    async fn ask(&self, number: usize, deadline: Option<Duration>) -> Result<(), tonic::Status> {
        let text = self.texts.get(number % self.texts.len().max(1)).cloned().unwrap_or_default();
        let search = proto::SearchRequest {
            gallery: self.gallery.clone(),
            query: Some(proto::search_request::Query::Text(text)),
            ..proto::SearchRequest::default()
        };
        let mut request = Request::new(search);
        if let Some(deadline) = deadline {
            request.set_timeout(deadline);
        }
        let mut client = self.clients[number % self.clients.len()].clone();
        client.search(request).await.map(drop)
    }

    /// Searches a second of callers that ask one after the other.
    async fn peak(&self, callers: usize, time: Duration, stop: &CancellationToken) -> f64 {
        let began = Instant::now();
        let caller = async |caller: usize| {
            let (mut answered, mut number) = (0_u64, caller);
            while began.elapsed() < time && !stop.is_cancelled() {
                if self.ask(number, None).await.is_ok() {
                    answered += 1;
                }
                number += callers;
            }
            answered
        };
        let callers: FuturesUnordered<_> = (0..callers.max(1)).map(caller).collect();
        let answered: u64 = callers.collect::<Vec<_>>().await.into_iter().sum();
        answered as f64 / began.elapsed().as_secs_f64()
    }

    async fn load(
        self: Arc<Self>,
        factor: f64,
        peak_per_s: f64,
        deadline: Option<Duration>,
        time: Duration,
        stop: &CancellationToken,
    ) -> Result<OverloadStep, GalleryBenchError> {
        let Some(arrivals) = PoissonArrivals::new(factor * peak_per_s, 7) else {
            let reason = format!("{factor} times {peak_per_s} searches a second is no rate");
            return Err(GalleryBenchError::Setting { setting: "--factors", reason });
        };
        let began = Instant::now();
        let mut under_way = JoinSet::new();
        let mut counts = Counts::default();
        for (number, arrival) in arrivals.take_while(|arrival| *arrival < time).enumerate() {
            if stop.is_cancelled() {
                break;
            }
            tokio::time::sleep_until(began + arrival).await;
            while let Some(ended) = under_way.try_join_next() {
                counts.count(ended?);
            }
            counts.offered += 1;
            if under_way.len() >= MAX_UNDER_WAY {
                counts.not_sent += 1;
                continue;
            }
            let asking = Arc::clone(&self);
            under_way.spawn(async move {
                let sent = Instant::now();
                let answer = asking.ask(number, deadline).await;
                (answer.map_err(|status| status.code()), sent.elapsed())
            });
        }
        let offered_for = began.elapsed();
        let last = tokio::time::timeout(deadline.unwrap_or_default() + LAST_ANSWERS, async {
            while let Some(ended) = under_way.join_next().await {
                counts.count(ended?);
            }
            Ok::<_, GalleryBenchError>(())
        });
        if let Ok(ended) = last.await {
            ended?;
        }
        counts.unanswered = under_way.len() as u64;
        let goodput_per_s = counts.answered as f64 / offered_for.as_secs_f64();
        Ok(OverloadStep {
            factor,
            deadline_ms: deadline.map(|deadline| deadline.as_millis() as u64),
            offered_per_s: counts.offered as f64 / offered_for.as_secs_f64(),
            goodput_per_s,
            share_of_peak: goodput_per_s / peak_per_s,
            answered: counts.answered,
            refused: counts.refused,
            late: counts.late,
            unavailable: counts.unavailable,
            broken: counts.broken,
            unanswered: counts.unanswered + counts.not_sent,
            latency: counts.latencies.summary(),
        })
    }
}

#[derive(Default)]
struct Counts {
    offered: u64,
    not_sent: u64,
    answered: u64,
    refused: u64,
    late: u64,
    unavailable: u64,
    broken: u64,
    unanswered: u64,
    latencies: Latencies,
}

impl Counts {
    fn count(&mut self, (answer, latency): (Result<(), Code>, Duration)) {
        match answer {
            Ok(()) => {
                self.answered += 1;
                self.latencies.record(latency);
            }
            Err(Code::ResourceExhausted) => self.refused += 1,
            // tonic's own alarm for a deadline says that the call was cancelled.
            Err(Code::DeadlineExceeded | Code::Cancelled) => self.late += 1,
            Err(Code::Unavailable) => self.unavailable += 1,
            Err(_) => self.broken += 1,
        }
    }
}
