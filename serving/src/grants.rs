//! What tokens and certificates grant: those of a file found by their ids, those of an identity provider by its keys.

use crate::access::AccessConfig;
use crate::standing::{Allowances, Standing};
use descry_trust::{
    Identity, IdentityProvider, Limits, Principal, Scope, Token, TokenFile, TokenHash, TokenRecord, TrustError,
};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio_util::sync::CancellationToken;

/// How many callers of an identity provider are remembered, with what they have used of their limits.
const MAX_REMEMBERED: usize = 10_000;

/// What somebody who proved who they are is granted.
#[derive(Clone)]
pub(crate) struct Grant {
    pub(crate) principal: Arc<Principal>,
    pub(crate) standing: Standing,
}

/// What one token of the file grants.
struct OfToken {
    record: TokenRecord,
    hash: TokenHash,
    grant: Grant,
}

/// What all of them grant, at one time.
#[derive(Default)]
pub(crate) struct Grants {
    by_token: HashMap<String, Arc<OfToken>>,
    /// By the certificate's name.
    by_certificate: HashMap<String, Grant>,
    provider: Option<IdentityProvider>,
    limits: Limits,
    /// By the principal's name.
    allowances: Arc<Mutex<HashMap<String, Arc<Allowances>>>>,
}

/// Why it is not known who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// There is no token.
    Missing,
    /// It is no token.
    Malformed,
    /// No token has its id.
    Unknown,
    /// A token has its id, and another secret.
    Wrong(String),
    /// Its time is over.
    Expired(String),
    /// It was revoked.
    Revoked(String),
}

impl Refusal {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Malformed => "malformed",
            Self::Unknown => "unknown",
            Self::Wrong(_) => "wrong",
            Self::Expired(_) => "expired",
            Self::Revoked(_) => "revoked",
        }
    }

    /// The token's id, where one of that id is known: what callers make up stays out of the log.
    pub(crate) fn id(&self) -> &str {
        match self {
            Self::Missing | Self::Malformed | Self::Unknown => "",
            Self::Wrong(id) | Self::Expired(id) | Self::Revoked(id) => id,
        }
    }
}

impl Grants {
    pub(crate) fn tokens(&self) -> usize {
        self.by_token.values().filter(|token| token.record.revoked_at_ms.is_none()).count()
    }

    /// What the tokens of another file grant, and those of the provider with its present keys. What stays as it was goes on;
    /// whatever was let in by a token that is gone or changed ends.
    ///
    /// # Errors
    /// [`TrustError`] for a file that was not checked.
    pub(crate) fn replaced_by(
        &self,
        file: &TokenFile,
        provider: Option<IdentityProvider>,
        config: &AccessConfig,
    ) -> Result<Self, TrustError> {
        let limits = config.limits();
        let allowances = Arc::clone(&self.allowances);
        let mut next = Self { provider, limits, allowances, ..Self::default() };
        for certificate in &config.certificates {
            let grant = match self.by_certificate.get(&certificate.name) {
                Some(grant) => grant.clone(),
                None => next.grant(&certificate.name, certificate.scopes.clone(), None, limits),
            };
            next.by_certificate.insert(certificate.name.clone(), grant);
        }
        for record in file.tokens() {
            let kept = self.by_token.get(&record.id).filter(|token| token.record == *record);
            let token = match kept {
                Some(token) => Arc::clone(token),
                None => Arc::new(OfToken {
                    hash: record.hash()?,
                    grant: next.grant(&record.name, record.scopes.clone(), record.expires_at_ms, record.limits(limits)),
                    record: record.clone(),
                }),
            };
            next.by_token.insert(record.id.clone(), token);
        }
        for (id, token) in &self.by_token {
            if next.by_token.get(id).is_none_or(|kept| !Arc::ptr_eq(kept, token)) {
                token.grant.standing.ended.cancel();
            }
        }
        Ok(next)
    }

    fn grant(&self, name: &str, scopes: Vec<Scope>, expires_at_ms: Option<i64>, limits: Limits) -> Grant {
        let mut known = self.allowances.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_REMEMBERED && !known.contains_key(name) {
            // Those who do nothing at present.
            known.retain(|_, allowances| Arc::strong_count(allowances) > 1);
        }
        let allowances = Arc::clone(known.entry(name.to_owned()).or_default());
        Grant {
            principal: Arc::new(Principal { name: name.to_owned(), scopes }),
            standing: Standing { ended: CancellationToken::new(), expires_at_ms, limits, allowances },
        }
    }

    /// What this token grants.
    ///
    /// # Errors
    /// The [`Refusal`].
    pub(crate) fn find(&self, text: &str) -> Result<Grant, Refusal> {
        match &self.provider {
            Some(provider) if !text.starts_with(Token::PREFIX) => self.of_identity(provider.identify(text)),
            Some(_) | None => self.of_token(text),
        }
    }

    fn of_identity(&self, identity: Result<Identity, TrustError>) -> Result<Grant, Refusal> {
        let Identity { principal, expires_at_ms } = identity.map_err(|error| {
            if matches!(error, TrustError::ExpiredToken) {
                Refusal::Expired(String::new())
            } else {
                Refusal::Wrong(String::new())
            }
        })?;
        Ok(self.grant(&principal.name, principal.scopes, Some(expires_at_ms), self.limits))
    }

    fn of_token(&self, text: &str) -> Result<Grant, Refusal> {
        let given: Token = text.parse().map_err(|_| Refusal::Malformed)?;
        let token = self.by_token.get(given.id()).ok_or(Refusal::Unknown)?;
        let id = || given.id().to_owned();
        if !token.hash.is_same(&given.hash()) {
            return Err(Refusal::Wrong(id()));
        }
        if token.record.revoked_at_ms.is_some() {
            return Err(Refusal::Revoked(id()));
        }
        if token.grant.standing.is_expired() {
            return Err(Refusal::Expired(id()));
        }
        Ok(token.grant.clone())
    }

    /// What a certificate of this name grants, which the connection has proved.
    ///
    /// # Errors
    /// [`Refusal::Missing`] where the settings know no such name.
    pub(crate) fn find_certificate(&self, name: &str) -> Result<Grant, Refusal> {
        self.by_certificate.get(name).cloned().ok_or(Refusal::Missing)
    }
}

#[cfg(test)]
mod tests;
