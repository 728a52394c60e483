//! What the whole-system tests stand on: golden data, exported bundles, running services.

mod golden;

pub use golden::{export_fixture, golden_folder};
