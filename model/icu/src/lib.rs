//! The one part of ICU4X that plsfix uses, under the name by which it asks for it.
#![no_std]

pub use icu_normalizer as normalizer;
