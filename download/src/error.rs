//! Why something could not be fetched, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A failure of a download. No message has a token, a password or a signed address in it: what is shown of an address is what
/// [`crate::Address`] shows of itself.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DownloadError {
    /// The place is written wrongly, or has not what is asked of it.
    #[error("{place}: {reason}")]
    Place {
        /// What was given.
        place: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A variable of the environment is unusable. What is in it is not shown, since it may be the token.
    #[error("{variable}: {reason}")]
    Environment {
        /// Which variable.
        variable: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The server refuses.
    #[error("{url} answers {status}: {advice}")]
    Refused {
        /// Where.
        url: String,
        /// The HTTP status.
        status: u16,
        /// What can be done.
        advice: &'static str,
    },
    /// The connection fails again and again.
    #[error("{url}: {reason}; what has arrived is kept, and the same command goes on from there")]
    Broken {
        /// Where.
        url: String,
        /// The last failure.
        reason: String,
        /// When the server wants to be asked again, where it says so.
        retry_after: Option<Duration>,
    },
    /// What came is not what was announced.
    #[error("{url}: {reason}")]
    Wrong {
        /// Where.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A file is larger than one of its kind may be, or the shards of a model are it together.
    #[error("{url} has more than {limit_bytes} bytes, the most that is fetched of its kind")]
    TooLarge {
        /// Where.
        url: String,
        /// The most that is fetched.
        limit_bytes: u64,
    },
    /// Not here, and nothing may be fetched.
    #[error(
        "{what} is not in {}, and nothing is fetched offline; the same command without --offline and HF_HUB_OFFLINE \
         fetches it",
        cache.display()
    )]
    Offline {
        /// What was wanted.
        what: String,
        /// Where it was looked for.
        cache: PathBuf,
    },
    /// Weights are here, but not what says how they are to be read, and nothing may be fetched.
    #[error(
        "the weights of {place} are in {}, but neither {missing}, which may belong to them, nor a note that the repository \
         lacks it; the same command without --offline and HF_HUB_OFFLINE fetches it",
        cache.display()
    )]
    Unsettled {
        /// Whose weights.
        place: String,
        /// What is missing.
        missing: String,
        /// Where it was looked for.
        cache: PathBuf,
    },
    /// The disk is full.
    #[error("no room for {}; what has arrived is kept, and the same command goes on from there", path.display())]
    Full {
        /// The file that could not grow.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file system fails otherwise.
    #[error("cannot use {}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Names the file of a failure.
pub(crate) fn at(path: &Path) -> impl FnOnce(io::Error) -> DownloadError {
    let path = path.to_owned();
    move |source| {
        if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
            DownloadError::Full { path, source }
        } else {
            DownloadError::File { path, source }
        }
    }
}
