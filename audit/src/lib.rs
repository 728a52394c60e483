//! The audit log: who did what, for what purpose, and what they were told. One JSON object a line, each with the hash of the
//! line before it, and on disk before the answer leaves.
//!
//! A service opens an [`AuditLog`] and appends [`Record`]s to it; whoever reads a log later looks at its files alone, with
//! [`verify`] and [`records`].
//!
//! Must never know messages, or what a gallery holds beyond what a record says of it.

mod anchoring;
mod chain;
mod disk;
mod error;
mod export;
mod folder;
mod keeping;
mod key_file;
mod line;
mod lines;
mod log;
mod naming;
mod opening;
mod privacy;
mod reading;
mod record;
mod settings;
mod verification;
mod wanted;

pub use anchoring::{Anchor, Anchoring};
pub use chain::Head;
pub use error::AuditError;
pub use export::{Format, Written, write_records};
pub use line::Stored;
pub use log::AuditLog;
pub use naming::{KeptNames, NameKey, Named};
pub use privacy::{KeptWords, KeyPair, Opener, Words};
pub use reading::{RecordFilter, instances, records};
pub use record::{Asked, Kind, QueryPart, Record, Returned};
pub use settings::{AuditSettings, MIN_KEPT_DAYS};
pub use verification::{Break, BreakKind, Verification, verify};
pub use wanted::{Said, WantedNames};
