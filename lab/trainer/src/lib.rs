//! Fine-tunes CLIP with DM-Adapter or UP-Person, and trains small CLIPs from nothing.
//!
//! A run reads a base checkpoint and a data set, trains exactly the parameters that the method publishes, and leaves a
//! folder that `descry export` and the published Python code read.
//!
//! The order of things: `recipe` (what to do) → `data` (pairs to batches, on threads of their own) → `tower` (batches to
//! features; `operation` holds what is computed, forwards and backwards) → `loss` → `step` (a batch in parts, on the threads of
//! `batch_parts`, to gradients) → `optimizer` → `run` (what is written). `training` is the loop around them.
//!
//! Must never be needed at serving time.

mod assembly;
mod batch_parts;
mod data;
mod error;
mod evaluation;
mod initialization;
mod loss;
mod memory;
mod model;
mod operation;
mod optimizer;
mod parameters;
#[cfg(test)]
mod parity_tests;
mod recipe;
mod report;
mod run;
mod schedule;
mod step;
mod step_measurement;
mod tower;
mod training;

pub use descry_model::Method;
pub use error::TrainError;
pub use recipe::{
    AugmentationSettings, CheckpointSettings, DeviceKind, DeviceSettings, DmAdapterSettings, EvaluationSettings,
    InputSettings, LoadingSettings, LossSettings, MatchingLoss, OptimizerSettings, Preset, Recipe, SamplerSettings,
    ScheduleSettings, TowerSettings, TrainingPrecision, UpPersonSettings,
};
pub use report::{
    EpochReport, EvaluationReport, Position, StartReport, StepReport, TrainRequest, TrainSummary, TrainingObserver,
};
pub use step_measurement::{MeasuredModel, StepBenchmark, StepTimes, measure_steps};
pub use training::{resume, train};
