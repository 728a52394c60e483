use super::*;
use futures::FutureExt as _;
use ndarray::Array2;
use std::sync::mpsc as blocking;
use tokio::sync::mpsc;

/// Doubles each number, one batch for each permission it is given, and reports the batches it saw.
struct Doubling {
    permissions: Arc<std::sync::Mutex<blocking::Receiver<()>>>,
    batches: mpsc::UnboundedSender<Vec<f32>>,
}

impl Tower for Doubling {
    type Item = f32;

    const NAME: &'static str = "text";

    fn run(&mut self, batch: &[f32]) -> Result<Array2<f32>, EncodeError> {
        self.batches.send(batch.to_vec()).unwrap();
        self.permissions.lock().unwrap().recv().unwrap();
        assert!(!batch.contains(&f32::NEG_INFINITY), "a defect in the tower");
        if batch.contains(&f32::INFINITY) {
            return Err(EncodeError::Tower { tower: Self::NAME, reason: "too large".to_owned() });
        }
        Ok(Array2::from_shape_fn((batch.len(), 1), |(row, _)| batch[row] * 2.0))
    }
}

/// Reads numbers, and reports what it was asked to read.
struct Parsing {
    prepared: mpsc::UnboundedSender<String>,
}

impl Prepare<Doubling> for Parsing {
    type Raw = &'static str;

    fn prepare(&self, raw: &'static str, _patience: Patience<'_>) -> Result<Prepared<f32>, EncodeError> {
        self.prepared.send(raw.to_owned()).unwrap();
        assert!(raw != "panic", "a defect in the preparation");
        let invalid = |reason: String| EncodeError::InvalidItem {
            item: "texts[0]".to_owned(),
            source: descry_model::ModelError::Tokenizer { reason },
        };
        let item = raw.parse().map_err(|error| invalid(format!("{error}")))?;
        Ok(Prepared { item, lost: Lost { truncated: raw.starts_with('+'), ..Lost::default() } })
    }
}

struct Stage {
    scheduler: Scheduler<Doubling, Parsing>,
    threads: Vec<JoinHandle<()>>,
    permit: blocking::Sender<()>,
    batches: mpsc::UnboundedReceiver<Vec<f32>>,
    prepared: mpsc::UnboundedReceiver<String>,
}

impl Stage {
    fn new(max_queued: usize, max_batch: usize) -> Self {
        Self::with_towers(1, max_queued, max_batch)
    }

    fn with_towers(towers: usize, max_queued: usize, max_batch: usize) -> Self {
        let (permit, permissions) = blocking::channel();
        let (report, batches) = mpsc::unbounded_channel();
        let (report_prepared, prepared) = mpsc::unbounded_channel();
        let permissions = Arc::new(std::sync::Mutex::new(permissions));
        let tower = || Doubling { permissions: Arc::clone(&permissions), batches: report.clone() };
        let limits = SchedulerLimits {
            queued: Shares::whole(max_queued),
            max_prepared: 2 * max_batch,
            batch: BatchLimits { max_items: max_batch, max_tokens: usize::MAX },
            ..SchedulerLimits::for_tests()
        };
        let towers = (0..towers).map(|_| tower()).collect();
        let (scheduler, threads) = Scheduler::start(towers, Parsing { prepared: report_prepared }, limits).unwrap();
        Self { scheduler, threads, permit, batches, prepared }
    }

    /// Queues an item that is prepared by the scheduler's threads.
    fn enqueue(&self, item: &'static str, urgency: Urgency) -> Ticket {
        let admission = self.scheduler.admit(&[1], urgency).unwrap();
        self.scheduler.enqueue(admission, urgency, item)
    }

    /// Queues an item that is prepared at once.
    fn enqueue_prepared(&self, item: &'static str) -> Ticket {
        let admission = self.scheduler.admit(&[1], Urgency::INTERACTIVE).unwrap();
        self.scheduler.prepare_and_enqueue(admission, Urgency::INTERACTIVE, item).unwrap()
    }

    /// Occupies the tower with a batch that runs until a permission is given.
    async fn occupy(&mut self) -> Ticket {
        let ticket = self.enqueue_prepared("0");
        assert_eq!(self.batches.recv().await.unwrap(), [0.0]);
        ticket
    }

    fn permit(&self, runs: usize) {
        for _ in 0..runs {
            self.permit.send(()).unwrap();
        }
    }

