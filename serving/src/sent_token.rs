//! The token with which a service proves to another one who calls.

use crate::GrpcChannel;
use descry_trust::{TrustError, read_bounded};
use http::HeaderValue;
use http::header::AUTHORIZATION;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tower::ServiceExt as _;
use tower::util::BoxCloneSyncService;

/// A longer file holds something else.
const MAX_TOKEN_BYTES: u64 = 16 << 10;

/// How often the file is looked at: a token that is replaced is used soon.
const RELOAD_INTERVAL: Duration = Duration::from_secs(1);

/// A token in a file. Clones are of the same one.
#[derive(Clone)]
pub struct SentToken(Arc<Sent>);

struct Sent {
    path: PathBuf,
    authorization: RwLock<HeaderValue>,
}

impl SentToken {
    /// Reads it.
    ///
    /// # Errors
    /// [`TrustError::Unreadable`], [`TrustError::Unusable`].
    pub fn read(path: &Path) -> Result<Self, TrustError> {
        let authorization = RwLock::new(authorization(path)?);
        Ok(Self(Arc::new(Sent { path: path.to_owned(), authorization })))
    }

    /// The same channel, whose calls carry the token.
    pub fn over(&self, channel: GrpcChannel) -> GrpcChannel {
        let sent = Arc::clone(&self.0);
        BoxCloneSyncService::new(channel.map_request(move |mut request: http::Request<tonic::body::Body>| {
            let authorization = sent.authorization.read().unwrap_or_else(PoisonError::into_inner).clone();
            request.headers_mut().insert(AUTHORIZATION, authorization);
            request
        }))
    }

    /// Takes the file's changes over, again and again. Never ends.
    pub async fn keep_current(self) {
        let mut failure = None;
        loop {
            tokio::time::sleep(RELOAD_INTERVAL).await;
            let path = self.0.path.clone();
            let Ok(read) = tokio::task::spawn_blocking(move || authorization(&path)).await else { return };
            match read {
                Ok(authorization) => {
                    failure = None;
                    *self.0.authorization.write().unwrap_or_else(PoisonError::into_inner) = authorization;
                }
                Err(error) => {
                    let reason = error.to_string();
                    if failure.as_ref() != Some(&reason) {
                        tracing::error!(reason, "the token cannot be read again; the one from before is still sent");
                    }
                    failure = Some(reason);
                }
            }
        }
    }
}

fn authorization(path: &Path) -> Result<HeaderValue, TrustError> {
    let unusable = || TrustError::Unusable {
        path: path.to_owned(),
        reason: "it must hold one token, as `descry token create` prints it".to_owned(),
    };
    let content = read_bounded(path, MAX_TOKEN_BYTES)?;
    let token = std::str::from_utf8(&content).map_err(|_| unusable())?.trim();
    if token.is_empty() || content.len() as u64 > MAX_TOKEN_BYTES || !token.bytes().all(|byte| byte.is_ascii_graphic())
    {
        return Err(unusable());
    }
    let mut authorization = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| unusable())?;
    authorization.set_sensitive(true);
    Ok(authorization)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_holds_one_token_and_it_is_not_shown() {
        let path = std::env::temp_dir().join(format!("descry-sent-token-{}", std::process::id()));
        let read = |content: &str| {
            std::fs::write(&path, content).unwrap();
            authorization(&path)
        };
        let sent = read("descry_0123456789ab_secret\n").unwrap();
        assert!(sent == "Bearer descry_0123456789ab_secret" && !format!("{sent:?}").contains("secret"));
        for wrong in ["", "\n", "two words", "secret\nand another"] {
            let error = read(wrong).unwrap_err().to_string();
            assert!(error.contains("one token") && !error.contains("secret"), "{error}");
        }
        std::fs::remove_file(&path).unwrap();
        assert!(authorization(&path).is_err());
    }
}
