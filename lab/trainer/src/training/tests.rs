mod stand;

use super::*;
use crate::data::fixture;
use serde_json::json;
use stand::{Behind, STEPS_AN_EPOCH, Stand, description, go_on, lines, records, unreadable};
use std::fs;

#[test]
fn an_interrupted_evaluation_is_done_again() {
    let stand = Stand::new();
    let whole = stand.train("whole");
    for epoch in [1, 2] {
        let summary = stand.interrupt(&format!("interrupted-{epoch}"), Behind::Epoch(epoch));
        assert_eq!(summary.position, Position { epoch, step: STEPS_AN_EPOCH });
        // The file may hold newer weights than the best that is known: a kill leaves such a folder.
        assert_eq!((summary.best, summary.weights), (None, summary.run.join("last.safetensors")));
        // A continuation may be interrupted there as well.
        assert!(resume(&summary.run, &[], &mut (), &|| true).unwrap().was_cancelled);
        assert!(!go_on(&summary.run, &[]).unwrap().was_cancelled);
        assert_eq!(lines(&summary.run), lines(&whole));
        for name in ["last.safetensors", "best.safetensors", "curves.svg"] {
            let read = |run: &Path| fs::read(run.join(name)).unwrap();
            assert!(read(&summary.run) == read(&whole), "{name} differs");
        }
    }
}

#[test]
fn a_run_that_is_over_says_so() {
    let stand = Stand::new();
    let run = stand.train("run");
    let summary = go_on(&run, &[]).unwrap();
    assert_eq!(summary.position, Position { epoch: 2, step: STEPS_AN_EPOCH });
    assert_eq!(summary.best.map(|best| best.is_best), Some(true));
    assert_eq!(records(&run).pop().unwrap()["resumed_at"], json!([2, STEPS_AN_EPOCH]));
}

#[test]
fn a_run_goes_on_with_the_pairs_it_began_with() {
    let stand = Stand::new();
    let run = stand.interrupt("run", Behind::Step(1)).run;
    let annotations = fs::read(stand.annotations()).unwrap();
    assert_eq!(description(&run)["dataset_sha256"], descry_model::sha256_hex(&annotations));
    fs::write(stand.annotations(), [annotations.as_slice(), b"\n".as_slice()].concat()).unwrap();
    // As a kill leaves it: with lines from after the last save.
    let metrics = fs::read(run.join("metrics.jsonl")).unwrap();
    fs::write(run.join("metrics.jsonl"), [metrics.as_slice(), metrics.as_slice()].concat()).unwrap();
    let read = || ["run.json", "configs.yaml", "metrics.jsonl"].map(|name| fs::read(run.join(name)).unwrap());
    let before = read();
    let message = go_on(&run, &[("loading.threads", "2")]).unwrap_err().to_string();
    for words in ["annotation file", "put that one back", "start a new run"] {
        assert!(message.contains(words), "{message}");
    }
    assert!(read() == before, "a refused continuation changes the folder");
    fs::write(stand.annotations(), &annotations).unwrap();
    go_on(&run, &[]).unwrap();
}

#[test]
fn a_run_of_an_earlier_version_remembers_its_pairs_from_then_on() {
    let stand = Stand::new();
    let run = stand.interrupt("run", Behind::Step(1)).run;
    let mut earlier = description(&run);
    earlier.as_object_mut().unwrap().remove("dataset_sha256").unwrap();
    fs::write(run.join("run.json"), earlier.to_string()).unwrap();
    go_on(&run, &[]).unwrap();
    let annotations = fs::read(stand.annotations()).unwrap();
    assert_eq!(description(&run)["dataset_sha256"], descry_model::sha256_hex(&annotations));
}

#[test]
fn unreadable_images_are_counted_over_the_whole_run() {
    let stand = Stand::new();
    fs::write(stand.image(4), b"no image").unwrap();
    let run = stand.interrupt("run", Behind::Epoch(1)).run;
    assert_eq!(unreadable(&run), [4]);
    // Before a single batch is read.
    resume(&run, &[], &mut (), &|| true).unwrap();
    assert_eq!(unreadable(&run), [4]);
    let error = go_on(&run, &[("loading.max_unreadable_images", "0")]).unwrap_err();
    assert!(matches!(error, TrainError::TooManyUnreadableImages { count: 1, limit: 0, .. }), "{error}");
    // As the advice is: repaired, or with a higher limit.
    go_on(&run, &[("loading.max_unreadable_images", "1")]).unwrap();
    fixture::write_image(&stand.image(4), 10, 20, 0);
    go_on(&run, &[("loading.max_unreadable_images", "0")]).unwrap();
    assert!(lines(&run).iter().filter(|line| line["kind"] == "epoch").all(|line| line["unreadable_images"] == 1));
}

#[test]
fn a_run_keeps_the_settings_it_goes_on_with() {
    let stand = Stand::new();
    let whole = stand.train("whole");
    let run = stand.interrupt("run", Behind::Step(1)).run;
    let begun = description(&run);
    let message = go_on(&run, &[("loading.threads", "2"), ("epochs", "3")]).unwrap_err().to_string();
    assert!(message.contains("epochs") && message.contains("checkpoint.every_steps"), "{message}");
    assert_eq!(description(&run), begun, "nothing is kept of what is refused");
    go_on(&run, &[("loading.threads", "2"), ("loading.cache_mib", "0"), ("checkpoint.every_steps", "1")]).unwrap();
    let mut expected = begun;
    expected["recipe"]["loading"]["threads"] = 2.into();
    expected["recipe"]["loading"]["cache_mib"] = 0.into();
    expected["recipe"]["checkpoint"]["every_steps"] = 1.into();
    assert_eq!(description(&run), expected);
    assert_eq!(lines(&run), lines(&whole));
}

#[test]
fn a_state_without_adams_means_is_refused() {
    let stand = Stand::new();
    let run = stand.interrupt("run", Behind::Step(2)).run;
    let (mut folder, state) = RunFolder::open(&run).unwrap();
    let mut state = state.unwrap();
    state.tensors.retain(|name, _| !name.starts_with("adam."));
    folder.save_state(&state).unwrap();
    drop(folder);
    let message = go_on(&run, &[]).unwrap_err().to_string();
    for words in ["state.safetensors", "`adam.mean.", "start a new run"] {
        assert!(message.contains(words), "{message}");
    }
}
