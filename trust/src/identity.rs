//! Tokens of an identity provider: JSON Web Tokens (RFC 7519), which it signs and everybody can check with its public keys.

mod ring_provider;

use crate::{Principal, Scope, TrustError};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::path::PathBuf;

/// A provider has a few keys: the one it signs with, and those before and after it.
const MAX_KEYS: usize = 64;

/// A longer name is of no use to anybody.
const MAX_NAME_BYTES: usize = 256;

/// Clocks of provider and service may differ by so much.
const LEEWAY_S: u64 = 30;

/// The provider whose tokens are taken, and what its claims allow.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProviderSettings {
    /// What the claim `iss` must be; empty to take none of these tokens.
    pub issuer: String,
    /// What the claim `aud` must be, or have among others.
    pub audience: String,
    /// Its public keys, as a JSON Web Key Set (RFC 7517) in a file.
    pub keys_file: PathBuf,
    /// The claim with the caller's name.
    pub name_claim: String,
    /// What claims allow.
    pub grants: Vec<ClaimScopes>,
}

/// What a value of a claim allows.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClaimScopes {
    /// The claim; within another one with a dot between, such as `realm_access.roles`.
    pub claim: String,
    /// The value: all of the claim, one item of its list, or one of the words in it.
    pub value: String,
    /// What it allows.
    pub scopes: Vec<Scope>,
}

/// Knows the tokens of one provider.
pub struct IdentityProvider {
    settings: ProviderSettings,
    keys: Vec<Key>,
}

struct Key {
    id: Option<String>,
    algorithms: Vec<Algorithm>,
    key: DecodingKey,
}

/// Who a token is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The caller, by the names of provider and claim, such as `https://id.example#alice`: nobody there can have the name of one
    /// of our own tokens.
    pub principal: Principal,
    /// From when on the token is worth nothing, in milliseconds since 1970.
    pub expires_at_ms: i64,
}

impl IdentityProvider {
    /// A provider with these public keys, a JSON Web Key Set.
    ///
    /// # Errors
    /// [`TrustError::Unusable`] for settings or keys with which no token could be checked.
    pub fn of(settings: &ProviderSettings, keys: &[u8]) -> Result<Self, TrustError> {
        ring_provider::install();
        let unusable =
            |reason: &str| TrustError::Unusable { path: settings.keys_file.clone(), reason: reason.to_owned() };
        if settings.audience.is_empty() || settings.name_claim.is_empty() {
            return Err(unusable("a provider needs an audience and the claim with the caller's name beside it"));
        }
        let set: JwkSet = serde_json::from_slice(keys).map_err(|error| unusable(&error.to_string()))?;
        let keys: Vec<Key> = set.keys.iter().take(MAX_KEYS + 1).filter_map(Key::of).collect();
        if keys.is_empty() || keys.len() > MAX_KEYS {
            return Err(unusable("it must have 1 to 64 public keys for signatures, of RSA, P-256, P-384 or Ed25519"));
        }
        Ok(Self { settings: settings.clone(), keys })
    }

    /// Whose token this is.
    ///
    /// # Errors
    /// [`TrustError::ExpiredToken`], [`TrustError::WrongToken`].
    pub fn identify(&self, token: &str) -> Result<Identity, TrustError> {
        let header = decode_header(token).map_err(|_| TrustError::WrongToken)?;
        let mut validation = Validation::new(header.alg);
        validation.leeway = LEEWAY_S;
        validation.validate_nbf = true;
        validation.set_issuer(&[&self.settings.issuer]);
        validation.set_audience(&[&self.settings.audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        let may_be = |key: &&Key| {
            key.algorithms.contains(&header.alg) && (header.kid.is_none() || key.id.is_none() || key.id == header.kid)
        };
        let mut failure = TrustError::WrongToken;
        for key in self.keys.iter().filter(may_be) {
            match decode::<Map<String, Value>>(token, &key.key, &validation) {
                Ok(decoded) => return self.identity(&decoded.claims).ok_or(TrustError::WrongToken),
                Err(error) if *error.kind() == ErrorKind::ExpiredSignature => failure = TrustError::ExpiredToken,
                Err(_) => {}
            }
        }
        Err(failure)
    }

    fn identity(&self, claims: &Map<String, Value>) -> Option<Identity> {
        let ProviderSettings { issuer, name_claim, grants, .. } = &self.settings;
        let name = claim(claims, name_claim)?.as_str()?;
        if name.is_empty() || name.len() > MAX_NAME_BYTES || name.chars().any(char::is_control) {
            return None;
        }
        let granted = grants.iter().filter(|grant| claim(claims, &grant.claim).is_some_and(|of| has(of, &grant.value)));
        let mut scopes: Vec<Scope> = Vec::new();
        for scope in granted.flat_map(|grant| &grant.scopes) {
            if !scopes.contains(scope) {
                scopes.push(scope.clone());
            }
        }
        let expires_at_ms = claims.get("exp")?.as_f64().map(|seconds| (seconds * 1_000.0) as i64)?;
        let leeway_ms = i64::try_from(LEEWAY_S * 1_000).unwrap_or_default();
        let principal = Principal { name: format!("{issuer}#{name}"), scopes };
        Some(Identity { principal, expires_at_ms: expires_at_ms.saturating_add(leeway_ms) })
    }
}

impl Key {
    /// Keys for encryption, secrets, and such of kinds that are not known are no keys of ours.
    fn of(jwk: &Jwk) -> Option<Self> {
        use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
        let mut of_kind = Vec::new();
        if let AlgorithmParameters::RSA(_) = &jwk.algorithm {
            of_kind.extend([RS256, RS384, RS512, PS256, PS384, PS512]);
        }
        if let AlgorithmParameters::EllipticCurve(key) = &jwk.algorithm {
            of_kind.extend((key.curve == EllipticCurve::P256).then_some(ES256));
            of_kind.extend((key.curve == EllipticCurve::P384).then_some(ES384));
        }
        if let AlgorithmParameters::OctetKeyPair(key) = &jwk.algorithm {
            of_kind.extend((key.curve == EllipticCurve::Ed25519).then_some(EdDSA));
        }
        if !matches!(jwk.common.public_key_use, None | Some(PublicKeyUse::Signature)) {
            return None;
        }
        let named = jwk.common.key_algorithm.map(Algorithm::try_from);
        let is_named = |algorithm: &Algorithm| match &named {
            Some(named) => named.as_ref().is_ok_and(|named| named == algorithm),
            None => true,
        };
        let algorithms: Vec<Algorithm> = of_kind.into_iter().filter(is_named).collect();
        let key = DecodingKey::from_jwk(jwk).ok().filter(|_| !algorithms.is_empty())?;
        Some(Self { id: jwk.common.key_id.clone(), algorithms, key })
    }
}

/// A claim of this name, or of this path.
fn claim<'claims>(claims: &'claims Map<String, Value>, name: &str) -> Option<&'claims Value> {
    claims.get(name).or_else(|| {
        let (outer, inner) = name.split_once('.')?;
        claim(claims.get(outer)?.as_object()?, inner)
    })
}

fn has(claim: &Value, value: &str) -> bool {
    match claim {
        Value::String(text) => text == value || text.split_whitespace().any(|word| word == value),
        Value::Array(items) => items.iter().any(|item| item.as_str() == Some(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => false,
    }
}

#[cfg(test)]
mod tests;
