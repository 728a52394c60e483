use super::*;
use crate::data::fixture;
use crate::report::{StartReport, StepReport};
use crate::{Method, TowerSettings};
use descry_evaluation::DatasetLayout;
use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use tempfile::TempDir;

/// Six images to train on with two captions each, four pairs a step.
const IMAGES: [(&str, i64); 9] = [
    ("train", 1),
    ("train", 1),
    ("train", 2),
    ("test", 7),
    ("train", 2),
    ("train", 3),
    ("test", 8),
    ("train", 3),
    ("test", 9),
];
const STEPS_AN_EPOCH: usize = 3;

/// A data set, and a tiny CLIP that is trained on it for two epochs.
struct Stand {
    folder: TempDir,
}

impl Stand {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fixture::write_dataset(&folder.path().join("data"), &IMAGES);
        Self { folder }
    }

    fn run(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn annotations(&self) -> PathBuf {
        self.folder.path().join("data/reid_raw.json")
    }

    /// An image's file, by its place in the training split.
    fn image(&self, place: usize) -> PathBuf {
        let mut of_training = IMAGES.iter().enumerate().filter(|(_, (split, _))| *split == "train");
        let (index, _) = of_training.nth(place).unwrap();
        self.folder.path().join(format!("data/imgs/{index}.bmp"))
    }

    fn request(&self, name: &str) -> TrainRequest {
        let mut recipe = Recipe::small(Method::Clip, DatasetLayout::CuhkPedes);
        recipe.epochs = 2;
        recipe.batch_size = 4;
        recipe.input = fixture::input();
        recipe.towers = TowerSettings {
            patch_px: 8,
            vision_width: 64,
            vision_layers: 1,
            text_width: 64,
            text_layers: 1,
            embedding_dimension: 16,
        };
        recipe.device.threads = 1;
        recipe.loading = fixture::loading(1);
        TrainRequest {
            recipe,
            base: None,
            tokenizer: Some(PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../demo/tokenizer.json"))),
            root: self.folder.path().join("data"),
            out: self.run(name),
        }
    }

    /// Trains to the end.
    fn train(&self, name: &str) -> PathBuf {
        train(&self.request(name), &mut (), &|| false).unwrap().run
    }

    /// Trains until it is interrupted.
    fn interrupt(&self, name: &str, behind: Behind) -> TrainSummary {
        let is_over = AtomicBool::new(false);
        let mut observer = Interrupting { behind, is_over: &is_over };
        let summary = train(&self.request(name), &mut observer, &|| is_over.load(Ordering::Relaxed)).unwrap();
        assert!(summary.was_cancelled);
        summary
    }
}

/// Where a run is interrupted.
#[derive(PartialEq)]
enum Behind {
    /// A step of the first epoch.
    Step(usize),
    /// All steps of an epoch, before its evaluation.
    Epoch(usize),
}

struct Interrupting<'a> {
    behind: Behind,
    is_over: &'a AtomicBool,
}

impl Interrupting<'_> {
    fn pass(&self, place: Behind) {
        self.is_over.fetch_or(self.behind == place, Ordering::Relaxed);
    }
}

impl TrainingObserver for Interrupting<'_> {
    fn started(&mut self, _: &StartReport) {}

    fn step(&mut self, report: &StepReport) {
        self.pass(Behind::Step(report.step));
    }

    fn epoch_ended(&mut self, report: &EpochReport) {
        self.pass(Behind::Epoch(report.epoch));
    }

    fn evaluated(&mut self, _: &EvaluationReport) {}
}

fn go_on(run: &Path, settings: &[(&str, &str)]) -> Result<TrainSummary, TrainError> {
    let settings: Vec<(String, String)> =
        settings.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
    resume(run, &settings, &mut (), &|| false)
}

fn description(run: &Path) -> Value {
    serde_json::from_slice(&fs::read(run.join("run.json")).unwrap()).unwrap()
}

/// Places of images that could not be read, as the run's state has them.
fn unreadable(run: &Path) -> Vec<usize> {
    let (_folder, state) = RunFolder::open(run).unwrap();
    state.unwrap().progress.unreadable_images
}

/// Lines of the metrics without what a clock said and without those of sessions.
fn lines(run: &Path) -> Vec<Value> {
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let mut lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    lines.retain(|line| line["kind"] != "start");
    for line in &mut lines {
        let fields = line.as_object_mut().unwrap();
        fields.retain(|field, _| !["seconds", "pairs_per_second"].contains(&field.as_str()));
    }
    lines
}

#[test]
fn an_interrupted_evaluation_is_done_again() {
    let stand = Stand::new();
    let whole = stand.train("whole");
    for epoch in [1, 2] {
        let summary = stand.interrupt(&format!("interrupted-{epoch}"), Behind::Epoch(epoch));
        assert_eq!(summary.position, Position { epoch, step: STEPS_AN_EPOCH });
        assert_eq!(summary.best.map(|best| best.epoch), (epoch > 1).then_some(1));
        // A continuation may be interrupted there as well.
        assert!(resume(&summary.run, &[], &mut (), &|| true).unwrap().was_cancelled);
        assert!(!go_on(&summary.run, &[]).unwrap().was_cancelled);
        assert_eq!(lines(&summary.run), lines(&whole));
        for name in ["last.safetensors", "best.safetensors"] {
            let read = |run: &Path| fs::read(run.join(name)).unwrap();
            assert!(read(&summary.run) == read(&whole), "{name} differs");
        }
    }
}

#[test]
fn a_run_goes_on_with_the_pairs_it_began_with() {
    let stand = Stand::new();
    let run = stand.interrupt("run", Behind::Step(1)).run;
    let annotations = fs::read(stand.annotations()).unwrap();
    assert_eq!(description(&run)["dataset_sha256"], descry_model::sha256_hex(&annotations));
    fs::write(stand.annotations(), [annotations.as_slice(), b"\n".as_slice()].concat()).unwrap();
    let message = go_on(&run, &[]).unwrap_err().to_string();
    for words in ["annotation file", "put that one back", "start a new run"] {
        assert!(message.contains(words), "{message}");
    }
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
