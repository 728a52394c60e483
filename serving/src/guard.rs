//! Who calls: looked at for each request before anything else of it is.

use crate::access::AccessConfig;
use crate::grants::{Grant, Grants, Refusal};
use crate::method_names::MethodName;
use crate::refusals::TurnedAway;
use crate::standing::Standing;
use descry_trust::{Caller, Denial, IdentityProvider, MAX_TOKEN_FILE_BYTES, TokenFile, TrustError, read_bounded};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

/// Probes ask whether the service lives, and have no token to ask with.
const OPEN_SERVICE: &str = "grpc.health.v1.Health";

const SCHEME: &str = "bearer";

/// The keys of an identity provider.
const MAX_KEYS_BYTES: u64 = 1 << 20;

/// Knows who may call.
pub(crate) struct Guard {
    grants: RwLock<Arc<Grants>>,
    config: AccessConfig,
    seen: Mutex<Seen>,
}

/// The files as they were looked at last.
#[derive(Default)]
struct Seen {
    content: Option<Content>,
    /// Why they could not be used; said once.
    failure: Option<String>,
}

#[derive(PartialEq, Eq)]
struct Content {
    tokens: Vec<u8>,
    keys: Vec<u8>,
}

impl Guard {
    /// Reads tokens and keys; nothing where nobody is to be asked who they are.
    ///
    /// # Errors
    /// [`TrustError`] for a file that cannot be used.
    pub(crate) fn open(config: &AccessConfig) -> Result<Option<Arc<Self>>, TrustError> {
        if !config.is_on() {
            return Ok(None);
        }
        let guard = Self { grants: RwLock::default(), config: config.clone(), seen: Mutex::default() };
        guard.reload()?;
        warn_of_other_writers(&config.tokens_file);
        Ok(Some(Arc::new(guard)))
    }

    /// Takes the files' changes over, again and again. Never ends.
    pub(crate) async fn keep_current(self: Arc<Self>) {
        loop {
            tokio::time::sleep(Duration::from_millis(self.config.reload_interval_ms.max(1))).await;
            let guard = Arc::clone(&self);
            let reloading = tokio::task::spawn_blocking(move || guard.reload_or_say_why());
            // It ends only with the runtime.
            let _ = reloading.await;
        }
    }

    /// A file that cannot be used changes nothing: who was let in before is let in, and nobody else.
    fn reload_or_say_why(&self) {
        let failure = self.reload().err().map(|error| error.to_string());
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(reason) = failure.as_ref().filter(|reason| seen.failure.as_ref() != Some(*reason)) {
            tracing::error!(reason, "the tokens cannot be read again; those that were read before are still taken");
        }
        seen.failure = failure;
    }

    fn reload(&self) -> Result<(), TrustError> {
        let AccessConfig { tokens_file, identity_provider, .. } = &self.config;
        let content = Content {
            tokens: read_if_named(tokens_file, MAX_TOKEN_FILE_BYTES)?,
            keys: read_if_named(&identity_provider.keys_file, MAX_KEYS_BYTES)?,
        };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.content.as_ref() == Some(&content) {
            return Ok(());
        }
        let file = match tokens_file.as_os_str().is_empty() {
            true => TokenFile::empty(),
            false => TokenFile::parse(&content.tokens)
                .map_err(|reason| TrustError::Unusable { path: tokens_file.clone(), reason })?,
        };
        let provider = Some(identity_provider).filter(|provider| !provider.issuer.is_empty());
        let provider = provider.map(|provider| IdentityProvider::of(provider, &content.keys)).transpose()?;
        let before = Arc::clone(&self.grants.read().unwrap_or_else(PoisonError::into_inner));
        let grants = before.replaced_by(&file, provider, &self.config)?;
        tracing::info!(tokens = grants.tokens(), file = %tokens_file.display(), "it was read who may call");
        *self.grants.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(grants);
        seen.content = Some(content);
        Ok(())
    }

