//! `metrics.jsonl`, how the run went: one JSON object a line.

use crate::{EpochReport, EvaluationReport, StartReport, StepReport, TrainError};
use descry_evaluation::RetrievalMetrics;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::PathBuf;

/// The file, open at its end as soon as something is written.
#[derive(Debug)]
pub(super) struct History {
    path: PathBuf,
    file: Option<File>,
    bytes: u64,
}

impl History {
    /// Keeps `kept_bytes` of the file, or the whole lines of less where a power cut took the end. It is begun or cut
    /// only when something is written: before that a continuation can still be refused.
    pub(super) fn new(path: PathBuf, kept_bytes: u64) -> Self {
        Self { path, file: None, bytes: kept_bytes }
    }

    /// Adds a line, in one piece. It is on disk after the next [`History::sync`].
    pub(super) fn append(&mut self, record: &HistoryRecord) -> Result<(), TrainError> {
        let written = serde_json::to_vec(record).map_err(io::Error::from).and_then(|mut line| {
            line.push(b'\n');
            self.file()?.write_all(&line)?;
            Ok(line.len() as u64)
        });
        self.bytes += written.map_err(|source| TrainError::Unwritable { path: self.path.clone(), source })?;
        Ok(())
    }

    /// Brings all lines to the disk and says how long they are.
    pub(super) fn sync(&mut self) -> Result<u64, TrainError> {
        let synced = self.file().and_then(|file| file.sync_data());
        synced.map_err(|source| TrainError::Unwritable { path: self.path.clone(), source })?;
        Ok(self.bytes)
    }

    fn file(&mut self) -> io::Result<&mut File> {
        let file = match self.file.take() {
            Some(file) => file,
            None => {
                let mut options = OpenOptions::new();
                let mut file = options.read(true).write(true).create(true).truncate(false).open(&self.path)?;
                self.bytes = cut(&mut file, self.bytes)?;
                file
            }
        };
        Ok(self.file.insert(file))
    }
}

fn cut(file: &mut File, kept_bytes: u64) -> io::Result<u64> {
    let mut kept = Vec::new();
    (&*file).take(kept_bytes).read_to_end(&mut kept)?;
    let end = kept.iter().rposition(|&byte| byte == b'\n').map_or(0, |last| last as u64 + 1);
    file.set_len(end)?;
    file.seek(SeekFrom::Start(end))?;
    Ok(end)
}

/// The records of a text; lines that are none, such as a torn last one, are left out.
pub(super) fn parse(text: &str) -> Vec<HistoryRecord> {
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// One line. Epochs and steps count from 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum HistoryRecord {
    /// A session begins.
    Start(StartRecord),
    /// A step.
    Step(StepRecord),
    /// An evaluation.
    Evaluation(EvaluationRecord),
    /// An epoch is over.
    Epoch(EpochRecord),
}

/// A session begins.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct StartRecord {
    /// As in settings files.
    pub(crate) method: String,
    pub(crate) trained_parameters: usize,
    pub(crate) total_parameters: usize,
    pub(crate) pairs: usize,
    pub(crate) identities: usize,
    pub(crate) images: usize,
    pub(crate) steps_per_epoch: usize,
    pub(crate) device: String,
    pub(crate) threads: usize,
    /// Epoch and steps of it that were done.
    pub(crate) resumed_at: Option<(usize, usize)>,
}

/// A step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct StepRecord {
    pub(crate) epoch: usize,
    pub(crate) step: usize,
    pub(crate) steps_in_epoch: usize,
    pub(crate) loss: f64,
    pub(crate) parts: BTreeMap<String, f64>,
    pub(crate) learning_rate: f64,
    pub(crate) gradient_norm: f64,
    pub(crate) pairs_per_second: f64,
}

/// An evaluation; the retrieval numbers are percentages.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct EvaluationRecord {
    pub(crate) epoch: usize,
    pub(crate) split: String,
    pub(crate) rank_1: f64,
    pub(crate) rank_5: f64,
    pub(crate) rank_10: f64,
    pub(crate) mean_average_precision: f64,
    pub(crate) mean_inverse_negative_penalty: f64,
    pub(crate) queries: usize,
    pub(crate) gallery: usize,
    pub(crate) unmatched_queries: usize,
    pub(crate) is_best: bool,
    pub(crate) seconds: f64,
}

/// An epoch is over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct EpochRecord {
    pub(crate) epoch: usize,
    pub(crate) mean_loss: f64,
    pub(crate) seconds: f64,
    pub(crate) pairs_per_second: f64,
    pub(crate) unreadable_images: usize,
}

impl From<&StartReport> for HistoryRecord {
    fn from(report: &StartReport) -> Self {
        Self::Start(StartRecord {
            method: report.method.to_string(),
            trained_parameters: report.trained_parameters,
            total_parameters: report.total_parameters,
            pairs: report.pairs,
            identities: report.identities,
            images: report.images,
            steps_per_epoch: report.steps_per_epoch,
            device: report.device.clone(),
            threads: report.threads,
            resumed_at: report.resumed_at.map(|position| (position.epoch, position.step)),
        })
    }
}

impl From<&StepReport> for HistoryRecord {
    fn from(report: &StepReport) -> Self {
        Self::Step(StepRecord {
            epoch: report.epoch,
            step: report.step,
            steps_in_epoch: report.steps_in_epoch,
            loss: report.loss,
            parts: report.parts.clone(),
            learning_rate: report.learning_rate,
            gradient_norm: report.gradient_norm,
            pairs_per_second: report.pairs_per_second,
        })
    }
}

impl From<&EvaluationReport> for HistoryRecord {
    fn from(report: &EvaluationReport) -> Self {
        Self::Evaluation(report.into())
    }
}

impl From<&EpochReport> for HistoryRecord {
    fn from(report: &EpochReport) -> Self {
        Self::Epoch(EpochRecord {
            epoch: report.epoch,
            mean_loss: report.mean_loss,
            seconds: report.seconds,
            pairs_per_second: report.pairs_per_second,
            unreadable_images: report.unreadable_images,
        })
    }
}

impl From<&EvaluationReport> for EvaluationRecord {
    fn from(report: &EvaluationReport) -> Self {
        let metrics = &report.metrics;
        Self {
            epoch: report.epoch,
            split: report.split.clone(),
            rank_1: metrics.rank1,
            rank_5: metrics.rank5,
            rank_10: metrics.rank10,
            mean_average_precision: metrics.map,
            mean_inverse_negative_penalty: metrics.minp,
            queries: metrics.queries,
            gallery: metrics.gallery,
            unmatched_queries: metrics.unmatched_queries,
            is_best: report.is_best,
            seconds: report.seconds,
        }
    }
}

impl From<&EvaluationRecord> for EvaluationReport {
    fn from(record: &EvaluationRecord) -> Self {
        Self {
            epoch: record.epoch,
            split: record.split.clone(),
            metrics: RetrievalMetrics {
                rank1: record.rank_1,
                rank5: record.rank_5,
                rank10: record.rank_10,
                map: record.mean_average_precision,
                minp: record.mean_inverse_negative_penalty,
                queries: record.queries,
                gallery: record.gallery,
                unmatched_queries: record.unmatched_queries,
            },
            is_best: record.is_best,
            seconds: record.seconds,
        }
    }
}
