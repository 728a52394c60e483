//! Who is on the other side of a connection, and what they may do.
//!
//! A [`Principal`] is a person or a program that proved who it is; its [`Scope`]s say what it may do, and in which galleries.
//! It proves that with a [`Token`], of which a [`TokenFile`] keeps no more than a hash, or with one that an [`IdentityProvider`]
//! has signed. What a call [`Needs`] stands beside
//! the call's definition, and [`decide`] is the one place where both meet.
//! [`tls`] makes connections that nobody else reads, and over which both sides can prove who they are.
//!
//! Must never know a message, a service or a gallery's contents: services ask it, it asks nobody.

mod allowance;
mod decision;
mod error;
mod identity;
mod principal;
mod scope;
pub mod tls;
mod token;
mod token_file;

pub use allowance::{Allowance, Limits, Shortage};
pub use decision::{Denial, Guarded, NamesGalleries, Needs, Place, decide, decide_call, gallery_of};
pub use error::TrustError;
pub use identity::{ClaimScopes, Identity, IdentityProvider, ProviderSettings};
pub use principal::{Caller, Principal};
pub use scope::{GalleryPattern, MAX_SCOPE_BYTES, Scope, Verb};
pub use tls::ClientCertificate;
pub use token::{Token, TokenHash};
pub use token_file::{MAX_TOKEN_FILE_BYTES, NewToken, TokenFile, TokenRecord, read_bounded};
