//! Checkpoints from where they lie: a model hub's repository, or a file on the web.
//!
//! What arrives is bytes and stays bytes: nothing of it is run. Files of a hub lie in the hub's own cache layout
//! (`models--OWNER--REPO/{blobs,refs,snapshots}`), so that what its usual client fetched is found here, and the other way
//! round. A file that is on its way has a name of its own, and gets the final one when it is whole and checked.

mod address;
mod asking;
mod config;
mod content_hash;
mod error;
mod hub;
mod place;
mod transfer;
mod web;

pub use self::config::Settings;
pub use address::{Address, Token};
pub use error::DownloadError;
pub use place::Place;

use std::path::PathBuf;

/// How far a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress<'a> {
    /// The file's name.
    pub file: &'a str,
    /// Bytes that are here.
    pub done_bytes: u64,
    /// Bytes of the whole file, where the server says so.
    pub total_bytes: Option<u64>,
}

/// Fetches what lies at a place, unless it is here already, and says where it is now. Of a repository that is its weights,
/// or the index of their shards, with the settings beside it.
///
/// # Errors
/// When the place cannot be reached, refuses, or sends something else than it announced; a file of this machine is taken as
/// it is, and never fails here.
pub fn fetch(
    place: &Place,
    settings: &Settings,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<PathBuf, DownloadError> {
    match place {
        Place::Local(path) => Ok(path.clone()),
        Place::Hub { repository, revision, file } => {
            hub::fetch(repository, revision, file.as_deref(), settings, progress)
        }
        Place::Web(url) => web::fetch(url, settings, progress),
    }
}
