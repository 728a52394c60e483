//! Everything that can go wrong with a model bundle and its inputs.

use crate::Method;
use std::path::PathBuf;

/// Why a bundle, an image, a text or a feature vector is unusable.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// Tower output that cannot be normalised.
    #[error("features have no direction (length {length}); the tower produced zeros, NaN or infinity")]
    UnusableFeatures {
        /// Euclidean length found.
        length: f64,
    },
    /// Not 64 hexadecimal digits.
    #[error("not a model fingerprint (64 lower-case hexadecimal digits): {text:?}")]
    MalformedFingerprint {
        /// The text, cut to 80 characters.
        text: String,
    },
    /// Not the name of a published method.
    #[error("{text:?} is no method, expected one of {}", Method::names())]
    UnknownMethod {
        /// The text, cut to 40 characters.
        text: String,
    },
    /// A bundle's file that cannot be read.
    #[error("cannot read {path}: {source}; is this a folder written by `descry export`?")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A manifest that is not valid.
    #[error("{path} is not a usable manifest: {reason}")]
    Manifest {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A file that is not the one the manifest describes.
    #[error("{path} has SHA-256 {found}, the manifest says {expected}; the bundle is damaged, export it again")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Digest in the manifest.
        expected: String,
        /// Digest of the file.
        found: String,
    },
    /// Image bytes that do not decode.
    #[error("not a readable image: {reason}")]
    Image {
        /// The decoder's reason.
        reason: String,
    },
    /// An image over a configured limit.
    #[error("image of {width}x{height} pixels is over the limit of {max_pixels} pixels")]
    ImageTooLarge {
        /// Width in pixels as the header states it.
        width: u32,
        /// Height in pixels as the header states it.
        height: u32,
        /// The limit.
        max_pixels: u64,
    },
    /// Work on an image that ended early: its [`Patience`](crate::Patience) was over.
    #[error("nobody waits for the image any more")]
    Abandoned,
    /// A tokenizer file that cannot be used.
    #[error("unusable tokenizer: {reason}")]
    Tokenizer {
        /// What is wrong.
        reason: String,
    },
    /// A text of nothing but letters that the vocabulary lacks.
    #[error(
        "nothing of the text is left: the model's vocabulary has no token for {letters}; say it in other words, or use a \
         model with a complete vocabulary such as CLIP's own"
    )]
    UnknownLetters {
        /// The letters, and in which words.
        letters: String,
    },
    /// A text without content.
    #[error("the text is empty")]
    EmptyText,
    /// A text over a configured limit.
    #[error("text of {bytes} bytes is over the limit of {max_bytes} bytes")]
    TextTooLong {
        /// Length in bytes.
        bytes: usize,
        /// The limit.
        max_bytes: usize,
    },
}
