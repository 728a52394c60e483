//! `descry embed`: all that can be embedded, and nothing half written.

use crate::stands::commands::{Running, fail, succeed};
use crate::stands::crops::{Crops, text};
use crate::stands::polling::until;
use descry_tests::demo_bundle;
use ndarray::Array2;
use ndarray_npy::NpzReader;
use std::fs::{self, File};
use std::path::Path;

#[tokio::test]
async fn bad_images_are_named_and_cost_no_other_its_row() {
    let crops = Crops::write(5);
    fs::write(crops.path("crops/0-empty.jpg"), b"").unwrap();
    fs::write(crops.path("crops/1-text.jpg"), b"this is no image").unwrap();
    let bundle = text(demo_bundle());
    let (folder, out, report) = (crops.folder(), crops.path("e.npz"), crops.path("failed.csv"));
    let embed = ["embed", "--model", &bundle, "--images", &folder, "--out", &out, "--failures", &report];

    let (printed, _) = fail(&embed);
    for part in ["0-empty.jpg: it is empty", "1-text.jpg", "2 images failed", "--skip-bad"] {
        assert!(printed.contains(part), "{part}: {printed}");
    }
    let reported = fs::read_to_string(&report).unwrap();
    assert_eq!(reported.lines().count(), 3, "{reported}");
    assert!(!Path::new(&out).exists());

    let printed = succeed(&[&embed[..], &["--skip-bad", "--prefix", "c1/"]].concat());
    assert!(printed.contains("5 images (2 left out)"), "{printed}");
    let mut written = NpzReader::new(File::open(&out).unwrap()).unwrap();
    let rows: Array2<f32> = written.by_name("images").unwrap();
    assert_eq!(rows.nrows(), 5);
    // The ids are those that the folder's images get from `descry index`, and the rows are theirs.
    let dry = ["index", "--embeddings", &out, "--metadata", &crops.metadata(), "--prefix", "", "--dry-run", "--json"];
    let (_, complaint) = fail(&dry);
    assert!(complaint.contains("none of the 5 records"), "{complaint}");
    succeed(&[&embed[..], &["--skip-bad"]].concat());
    succeed(&dry);
    fs::remove_file(crops.path("crops/0-empty.jpg")).unwrap();
    fs::remove_file(crops.path("crops/1-text.jpg")).unwrap();
    let whole = crops.path("whole.npz");
    succeed(&["embed", "--model", &bundle, "--images", &folder, "--out", &whole]);
    let mut written = NpzReader::new(File::open(&whole).unwrap()).unwrap();
    let again: Array2<f32> = written.by_name("images").unwrap();
    assert!((rows - again).iter().all(|difference| difference.abs() < 1e-5));
}

#[tokio::test]
async fn nothing_is_left_of_an_interrupted_run() {
    let crops = Crops::write(150);
    let bundle = text(demo_bundle());
    let folder = crops.path("out");
    fs::create_dir(&folder).unwrap();
    let out = format!("{folder}/e.npz");
    let running = Running::start(&["embed", "--model", &bundle, "--images", &crops.folder(), "--out", &out]);
    let files = || fs::read_dir(&folder).unwrap().count();
    until("the archive is begun", async || (files() == 1).then_some(())).await;
    running.interrupt();
    let (status, _, complaint) = running.end().await;
    assert_eq!(status.code(), Some(130), "{complaint}");
    assert_eq!(files(), 0, "{complaint}");
}

/// The demo's vocabulary has no `x` at the end of a word, and nothing else of that text.
#[tokio::test]
async fn texts_that_lose_letters_are_counted() {
    let crops = Crops::write(1);
    fs::write(crops.path("texts.txt"), "a man\nx\na man in a box\n").unwrap();
    let (bundle, out) = (text(demo_bundle()), crops.path("e.npz"));
    let printed = succeed(&["embed", "--model", &bundle, "--texts", &crops.path("texts.txt"), "--out", &out]);
    assert!(printed.contains("2 texts have letters that the model's vocabulary lacks"), "{printed}");
    let mut written = NpzReader::new(File::open(&out).unwrap()).unwrap();
    let rows: Array2<f32> = written.by_name("texts").unwrap();
    assert_eq!(rows.nrows(), 3);
}
