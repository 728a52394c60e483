//! Who is on the other side of a connection, and what they may do.
//!
//! A [`Principal`] is a person or a program that proved who it is; its [`Scope`]s say what it may do, and in which galleries.
//! [`tls`] makes connections that nobody else reads, and over which both sides can prove who they are.
//!
//! Must never know a message, a service or a gallery's contents: services ask it, it asks nobody.

mod error;
mod principal;
mod scope;
pub mod tls;

pub use error::TrustError;
pub use principal::{Caller, Principal};
pub use scope::{GalleryPattern, MAX_SCOPE_BYTES, Scope, Verb};
pub use tls::ClientCertificate;
