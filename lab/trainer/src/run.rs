//! The run folder: everything that a run leaves behind, whole at any moment.
//!
//! | file | what |
//! |---|---|
//! | `run.json` | what the run was asked for; written last when a folder is made, so it marks a run |
//! | `tokenizer.json` | the vocabulary |
//! | `configs.yaml` | the published code's settings file |
//! | `metrics.jsonl`, `curves.svg` | the history: how it went |
//! | `last.safetensors`, `best.safetensors` | weights under the published names |
//! | `state.safetensors` | what a continuation needs |
//! | `run.lock` | locked while a process trains into the folder |

mod claim;
mod curves;
mod description;
mod durable_file;
mod files;
mod history;
mod published_settings;
mod state;
mod tensor_file;
#[cfg(test)]
mod tests;

pub(crate) use description::RunDescription;
pub(crate) use files::WeightsFile;
pub(crate) use history::HistoryRecord;
pub(crate) use published_settings::ModelShape;
pub(crate) use state::{Progress, TrainingState};

use crate::TrainError;
use claim::{check_empty, lock, remove_partial_files};
use files::{CURVES, DESCRIPTION, HISTORY, LOCK, SETTINGS, STATE, TOKENIZER, unreadable, unwritable};
use half::f16;
use history::History;
use ndarray::ArrayD;
use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use tensor_file::Element;

/// A run folder that this process alone writes.
#[derive(Debug)]
pub(crate) struct RunFolder {
    path: PathBuf,
    description: RunDescription,
    history: History,
    /// Holds the lock until it is dropped.
    _lock: File,
}

impl RunFolder {
    /// Makes the folder of a new run. Its description is read back from the file, so that a continuation has the same
    /// numbers to the last bit.
    ///
    /// # Errors
    /// [`TrainError::RunFolder`] for a folder that holds a run or anything else; [`TrainError::Unwritable`].
    pub(crate) fn create(path: &Path, description: &RunDescription, tokenizer: &[u8]) -> Result<Self, TrainError> {
        let path = std::path::absolute(path).map_err(|source| unreadable(path, source))?;
        check_empty(&path)?;
        fs::create_dir_all(&path).map_err(|source| unwritable(&path, source))?;
        let lock = lock(&path)?;
        // Again: another process may have made its run between the look and the lock.
        check_empty(&path)?;
        durable_file::write(&path.join(TOKENIZER), |writer| writer.write_all(tokenizer))?;
        let mut history = History::new(path.join(HISTORY), 0);
        history.sync()?;
        description.write(&path.join(DESCRIPTION))?;
        let description = RunDescription::read(&path.join(DESCRIPTION))?;
        Ok(Self { path, description, history, _lock: lock })
    }

    /// Takes back what [`RunFolder::create`] made: for a run that could not begin, so that the corrected command finds its
    /// folder free.
    pub(crate) fn abandon(self) {
        for name in [DESCRIPTION, TOKENIZER, SETTINGS, HISTORY, STATE, LOCK] {
            // What cannot be removed stays; the error that is on its way says more than this one would.
            let _ = fs::remove_file(self.path.join(name));
        }
        let _ = fs::remove_dir(&self.path);
    }

    /// Opens the folder of a run to go on, with the state it was saved in: `None` where it was never saved, so that it
    /// begins anew. Lines of the history that are of later than that state are cut off when the first one is added.
    ///
    /// # Errors
    /// [`TrainError::RunFolder`] for a folder that holds no run, is in use or is damaged.
    pub(crate) fn open(path: &Path) -> Result<(Self, Option<TrainingState>), TrainError> {
        let path = std::path::absolute(path).map_err(|source| unreadable(path, source))?;
        if !path.join(DESCRIPTION).is_file() {
            let reason = format!("it holds no run: there is no {DESCRIPTION}; start one with --out");
            return Err(TrainError::RunFolder { path, reason });
        }
        let lock = lock(&path)?;
        let description = RunDescription::read(&path.join(DESCRIPTION))?;
        let state = TrainingState::read(&path.join(STATE))?;
        remove_partial_files(&path)?;
        let kept_bytes = state.as_ref().map_or(0, |state| state.progress.metrics_bytes);
        let history = History::new(path.join(HISTORY), kept_bytes);
        Ok((Self { path, description, history, _lock: lock }, state))
    }

