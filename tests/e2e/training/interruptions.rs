//! Runs that are killed or interrupted end as if they had not been: the same weights, the same losses.

use super::stand::{STEPS_AN_EPOCH, Training, last_record, records, resuming};
use crate::stands::commands::{Running, succeed};
use crate::stands::polling::until;
use serde_json::Value;
use std::fs;
use std::path::Path;

/// Steps whose lines are there when a run is killed: before anything is saved, within an epoch, while it is measured,
/// and within the next one.
const KILLED_AFTER: [usize; 4] = [1, 5, STEPS_AN_EPOCH, STEPS_AN_EPOCH + 4];

/// Lines of a kind without what a clock said.
fn without_times(run: &Path, kind: &str) -> Vec<Value> {
    let mut lines = records(run, kind);
    for line in &mut lines {
        let fields = line.as_object_mut().unwrap();
        fields.retain(|field, _| !["seconds", "pairs_per_second"].contains(&field.as_str()));
    }
    lines
}

fn check_same_end(whole: &Path, interrupted: &Path) {
    for kind in ["step", "evaluation"] {
        assert_eq!(without_times(interrupted, kind), without_times(whole, kind));
    }
    assert_eq!(records(whole, "step").len(), 2 * STEPS_AN_EPOCH);
    let epochs = records(interrupted, "epoch");
    assert_eq!(epochs.len(), 2);
    for epoch in epochs {
        // Also where an epoch went on behind its last step.
        assert!(epoch["mean_loss"].as_f64().unwrap() > 0.0, "{epoch}");
    }
    for name in ["last.safetensors", "best.safetensors"] {
        let read = |run: &Path| fs::read(run.join(name)).unwrap();
        assert!(read(whole) == read(interrupted), "{name} differs");
    }
}

/// Waits until a run has written the lines of so many steps.
async fn reach(running: &mut Running, run: &Path, steps: usize) {
    until("the run makes its steps", async || {
        let has_ended = running.has_ended();
        if records(run, "step").len() >= steps {
            return Some(());
        }
        assert!(!has_ended, "the run ended before step {steps}");
        None
    })
    .await;
}

#[tokio::test]
async fn a_run_killed_again_and_again_ends_with_the_same_weights() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, killed) = (folder.path().join("whole"), folder.path().join("killed"));
    let settings = ["epochs=2", "checkpoint.every_steps=2"];
    Training { settings: &settings, ..Training::of("dm-adapter", &whole) }.succeed();

    let mut running = Training { settings: &settings, ..Training::of("dm-adapter", &killed) }.start();
    for steps in KILLED_AFTER {
        reach(&mut running, &killed, steps).await;
        running.kill();
        running = Running::start(&resuming(&killed));
    }
    let (status, printed, complaint) = running.end().await;
    assert!(status.success(), "{printed}{complaint}");
    assert!(!last_record(&killed, "start")["resumed_at"].is_null(), "it did not go on, it began anew");
    check_same_end(&whole, &killed);
    let left: Vec<_> = fs::read_dir(&killed).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().ends_with(".partial")), "{left:?}");
}

#[tokio::test]
async fn an_interrupted_run_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, interrupted) = (folder.path().join("whole"), folder.path().join("interrupted"));
    // Nothing else saves within an epoch.
    let settings = ["epochs=2", "checkpoint.every_steps=1000"];
    Training { settings: &settings, ..Training::of("up-person", &whole) }.succeed();

    let mut running = Training { settings: &settings, ..Training::of("up-person", &interrupted) }.start();
    reach(&mut running, &interrupted, 3).await;
    running.interrupt();
    let (status, printed, complaint) = running.end().await;
    assert_eq!(status.code(), Some(130), "{printed}{complaint}");
    let again = format!("descry train --resume {}", interrupted.display());
    assert!(printed.contains(&again) && printed.contains("interrupted in epoch"), "{printed}");
    assert!(!printed.contains("epoch 0"), "epochs count from 1: {printed}");
    let done = records(&interrupted, "step").len();
    assert!((3..2 * STEPS_AN_EPOCH).contains(&done), "interrupted after {done} steps");

    succeed(&resuming(&interrupted));
    assert!(!last_record(&interrupted, "start")["resumed_at"].is_null());
    check_same_end(&whole, &interrupted);
    // A run that is over has nothing left to do.
    let before = fs::read(interrupted.join("last.safetensors")).unwrap();
    succeed(&resuming(&interrupted));
    assert!(fs::read(interrupted.join("last.safetensors")).unwrap() == before);
    assert_eq!(records(&interrupted, "step").len(), 2 * STEPS_AN_EPOCH);
}
