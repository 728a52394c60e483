//! Who calls: looked at for each request before anything else of it is.

use crate::access::AccessConfig;
use crate::grants::{Grants, Refusal};
use crate::method_names::MethodName;
use crate::standing::Standing;
use descry_trust::{Caller, Denial, MAX_TOKEN_FILE_BYTES, TokenFile, TrustError, read_bounded};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;
use tonic::Status;

/// Probes ask whether the service lives, and have no token to ask with.
const OPEN_SERVICE: &str = "grpc.health.v1.Health";

const SCHEME: &str = "bearer";

/// Knows who may call.
pub(crate) struct Guard {
    grants: RwLock<Arc<Grants>>,
    config: AccessConfig,
    seen: Mutex<Seen>,
}

/// The file as it was looked at last.
#[derive(Default)]
struct Seen {
    content: Option<Vec<u8>>,
    /// Why it could not be used; said once.
    failure: Option<String>,
}

impl Guard {
    /// Reads the tokens; nothing where nobody is to be asked who they are.
    ///
    /// # Errors
    /// [`TrustError`] for a file that cannot be used.
    pub(crate) fn open(config: &AccessConfig) -> Result<Option<Arc<Self>>, TrustError> {
        if !config.is_on() {
            return Ok(None);
        }
        let guard = Self { grants: RwLock::default(), config: config.clone(), seen: Mutex::default() };
        guard.reload()?;
        Ok(Some(Arc::new(guard)))
    }

    /// Takes the file's changes over, again and again. Never ends.
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
        let path = &self.config.tokens_file;
        let content = if path.as_os_str().is_empty() { Vec::new() } else { read_bounded(path, MAX_TOKEN_FILE_BYTES)? };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let before = Arc::clone(&self.grants.read().unwrap_or_else(PoisonError::into_inner));
        if seen.content.as_ref() == Some(&content) {
            return Ok(());
        }
        let file = match path.as_os_str().is_empty() {
            true => TokenFile::empty(),
            false => {
                TokenFile::parse(&content).map_err(|reason| TrustError::Unusable { path: path.clone(), reason })?
            }
        };
        let grants = before.replaced_by(file, &self.config)?;
        seen.content = Some(content);
        tracing::info!(tokens = grants.tokens(), file = %path.display(), "tokens were read");
        *self.grants.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(grants);
        Ok(())
    }

    /// Who makes a request with these headers, of which the secret is taken away; and how they stand.
    ///
    /// # Errors
    /// `UNAUTHENTICATED`, alike for whatever is wrong; `RESOURCE_EXHAUSTED` for too many requests.
    pub(crate) fn admit(
        &self,
        headers: &mut HeaderMap,
        method: &MethodName,
        caller: Caller,
    ) -> Result<(Caller, Option<Standing>), Status> {
        let given = bearer(headers);
        headers.remove(AUTHORIZATION);
        if &*method.service == OPEN_SERVICE {
            return Ok((caller, None));
        }
        let grants = Arc::clone(&self.grants.read().unwrap_or_else(PoisonError::into_inner));
        let grant = given.and_then(|token| grants.find(&token)).map_err(|refusal| {
            metrics::counter!("descry_access_refused_total", "reason" => refusal.name()).increment(1);
            tracing::info!(reason = refusal.name(), token = refusal.id(), "it is not known who calls");
            crate::access::refusal(Denial::Unproven)
        })?;
        grant.standing.take_request().map_err(crate::access::refusal)?;
        Ok((Caller { principal: Some(Arc::clone(&grant.principal)), ..caller }, Some(grant.standing.clone())))
    }
}

/// The token that a request brings.
fn bearer(headers: &HeaderMap) -> Result<String, Refusal> {
    let mut given = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (given.next(), given.next()) else { return Err(Refusal::Missing) };
    let text = value.to_str().map_err(|_| Refusal::Malformed)?;
    let (scheme, token) = text.split_once(' ').ok_or(Refusal::Malformed)?;
    if scheme.eq_ignore_ascii_case(SCHEME) { Ok(token.trim().to_owned()) } else { Err(Refusal::Malformed) }
}
