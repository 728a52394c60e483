//! The behaviours of the whole system, one module each.

mod towers;