    fn queued(&self) -> usize {
        self.scheduler.handle.shared.admitting.queued()
    }
}

#[tokio::test]
async fn what_waits_becomes_batches_in_order() {
    let mut stage = Stage::new(8, 3);
    let first = stage.occupy().await;
    let others: Vec<_> = ["2", "3", "4", "5"].map(|item| stage.enqueue_prepared(item)).into();
    stage.permit(3);
    assert_eq!(first.await.unwrap().features, [0.0]);
    for (other, expected) in others.into_iter().zip([4.0, 6.0, 8.0, 10.0]) {
        assert_eq!(other.await.unwrap().features, [expected]);
    }
    assert_eq!(stage.batches.recv().await.unwrap(), [2.0, 3.0, 4.0]);
    assert_eq!(stage.batches.recv().await.unwrap(), [5.0]);
}

#[tokio::test]
async fn items_are_prepared_and_run_and_their_times_told() {
    let stage = Stage::new(8, 3);
    stage.permit(1);
    let arrived = Instant::now();
    let answer = stage.enqueue("+21", Urgency::INTERACTIVE).await.unwrap();
    assert_eq!(answer.features, [42.0]);
    assert!(answer.lost.truncated);
    assert_eq!(answer.timings.batch_size, 1);
    assert!(answer.timings.run > Duration::ZERO && answer.timings.prepare > Duration::ZERO);
    assert!(answer.timings.total() <= arrived.elapsed());
}

#[tokio::test]
async fn an_interactive_item_overtakes_bulk_in_both_stages() {
    let mut stage = Stage::new(20, 1);
    let first = stage.occupy().await;
    let bulk: Vec<_> = ["1", "2", "3", "4"].map(|item| stage.enqueue(item, Urgency::BULK)).into();
    assert_eq!(stage.prepared.recv().await.unwrap(), "0");
    for number in ["1", "2"] {
        assert_eq!(stage.prepared.recv().await.unwrap(), number);
    }
    let interactive = stage.enqueue("9", Urgency::INTERACTIVE);
    assert_eq!(stage.prepared.recv().await.unwrap(), "9", "two batches of bulk are prepared, and no more");
    // It is reported when its preparation begins, and heads the next batch once that has ended.
    while stage.scheduler.handle.shared.lock().lengths() != (2, 0, 3) {
        tokio::task::yield_now().await;
    }
    stage.permit(6);
    assert_eq!(interactive.await.unwrap().features, [18.0]);
    assert_eq!(stage.batches.recv().await.unwrap(), [9.0]);
    for ticket in bulk {
        ticket.await.unwrap();
    }
    first.await.unwrap();
}

#[tokio::test]
async fn work_nobody_waits_for_is_not_done() {
    let mut stage = Stage::new(8, 3);
    let first = stage.occupy().await;
    drop(stage.enqueue_prepared("2"));
    let kept = stage.enqueue_prepared("3");
    let deadline = Some(Instant::now());
    let expired = stage.enqueue("4", Urgency { deadline, ..Urgency::BULK });
    assert!(matches!(expired.await, Err(EncodeError::Expired { tower: "text" })));
    stage.permit(2);
    first.await.unwrap();
    kept.await.unwrap();
    assert_eq!(stage.batches.recv().await.unwrap(), [3.0]);
    let prepared: Vec<_> = std::iter::from_fn(|| stage.prepared.try_recv().ok()).collect();
    assert_eq!(prepared, ["0", "2", "3"]);
    assert_eq!(stage.queued(), 0);
}

#[tokio::test]
async fn a_full_queue_refuses_and_recovers() {
    let mut stage = Stage::new(2, 1);
    let first = stage.occupy().await;
    let second = stage.enqueue_prepared("1");
    let refused = stage.scheduler.admit(&[1], Urgency::INTERACTIVE).err().unwrap();
    assert!(matches!(refused, EncodeError::Overloaded { capacity: 2, retry_after_ms: 50.., .. }), "{refused}");
    drop(second);
    let third = stage.scheduler.admit(&[1], Urgency::INTERACTIVE).unwrap();
    drop(third);
    stage.permit(1);
    first.await.unwrap();
    assert!(stage.scheduler.admit(&[1; 2], Urgency::INTERACTIVE).is_ok());
    assert!(stage.scheduler.admit(&[1; 3], Urgency::INTERACTIVE).is_err());
}

