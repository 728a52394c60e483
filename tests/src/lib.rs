//! What the whole-system tests stand on: golden data, exported bundles, running services, the `descry` program.
//!
//! Everything here panics when it cannot do its work: a test that needs it has nothing to test then.

mod forged;
mod golden;
mod program;
mod stack;

pub use forged::{enormous_png, stored_zip};
pub use golden::{
    demo_bundle, demo_folder, export_fixture, export_form, fixture_with_tokenizer, golden_folder, write_safetensors,
};
pub use program::{descry, program};
pub use stack::TestStack;
