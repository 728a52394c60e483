//! The client against a service that does what a test wants to see: streams that break, generations that lack something.

// Without this, lints count helpers of an integration test as shipped code.
#![cfg(test)]

mod in_memory;
mod model_change;
mod service;
mod watching;
