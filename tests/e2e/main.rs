//! The behaviours of the whole system, one module each.

// Without this, lints count helpers of an integration test as shipped code.
#![cfg(test)]

// The stack of docker-compose.yml: its order, its users, its volumes.
mod compose;
// Data sets in the public layouts through `descry eval`, and the demo's gallery against published results.
mod evaluation;
// Checkpoints and flags that `descry export` must refuse, by name; sameness of what it writes.
mod exports;
// Number formats below float32, and devices.
mod forms;
// Input made to break things: each gives its named error, and the service goes on.
mod hostile_input;
// Killed processes: nothing acknowledged is lost, nothing is doubled.
mod kill;
// What an operator sees: traces, deadlines and metrics through both services.
mod observability;
// Both services over gRPC: galleries, indexing, searching, health, reflection.
mod services;
// The promises of `VectorStore`, against every store.
mod store_contract;
// The encoder's streams, priorities, timings and what it says of its device.
mod streams;
// The rules of the repository itself.
mod structure;
// Exported towers against the published code's outputs.
mod towers;