    /// Who makes a request with these headers, of which the secret is taken away; and how they stand.
    ///
    /// # Errors
    /// `UNAUTHENTICATED`, alike for whatever is wrong; `RESOURCE_EXHAUSTED` for too many requests. Why is for the records alone.
    pub(crate) fn admit(
        &self,
        headers: &mut HeaderMap,
        method: &MethodName,
        caller: Caller,
    ) -> Result<(Caller, Option<Standing>), TurnedAway> {
        let given = bearer(headers);
        headers.remove(AUTHORIZATION);
        if &*method.service == OPEN_SERVICE {
            return Ok((caller, None));
        }
        let grants = Arc::clone(&self.grants.read().unwrap_or_else(PoisonError::into_inner));
        let certificate = caller.certificate.as_ref().and_then(|certificate| certificate.name.as_deref());
        let known = match (given, certificate) {
            // What is sent with a call says more than what its connection is known by.
            (Err(Refusal::Missing), Some(name)) => grants.find_certificate(name),
            (given, _) => given.and_then(|token| grants.find(&token)),
        };
        let Grant { principal, standing } = known.map_err(|refusal| {
            metrics::counter!("descry_access_refused_total", "reason" => refusal.name()).increment(1);
            // Whoever knows no token must not be able to fill the log with more than the line that each request has.
            match refusal.id() {
                "" => tracing::debug!(reason = refusal.name(), "it is not known who calls"),
                token => tracing::info!(reason = refusal.name(), token, "it is not known who calls"),
            }
            let status = crate::access::refusal(Denial::Unproven);
            TurnedAway { status, principal: None, reason: refusal.name() }
        })?;
        standing.take_request().map_err(|denial| TurnedAway {
            status: crate::access::refusal(denial),
            principal: Some(Arc::clone(&principal)),
            reason: crate::refusals::OVERLOAD,
        })?;
        Ok((Caller { principal: Some(principal), ..caller }, Some(standing)))
    }
}

/// Whoever may write the tokens may let anybody in. That others may read them does no harm: there are no secrets in them.
fn warn_of_other_writers(path: &Path) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        if path.metadata().is_ok_and(|metadata| metadata.permissions().mode() & 0o022 != 0) {
            tracing::warn!(file = %path.display(), "others may write the file of tokens, and let themselves in: chmod go-w");
        }
    }
    #[cfg(not(unix))]
    let _ = path;
}

fn read_if_named(path: &Path, max_bytes: u64) -> Result<Vec<u8>, TrustError> {
    if path.as_os_str().is_empty() { Ok(Vec::new()) } else { read_bounded(path, max_bytes) }
}

/// The token that a request brings.
fn bearer(headers: &HeaderMap) -> Result<String, Refusal> {
    let mut given = headers.get_all(AUTHORIZATION).iter();
    let value = given.next().ok_or(Refusal::Missing)?;
    if given.next().is_some() {
        return Err(Refusal::Malformed);
    }
    let text = value.to_str().map_err(|_| Refusal::Malformed)?;
    let (scheme, token) = text.split_once(' ').ok_or(Refusal::Malformed)?;
    if scheme.eq_ignore_ascii_case(SCHEME) { Ok(token.trim().to_owned()) } else { Err(Refusal::Malformed) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::CertificateScopes;
    use crate::method_names::MethodNames;
    use descry_trust::ClientCertificate;

    #[test]
    fn a_certificate_says_who_calls_where_no_token_does() {
        let certificate =
            CertificateScopes { name: "camera-7".to_owned(), scopes: vec!["index:yard".parse().unwrap()] };
        let config = AccessConfig { certificates: vec![certificate], ..AccessConfig::default() };
        let guard = Guard::open(&config).unwrap().unwrap();
        let names = MethodNames::read(&[tonic_health::pb::FILE_DESCRIPTOR_SET]).unwrap();
        let admit = |name: Option<&str>, token: Option<&str>, path: &str| {
            let shown = |name: &str| Arc::new(ClientCertificate { name: Some(name.to_owned()), sha256: [0; 32] });
            let caller = Caller { certificate: name.map(shown), ..Caller::default() };
            let mut headers = HeaderMap::new();
            headers.extend(token.map(|token| (AUTHORIZATION, format!("Bearer {token}").parse().unwrap())));
            let admitted = guard.admit(&mut headers, names.of(path), caller);
            assert!(headers.is_empty(), "a secret goes on");
            admitted
                .map(|(caller, _)| caller.principal.map(|principal| principal.name.clone()))
                .map_err(|turned_away| turned_away.status.code())
        };
        assert_eq!(admit(Some("camera-7"), None, "/any/Method"), Ok(Some("camera-7".to_owned())));
        let refused = Err(tonic::Code::Unauthenticated);
        assert_eq!(admit(Some("camera-8"), None, "/any/Method"), refused);
        assert_eq!(admit(None, None, "/any/Method"), refused);
        // A token that is no good is not made good by the certificate.
        assert_eq!(admit(Some("camera-7"), Some("descry_"), "/any/Method"), refused);
        let health = "/grpc.health.v1.Health/Check";
        assert_eq!(admit(None, Some("x"), health), Ok(None));
    }
}
