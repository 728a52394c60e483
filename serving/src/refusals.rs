//! Requests that are answered before they reach a service, as it is told to who keeps a record of them.
//!
//! What reaches a service is the service's to record. It marks its answers with [`Recorded`], so that nothing is told twice.

use crate::method_names::MethodName;
use crate::shares::Peer;
use descry_trust::{Caller, Principal};
use std::sync::Arc;
use tonic::{Code, Status};

/// A request that was refused. Nothing in it is of the caller's making: how many different ones there are is bounded by who may
/// call, from where, and by which methods there are.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Refused {
    /// Who asked, where they proved it.
    pub principal: Option<String>,
    /// From where, without the port; for IPv6 the network of 64 bits.
    pub address: Option<Peer>,
    /// The method, such as `descry.search.v1.SearchService/Search`; `unknown` for one that there is not.
    pub method: String,
    /// What was answered.
    pub code: Code,
    /// Why, in a word.
    pub reason: &'static str,
}

/// Is told of each refusal. It must return at once: the refusal's answer waits for it.
pub trait RefusalObserver: Send + Sync {
    /// A request was refused.
    fn refused(&self, refused: Refused);
}

/// Stands among the extensions of an answer whose request has a record already.
#[derive(Debug, Clone, Copy)]
pub struct Recorded;

/// A refusal at the door.
pub(crate) struct TurnedAway {
    pub(crate) status: Status,
    /// Who it is, where that is known all the same.
    pub(crate) principal: Option<Arc<Principal>>,
    pub(crate) reason: &'static str,
}

/// Of a caller that has too many requests, or of a service that has.
pub(crate) const OVERLOAD: &str = "overload";
/// Of what is no gRPC.
pub(crate) const CONTENT: &str = "content";
/// Of a method that there is not.
pub(crate) const NO_METHOD: &str = "method";

/// Where refusals are told; nowhere without an observer.
#[derive(Clone, Default)]
pub(crate) struct Refusals(pub(crate) Option<Arc<dyn RefusalObserver>>);

impl Refusals {
    pub(crate) fn tell(&self, caller: &Caller, method: &MethodName, code: Code, reason: &'static str) {
        let Some(observer) = &self.0 else { return };
        observer.refused(Refused {
            principal: caller.principal.as_ref().map(|principal| principal.name.clone()),
            address: caller.address.map(|address| Peer::from(address.ip())),
            method: if method.is_known() {
                format!("{}/{}", method.service, method.method)
            } else {
                "unknown".to_owned()
            },
            code,
            reason,
        });
    }
}

#[cfg(test)]
mod tests;
