//! Several encoders of one model behind one search service: one of them is a process that is stopped, continued and killed.

use crate::services::{demo_images, index, text_search};
use crate::stands::Client;
use crate::stands::alone::free_address;
use crate::stands::commands::{json_lines, succeed};
use crate::stands::polling::until;
use descry_proto::search::v1::index_images_response::Outcome;
use descry_proto::search::v1::{Encoder, EncoderStanding, ListEncodersRequest};
use descry_tests::{TestStack, demo_bundle, program};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

const CALLERS: usize = 6;

/// An encoder service of the demo's model; killed when dropped.
struct EncoderProcess(Child);

impl EncoderProcess {
    fn start(address: &str) -> Self {
        let process = Command::new(program("encoder-service"))
            .env("DESCRY_ENCODER__SERVER__LISTEN", address)
            .env("DESCRY_ENCODER__MODEL", demo_bundle())
            .env("DESCRY_ENCODER__LOG__FILTER", "warn")
            .stdout(Stdio::null())
            .spawn();
        Self(process.unwrap())
    }

    /// STOP: it answers nothing, and all its connections stay open. CONT: it goes on.
    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.0.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }
}

impl Drop for EncoderProcess {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What the service knows of an encoder; nothing before its name was resolved.
async fn encoder(client: &mut Client, address: &str) -> Option<Encoder> {
    let listed = client.list_encoders(ListEncodersRequest {}).await.unwrap().into_inner().encoders;
    assert!(listed.len() <= 2, "{listed:?}");
    listed.into_iter().find(|encoder| encoder.address == address)
}

async fn until_it_is(standing: EncoderStanding, client: &Client, address: &str) -> Encoder {
    until(standing.as_str_name(), async || {
        encoder(&mut client.clone(), address).await.filter(|encoder| encoder.standing() == standing)
    })
    .await
}

/// Searches from several callers while something happens; none may fail. Tells how many there were.
async fn searching<Happening>(client: &Client, happening: impl Future<Output = Happening>) -> (usize, Happening) {
    let (is_over, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    let callers = (0..CALLERS).map(|_| async {
        let mut client = client.clone();
        while !is_over.load(Ordering::Relaxed) {
            client.search(text_search("lobby", "a man in a red coat", 3)).await.unwrap();
            answered.fetch_add(1, Ordering::Relaxed);
        }
    });
    let happening = async {
        let happened = happening.await;
        is_over.store(true, Ordering::Relaxed);
        happened
    };
    let (happened, _) = tokio::join!(happening, join_all(callers));
    (answered.load(Ordering::Relaxed), happened)
}

/// Polls all of them until all are done.
async fn join_all(futures: impl Iterator<Item = impl Future<Output = ()>>) {
    let mut futures: Vec<_> = futures.map(Box::pin).collect();
    std::future::poll_fn(|context| {
        futures.retain_mut(|future| future.as_mut().poll(context).is_pending());
        if futures.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}

// `descry` is waited for on a thread of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_is_stopped_or_killed_loses_no_search() {
    let address = free_address();
    let process = EncoderProcess::start(&address);
    let stack = TestStack::start_with(|_, search| {
        search.encoder.other_urls = vec![format!("http://{}", address.replace("127.0.0.1", "localhost"))];
        search.encoder.probe_interval_ms = 300;
        search.encoder.max_retry_pause_ms = 300;
    })
    .await;
    let client = stack.search().await;
    assert_eq!(index(&mut client.clone(), "lobby", demo_images(64)).await.len(), 64);
    until_it_is(EncoderStanding::Serving, &client, &address).await;
    let serving = |at_least: u64| {
        let (client, address) = (client.clone(), address.clone());
        async move {
            until("it gets work", async || {
                let calls = encoder(&mut client.clone(), &address).await?.answered_calls;
                (calls >= at_least).then_some(calls)
            })
            .await
        }
    };
    let (_, calls) = searching(&client, serving(20)).await;

    // Stopped: its connections stay open and say nothing. Indexing goes on as well.
    process.signal("STOP");
    let indexing = async {
        until_it_is(EncoderStanding::LeftOut, &client, &address).await;
        index(&mut client.clone(), "other", demo_images(48)).await
    };
    let (answered, indexed) = searching(&client, indexing).await;
    assert!(answered > 0 && indexed.iter().all(|image| matches!(image.outcome, Some(Outcome::Indexed(_)))));
    let left_out = encoder(&mut client.clone(), &address).await.unwrap();
    assert!(left_out.reason.contains("did not say within"), "{}", left_out.reason);
    let listed = json_lines(&succeed(&["encoders", "--server", &stack.search_url, "--json"])).remove(0);
    assert_eq!((&listed[0]["standing"], &listed[1]["standing"]), (&"serving".into(), &"left out".into()));
    assert!(succeed(&["encoders", "--server", &stack.search_url]).contains("did not say within"));
    process.signal("CONT");
    until_it_is(EncoderStanding::Serving, &client, &address).await;
    searching(&client, serving(calls + 20)).await;

    // Killed: its connections break.
    let killing = async {
        drop(process);
        until_it_is(EncoderStanding::LeftOut, &client, &address).await;
    };
    searching(&client, killing).await;
    let _process = EncoderProcess::start(&address);
    searching(&client, until_it_is(EncoderStanding::Serving, &client, &address)).await;
    stack.stop().await;
}