#[tokio::test]
async fn a_stream_waits_for_room_until_its_deadline() {
    let mut stage = Stage::new(1, 1);
    let first = stage.occupy().await;
    let expired = stage.scheduler.admit_waiting(1, Flow::open(), Some(Instant::now())).await;
    assert!(matches!(expired, Err(EncodeError::Expired { .. })));
    let scheduler = stage.scheduler.clone();
    let mut waiting = std::pin::pin!(scheduler.admit_waiting(1, Flow::open(), None));
    assert!(waiting.as_mut().now_or_never().is_none());
    stage.permit(1);
    first.await.unwrap();
    assert!(waiting.await.is_ok());
}

#[tokio::test]
async fn failures_are_told_to_each_caller_and_the_next_one_works() {
    let mut stage = Stage::new(8, 4);
    let first = stage.occupy().await;
    let doomed = ["inf", "1"].map(|item| stage.enqueue_prepared(item));
    stage.permit(2);
    first.await.unwrap();
    for ticket in doomed {
        assert!(ticket.await.unwrap_err().to_string().contains("too large"));
    }
    stage.permit(1);
    assert!(stage.enqueue_prepared("-inf").await.unwrap_err().to_string().contains("panicked"));
    let unusable = stage.enqueue("four", Urgency::INTERACTIVE).await.unwrap_err();
    assert!(matches!(unusable, EncodeError::InvalidItem { .. }), "{unusable}");
    assert!(stage.enqueue("panic", Urgency::BULK).await.unwrap_err().to_string().contains("panicked"));
    let admission = stage.scheduler.admit(&[1], Urgency::BULK).unwrap();
    assert!(stage.scheduler.prepare_and_enqueue(admission, Urgency::BULK, "panic").is_err());
    assert_eq!(stage.queued(), 0);
    stage.permit(1);
    assert_eq!(stage.enqueue("4", Urgency::BULK).await.unwrap().features, [8.0]);
}

#[tokio::test]
async fn several_towers_share_one_queue() {
    let mut stage = Stage::with_towers(3, 8, 1);
    let tickets = ["1", "2", "3"].map(|item| stage.enqueue(item, Urgency::INTERACTIVE));
    let mut running = Vec::new();
    for _ in 0..3 {
        running.extend(stage.batches.recv().await.unwrap());
    }
    running.sort_by(f32::total_cmp);
    assert_eq!(running, [1.0, 2.0, 3.0]);
    stage.permit(3);
    for ticket in tickets {
        ticket.await.unwrap();
    }
}

#[tokio::test]
async fn threads_end_with_the_last_handle_and_answer_what_was_queued() {
    let mut stage = Stage::with_towers(2, 20, 2);
    let first = stage.occupy().await;
    let others: Vec<_> = (0..10).map(|_| stage.enqueue("7", Urgency::BULK)).collect();
    let Stage { scheduler, threads, permit, .. } = stage;
    let clone = scheduler.clone();
    drop(scheduler);
    drop(clone);
    for _ in 0..20 {
        permit.send(()).unwrap();
    }
    let joined = tokio::task::spawn_blocking(move || threads.into_iter().try_for_each(JoinHandle::join));
    first.await.unwrap();
    for other in others {
        assert_eq!(other.await.unwrap().features, [14.0]);
    }
    joined.await.unwrap().unwrap();
}

/// Whom an item's defect breaks, where nothing is contained: when it is dropped.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Breaks {
    Nobody,
    Preparer,
    Runner,
}

struct Unprepared(Breaks);

impl Drop for Unprepared {
    fn drop(&mut self) {
        assert!(self.0 != Breaks::Preparer, "a defect in the scheduler");
    }
}

struct Defect(Breaks);

impl Drop for Defect {
    fn drop(&mut self) {
        assert!(self.0 != Breaks::Runner, "a defect in the scheduler");
    }
}

struct DefectiveTower;

impl Tower for DefectiveTower {
    type Item = Defect;

    const NAME: &'static str = "text";

    fn run(&mut self, batch: &[Defect]) -> Result<Array2<f32>, EncodeError> {
        Ok(Array2::zeros((batch.len(), 1)))
    }
}

