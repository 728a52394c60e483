//! What a model is, without running it: the bundle's manifest and fingerprint, image preprocessing, the tokenizer and
//! [`Embedding`].
//!
//! Must never link ONNX Runtime or tonic: export, both services and the trainer share this crate, and each of them must
//! see the same pixels, the same token ids and the same names.

mod bundle;
mod caption_rules;
mod embedding;
mod error;
mod exif;
mod fingerprint;
mod image_cost;
mod image_header;
mod image_preprocess;
mod jpeg;
pub mod manifest;
pub mod method;
mod orientation;
mod patience;
mod png_file;
mod png_notes;
mod resize;
pub mod text_input;
mod text_tokenizer;
mod vocabulary_gaps;
mod webp_file;

pub use bundle::{Bundle, file_sha256};
pub use embedding::Embedding;
pub use error::ModelError;
pub use exif::ExifTime;
pub use fingerprint::{Fingerprint, sha256_hex};
pub use image_cost::image_cost;
pub use image_header::{ImageHeader, exif_time};
pub use image_preprocess::{decode_image, preprocess_image, preprocess_patiently};
pub use manifest::{
    CaptionRules, Dialect, ImageInput, Manifest, ParityBounds, Precision, ResizeFilter, Source, TextInput,
};
pub use method::Method;
pub use patience::Patience;
pub use resize::{RgbImage, resize};
pub use text_tokenizer::{
    END_OF_TEXT, MASK, MAX_TOKENIZER_BYTES, START_OF_TEXT, TextTokenizer, TokenizedText, Vocabulary,
};
