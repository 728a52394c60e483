//! Everything that can be wrong with what is trusted.

use std::io;
use std::path::PathBuf;

/// Why a scope, a credential or a certificate is not usable.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// A scope that says nothing which could be allowed.
    #[error(
        "scope {text:?}: {reason}; scopes are encode, audit, admin, and search:GALLERY, index:GALLERY, manage:GALLERY, where \
         a `*` in GALLERY stands for any letters"
    )]
    Scope {
        /// The scope as it was given.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Something that is no token. It is not shown: it may hold a secret.
    #[error("this is no token: one looks like descry_0123456789ab_… and has 63 letters")]
    MalformedToken,
    /// A token of an identity provider whose time is over.
    #[error("the token has expired")]
    ExpiredToken,
    /// A token that the identity provider did not sign for this service, or not yet.
    #[error("the token is not one of the provider's for this service")]
    WrongToken,
    /// Something that is no hash of a token.
    #[error("sha256 must be 64 hexadecimal digits")]
    MalformedHash,
    /// A name that nobody can be called by.
    #[error("a name has 1 to 128 bytes, and neither spaces nor control characters")]
    Name,
    /// A token that allows nothing, or everything by heart.
    #[error("a token needs 1 to {max} scopes")]
    Scopes {
        /// As many are allowed.
        max: usize,
    },
    /// A token that is to be revoked is not there.
    #[error("no token has the id or the name {id_or_name:?}; `descry token list` shows those that there are")]
    NoToken {
        /// What was given.
        id_or_name: String,
    },
    /// The system has no random numbers.
    #[error("the system gives no random numbers")]
    NoRandomness,
    /// A file of certificates or a key that cannot be read.
    #[error("cannot read {path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A file that cannot be written.
    #[error("cannot write {path}: {source}")]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A file that does not hold what it should.
    #[error("{path} cannot be used: {reason}")]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it. Never a part of a key.
        reason: String,
    },
    /// No CA is named, and the system trusts none.
    #[error("this system trusts no CA, so one must be named")]
    NoAuthorities,
    /// Something that is no address of a server.
    #[error("{url:?} cannot be used: {reason}")]
    Address {
        /// What was given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Nobody listens at an address.
    #[error("cannot connect to {address}: {source}")]
    Connect {
        /// The address.
        address: String,
        /// The system's reason.
        source: io::Error,
    },
    /// The two sides did not come to trust each other.
    #[error("{address}: {reason}")]
    Handshake {
        /// The other side.
        address: String,
        /// What went wrong, and what to do.
        reason: String,
    },
    /// The library for TLS refuses a configuration: a defect of ours.
    #[error("TLS: {0}")]
    Library(#[from] rustls::Error),
}
