//! One run: one load, perhaps another beside it, for one stretch of time.

use crate::arrivals::PoissonArrivals;
use crate::encoder_calls::Items;
use crate::encoder_plan::{EncoderPlan, LoadShape, Transport};
use crate::encoder_report::{ItemKind, ProcessMeasurement, RunReport};
use crate::lane::Lane;
use crate::pacing::Pacer;
use crate::recorder::{Membership, Recorder, Window};
use crate::sender::Sender;
use crate::stream_lane::StreamLane;
use crate::{BenchError, ServiceUnderTest};
use descry_proto::encoder::v1::Priority;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long after its end a run waits for answers.
const PATIENCE: Duration = Duration::from_secs(30);
/// How the images of the bulk load are sent: lists of this many, or streams with this many in flight.
const BULK_ITEMS_PER_REQUEST: usize = 16;

/// What is sent, and how urgent it is.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    pub(crate) items: Items,
    pub(crate) kind: ItemKind,
    pub(crate) priority: Priority,
}

/// A load that is ready to be sent.
struct Sending {
    kind: ItemKind,
    shape: LoadShape,
    pacer: Pacer,
    max_unanswered: usize,
}

/// Measures `measured` while `bulk` fills the service. `None` when it was stopped before there was anything to measure.
pub(crate) async fn run(
    service: &ServiceUnderTest,
    plan: &EncoderPlan,
    shape: LoadShape,
    measured: &Load,
    bulk: Option<&Load>,
    stop: &CancellationToken,
) -> Result<Option<RunReport>, BenchError> {
    let begin = Instant::now();
    let window = Window::after(begin, plan.warm_up, plan.duration);
    let run = Run { service, plan, window, tasks: TaskTracker::new(), cut_off: CancellationToken::new(), stop };
    let measured = run.prepare(measured, shape, plan.items_per_request)?;
    let bulk_items_per_request = plan.bulk_images_in_flight.min(BULK_ITEMS_PER_REQUEST);
    let bulk_callers = plan.bulk_images_in_flight.div_ceil(bulk_items_per_request);
    let bulk_shape = LoadShape::Closed { callers: bulk_callers };
    let bulk = bulk.map(|load| run.prepare(load, bulk_shape, bulk_items_per_request)).transpose()?;
    let send_bulk = async {
        match &bulk {
            Some(bulk) => bulk.send_all(begin, plan.seed).await,
            None => Ok(()),
        }
    };
    let (sent, bulk_sent, watched) = tokio::join!(measured.send_all(begin, plan.seed), send_bulk, run.watch_process());
    sent.and(bulk_sent)?;
    let (ended, process) = watched?;
    for sending in [Some(&measured), bulk.as_ref()].into_iter().flatten() {
        sending.wait_for_answers().await;
    }
    run.cut_off.cancel();
    run.tasks.close();
    run.tasks.wait().await;
    if ended <= window.start {
        return Ok(None);
    }
    let patient = !stop.is_cancelled();
    let result = |sending: &Sending| sending.pacer.recorder.measurement(sending.kind, ended, patient);
    Ok(Some(RunReport { load: shape, measured: result(&measured), bulk_images: bulk.as_ref().map(result), process }))
}

struct Run<'a> {
    service: &'a ServiceUnderTest,
    plan: &'a EncoderPlan,
    window: Window,
    tasks: TaskTracker,
    cut_off: CancellationToken,
    stop: &'a CancellationToken,
}

impl Run<'_> {
    fn prepare(&self, load: &Load, shape: LoadShape, items_per_request: usize) -> Result<Sending, BenchError> {
        let clients = self.service.clients();
        let (membership, max_unanswered, streams) = match (shape, self.plan.transport) {
            (LoadShape::Closed { callers }, Transport::Lists) => (Membership::Answered, callers, 0),
            (LoadShape::Closed { callers }, Transport::Streams) => {
                (Membership::Answered, callers.saturating_mul(items_per_request), callers)
            }
            (LoadShape::Open { .. }, _) => (Membership::Due, self.plan.max_unanswered, clients.len()),
        };
        let recorder = Arc::new(Recorder::new(self.window, membership)?);
        let sender = Sender {
            items: load.items.clone(),
            items_per_request,
            priority: load.priority,
            recorder: recorder.clone(),
            position: Arc::default(),
            tasks: self.tasks.clone(),
            runtime: Handle::current(),
            cut_off: self.cut_off.clone(),
        };
        let lanes = match self.plan.transport {
            Transport::Lists => {
                clients.iter().map(|client| Lane::Lists { client: client.clone(), sender: sender.clone() }).collect()
            }
            Transport::Streams => clients
                .iter()
                .cycle()
                .take(streams)
                .map(|client| Lane::Stream(StreamLane::open(client.clone(), sender.clone(), max_unanswered)))
                .collect(),
        };
        let permits = Arc::new(Semaphore::new(max_unanswered));
        let pacer = Pacer { lanes, permits, recorder, stop: self.stop.clone() };
        Ok(Sending { kind: load.kind, shape, pacer, max_unanswered })
    }

    /// When the window ended, and what the service's process took in it.
    async fn watch_process(&self) -> Result<(Instant, Option<ProcessMeasurement>), BenchError> {
        self.until(self.window.start).await;
        let meter = self.service.meter();
        let before = meter.map(|meter| meter.usage()).transpose()?;
        let begin = Instant::now();
        self.until(self.window.end).await;
        let after = meter.map(|meter| meter.usage()).transpose()?;
        let ended = Instant::now();
        let elapsed_s = ended.saturating_duration_since(begin).as_secs_f64();
        let process = before.zip(after).map(|(before, after)| ProcessMeasurement {
            cpu_s: after.cpu_s - before.cpu_s,
            cpu_cores: if elapsed_s > 0.0 { (after.cpu_s - before.cpu_s) / elapsed_s } else { 0.0 },
            peak_resident_bytes: after.peak_resident_bytes,
            includes_load_generator: self.service.is_in_this_process(),
        });
        Ok((ended, process))
    }

    async fn until(&self, moment: Instant) {
        tokio::select! {
            () = tokio::time::sleep_until(moment.into()) => {}
            () = self.stop.cancelled() => {}
        }
    }
}

impl Sending {
    async fn send_all(&self, begin: Instant, seed: u64) -> Result<(), BenchError> {
        match self.shape {
            LoadShape::Closed { .. } => {
                self.pacer.clone().run_closed().await;
                Ok(())
            }
            LoadShape::Open { requests_per_s } => match PoissonArrivals::new(requests_per_s, seed) {
                Some(arrivals) => self.pacer.clone().run_open(begin, arrivals).await,
                None => Err(BenchError::Setting { setting: "--rate", reason: "must be more than 0".to_owned() }),
            },
        }
    }

    async fn wait_for_answers(&self) {
        let all = u32::try_from(self.max_unanswered).unwrap_or(u32::MAX);
        tokio::select! {
            // All permits are back when all answers are. The semaphore is never closed.
            _ = self.pacer.permits.acquire_many(all) => {}
            () = tokio::time::sleep(PATIENCE) => {}
            () = self.pacer.stop.cancelled() => {}
        }
    }
}
