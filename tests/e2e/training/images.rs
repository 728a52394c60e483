//! Damaged images: training goes without some of them, measuring does not.

use super::stand::{Training, draw, last_record, records, resuming};
use crate::stands::commands::succeed;
use descry_tests::enormous_png;
use std::fs;
use std::path::{Path, PathBuf};

/// Nine of them are in the training split, two in the test split.
const IDENTITIES: usize = 12;

/// Images of a split, in the order of their names.
fn images(data: &Path, split: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(data.join("imgs").join(split)).unwrap();
    let mut images: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    images.sort();
    images
}

#[test]
fn some_images_of_the_training_split_may_be_damaged_and_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    draw(IDENTITIES, &data);
    let damaged: Vec<PathBuf> = images(&data, "train").into_iter().step_by(9).take(3).collect();
    let contents = [Vec::new(), b"no image".to_vec(), enormous_png()];
    for (path, content) in damaged.iter().zip(contents) {
        fs::write(path, content).unwrap();
    }
    let run = folder.path().join("run");
    let settings = ["loading.max_unreadable_images=3"];
    let printed = Training { data: &data, settings: &settings, ..Training::of_clip(&run) }.succeed();
    assert_eq!(last_record(&run, "epoch")["unreadable_images"], 3);
    assert!(printed.contains("3 images cannot be read"), "{printed}");

    let run = folder.path().join("strict");
    let settings = ["loading.max_unreadable_images=2"];
    let complaint = Training { data: &data, settings: &settings, ..Training::of_clip(&run) }.fail();
    assert!(complaint.contains("loading.max_unreadable_images"), "{complaint}");
    let names: Vec<&str> = damaged.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
    assert!(names.iter().any(|name| complaint.contains(name)), "none of {names:?} is in: {complaint}");
    // As it advises.
    let mut going_on = resuming(&run).to_vec();
    going_on.extend(["--set", "loading.max_unreadable_images=3"]);
    succeed(&going_on);
    assert_eq!(last_record(&run, "epoch")["unreadable_images"], 3);
}

#[test]
fn a_damaged_image_of_the_test_split_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    draw(IDENTITIES, &data);
    let damaged = images(&data, "test").swap_remove(1);
    fs::write(&damaged, b"no image").unwrap();
    let run = folder.path().join("run");
    let complaint = Training { data: &data, ..Training::of_clip(&run) }.fail();
    assert!(complaint.contains(damaged.file_name().unwrap().to_str().unwrap()), "{complaint}");

    // One that is not there is named before the first step.
    fs::remove_file(&damaged).unwrap();
    let run = folder.path().join("another");
    let complaint = Training { data: &data, ..Training::of_clip(&run) }.fail();
    assert!(complaint.contains(damaged.file_name().unwrap().to_str().unwrap()), "{complaint}");
    assert!(records(&run, "step").is_empty());
}
