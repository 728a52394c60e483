//! How things are fetched, where they are kept, and what the environment says of both.

use crate::{Address, DownloadError, Token};
use config::{Config, Environment};
use serde::Deserialize;
use std::env;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The hub, unless `HF_ENDPOINT` names a mirror.
const ENDPOINT: &str = "https://huggingface.co";

/// More than any token has.
const TOKEN_LIMIT_BYTES: u64 = 4 << 10;

/// What a download may do.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The hub's address.
    pub endpoint: Address,
    /// The hub's token, which no other host gets to see.
    pub token: Option<Token>,
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
#[derive(Default, Deserialize)]
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
    /// [`DownloadError::Environment`] for a variable that is no text, and for a hub that is no address.
    pub fn from_environment() -> Result<Self, DownloadError> {
        let of = |prefix: &str| Environment::with_prefix(prefix).keep_prefix(true).ignore_empty(true);
        let variables = Config::builder().add_source(of("HF")).add_source(of("XDG")).build();
        // The failure has the variable's content in it.
        let variables = variables.and_then(Config::try_deserialize).map_err(|_| DownloadError::Environment {
            variable: "a variable that begins with HF_ or XDG_",
            reason: "it is no text",
        })?;
        Self::of(variables)
    }

    fn of(variables: Variables) -> Result<Self, DownloadError> {
        let Variables { hf_endpoint, hf_token, hf_home, hf_hub_cache, hf_hub_offline, xdg_cache_home } = variables;
        let caches = xdg_cache_home.unwrap_or_else(|| env::home_dir().unwrap_or_else(env::temp_dir).join(".cache"));
        let home = hf_home.unwrap_or_else(|| caches.join("huggingface"));
        let token = hf_token.or_else(|| token_file(&home.join("token")));
        let offline = hf_hub_offline
            .is_some_and(|value| ["1", "on", "yes", "true"].contains(&value.trim().to_ascii_lowercase().as_str()));
        let endpoint = Address::parse(hf_endpoint.as_deref().unwrap_or(ENDPOINT).trim());
        let endpoint = endpoint.ok_or(DownloadError::Environment {
            variable: "HF_ENDPOINT",
            reason: "it is no address that begins with https://",
        })?;
        Ok(Self {
            endpoint,
            token: token.as_deref().and_then(Token::new),
            hub_cache: hf_hub_cache.unwrap_or_else(|| home.join("hub")),
            web_cache: caches.join("descry").join("downloads"),
            offline,
            sha256: None,
            stall_timeout: Duration::from_secs(60),
            patience: Duration::from_secs(120),
            limit_bytes: 32 << 30,
            small_limit_bytes: 64 << 20,
        })
    }
}

/// The token that the hub's client keeps; a file that is longer than any is none.
fn token_file(path: &Path) -> Option<String> {
    let mut text = String::new();
    let length = File::open(path).ok()?.take(TOKEN_LIMIT_BYTES).read_to_string(&mut text).ok()?;
    Some(text).filter(|_| (length as u64) < TOKEN_LIMIT_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_mean_what_they_mean_to_the_hubs_own_client() {
        let settings = Settings::of(Variables {
            hf_endpoint: Some("https://user:secret@mirror.example/?secret".to_owned()),
            hf_token: Some(" secret\n".to_owned()),
            hf_home: Some("/data/hub-home".into()),
            hf_hub_offline: Some("YES".to_owned()),
            xdg_cache_home: Some("/caches".into()),
            ..Variables::default()
        })
        .unwrap();
        assert_eq!(settings.endpoint.to_string(), "https://mirror.example/");
        assert_eq!(settings.token, Token::new("secret"));
        assert_eq!(settings.hub_cache, PathBuf::from("/data/hub-home/hub"));
        assert_eq!(settings.web_cache, PathBuf::from("/caches/descry/downloads"));
        assert!(settings.offline && !format!("{settings:?}").contains("secret"));
        let settings = Settings::of(Variables {
            hf_hub_cache: Some("/elsewhere".into()),
            hf_hub_offline: Some("0".to_owned()),
            xdg_cache_home: Some("/caches".into()),
            ..Variables::default()
        })
        .unwrap();
        assert_eq!((settings.endpoint, settings.offline), (Address::parse(ENDPOINT).unwrap(), false));
        assert_eq!(settings.hub_cache, PathBuf::from("/elsewhere"));
        let wrong = Variables { hf_endpoint: Some("user:secret@mirror".to_owned()), ..Variables::default() };
        let error = Settings::of(wrong).unwrap_err();
        assert!(error.to_string().contains("HF_ENDPOINT") && !format!("{error:?}").contains("secret"), "{error}");
    }

    #[test]
    fn a_kept_token_is_read_unless_it_is_too_long() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        assert_eq!(token_file(&file), None);
        std::fs::write(&file, "secret\n").unwrap();
        assert_eq!(token_file(&file).as_deref(), Some("secret\n"));
        std::fs::write(&file, "s".repeat(1 << 20)).unwrap();
        assert_eq!(token_file(&file), None);
    }
}
