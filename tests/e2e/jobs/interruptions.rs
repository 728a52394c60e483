//! Jobs that are killed, jobs whose service is killed, and what a journal saves them.

use crate::killed_service::Served;
use crate::stands::commands::{Running, fail, last_json, succeed};
use crate::stands::crops::Crops;
use crate::stands::polling::until;
use crate::stands::stored::{count, stored_images};
use descry_tests::TestStack;
use serde_json::Value;
use std::fs::{self, File};

/// What became of the images: indexed, unchanged, failed, and known to the journal.
fn numbers(report: &Value) -> [u64; 4] {
    ["indexed", "unchanged", "failures", "skipped_by_journal"].map(|field| report[field].as_u64().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_journal_knows_is_not_even_read() {
    let stack = TestStack::start().await;
    let crops = Crops::write(30);
    let (folder, journal) = (crops.folder(), crops.path("lobby.journal"));
    let arguments =
        ["index", &folder, "--server", &stack.search_url, "--gallery", "lobby", "--journal", &journal, "--json"];
    assert_eq!(numbers(&last_json(&succeed(&arguments))), [30, 0, 0, 0]);

    // Files of the same size and time: only who reads them sees that they are no images any more.
    for image in &crops.images {
        let path = crops.file(image);
        let modified = fs::metadata(&path).unwrap().modified().unwrap();
        fs::write(&path, vec![b'x'; image.content.len()]).unwrap();
        File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
    }
    assert_eq!(numbers(&last_json(&succeed(&arguments))), [0, 0, 0, 30]);

    // A file that was written again is read again, and found to be what it was.
    fs::write(crops.file(&crops.images[7]), &crops.images[7].content).unwrap();
    assert_eq!(numbers(&last_json(&succeed(&arguments))), [0, 1, 0, 29]);
    // What a journal says of one gallery counts for nothing in another.
    let elsewhere = arguments.map(|argument| if argument == "lobby" { "yard" } else { argument });
    let (printed, _) = fail(&elsewhere);
    assert_eq!(numbers(&last_json(&printed)), [1, 0, 29, 0]);
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_job_encodes_nothing_twice() {
    const IMAGES: u64 = 200;
    let stack = TestStack::start().await;
    let crops = Crops::write(IMAGES as usize);
    let (folder, journal) = (crops.folder(), crops.path("lobby.journal"));
    let arguments =
        ["index", &folder, "--server", &stack.search_url, "--gallery", "lobby", "--journal", &journal, "--json"];
    let mut running = Running::start(&[&arguments[..], &["--rate", "100"]].concat());
    // Behind its header, the journal has the first acknowledgements.
    let noted = until("the journal grows", async || {
        assert!(!running.has_ended(), "the job ended before it was killed");
        let lines = fs::read_to_string(&journal).map_or(0, |text| text.matches('\n').count() as u64);
        (lines > 1).then(|| lines - 1)
    })
    .await;
    running.kill();
    let mut client = stack.search().await;
    let there = count(&mut client, "lobby").await;
    assert!(noted <= there && there < IMAGES, "{noted} noted, {there} there");

    let [indexed, unchanged, failed, known] = numbers(&last_json(&succeed(&arguments)));
    assert_eq!((indexed + unchanged + known, failed), (IMAGES, 0));
    assert!(known >= noted, "{known} of {noted} were known");
    // What was there is not encoded again, also where the journal had not got as far. Of what was on its way, some may
    // have come in after they were counted.
    assert!(indexed <= IMAGES - there, "{indexed} were encoded, {there} were there");
    assert!(stored_images(&mut client, "lobby").await.keys().eq(&crops.ids()));
    assert_eq!(numbers(&last_json(&succeed(&arguments))), [0, 0, 0, IMAGES]);
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_outlives_its_service() {
    const IMAGES: u64 = 120;
    let data = tempfile::tempdir().unwrap();
    let served = Served::start(data.path());
    let url = served.url.clone();
    let crops = Crops::write(IMAGES as usize);
    let (folder, metadata) = (crops.folder(), crops.metadata());
    let arguments = ["index", &folder, "--metadata", &metadata, "--server", &url, "--gallery", "lobby", "--json"];
    let mut running = Running::start(&[&arguments[..], &["--rate", "60", "--retry-for", "50"]].concat());
    let mut client = served.client().await;
    until("images arrive", async || {
        assert!(!running.has_ended(), "the job ended before its service");
        (count(&mut client, "lobby").await >= 20).then_some(())
    })
    .await;
    served.kill();
    let served = Served::start_at(data.path(), url.trim_start_matches("http://"));
    assert_eq!(served.url, url);

    let (status, printed, complaint) = running.end().await;
    assert!(status.success(), "{printed}{complaint}");
    assert!(complaint.contains("trying again"), "the outage was not noticed: {complaint}");
    let last = last_json(&printed);
    let [indexed, unchanged, failed, _] = numbers(&last);
    assert_eq!((indexed + unchanged, failed, last["finished"].as_bool()), (IMAGES, 0, Some(true)), "{last}");
    assert!(stored_images(&mut served.client().await, "lobby").await.keys().eq(&crops.ids()));
    // Nothing is left to do.
    assert_eq!(numbers(&last_json(&succeed(&arguments))), [0, IMAGES, 0, 0]);
}
