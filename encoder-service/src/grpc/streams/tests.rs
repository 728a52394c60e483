use super::*;
use futures::FutureExt as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;

/// The service's side of a stream that echoes numbers, each once it is allowed to.
struct Call {
    requests: mpsc::Sender<Result<u32, Status>>,
    answers: BoxStream<'static, Result<u32, Status>>,
    /// Items that were read.
    taken: mpsc::UnboundedReceiver<u32>,
    /// One permit lets one item through.
    gate: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    intake: Intake,
}

/// Those of a stream that ends by itself.
const IDLE: Duration = Duration::from_secs(300);

fn bounds(window: usize) -> StreamBounds {
    let permit = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
    let open = OpenStream::new(permit, tracing::Span::none());
    StreamBounds { window, deadline: None, idle: IDLE, intake: Intake::default(), open }
}

impl Call {
    fn open(window: usize, deadline: Option<Instant>) -> Self {
        let (requests, messages) = mpsc::channel(100);
        let (report, taken) = mpsc::unbounded_channel();
        let (gate, streams) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(1)));
        let intake = Intake::default();
        let permit = Arc::clone(&streams).try_acquire_owned().unwrap();
        let open = OpenStream::new(permit, tracing::Span::none());
        let bounds = StreamBounds { window, deadline, idle: IDLE, intake: intake.clone(), open };
        let take = move |number: u32| {
            report.send(number).unwrap();
            std::future::ready(number)
        };
        let opening = Arc::clone(&gate);
        let finish = move |number: u32| {
            let gate = Arc::clone(&opening);
            async move {
                gate.acquire().await.unwrap().forget();
                number
            }
        };
        let answers = answers(ReceiverStream::new(messages), bounds, take, finish);
        Self { requests, answers, taken, gate, streams, intake }
    }

    async fn send(&self, numbers: impl IntoIterator<Item = u32>) {
        for number in numbers {
            self.requests.send(Ok(number)).await.unwrap();
        }
    }

    /// Drives the stream as far as it goes by itself, and tells what it has read since.
    fn taken(&mut self) -> Vec<u32> {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(self.answers.as_mut().poll_next(&mut context).is_pending());
        std::iter::from_fn(|| self.taken.try_recv().ok()).collect()
    }
}

#[tokio::test]
async fn no_more_is_read_than_the_window_holds() {
    let mut call = Call::open(3, None);
    call.send(0..5).await;
    assert_eq!(call.taken(), [0, 1, 2]);
    call.gate.add_permits(1);
    assert!(call.answers.next().await.unwrap().is_ok());
    assert_eq!(call.taken(), [3]);
    call.gate.add_permits(4);
    let Call { requests, answers, .. } = call;
    drop(requests);
    let mut rest: Vec<u32> = answers.map(Result::unwrap).collect().await;
    rest.sort_unstable();
    assert_eq!(rest.len(), 4);
}

#[tokio::test]
async fn answers_come_as_they_are_ready() {
    let (first, second) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(1)));
    let gates = [Arc::clone(&first), second];
    let finish = move |number: usize| {
        let gate = Arc::clone(&gates[number]);
        async move {
            gate.acquire().await.unwrap().forget();
            number
        }
    };
    let messages = stream::iter([Ok(0), Ok(1)]);
    let mut answers = answers(messages, bounds(2), std::future::ready, finish);
    assert_eq!(answers.next().await.unwrap().unwrap(), 1);
    first.add_permits(1);
    assert_eq!(answers.next().await.unwrap().unwrap(), 0);
    assert!(answers.next().await.is_none());
}

#[tokio::test]
async fn nothing_is_read_while_an_item_waits_for_room() {
    let (requests, messages) = mpsc::channel(3);
    for number in 0..3 {
        requests.try_send(Ok(number)).unwrap();
    }
    let room = Arc::new(Semaphore::new(1));
    let waiting = Arc::clone(&room);
    let take = move |number: u32| {
        let room = Arc::clone(&waiting);
        async move {
            room.acquire().await.unwrap().forget();
            number
        }
    };
    let mut answers = answers(ReceiverStream::new(messages), bounds(8), take, std::future::ready);
    assert_eq!(answers.next().await.unwrap().unwrap(), 0);
    assert!(answers.next().now_or_never().is_none());
    assert_eq!(requests.capacity(), 2, "the second item is read and waits, the third is not");
    room.add_permits(2);
    assert_eq!(answers.next().await.unwrap().unwrap(), 1);
    assert_eq!(answers.next().await.unwrap().unwrap(), 2);
}

#[tokio::test]
async fn shutdown_answers_what_was_read_and_says_why_it_ends() {
    let mut call = Call::open(2, None);
    call.send(0..4).await;
    assert_eq!(call.taken(), [0, 1]);
    call.intake.stop();
    call.gate.add_permits(4);
    let answers: Vec<_> = call.answers.collect().await;
    assert_eq!(answers.len(), 3, "two items and the reason");
    assert!(answers[..2].iter().all(Result::is_ok));
    assert_eq!(answers[2].as_ref().unwrap_err().code(), Code::Unavailable);
}

#[tokio::test]
async fn a_callers_error_ends_the_stream_after_the_answers() {
    let mut call = Call::open(2, None);
    call.send([7]).await;
    assert_eq!(call.taken(), [7]);
    call.requests.send(Err(Status::cancelled("gone"))).await.unwrap();
    call.gate.add_permits(1);
    assert_eq!(call.answers.next().await.unwrap().unwrap(), 7);
    assert_eq!(call.answers.next().await.unwrap().unwrap_err().code(), Code::Cancelled);
    assert!(call.answers.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn an_idle_stream_ends_at_its_deadline() {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(5);
    let mut call = Call::open(2, Some(deadline.into_std()));
    let status = call.answers.next().await.unwrap().unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert!(tokio::time::Instant::now() >= deadline);
    drop(call.requests);
}

#[tokio::test]
async fn the_permit_is_held_until_the_stream_is_dropped() {
    let mut call = Call::open(2, None);
    call.send([1]).await;
    call.taken();
    assert_eq!(call.streams.available_permits(), 0);
    drop(call.answers);
    assert_eq!(call.streams.available_permits(), 1);
    assert!(call.requests.is_closed(), "the caller's side is not read any more");
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_sends_nothing_gives_its_place_back() {
    let mut call = Call::open(2, None);
    call.send([7]).await;
    call.gate.add_permits(1);
    assert_eq!(call.answers.next().await.unwrap().unwrap(), 7);
    let begin = tokio::time::Instant::now();
    let status = call.answers.next().await.unwrap().unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert!(begin.elapsed() >= IDLE);
    assert!(call.answers.next().await.is_none());
}