/// Prepares an item for each permission it is given, one at a time.
struct Gated {
    begun: mpsc::UnboundedSender<()>,
    permissions: std::sync::Mutex<blocking::Receiver<()>>,
}

impl Prepare<DefectiveTower> for Gated {
    type Raw = Unprepared;

    fn prepare(&self, raw: Unprepared, _patience: Patience<'_>) -> Result<Prepared<Defect>, EncodeError> {
        let permissions = self.permissions.lock().unwrap();
        self.begun.send(()).unwrap();
        permissions.recv().unwrap();
        Ok(Prepared { item: Defect(raw.0), lost: Lost::default() })
    }
}

struct DefectiveStage {
    scheduler: Scheduler<DefectiveTower, Gated>,
    threads: Vec<JoinHandle<()>>,
    begun: mpsc::UnboundedReceiver<()>,
    permit: blocking::Sender<()>,
}

impl DefectiveStage {
    fn start() -> Self {
        let (report, begun) = mpsc::unbounded_channel();
        let (permit, permissions) = blocking::channel();
        let preparation = Gated { begun: report, permissions: std::sync::Mutex::new(permissions) };
        let limits = SchedulerLimits { preparers: 2, ..SchedulerLimits::for_tests() };
        let (scheduler, threads) = Scheduler::start(vec![DefectiveTower], preparation, limits).unwrap();
        Self { scheduler, threads, begun, permit }
    }

    fn enqueue(&self, breaks: Breaks, urgency: Urgency) -> Ticket {
        let admission = self.scheduler.admit(&[1], urgency).unwrap();
        self.scheduler.enqueue(admission, urgency, Unprepared(breaks))
    }

    /// One thread broke: health says so, nothing is taken in any more, and all threads end.
    async fn ends(mut self) {
        assert!(!*self.scheduler.condition().borrow());
        let late = self.enqueue(Breaks::Nobody, Urgency::INTERACTIVE);
        assert!(matches!(in_time(late).await, Err(EncodeError::Stopped { .. })));
        let threads = std::mem::take(&mut self.threads);
        // On a thread that nobody waits for: a blocking task of the runtime would hang with what it waits for.
        let (report, joined) = oneshot::channel();
        std::thread::spawn(move || report.send(threads.into_iter().map(JoinHandle::join).collect::<Vec<_>>()));
        let ended = tokio::time::timeout(PATIENCE, joined).await.expect("a thread hangs").unwrap();
        assert_eq!(ended.iter().filter(|ended| ended.is_err()).count(), 1);
        assert_eq!(self.scheduler.handle.shared.admitting.queued(), 0);
    }
}

/// Far longer than anything here takes: it turns a hang into a failure.
const PATIENCE: Duration = Duration::from_secs(20);

async fn in_time(ticket: Ticket) -> Result<job::Answer, EncodeError> {
    tokio::time::timeout(PATIENCE, ticket).await.expect("a caller waits for nobody")
}

#[tokio::test]
async fn a_preparer_that_breaks_takes_nobody_along() {
    let stage = DefectiveStage::start();
    // Its time is over, so it is dropped instead of being prepared.
    let urgency = Urgency { deadline: Some(Instant::now()), ..Urgency::BULK };
    let ticket = stage.enqueue(Breaks::Preparer, urgency);
    assert!(matches!(in_time(ticket).await, Err(EncodeError::Stopped { .. })));
    while *stage.scheduler.condition().borrow() {
        tokio::task::yield_now().await;
    }
    stage.ends().await;
}

#[tokio::test]
async fn a_runner_that_breaks_takes_nobody_along() {
    let mut stage = DefectiveStage::start();
    let breaking = stage.enqueue(Breaks::Runner, Urgency::INTERACTIVE);
    stage.begun.recv().await.unwrap();
    let waiting = stage.enqueue(Breaks::Nobody, Urgency::INTERACTIVE);
    stage.permit.send(()).unwrap();
    stage.begun.recv().await.unwrap();
    while *stage.scheduler.condition().borrow() {
        tokio::task::yield_now().await;
    }
    // Prepared when nobody is left to run it.
    stage.permit.send(()).unwrap();
    assert!(in_time(breaking).await.is_ok());
    assert!(matches!(in_time(waiting).await, Err(EncodeError::Stopped { .. })));
    stage.ends().await;
}

/// Works on an item for as long as there is patience, and tells when that was over.
struct Endless {
    begun: mpsc::UnboundedSender<&'static str>,
    ended: mpsc::UnboundedSender<&'static str>,
}

