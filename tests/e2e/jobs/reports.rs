//! What a job says: of its progress, of what failed, and of what it would do.

use crate::stands::alone::free_address;
use crate::stands::commands::{fail, json_lines, last_json, succeed};
use crate::stands::crops::Crops;
use crate::stands::stored::{count, stored_images};
use descry_proto::search::v1::ListGalleriesRequest;
use descry_tests::TestStack;
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_images_are_reported_and_the_others_are_indexed() {
    let stack = TestStack::start().await;
    let crops = Crops::write(6);
    fs::write(crops.path("crops/text.jpg"), "this is no image").unwrap();
    fs::write(crops.path("crops/empty.jpg"), "").unwrap();
    let folder = crops.folder();
    let mut client = stack.search().await;
    for (gallery, report) in [("csv", crops.path("failed.csv")), ("lines", crops.path("failed.jsonl"))] {
        let arguments = ["index", &folder, "--server", &stack.search_url, "--gallery", gallery, "--json"];
        let (printed, _) = fail(&[&arguments[..], &["--failures", &report]].concat());
        let last = last_json(&printed);
        assert_eq!((last["indexed"].as_u64(), last["failures"].as_u64()), (Some(6), Some(2)), "{last}");
        assert_eq!((last["finished"].as_bool(), last["interrupted"].as_bool()), (Some(true), Some(false)), "{last}");
        let mut failed: Vec<&Value> = last["failed"].as_array().unwrap().iter().collect();
        failed.sort_by(|a, b| a["image_id"].as_str().cmp(&b["image_id"].as_str()));
        let written = fs::read_to_string(&report).unwrap();
        assert_eq!(failed.len(), 2, "{last}");
        for (failure, image_id) in failed.into_iter().zip(["empty.jpg", "text.jpg"]) {
            assert_eq!(failure["image_id"], image_id);
            assert_eq!(failure["origin"], crops.path(&format!("crops/{image_id}")));
            let reason = if image_id == "empty.jpg" { "it is empty" } else { "content: " };
            assert!(failure["reason"].as_str().unwrap().starts_with(reason), "{failure}");
            let start =
                if gallery == "csv" { format!("{image_id},") } else { format!("{{\"image_id\":\"{image_id}\"") };
            assert_eq!(written.lines().filter(|line| line.starts_with(&start)).count(), 1, "{written}");
        }
        assert_eq!(written.lines().count(), if gallery == "csv" { 3 } else { 2 }, "{written}");
        let stored = stored_images(&mut client, gallery).await;
        assert!(stored.keys().eq(&crops.ids()), "{:?}", stored.keys());
    }
    // As a person reads it, with a bound on what may fail: nothing is sent behind it.
    let arguments = ["index", &folder, "--server", &stack.search_url, "--gallery", "csv", "--max-failures", "1"];
    let (printed, _) = fail(&arguments);
    assert!(printed.contains("2 failed") && printed.contains("--max-failures"), "{printed}");
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dry_run_tells_what_would_be_sent_and_sends_nothing() {
    let stack = TestStack::start().await;
    let crops = Crops::write(5);
    let (folder, metadata, journal) = (crops.folder(), crops.metadata(), crops.path("lobby.journal"));
    let more = fs::read_to_string(&metadata).unwrap() + "nobody.jpg,1,c0,,\n";
    fs::write(&metadata, more).unwrap();
    let nowhere = format!("http://{}", free_address());
    let mut reports = Vec::new();
    for server in [&nowhere, &stack.search_url] {
        let arguments = ["index", &folder, "--metadata", &metadata, "--server", server, "--journal", &journal];
        let printed = succeed(&[&arguments[..], &["--dry-run", "--json"]].concat());
        assert_eq!(json_lines(&printed).len(), 1, "{printed}");
        reports.push(last_json(&printed));
    }
    let bytes: usize = crops.images.iter().map(|image| image.content.len()).sum();
    for report in &reports {
        assert_eq!((report["images"].as_u64(), report["bytes"].as_u64()), (Some(5), Some(bytes as u64)), "{report}");
        assert_eq!(report["failures"], 0, "{report}");
        assert_eq!(report["metadata_without_image"], 1, "{report}");
    }
    assert!(!Path::new(&journal).exists());
    let galleries = stack.search().await.list_galleries(ListGalleriesRequest::default()).await.unwrap().into_inner();
    assert!(galleries.galleries.is_empty(), "{galleries:?}");

    std::os::unix::fs::symlink("/nowhere/at/all", crops.path("crops/gone.jpg")).unwrap();
    let (printed, _) = fail(&["index", &folder, "--server", &nowhere, "--dry-run", "--json"]);
    let report = last_json(&printed);
    assert_eq!((report["images"].as_u64(), report["failures"].as_u64()), (Some(5), Some(1)), "{report}");
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paced_job_keeps_its_pace_and_reports_each_second() {
    const IMAGES: usize = 40;
    const A_SECOND: f64 = 20.0;
    let stack = TestStack::start().await;
    let crops = Crops::write(IMAGES);
    let began = Instant::now();
    let folder = crops.folder();
    let arguments = ["index", &folder, "--server", &stack.search_url, "--gallery", "lobby", "--rate", "20", "--json"];
    let printed = succeed(&arguments);
    // It may run ahead by a quarter of a second.
    let least = Duration::from_secs_f64((IMAGES - 1) as f64 / A_SECOND - 0.25);
    assert!(began.elapsed() >= least, "{:?}", began.elapsed());

    let mut lines = json_lines(&printed);
    let last = lines.pop().unwrap();
    assert!(!lines.is_empty(), "no line of progress in {least:?}");
    let done: Vec<u64> = lines.iter().map(|line| line["done"].as_u64().unwrap()).collect();
    assert!(done.is_sorted() && done[0] < IMAGES as u64, "{done:?}");
    for line in &lines {
        assert_eq!((line["total"].as_u64(), line["failed"].as_u64()), (Some(IMAGES as u64), Some(0)), "{line}");
        assert!(line["per_second"].is_number() && line.get("finished").is_none(), "{line}");
    }
    assert_eq!((last["finished"].as_bool(), last["done"].as_u64()), (Some(true), Some(IMAGES as u64)), "{last}");
    assert!(last["per_second"].as_f64().unwrap() <= A_SECOND * 1.3, "{last}");
    assert_eq!(count(&mut stack.search().await, "lobby").await, IMAGES as u64);
    stack.stop().await;
}
