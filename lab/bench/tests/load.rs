//! Loads against a service that answers without a model: what is sent, counted and reported.

// Without this, lints count helpers of an integration test as shipped code.
#![cfg(test)]

mod stand_in;

use descry_bench::{
    BenchError, EncoderPlan, EncoderReport, LoadShape, ServiceUnderTest, Transport, Workload, WorkloadKind,
    run_encoder_benchmark,
};
use stand_in::StandIn;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

fn plan(kind: WorkloadKind, load: LoadShape, transport: Transport) -> EncoderPlan {
    EncoderPlan {
        kind,
        loads: vec![load],
        transport,
        items_per_request: 1,
        warm_up: Duration::ZERO,
        duration: Duration::from_millis(400),
        max_unanswered: 50,
        bulk_images_in_flight: 20,
        seed: 3,
    }
}

async fn measure(stand_in: &StandIn, plan: &EncoderPlan) -> EncoderReport {
    let workload = Workload { texts: vec!["a man".to_owned(), "a woman".to_owned()], images: vec![vec![1, 2].into()] };
    let process_id = i32::try_from(std::process::id()).ok();
    let service = ServiceUnderTest::connect(&stand_in.url, 2, process_id).await.unwrap();
    let stop = CancellationToken::new();
    let report = run_encoder_benchmark(&service, &workload, plan, &stop, |_| {}).await.unwrap();
    service.stop().await.unwrap();
    report
}

const CLOSED: LoadShape = LoadShape::Closed { callers: 4 };
const OPEN: LoadShape = LoadShape::Open { requests_per_s: 200.0 };

