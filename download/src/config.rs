//! How things are fetched, where they are kept, and what the environment says of both.

use crate::DownloadError;
use config::{Config, Environment};
use serde::Deserialize;
use std::env;
use std::path::PathBuf;
use std::time::Duration;

/// The hub, unless `HF_ENDPOINT` names a mirror.
const ENDPOINT: &str = "https://huggingface.co";

/// What a download may do.
#[derive(Clone)]
pub struct Settings {
    /// The hub's address, without a slash at its end.
    pub endpoint: String,
    /// The hub's token, which no other host gets to see.
    pub token: Option<String>,
    /// The hub's cache, in its usual layout.
    pub hub_cache: PathBuf,
    /// Where files from elsewhere are kept.
    pub web_cache: PathBuf,
    /// Uses what is here, and asks nobody.
    pub offline: bool,
    /// What the weights must hash to: SHA-256, in hexadecimal digits.
    pub sha256: Option<String>,
    /// A server that sends nothing for so long is given up, and asked again.
    pub stall_timeout: Duration,
    /// How long a server may fail without anything arriving. It is asked again meanwhile.
    pub patience: Duration,
    /// The most that weights may have, all shards together.
    pub limit_bytes: u64,
    /// The most that a file beside the weights may have.
    pub small_limit_bytes: u64,
}

/// The variables that the hub's usual client reads.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Variables {
    hf_endpoint: Option<String>,
    hf_token: Option<String>,
    hf_home: Option<PathBuf>,
    hf_hub_cache: Option<PathBuf>,
    hf_hub_offline: Option<String>,
    xdg_cache_home: Option<PathBuf>,
}

impl Settings {
    /// As the hub's usual client reads its environment: `HF_ENDPOINT`, `HF_TOKEN`, `HF_HUB_CACHE`, `HF_HOME`,
    /// `XDG_CACHE_HOME` and `HF_HUB_OFFLINE`. An empty variable counts as none.
    ///
    /// # Errors
    /// [`DownloadError::Environment`] for a variable that is no text.
    pub fn from_environment() -> Result<Self, DownloadError> {
        let of = |prefix: &str| Environment::with_prefix(prefix).keep_prefix(true).ignore_empty(true);
        let variables = Config::builder().add_source(of("HF")).add_source(of("XDG")).build()?;
        Ok(Self::of(variables.try_deserialize()?))
    }

    fn of(variables: Variables) -> Self {
        let Variables { hf_endpoint, hf_token, hf_home, hf_hub_cache, hf_hub_offline, xdg_cache_home } = variables;
        let caches = xdg_cache_home.unwrap_or_else(|| env::home_dir().unwrap_or_else(env::temp_dir).join(".cache"));
        let home = hf_home.unwrap_or_else(|| caches.join("huggingface"));
        let token = hf_token.or_else(|| std::fs::read_to_string(home.join("token")).ok());
        let offline = hf_hub_offline
            .is_some_and(|value| ["1", "on", "yes", "true"].contains(&value.trim().to_ascii_lowercase().as_str()));
        Self {
            endpoint: hf_endpoint.as_deref().unwrap_or(ENDPOINT).trim().trim_end_matches('/').to_owned(),
            token: token.map(|token| token.trim().to_owned()).filter(|token| !token.is_empty()),
            hub_cache: hf_hub_cache.unwrap_or_else(|| home.join("hub")),
            web_cache: caches.join("descry").join("downloads"),
            offline,
            sha256: None,
            stall_timeout: Duration::from_secs(60),
            patience: Duration::from_secs(120),
            limit_bytes: 32 << 30,
            small_limit_bytes: 64 << 20,
        }
    }
}

/// Without the token.
impl std::fmt::Debug for Settings {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { endpoint, hub_cache, offline, .. } = self;
        write!(formatter, "Settings {{ endpoint: {endpoint}, hub_cache: {hub_cache:?}, offline: {offline}, .. }}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_mean_what_they_mean_to_the_hubs_own_client() {
        let settings = Settings::of(Variables {
            hf_endpoint: Some("https://mirror.example/".to_owned()),
            hf_token: Some(" secret\n".to_owned()),
            hf_home: Some("/data/hub-home".into()),
            hf_hub_offline: Some("YES".to_owned()),
            xdg_cache_home: Some("/caches".into()),
            ..Variables::default()
        });
        assert_eq!(settings.endpoint, "https://mirror.example");
        assert_eq!(settings.token.as_deref(), Some("secret"));
        assert_eq!(settings.hub_cache, PathBuf::from("/data/hub-home/hub"));
        assert_eq!(settings.web_cache, PathBuf::from("/caches/descry/downloads"));
        assert!(settings.offline && !format!("{settings:?}").contains("secret"));
        let settings = Settings::of(Variables {
            hf_hub_cache: Some("/elsewhere".into()),
            hf_hub_offline: Some("0".to_owned()),
            xdg_cache_home: Some("/caches".into()),
            ..Variables::default()
        });
        assert_eq!((settings.endpoint.as_str(), settings.offline), (ENDPOINT, false));
        assert_eq!(settings.hub_cache, PathBuf::from("/elsewhere"));
    }
}
