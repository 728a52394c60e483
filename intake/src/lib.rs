//! What goes into a gallery, and what of it is already there.
//!
//! [`ImageSource`] finds images in folders, file lists, tar archives and WebDataset shards; [`read_metadata`] reads what
//! is known of them from CSV, JSON or Parquet; [`EmbeddingFile`] reads embeddings that were computed elsewhere from
//! npz or Parquet, [`EmbeddingArchive`] and [`GalleryFile`] write them. [`Journal`] lets a killed job continue, and
//! [`FailureReport`] keeps what did not work.
//!
//! Everything that is read here comes from outside: sizes are bounded, and one bad image, row or shard is reported as a
//! [`SkippedEntry`] while the rest goes on. This crate decodes no image but the frames that crops are cut from, runs no model
//! and speaks to no service; it must never link ONNX Runtime or tonic.

mod archive_encoding;
mod bounded_pages;
mod capture_times;
mod csv_table;
mod embedding_archive;
mod embedding_file;
mod error;
mod exif_clock;
mod failure_report;
mod file_list;
mod flat_columns;
mod frame_boxes;
mod frame_crop;
mod frame_cutter;
mod frame_file;
mod gallery_file;
mod image_entry;
pub mod image_files;
mod image_records;
mod image_signature;
mod input_summary;
mod journal;
mod json_records;
mod left_out;
mod member_stream;
mod metadata_file;
mod npy_array;
mod npy_header;
mod npz;
mod parquet_embeddings;
mod partial_file;
mod record;
mod shard_samples;
mod sidecars;
mod source;
mod sparse_content;
mod table_columns;
mod tar_members;
mod text_file;
mod text_lines;
mod time_sources;

pub use capture_times::TimePattern;
pub use embedding_archive::EmbeddingArchive;
pub use embedding_file::{EmbeddingFile, EmbeddingOptions, EmbeddingRow};
pub use error::IntakeError;
pub use exif_clock::ExifClock;
pub use failure_report::{Failure, FailureReport};
pub use frame_boxes::{BoxFormat, BoxOptions};
pub use frame_crop::{FrameCrop, FrameCrops, FramePart, MAX_FRAME_PIXELS};
pub use frame_cutter::{TURNED as FRAME_TURNED_ATTRIBUTE, UPRIGHT as FRAME_UPRIGHT};
pub use gallery_file::{GalleryFile, GalleryFileHeader};
pub use image_entry::{Content, FileVersion, ImageEntry, SkippedEntry};
pub use input_summary::InputSummary;
pub use journal::{JobIdentity, Journal, forget_images};
pub use left_out::{LeftOut, LeftOutKind};
pub use metadata_file::{MetadataById, MetadataTable, read_metadata, read_metadata_table};
pub use record::{CropBox, KnownMetadata, parse_time_ms};
pub use source::{ImageSource, SourceOptions};
pub use text_file::read_text;
pub use time_sources::TimeSources;
