//! Who calls.

use crate::{ClientCertificate, Scope, Verb};
use std::net::SocketAddr;
use std::sync::Arc;

/// Somebody who proved who they are, and what they may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// What they are called in the audit log and in limits: a token's name, or that of a certificate.
    pub name: String,
    /// What they may do. The order says nothing.
    pub scopes: Vec<Scope>,
}

impl Principal {
    /// Whether they may do this in the gallery.
    pub fn may(&self, verb: Verb, gallery: &str) -> bool {
        self.scopes.iter().any(|scope| scope.allows(verb, gallery))
    }

    /// Whether they may know that the gallery is there: whoever may do something in it.
    pub fn may_see(&self, gallery: &str) -> bool {
        [Verb::Search, Verb::Index, Verb::Manage].into_iter().any(|verb| self.may(verb, gallery))
    }
}

/// Where a request comes from. Every request has one in its extensions.
#[derive(Debug, Clone, Default)]
pub struct Caller {
    /// Who calls; none where the service asks nobody to prove it.
    pub principal: Option<Arc<Principal>>,
    /// The address they call from; none within a process.
    pub address: Option<SocketAddr>,
    /// What the other side of the connection showed, and a CA that the service trusts has signed; none without TLS, and where
    /// nobody is asked for one.
    pub certificate: Option<Arc<ClientCertificate>>,
}
