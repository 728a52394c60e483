//! Runs that are killed or interrupted end as if they had not been: the same weights, the same losses.

use super::stand::{STEPS_AN_EPOCH, Training, last_record, records, resuming};
use crate::stands::commands::{Running, succeed};
use crate::stands::polling::until;
use safetensors::SafeTensors;
use serde_json::Value;
use std::fs;
use std::path::Path;

/// Where a run is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// As soon as the lines of so many steps are there.
    Step(usize),
    /// As soon as all is saved that comes before an evaluation.
    Evaluation,
}

/// Before anything is saved, within an epoch, while it is measured, and within the next one.
const KILLED_AT: [Place; 4] = [Place::Step(1), Place::Step(5), Place::Evaluation, Place::Step(STEPS_AN_EPOCH + 4)];

/// Runs that may be measured faster than they are killed.
const ATTEMPTS: usize = 5;

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
    for (kind, count) in [("step", 2 * STEPS_AN_EPOCH), ("epoch", 2), ("evaluation", 2)] {
        assert_eq!(records(whole, kind).len(), count);
        assert_eq!(without_times(interrupted, kind), without_times(whole, kind));
    }
    for name in ["last.safetensors", "best.safetensors"] {
        let read = |run: &Path| fs::read(run.join(name)).unwrap();
        assert!(read(whole) == read(interrupted), "{name} differs");
    }
}

/// Whether a run that goes on now begins with an evaluation.
fn is_evaluation_due(run: &Path) -> bool {
    let Ok(state) = fs::read(run.join("state.safetensors")) else { return false };
    let (_, header) = SafeTensors::read_metadata(&state).unwrap();
    let progress = &header.metadata().as_ref().unwrap()["descry_training_state"];
    serde_json::from_str::<Value>(progress).unwrap()["evaluation_due"] == true
}

/// Waits until a run is there.
async fn reach(running: &mut Running, run: &Path, place: Place) {
    until("the run gets there", async || {
        let has_ended = running.has_ended();
        let is_there = match place {
            Place::Step(steps) => records(run, "step").len() >= steps,
            // One that has ended was measured between two looks.
            Place::Evaluation => is_evaluation_due(run) || has_ended,
        };
        assert!(is_there || !has_ended, "the run ended before {place:?}");
        is_there.then_some(())
    })
    .await;
}

/// Kills a run at each place, lets it go on and come to its end. Returns whether one kill really hit an evaluation.
async fn kill_again_and_again(training: &Training<'_>) -> bool {
    let run = training.out;
    let mut was_hit = false;
    let mut running = training.start();
    for place in KILLED_AT {
        reach(&mut running, run, place).await;
        running.kill();
        // What counts is what the continuation finds: the evaluation may have come to its end before the kill.
        was_hit |= place == Place::Evaluation && is_evaluation_due(run);
        running = Running::start(&resuming(run));
    }
    let (status, printed, complaint) = running.end().await;
    assert!(status.success(), "{printed}{complaint}");
    was_hit
}

#[tokio::test]
async fn a_run_killed_again_and_again_ends_with_the_same_weights() {
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole");
    // The largest split takes the longest to measure, so it is the easiest to hit.
    let settings = ["epochs=2", "checkpoint.every_steps=2", "evaluation.split=train"];
    Training { settings: &settings, ..Training::of("dm-adapter", &whole) }.succeed();

    let mut was_hit = false;
    for attempt in 0..ATTEMPTS {
        let killed = folder.path().join(format!("killed-{attempt}"));
        was_hit = kill_again_and_again(&Training { settings: &settings, ..Training::of("dm-adapter", &killed) }).await;
        assert!(!last_record(&killed, "start")["resumed_at"].is_null(), "it did not go on, it began anew");
        check_same_end(&whole, &killed);
        let left: Vec<_> = fs::read_dir(&killed).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(!left.iter().any(|name| name.to_string_lossy().ends_with(".partial")), "{left:?}");
        if was_hit {
            break;
        }
    }
    assert!(was_hit, "none of {ATTEMPTS} runs was killed while it was measured");
}

#[tokio::test]
async fn an_interrupted_run_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, interrupted) = (folder.path().join("whole"), folder.path().join("interrupted"));
    // Nothing else saves within an epoch.
    let settings = ["epochs=2", "checkpoint.every_steps=1000"];
    Training { settings: &settings, ..Training::of("up-person", &whole) }.succeed();

    let mut running = Training { settings: &settings, ..Training::of("up-person", &interrupted) }.start();
    reach(&mut running, &interrupted, Place::Step(3)).await;
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
