//! A pickle as a graph of plain values. Nothing is ever imported or called: a pickle is a small program, and this reads
//! what the program says without doing it.
//!
//! Globals stay names and calls stay descriptions of calls ([`Value::Built`]), for the reader of the result to
//! interpret. All values live in one list and refer to each other by index, so hostile nesting costs no stack: not when
//! reading, and not when the values are dropped.

mod code_runners;
mod input;
mod machine;
mod opcode;
#[cfg(test)]
mod tests;
mod values;

pub(super) use values::{Global, Pickle, PickleFault, Value, ValueId};

impl<'a> Pickle<'a> {
    /// Reads a pickle of protocol 0 to 5 up to its STOP.
    ///
    /// Memory is at most a constant times the length of `bytes`, and limited besides.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self, PickleFault> {
        machine::run(bytes)
    }
}