    /// The folder, absolute.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What the run was asked for.
    pub(crate) fn description(&self) -> &RunDescription {
        &self.description
    }

    /// Takes another description: what is given when a run goes on, and what it finds out at its start. It is written
    /// down when the run begins.
    pub(crate) fn describe(&mut self, description: RunDescription) {
        self.description = description;
    }

    /// Writes down what is known before the first step: the description, where it has changed, and the settings. To be
    /// called when nothing can refuse the run any more.
    ///
    /// # Errors
    /// [`TrainError::Unwritable`].
    pub(crate) fn begin(&self, shape: &ModelShape) -> Result<(), TrainError> {
        let path = self.path.join(DESCRIPTION);
        if RunDescription::read(&path)? != self.description {
            self.description.write(&path)?;
        }
        self.write_settings(shape)
    }

    /// What to tell of a saved state that can be read and yet is no state of this run.
    pub(crate) fn damaged_state(&self, reason: &str) -> TrainError {
        state::damaged(&self.path.join(STATE), reason)
    }

    /// The run's own copy of the vocabulary.
    pub(crate) fn tokenizer_path(&self) -> PathBuf {
        self.path.join(TOKENIZER)
    }

    /// Where weights are or will be.
    pub(crate) fn weights_path(&self, file: WeightsFile) -> PathBuf {
        self.path.join(file.name())
    }

    /// Writes the settings that `descry export` and the published code read beside the weights.
    fn write_settings(&self, shape: &ModelShape) -> Result<(), TrainError> {
        let RunDescription { recipe, base, root, .. } = &self.description;
        let text = published_settings::text(recipe, shape, base.as_deref(), root, &self.path);
        durable_file::write(&self.path.join(SETTINGS), |writer| writer.write_all(text.as_bytes()))
    }

    /// Writes weights under their published names, in float32 or, if `half`, rounded to float16.
    ///
    /// # Errors
    /// [`TrainError::RunFolder`] for values that float16 does not hold; [`TrainError::Unwritable`].
    pub(crate) fn write_weights(
        &self,
        file: WeightsFile,
        tensors: &BTreeMap<String, ArrayD<f32>>,
        half: bool,
    ) -> Result<(), TrainError> {
        let path = self.weights_path(file);
        let overflows = |value: &f32| value.is_finite() && f16::from_f32(*value).is_infinite();
        let too_large = tensors.iter().find(|(_, tensor)| tensor.iter().any(overflows));
        if let Some((name, _)) = too_large.filter(|_| half) {
            let reason = format!("tensor `{name}` has values above 65504, which float16 does not hold");
            return Err(TrainError::RunFolder { path, reason });
        }
        let element = if half { Element::Float16 } else { Element::Float32 };
        // What PyTorch's own loader expects to find.
        let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
        tensor_file::write(&path, tensors, element, metadata)
    }

    /// Saves what a continuation needs, together with the history so far.
    pub(crate) fn save_state(&mut self, state: &TrainingState) -> Result<(), TrainError> {
        let metrics_bytes = self.history.sync()?;
        state.write(&self.path.join(STATE), metrics_bytes)
    }

    /// Adds a line to the history.
    pub(crate) fn append_history(&mut self, record: &HistoryRecord) -> Result<(), TrainError> {
        self.history.append(record)
    }

    /// Draws the history so far. Without any there is no drawing.
    pub(crate) fn draw_curves(&self) -> Result<(), TrainError> {
        let history = self.path.join(HISTORY);
        let text = fs::read_to_string(&history).map_err(|source| unreadable(&history, source))?;
        let recipe = &self.description.recipe;
        let title = format!("{} on {}", recipe.method, recipe.dataset);
        let path = self.path.join(CURVES);
        let drawing = curves::draw(&title, &history::parse(&text))
            .map_err(|reason| unwritable(&path, std::io::Error::other(reason)))?;
        let Some(drawing) = drawing else { return Ok(()) };
        durable_file::write(&path, |writer| writer.write_all(drawing.as_bytes()))
    }
}