#[tokio::test(flavor = "multi_thread")]
async fn callers_wait_for_their_answers() {
    let stand_in = StandIn::start().await;
    let report =
        measure(&stand_in, &EncoderPlan { items_per_request: 3, ..plan(WorkloadKind::Text, CLOSED, Transport::Lists) })
            .await;
    let run = &report.runs[0];
    assert!(run.measured.requests_ok > 4, "{run:?}");
    assert_eq!(run.measured.items_ok, run.measured.requests_ok * 3);
    assert_eq!(run.measured.timings.as_ref().unwrap().answers_by_batch_size.keys().collect::<Vec<_>>(), [&3]);
    assert!(run.measured.requests_failed.is_empty() && run.bulk_images.is_none(), "{run:?}");
    assert!(stand_in.most_at_once() <= 4, "{}", stand_in.most_at_once());
    assert!(!run.process.unwrap().includes_load_generator);
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_are_measured_item_by_item() {
    let stand_in = StandIn::start().await;
    let plan = EncoderPlan { items_per_request: 5, ..plan(WorkloadKind::Image, CLOSED, Transport::Streams) };
    let report = measure(&stand_in, &plan).await;
    let run = &report.runs[0].measured;
    assert!(run.items_ok > 20 && run.items_ok == run.requests_ok, "{run:?}");
    assert!(run.requests_failed.is_empty(), "{run:?}");
    assert_eq!(run.latency.unwrap().count, run.items_ok);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_loop_sends_at_its_rate() {
    for transport in [Transport::Lists, Transport::Streams] {
        let stand_in = StandIn::start().await;
        let run = measure(&stand_in, &plan(WorkloadKind::Text, OPEN, transport)).await.runs.remove(0).measured;
        let due = run.requests_ok + run.requests_shed;
        // 80 arrivals on average with a standard deviation of 9, and the seed fixes them.
        assert!((50..=110).contains(&due), "{run:?}");
        assert!(run.requests_failed.is_empty(), "{run:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_open_loop_cannot_send_is_shed() {
    let stand_in = StandIn::start().await;
    let load = LoadShape::Open { requests_per_s: 5000.0 };
    let report =
        measure(&stand_in, &EncoderPlan { max_unanswered: 1, ..plan(WorkloadKind::Text, load, Transport::Lists) })
            .await;
    let run = &report.runs[0].measured;
    assert!(run.requests_shed > run.requests_ok && run.requests_ok > 0, "{run:?}");
    assert_eq!(stand_in.most_at_once(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn mixed_measures_texts_alone_and_beside_bulk_images() {
    for transport in [Transport::Lists, Transport::Streams] {
        let stand_in = StandIn::start().await;
        let report = measure(&stand_in, &plan(WorkloadKind::Mixed, CLOSED, transport)).await;
        assert_eq!(report.runs.len(), 2);
        assert!(report.runs[0].bulk_images.is_none() && report.runs[1].bulk_images.is_some());
        assert!(report.runs.iter().all(|run| run.measured.requests_ok > 0));
        assert!(report.runs[1].bulk_images.as_ref().unwrap().items_ok > 0);
        // The stand-in refuses texts that are not interactive and images that are not bulk.
        assert!(report.runs[1].bulk_images.as_ref().unwrap().requests_failed.is_empty(), "{report:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_counted_with_their_reason() {
    for transport in [Transport::Lists, Transport::Streams] {
        let stand_in = StandIn::refusing().await;
        let run = measure(&stand_in, &plan(WorkloadKind::Text, CLOSED, transport)).await.runs.remove(0).measured;
        let failure = &run.requests_failed["ResourceExhausted"];
        assert_eq!((failure.first_message.as_str(), run.requests_ok), ("the queue is full", 0));
        // Callers pause after a refusal: 4 callers in 400 ms at 10 ms each.
        assert!((1..=160).contains(&failure.count), "{}", failure.count);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_benchmark_reports_what_it_has() {
    let stand_in = StandIn::start().await;
    let workload = Workload { texts: vec!["a man".to_owned()], images: Vec::new() };
    let service = ServiceUnderTest::connect(&stand_in.url, 1, None).await.unwrap();
    let stop = CancellationToken::new();
    let plan = EncoderPlan {
        duration: Duration::from_secs(3600),
        loads: vec![CLOSED, OPEN],
        ..plan(WorkloadKind::Text, CLOSED, Transport::Lists)
    };
    let interrupt = async {
        while stand_in.answered() < 10 {
            tokio::task::yield_now().await;
        }
        stop.cancel();
    };
    let (report, ()) = tokio::join!(run_encoder_benchmark(&service, &workload, &plan, &stop, |_| {}), interrupt);
    let report = report.unwrap();
    assert!(report.interrupted && report.runs.len() == 1, "{report:?}");
    assert!(report.runs[0].measured.requests_ok >= 1 && report.runs[0].measured.elapsed_s < 60.0);
    assert_eq!(report.runs[0].process, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_report_keeps_its_fields() {
    let stand_in = StandIn::start().await;
    let report = measure(&stand_in, &plan(WorkloadKind::Mixed, OPEN, Transport::Lists)).await;
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["model"]["execution_provider"], "stand-in");
    assert_eq!(json["settings"]["kind"], "mixed");
    let run = &json["runs"][1];
    assert_eq!(run["load"], serde_json::json!({ "mode": "open", "requests_per_s": 200.0 }));
    for pointer in [
        "/measured/items_per_s",
        "/measured/requests_ok",
        "/measured/requests_shed",
        "/measured/latency/p50_ms",
        "/measured/latency/p95_ms",
        "/measured/latency/p99_ms",
        "/measured/latency/max_ms",
        "/measured/timings/mean_queue_ms",
        "/measured/timings/mean_prepare_ms",
        "/measured/timings/mean_run_ms",
        "/measured/timings/mean_batch_size",
        "/measured/timings/answers_by_batch_size/1",
        "/bulk_images/items_per_s",
        "/process/cpu_s",
        "/process/cpu_cores",
        "/process/peak_resident_bytes",
    ] {
        assert!(run.pointer(pointer).is_some_and(serde_json::Value::is_number), "{pointer} in {run}");
    }
    assert_eq!((&run["measured"]["kind"], &run["bulk_images"]["kind"]), (&"text".into(), &"image".into()));
}

#[tokio::test]
async fn addresses_where_nobody_answers_are_named() {
    let connect = async |url: &str| ServiceUnderTest::connect(url, 1, None).await.err().unwrap();
    assert!(matches!(connect("localhost:1").await, BenchError::Address { .. }));
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let message = connect(&format!("http://{free}")).await.to_string();
    assert!(message.contains(&free.to_string()), "{message}");
}
