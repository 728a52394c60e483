//! A drawn data set, runs on it that several tests look at, and what runs leave behind.

use crate::stands::commands::{Running, fail, succeed};
use descry_tests::demo_folder;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView, serialize_to_file};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use tempfile::TempDir;

/// What every run here begins with: seconds for two epochs, in a build without optimisation too.
const SETTINGS: [&str; 5] =
    ["epochs=1", "batch_size=16", "device.threads=2", "towers.vision_layers=2", "towers.text_layers=2"];

/// Ten steps of 16 pairs an epoch.
const IDENTITIES: usize = 24;
pub(super) const STEPS_AN_EPOCH: usize = 10;

/// `descry train`, as it is asked for.
#[derive(Clone, Copy)]
pub(super) struct Training<'a> {
    pub(super) method: &'a str,
    pub(super) base: Option<&'a Path>,
    pub(super) data: &'a Path,
    pub(super) out: &'a Path,
    /// These win over those that every run here begins with.
    pub(super) settings: &'a [&'a str],
}

impl<'a> Training<'a> {
    /// A CLIP from nothing.
    pub(super) fn of_clip(out: &'a Path) -> Self {
        Self { method: "clip", base: None, data: data(), out, settings: &[] }
    }

    /// A method on the plain CLIP of [`finished`].
    pub(super) fn of(method: &'a str, out: &'a Path) -> Self {
        static BASE: OnceLock<PathBuf> = OnceLock::new();
        let base = BASE.get_or_init(|| finished("clip").folder.join("best.safetensors"));
        Self { method, base: Some(base), ..Self::of_clip(out) }
    }

    pub(super) fn arguments(&self) -> Vec<String> {
        let path = |path: &Path| path.to_str().unwrap().to_owned();
        let words = ["train", "--method", self.method, "--preset", "small", "--dataset", "cuhk-pedes"];
        let mut arguments: Vec<String> = words.map(str::to_owned).to_vec();
        let tokenizer = demo_folder().join("tokenizer.json");
        for (flag, value) in [("--root", self.data), ("--out", self.out), ("--tokenizer", tokenizer.as_path())] {
            arguments.extend([flag.to_owned(), path(value)]);
        }
        if let Some(base) = self.base {
            arguments.extend(["--base".to_owned(), path(base)]);
        }
        for &setting in SETTINGS.iter().chain(self.settings) {
            arguments.extend(["--set".to_owned(), setting.to_owned()]);
        }
        arguments
    }

    /// Trains to the end; what was printed.
    #[track_caller]
    pub(super) fn succeed(&self) -> String {
        succeed(&borrowed(&self.arguments()))
    }

    /// Must not get to the end; what was complained of.
    #[track_caller]
    pub(super) fn fail(&self) -> String {
        fail(&borrowed(&self.arguments())).1
    }

    /// Trains beside the test.
    pub(super) fn start(&self) -> Running {
        Running::start(&borrowed(&self.arguments()))
    }
}

pub(super) fn borrowed(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}

/// What goes on with a run.
pub(super) fn resuming(run: &Path) -> [&str; 3] {
    ["train", "--resume", run.to_str().unwrap()]
}

/// A run that several tests look at.
pub(super) struct Finished {
    pub(super) folder: PathBuf,
    /// What it printed.
    pub(super) printed: String,
}

/// A method's run on [`data`], trained once a test run: plain CLIP from nothing, the others on that one.
pub(super) fn finished(method: &str) -> &'static Finished {
    static RUNS: [OnceLock<Finished>; 3] = [const { OnceLock::new() }; 3];
    let place = ["clip", "dm-adapter", "up-person"].iter().position(|name| *name == method).unwrap();
    RUNS[place].get_or_init(|| {
        let folder = shared_folder().join(method);
        let training = match method {
            "clip" => Training { settings: &["epochs=3"], ..Training::of_clip(&folder) },
            _ => Training::of(method, &folder),
        };
        let printed = training.succeed();
        Finished { folder, printed }
    })
}

/// Drawn once a test run. Not to be changed.
pub(super) fn data() -> &'static Path {
    static DATA: OnceLock<PathBuf> = OnceLock::new();
    DATA.get_or_init(|| {
        let data = shared_folder().join("data");
        draw(IDENTITIES, &data);
        data
    })
}

/// Draws a data set.
pub(super) fn draw(identities: usize, folder: &Path) {
    let identities = identities.to_string();
    let out = folder.to_str().unwrap();
    succeed(&["synth", "--identities", &identities, "--size", "128x48", "--threads", "2", "--out", out]);
}

fn shared_folder() -> &'static Path {
    static FOLDER: OnceLock<TempDir> = OnceLock::new();
    FOLDER.get_or_init(|| tempfile::tempdir().unwrap()).path()
}

/// The whole lines of a run's metrics that are of a kind; none before there is a file.
pub(super) fn records(run: &Path, kind: &str) -> Vec<Value> {
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap_or_default();
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|record| record["kind"] == kind).collect()
}

/// The last line of a kind.
#[track_caller]
pub(super) fn last_record(run: &Path, kind: &str) -> Value {
    records(run, kind).pop().unwrap_or_else(|| panic!("{} has no line of kind {kind}", run.display()))
}

/// A float32 tensor's shape and bytes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Stored {
    pub(super) shape: Vec<usize>,
    pub(super) bytes: Vec<u8>,
}

/// The tensors of a file, without the wrapper's prefix of their names.
pub(super) fn tensors(path: &Path) -> BTreeMap<String, Stored> {
    let file = fs::read(path).unwrap();
    let content = SafeTensors::deserialize(&file).unwrap();
    let tensors = content.tensors().into_iter().map(|(name, tensor)| {
        assert_eq!(tensor.dtype(), Dtype::F32, "{name}");
        let name = name.strip_prefix("base_model.").map(str::to_owned).unwrap_or(name);
        (name, Stored { shape: tensor.shape().to_vec(), bytes: tensor.data().to_vec() })
    });
    tensors.collect()
}

/// Writes tensors under the names they are given.
pub(super) fn write_tensors(path: &Path, tensors: &BTreeMap<String, Stored>) {
    let views = tensors.iter().map(|(name, stored)| {
        (name.as_str(), TensorView::new(Dtype::F32, stored.shape.clone(), &stored.bytes).unwrap())
    });
    serialize_to_file(views, None, path).unwrap();
}
