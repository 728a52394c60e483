//! Everything that can be wrong with what is trusted.

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
}
