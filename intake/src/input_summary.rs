//! What is to be said of inputs when they have been read to their end.

use crate::LeftOut;

/// What became of the inputs besides images and failures.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InputSummary {
    /// What is no image that can be read, and tells of none.
    pub left_out: LeftOut,
    /// What people should know of how the metadata file was read.
    pub notes: Vec<String>,
    /// Records of the metadata file without an image.
    pub unused_metadata: u64,
    /// The first of their image ids by name.
    pub first_unused_metadata: Vec<String>,
}
