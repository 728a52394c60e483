//! The lines of `metrics.jsonl`.

use crate::{EpochReport, EvaluationReport, StartReport, StepReport};
use descry_evaluation::RetrievalMetrics;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One line. Epochs and steps count from 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum MetricsRecord {
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

impl From<&StartReport> for MetricsRecord {
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

impl From<&StepReport> for MetricsRecord {
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

impl From<&EvaluationReport> for MetricsRecord {
    fn from(report: &EvaluationReport) -> Self {
        Self::Evaluation(report.into())
    }
}

impl From<&EpochReport> for MetricsRecord {
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
