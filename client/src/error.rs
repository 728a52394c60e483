//! Errors of the whole crate.

use crate::JobReport;
use descry_intake::{IntakeError, LeftOut};
use descry_trust::TrustError;
use std::path::PathBuf;
use std::time::Duration;
use tonic::{Code, Status};

/// Missing images named in a message.
const SHOWN_IDS: usize = 20;

/// Why something could not be done. The messages tell what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// Something that is no address of a service.
    #[error("{url:?} is not an address such as http://127.0.0.1:50051")]
    Address {
        /// What was given.
        url: String,
    },
    /// Something that cannot be sent as a token. It is not shown: it may be one, with a mistake.
    #[error("the token cannot be used: it must be one word of plain letters, as `descry token create` prints it")]
    Token,
    /// Nobody listens at an address.
    #[error("no service answers at {url}; start one with `descry serve --model BUNDLE`")]
    NoService {
        /// The address.
        url: String,
        /// What broke.
        source: tonic::transport::Error,
    },
    /// Who answers at an address is not who it should be, or does not trust the caller.
    #[error("{url}: {reason}")]
    Untrusted {
        /// The address.
        url: String,
        /// What went wrong, and what to do.
        reason: String,
    },
    /// The files for TLS cannot be used.
    #[error(transparent)]
    Tls(#[from] TrustError),
    /// The service refused. Its message tells what to do, its code only confuses people; programs find it in
    /// [`ClientError::code`].
    #[error("{}", words(.0))]
    Refused(Box<Status>),
    /// The service was down, full or slow, for as long as was waited.
    #[error("the service was not available for {} s: {}", .retry_for.as_secs(), words(status))]
    Unavailable {
        /// How long it was tried.
        retry_for: Duration,
        /// What it said last.
        status: Box<Status>,
    },
    /// A job that ended before everything was in the gallery. It continues when it is begun again.
    #[error("{in_gallery} images of this job are in the gallery; run the command again to continue")]
    Incomplete {
        /// Images that were acknowledged, in this run and, as its journal says, in earlier ones.
        in_gallery: u64,
        /// Why it ended.
        source: Box<ClientError>,
    },
    /// The service answered fewer items than it was asked for, or said nothing of one.
    #[error("the service answered {answered} of {asked} {what}; client and service may be of different versions")]
    ShortAnswer {
        /// What was asked for, in the plural.
        what: &'static str,
        /// How many were answered.
        answered: usize,
        /// How many were asked for.
        asked: usize,
    },
    /// An answer that makes no sense.
    #[error("the service gave {what}; client and service may be of different versions")]
    StrangeAnswer {
        /// What it gave.
        what: &'static str,
    },
    /// A file that cannot be used.
    #[error(transparent)]
    Intake(#[from] IntakeError),
    /// Inputs without images.
    #[error("there is no image in {input} (JPEG, PNG, WebP and BMP are read){}", listed(left_out))]
    NoImages {
        /// The first input.
        input: PathBuf,
        /// What there is instead.
        left_out: Box<LeftOut>,
    },
    /// A file of embeddings without one.
    #[error("{path} holds no embedding")]
    NoEmbeddings {
        /// The file.
        path: PathBuf,
    },
    /// A generation that is not there.
    #[error("gallery {gallery:?} has no generation {generation}; `descry gallery reembed` begins one")]
    NoGeneration {
        /// The gallery.
        gallery: String,
        /// The generation's number.
        generation: u32,
    },
    /// Embeddings of different models cannot be compared.
    #[error(
        "gallery {gallery:?} is of model {fingerprint}, the embeddings are of model {given}; choose another gallery"
    )]
    OtherModel {
        /// The gallery.
        gallery: String,
        /// Its model.
        fingerprint: String,
        /// The model of the embeddings.
        given: String,
    },
    /// A file that does not say usably which gallery it was exported from.
    #[error("{path} says nothing usable of its gallery")]
    UnreadableNote {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A file that does not name its gallery.
    #[error("{path} does not name its gallery; give --gallery NAME")]
    NamelessFile {
        /// The file.
        path: PathBuf,
    },
    /// A name that the file could not be imported by.
    #[error("{path}: the name must end in .parquet, so that it can be imported again")]
    NotParquet {
        /// The file.
        path: PathBuf,
    },
    /// The caller stopped an export.
    #[error("interrupted; {path} was not written")]
    ExportStopped {
        /// The file.
        path: PathBuf,
    },
    /// Images that a new generation did not get, however often they were sent.
    #[error(
        "{missing} images are missing in the new generation, or its files are not those that were indexed: {}. Give \
         their files with --images, or remove them with `descry gallery remove`. The old model serves on",
        first(missing_ids)
    )]
    MissingForGood {
        /// How many.
        missing: u64,
        /// Some of them.
        missing_ids: Vec<String>,
    },
    /// Images that only the new generation has, and nothing says what is to become of them.
    #[error(
        "{surplus} images are only in the new generation: {}. They were indexed while it served before a rollback, or \
         deleted by a service of an earlier version: give --drop-surplus or --keep-surplus. The old model serves on",
        first(surplus_ids)
    )]
    Surplus {
        /// How many.
        surplus: u64,
        /// Some of them.
        surplus_ids: Vec<String>,
    },
    /// Images that the new model got no embeddings of.
    #[error(
        "{} images cannot be encoded anew; give their files with --images, or remove them with `descry gallery \
         remove`. The old model serves on",
        .0.failed
    )]
    CannotEncode(Box<JobReport>),
    /// A query of a comparison of models that failed.
    #[error("searching for {text:?}: {reason}")]
    Query {
        /// The query.
        text: String,
        /// The service's reason.
        reason: String,
    },
    /// A thread of this crate that panicked: a defect of ours.
    #[error("{activity} failed: this is a defect, please report it")]
    Panicked {
        /// What it did.
        activity: &'static str,
        /// How it ended.
        source: tokio::task::JoinError,
    },
}

impl ClientError {
    pub(crate) fn refused(status: Status) -> Self {
        Self::Refused(Box::new(status))
    }

    pub(crate) fn panicked(activity: &'static str) -> impl FnOnce(tokio::task::JoinError) -> Self {
        move |source| Self::Panicked { activity, source }
    }

    /// The gRPC code, where the service refused or was not available.
    pub fn code(&self) -> Option<Code> {
        self.status().map(Status::code)
    }

    /// What the service said, where it refused or was not available.
    pub fn status(&self) -> Option<&Status> {
        if let Self::Refused(status) | Self::Unavailable { status, .. } = self {
            return Some(status);
        }
        if let Self::Incomplete { source, .. } = self { source.status() } else { None }
    }
}

fn words(status: &Status) -> String {
    if status.message().is_empty() { status.to_string() } else { status.message().to_owned() }
}

fn listed(left_out: &LeftOut) -> String {
    if left_out.total() == 0 { String::new() } else { format!("; there are: {left_out}") }
}

fn first(ids: &[String]) -> String {
    ids.iter().take(SHOWN_IDS).map(String::as_str).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_service_says_is_found_by_people_and_programs() {
        let refused = ClientError::refused(Status::not_found("no gallery \"lobby\""));
        assert_eq!((refused.to_string().as_str(), refused.code()), ("no gallery \"lobby\"", Some(Code::NotFound)));
        let incomplete = ClientError::Incomplete { in_gallery: 3, source: Box::new(refused) };
        assert_eq!(incomplete.code(), Some(Code::NotFound));
        let silent = ClientError::refused(Status::internal(""));
        assert!(!silent.to_string().is_empty());
        assert_eq!(ClientError::Address { url: String::new() }.code(), None);
    }
}
