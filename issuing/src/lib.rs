//! Certificates for a trial, or for a system that has no CA of its own: an [`Authority`] signs what servers and clients show.
//!
//! Must never be in what production runs: whoever can sign can be anybody. Services get files, and know no key of a CA.

mod authority;
mod error;
mod folder;

pub use authority::{Authority, Issued, Subject, Validity};
pub use error::IssuingError;
pub use folder::{Files, issue_in, make_authority_in};