impl Prepare<Doubling> for Endless {
    type Raw = &'static str;

    fn prepare(&self, raw: &'static str, patience: Patience<'_>) -> Result<Prepared<f32>, EncodeError> {
        self.begun.send(raw).unwrap();
        while patience.check().is_ok() {
            std::thread::yield_now();
        }
        self.ended.send(raw).unwrap();
        Err(EncodeError::Stopped { tower: Doubling::NAME })
    }
}

struct EndlessStage {
    scheduler: Scheduler<Doubling, Endless>,
    threads: Vec<JoinHandle<()>>,
    begun: mpsc::UnboundedReceiver<&'static str>,
    ended: mpsc::UnboundedReceiver<&'static str>,
}

impl EndlessStage {
    fn start() -> Self {
        let (_, permissions) = blocking::channel();
        let (report, _) = mpsc::unbounded_channel();
        let permissions = Arc::new(std::sync::Mutex::new(permissions));
        let (tell_begun, begun) = mpsc::unbounded_channel();
        let (tell_ended, ended) = mpsc::unbounded_channel();
        let preparation = Endless { begun: tell_begun, ended: tell_ended };
        let towers = vec![Doubling { permissions, batches: report }];
        let (scheduler, threads) = Scheduler::start(towers, preparation, SchedulerLimits::for_tests()).unwrap();
        Self { scheduler, threads, begun, ended }
    }

    fn enqueue(&self, item: &'static str, urgency: Urgency) -> Ticket {
        let admission = self.scheduler.admit(&[1], urgency).unwrap();
        self.scheduler.enqueue(admission, urgency, item)
    }
}

#[tokio::test]
async fn preparation_ends_with_its_caller_and_at_its_deadline() {
    let mut stage = EndlessStage::start();
    let left = stage.enqueue("left", Urgency::INTERACTIVE);
    assert_eq!(stage.begun.recv().await, Some("left"));
    drop(left);
    assert_eq!(stage.ended.recv().await, Some("left"));
    let deadline = Some(Instant::now() + Duration::from_millis(20));
    let late = stage.enqueue("late", Urgency { deadline, ..Urgency::BULK });
    assert!(matches!(late.await, Err(EncodeError::Expired { .. })));
}

#[tokio::test]
async fn a_scheduler_that_is_halted_gives_up_what_is_being_prepared_and_what_waits() {
    let mut stage = EndlessStage::start();
    let (preparing, waiting) = (stage.enqueue("1", Urgency::BULK), stage.enqueue("2", Urgency::BULK));
    assert_eq!(stage.begun.recv().await, Some("1"));
    stage.scheduler.halt()();
    for ticket in [preparing, waiting] {
        assert!(matches!(ticket.await, Err(EncodeError::Stopped { .. })));
    }
    assert_eq!(stage.ended.recv().await, Some("1"));
    let threads = std::mem::take(&mut stage.threads);
    tokio::task::spawn_blocking(move || threads.into_iter().for_each(|thread| thread.join().unwrap())).await.unwrap();
    assert_eq!(stage.begun.try_recv().ok(), None, "nothing else was begun");
}

/// The tower is busy, runs take seconds, and there is a second: better to say so at once.
#[tokio::test]
async fn who_has_no_time_to_wait_is_told_at_once() {
    let mut stage = Stage::new(8, 1);
    stage.scheduler.handle.shared.lock().expect_runs_of(Duration::from_secs(10));
    let _busy = stage.occupy().await;
    let soon =
        |seconds| Urgency { deadline: Some(Instant::now() + Duration::from_secs(seconds)), ..Urgency::INTERACTIVE };
    let refused = stage.scheduler.admit(&[1], soon(1)).err().unwrap();
    assert!(matches!(refused, EncodeError::NoTime { wait_ms: 10_000.., retry_after_ms: 50.., .. }), "{refused}");
    assert_eq!(tonic::Status::from(refused).code(), tonic::Code::ResourceExhausted);
    assert!(stage.scheduler.admit(&[1], soon(60)).is_ok());
    assert!(stage.scheduler.admit(&[1], Urgency { priority: Priority::Bulk, ..soon(1) }).is_ok());
    assert_eq!(stage.queued(), 1);
    stage.permit(1);
}
