//! What `descry train` refuses, by name, and that a refused run is in nobody's way.

use super::stand::{Stored, Training, borrowed, finished, records, resuming, tensors, write_tensors};
use crate::stands::commands::fail;
use crate::stands::polling::until;
use descry_tests::demo_folder;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

#[track_caller]
fn check_mentions(complaint: &str, mentions: &[&str]) {
    for word in mentions {
        assert!(complaint.contains(word), "{word:?} is not in: {complaint}");
    }
}

/// A run that must not begin.
#[track_caller]
fn check_refused(method: &str, settings: &[&str], more: &[&str], mentions: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let mut arguments = Training { settings, ..Training::of(method, &out) }.arguments();
    arguments.extend(more.iter().map(|&word| word.to_owned()));
    let (_, complaint) = fail(&borrowed(&arguments));
    check_mentions(&complaint, mentions);
    assert!(records(&out, "step").is_empty());
}

/// The plain CLIP of these tests, changed, as a checkpoint of its own.
fn changed_base(path: &Path, change: impl FnOnce(&mut BTreeMap<String, Stored>)) {
    let mut base = tensors(&finished("clip").folder.join("best.safetensors"));
    change(&mut base);
    write_tensors(path, &base);
}

#[test]
fn settings_that_make_no_sense_are_named() {
    check_refused("dm-adapter", &["optimizer.learning_rat=1e-3"], &[], &["optimizer.learning_rat"]);
    check_refused("dm-adapter", &["optimizer.learning_rate=1e30"], &[], &["optimizer.learning_rate"]);
    check_refused("dm-adapter", &["epochs=a few"], &[], &["epochs"]);
    check_refused("dm-adapter", &[], &["--experts", "2", "--top-k", "3"], &["dm_adapter.top_k", "1 to 2"]);
    check_refused("dm-adapter", &["up_person.rank=8"], &[], &["--set up_person.rank", "up-person"]);
    check_refused("up-person", &[], &["--no-balancing-loss"], &["--no-balancing-loss", "dm-adapter"]);
    check_refused("up-person", &["loss={balancing_weight: 1}"], &[], &["setting loss", "loss.KEY=VALUE"]);
    check_refused("dm-adapter", &["input.stride_px=17"], &[], &["input.stride_px", "patch size"]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("recipe.yaml");
    fs::write(&file, "optimizer:\n  weight_deca: 0\n").unwrap();
    check_refused("up-person", &[], &["--config", file.to_str().unwrap()], &["optimizer.weight_deca"]);
}

#[test]
fn a_device_that_is_not_built_in_says_how_to_build_it() {
    check_refused("dm-adapter", &[], &["--device", "cuda"], &["cuda:0", "--features cuda"]);
}

#[test]
fn a_base_that_does_not_fit_is_told_by_its_tensor() {
    let folder = tempfile::tempdir().unwrap();
    let (base, out) = (folder.path().join("base.safetensors"), folder.path().join("run"));
    changed_base(&base, |tensors| {
        tensors.remove("visual.ln_pre.weight").unwrap();
    });
    let complaint = Training { base: Some(&base), ..Training::of("dm-adapter", &out) }.fail();
    check_mentions(&complaint, &["visual.ln_pre.weight", "missing"]);

    let (base, out) = (demo_folder().join("dm_adapter.safetensors"), folder.path().join("another"));
    let complaint = Training { base: Some(&base), ..Training::of("up-person", &out) }.fail();
    check_mentions(&complaint, &["feed_forward", "up-person", "plain CLIP"]);
}

#[test]
fn a_run_goes_on_with_nothing_else_than_it_was_begun_with() {
    for (more, setting) in [(["--set", "loss.temperature=1"], "loss.temperature"), (["--epochs", "9"], "epochs")] {
        let mut arguments = resuming(&finished("clip").folder).to_vec();
        arguments.extend(more);
        let (_, complaint) = fail(&arguments);
        check_mentions(&complaint, &[setting, "loading.max_unreadable_images", "checkpoint.every_steps"]);
    }
}

#[test]
fn a_folder_is_taken_again_when_its_run_could_not_begin() {
    let folder = tempfile::tempdir().unwrap();
    let (base, out) = (folder.path().join("base.safetensors"), folder.path().join("run"));
    changed_base(&base, |tensors| {
        tensors.remove("visual.ln_pre.weight").unwrap();
    });
    Training { base: Some(&base), ..Training::of("up-person", &out) }.fail();
    Training::of("up-person", &out).succeed();
}

#[test]
fn a_folder_that_holds_something_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let complaint = Training::of_clip(&finished("clip").folder).fail();
    check_mentions(&complaint, &["holds a run already", "--resume"]);
    fs::write(folder.path().join("notes.txt"), "mine").unwrap();
    let complaint = Training::of_clip(folder.path()).fail();
    check_mentions(&complaint, &["notes.txt", "not empty"]);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    let (_, complaint) = fail(&resuming(folder.path()));
    check_mentions(&complaint, &["holds no run"]);
}

#[tokio::test]
async fn a_run_is_trained_by_one_process_only() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let training = Training { settings: &["epochs=10000"], ..Training::of_clip(&out) };
    let mut running = training.start();
    until("the first step is made", async || (!records(&out, "step").is_empty()).then_some(())).await;
    let (_, complaint) = fail(&resuming(&out));
    check_mentions(&complaint, &["another process"]);
    check_mentions(&training.fail(), &["holds a run already"]);
    assert!(!running.has_ended());
    running.kill();
}

#[test]
fn a_loss_that_is_no_number_ends_the_run_with_advice_and_the_weights_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let (base, out) = (folder.path().join("base.safetensors"), folder.path().join("run"));
    // Image features of length zero have no direction.
    changed_base(&base, |tensors| tensors.get_mut("visual.proj").unwrap().bytes.fill(0));
    let complaint = Training { base: Some(&base), ..Training::of("dm-adapter", &out) }.fail();
    let advice = ["not finite", "epoch 1, step 1", "optimizer.learning_rate", "optimizer.gradient_clip_norm"];
    check_mentions(&complaint, &advice);
    let kept = tensors(&out.join("last.safetensors"));
    for (name, stored) in tensors(&base) {
        assert!(kept[&name] == stored, "{name}");
    }
}
