//! A tiny CLIP that is trained on a few images, and what its runs leave behind.

use crate::data::fixture;
use crate::report::{EpochReport, EvaluationReport, StartReport, StepReport};
use crate::run::RunFolder;
use crate::training::{resume, train};
use crate::{Method, Recipe, TowerSettings, TrainError, TrainRequest, TrainSummary, TrainingObserver};
use descry_evaluation::DatasetLayout;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
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
pub(super) const STEPS_AN_EPOCH: usize = 3;

/// A data set, and a tiny CLIP that is trained on it for two epochs.
pub(super) struct Stand {
    folder: TempDir,
}

impl Stand {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fixture::write_dataset(&folder.path().join("data"), &IMAGES);
        Self { folder }
    }

    fn run(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn annotations(&self) -> PathBuf {
        self.folder.path().join("data/reid_raw.json")
    }

    /// An image's file, by its place in the training split.
    pub(super) fn image(&self, place: usize) -> PathBuf {
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
            tokenizer: Some(PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../demo/tokenizer.json"))),
            root: self.folder.path().join("data"),
            out: self.run(name),
        }
    }

    /// Trains to the end.
    pub(super) fn train(&self, name: &str) -> PathBuf {
        train(&self.request(name), &mut (), &|| false).unwrap().run
    }

    /// Trains until it is interrupted.
    pub(super) fn interrupt(&self, name: &str, behind: Behind) -> TrainSummary {
        let is_over = AtomicBool::new(false);
        let mut observer = Interrupting { behind, is_over: &is_over };
        let summary = train(&self.request(name), &mut observer, &|| is_over.load(Ordering::Relaxed)).unwrap();
        assert!(summary.was_cancelled);
        summary
    }
}

/// Where a run is interrupted.
#[derive(PartialEq)]
pub(super) enum Behind {
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

pub(super) fn go_on(run: &Path, settings: &[(&str, &str)]) -> Result<TrainSummary, TrainError> {
    let settings: Vec<(String, String)> =
        settings.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
    resume(run, &settings, &mut (), &|| false)
}

pub(super) fn description(run: &Path) -> Value {
    serde_json::from_slice(&fs::read(run.join("run.json")).unwrap()).unwrap()
}

/// Places of images that could not be read, as the run's state has them.
pub(super) fn unreadable(run: &Path) -> Vec<usize> {
    let (_folder, state) = RunFolder::open(run).unwrap();
    state.unwrap().progress.unreadable_images
}

/// All lines of the metrics.
pub(super) fn records(run: &Path) -> Vec<Value> {
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Lines of the metrics without what a clock said and without those of sessions.
pub(super) fn lines(run: &Path) -> Vec<Value> {
    let mut lines = records(run);
    lines.retain(|line| line["kind"] != "start");
    for line in &mut lines {
        let fields = line.as_object_mut().unwrap();
        fields.retain(|field, _| !["seconds", "pairs_per_second"].contains(&field.as_str()));
    }
    lines
}
