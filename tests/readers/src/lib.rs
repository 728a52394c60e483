//! Everything that reads what comes from outside, each as one function of bytes: what it may do with them is refuse, and what
//! it takes must keep its promises. `fuzz/` feeds them with what libFuzzer makes up, `tests/changed_copies.rs` with changed
//! copies of the files in `fuzz/corpus`.

#![expect(clippy::unwrap_used, reason = "a broken promise is a panic, which is what is looked for")]

pub mod boxes;
pub mod checkpoint;
pub mod embeddings;
pub mod filter;
pub mod image;
pub mod journal;
pub mod manifest;
pub mod metadata;
pub mod requests;
pub mod shard;
pub mod tokenizer;

/// What reads bytes, and panics where a promise is broken.
pub type Read = fn(&[u8]);

/// The readers, by the names of their folders in `fuzz/corpus`.
pub const READERS: &[(&str, Read)] = &[
    ("boxes", boxes::read),
    ("checkpoint", checkpoint::read),
    ("embeddings", embeddings::read),
    ("filter", filter::read),
    ("image", image::read),
    ("journal", journal::read),
    ("manifest", manifest::read),
    ("metadata", metadata::read),
    ("requests", requests::read),
    ("shard", shard::read),
    ("tokenizer", tokenizer::read),
];
