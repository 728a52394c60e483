//! What the tokens of a file grant, found by their ids.

use crate::access::AccessConfig;
use crate::standing::{Allowances, Standing};
use descry_trust::{Principal, Token, TokenFile, TokenHash, TokenRecord, TrustError};
use std::collections::HashMap;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// What one token grants.
pub(crate) struct Grant {
    record: TokenRecord,
    hash: TokenHash,
    pub(crate) principal: Arc<Principal>,
    pub(crate) standing: Standing,
}

/// What all tokens grant, at one time.
#[derive(Default)]
pub(crate) struct Grants {
    by_token: HashMap<String, Arc<Grant>>,
    /// By the principal's name.
    allowances: HashMap<String, Arc<Allowances>>,
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
        self.by_token.values().filter(|grant| grant.record.revoked_at_ms.is_none()).count()
    }

    /// What the tokens of another file grant. What stays as it was goes on; whatever was let in by a token that is gone or
    /// changed ends.
    ///
    /// # Errors
    /// [`TrustError`] for a file that was not checked.
    pub(crate) fn replaced_by(&self, file: TokenFile, config: &AccessConfig) -> Result<Self, TrustError> {
        let mut next = Self::default();
        for record in file.tokens() {
            let kept = self.by_token.get(&record.id).filter(|grant| grant.record == *record);
            let allowances = || self.allowances.get(&record.name).cloned().unwrap_or_default();
            let allowances = Arc::clone(next.allowances.entry(record.name.clone()).or_insert_with(allowances));
            let grant = match kept {
                Some(grant) => Arc::clone(grant),
                None => Arc::new(Grant {
                    hash: record.hash()?,
                    principal: Arc::new(Principal { name: record.name.clone(), scopes: record.scopes.clone() }),
                    standing: Standing {
                        ended: CancellationToken::new(),
                        expires_at_ms: record.expires_at_ms,
                        limits: record.limits(config.limits()),
                        allowances,
                    },
                    record: record.clone(),
                }),
            };
            next.by_token.insert(record.id.clone(), grant);
        }
        for (id, grant) in &self.by_token {
            if next.by_token.get(id).is_none_or(|kept| !Arc::ptr_eq(kept, grant)) {
                grant.standing.ended.cancel();
            }
        }
        Ok(next)
    }

    /// What this token grants.
    ///
    /// # Errors
    /// The [`Refusal`].
    pub(crate) fn find(&self, text: &str) -> Result<&Arc<Grant>, Refusal> {
        let token: Token = text.parse().map_err(|_| Refusal::Malformed)?;
        let grant = self.by_token.get(token.id()).ok_or(Refusal::Unknown)?;
        let id = || token.id().to_owned();
        if !grant.hash.is_same(&token.hash()) {
            return Err(Refusal::Wrong(id()));
        }
        if grant.record.revoked_at_ms.is_some() {
            return Err(Refusal::Revoked(id()));
        }
        if grant.standing.is_expired() {
            return Err(Refusal::Expired(id()));
        }
        Ok(grant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::standing::wall_clock_ms;
    use descry_trust::{Limits, NewToken};

    fn add(file: &mut TokenFile, name: &str, expires_at_ms: Option<i64>) -> Token {
        let scopes = vec!["search:lobby".parse().unwrap()];
        file.add(NewToken { name: name.to_owned(), scopes, expires_at_ms, limits: Limits::default() }, 0).unwrap()
    }

    fn refusal(grants: &Grants, token: &str) -> Option<Refusal> {
        grants.find(token).err()
    }

    #[test]
    fn a_token_grants_until_it_expires_or_is_revoked() {
        let (mut file, config) = (TokenFile::empty(), AccessConfig::default());
        let valid = add(&mut file, "guard", Some(wall_clock_ms() + 1_000_000));
        let expired = add(&mut file, "guard", Some(wall_clock_ms() - 1));
        let revoked = add(&mut file, "guard", None);
        file.revoke(revoked.id(), 1).unwrap();
        let grants = Grants::default().replaced_by(file.clone(), &config).unwrap();
        assert_eq!(grants.find(&valid.reveal()).unwrap().principal.name, "guard");
        let id = |token: &Token| token.id().to_owned();
        assert_eq!(refusal(&grants, &expired.reveal()), Some(Refusal::Expired(id(&expired))));
        assert_eq!(refusal(&grants, &revoked.reveal()), Some(Refusal::Revoked(id(&revoked))));
        let other = Token::generate().unwrap();
        assert_eq!(refusal(&grants, &other.reveal()), Some(Refusal::Unknown));
        let mixed = other.reveal().replace(other.id(), valid.id());
        assert_eq!(refusal(&grants, &mixed), Some(Refusal::Wrong(id(&valid))));
        assert_eq!(refusal(&grants, "descry_"), Some(Refusal::Malformed));
    }

    #[test]
    fn what_a_changed_token_let_in_ends_and_nothing_else() {
        let (mut file, config) = (TokenFile::empty(), AccessConfig::default());
        let tokens = ["first", "second", "third"].map(|name| add(&mut file, name, None));
        let before = Grants::default().replaced_by(file.clone(), &config).unwrap();
        let standing = tokens.each_ref().map(|token| before.find(&token.reveal()).unwrap().standing.clone());
        let is_over = || standing.each_ref().map(|standing| standing.ended.is_cancelled());
        file.revoke("second", 1).unwrap();
        add(&mut file, "fourth", None);
        let after = before.replaced_by(file, &config).unwrap();
        assert_eq!(is_over(), [false, true, false]);
        // What one has used up stays used up.
        let kept = &after.find(&tokens[0].reveal()).unwrap().standing.allowances;
        assert!(Arc::ptr_eq(kept, &standing[0].allowances));
        after.replaced_by(TokenFile::empty(), &config).unwrap();
        assert_eq!(is_over(), [true, true, true]);
    }
}
