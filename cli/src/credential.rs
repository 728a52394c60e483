//! With what a command proves who calls.

use anyhow::Context as _;
use descry_client::Connection;
use descry_terminal::{shell, whole_file};
use descry_trust::tls::Address;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// A longer file holds something else.
const MAX_TOKEN_BYTES: u64 = 16 << 10;

/// Where the token is when no file is named.
const VARIABLE: &str = "DESCRY_TOKEN";

/// What proves to a service who calls, where it asks.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Credential {
    /// File with the token that says who calls, as `descry token create` prints it [default: the variable DESCRY_TOKEN].
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Send the token even where nothing encrypts it: whoever overhears it can use it.
    #[arg(long)]
    insecure: bool,
}

impl Credential {
    /// The connection to this address, whose calls say who makes them where that is known.
    pub(crate) fn prove(&self, connection: Connection, url: &str) -> anyhow::Result<Connection> {
        let (token, source) = match &self.token_file {
            Some(path) => (Some(read(path)?), format!("--token-file {}", path.display())),
            None => (descry_serving::config::variable(VARIABLE)?, format!("the variable {VARIABLE}")),
        };
        match token {
            Some(token) => {
                self.check_way(url)?;
                connection.with_token(token.trim()).context(source)
            }
            None => Ok(connection),
        }
    }

    /// Refuses to send a token where others can overhear it: over plain HTTP to another machine.
    pub(crate) fn check_way(&self, url: &str) -> anyhow::Result<()> {
        if is_for_us_alone(url) {
            return Ok(());
        }
        let address = url.split_once("://").map_or(url, |(_, address)| address);
        anyhow::ensure!(
            self.insecure,
            "the token would go to {url} without encryption, where others may overhear and use it; give https://{address} \
             (docs/TLS.md), or --insecure where nobody can listen"
        );
        tracing::warn!("the token goes to {url} without encryption (--insecure)");
        Ok(())
    }
}

/// Whether what is sent to an address is encrypted, or stays on this machine.
fn is_for_us_alone(url: &str) -> bool {
    let Ok(address) = Address::parse(url) else { return false };
    let host = address.host();
    let is_loopback = host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback());
    address.is_tls() || is_loopback || host.eq_ignore_ascii_case("localhost")
}

/// The token in a file.
pub(crate) fn read(path: &Path) -> anyhow::Result<String> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let metadata = path.metadata();
        if metadata.is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o077 != 0) {
            tracing::warn!("others may read the token in {0}: chmod 600 {0}", shell::word(path));
        }
    }
    let content = whole_file::read(path, MAX_TOKEN_BYTES)?;
    String::from_utf8(content).ok().with_context(|| format!("{} holds no token: it is no text", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_goes_to_others_encrypted_or_on_demand() {
        let credential = |insecure| Credential { token_file: None, insecure };
        for url in ["http://127.0.0.1:1", "http://[::1]:1", "http://LocalHost:1", "https://search.example"] {
            credential(false).check_way(url).unwrap();
        }
        for url in
            ["http://10.0.0.1:50051", "http://search:50051", "http://127.0.0.1.example:1", "http://localhost.example"]
        {
            let error = credential(false).check_way(url).unwrap_err().to_string();
            assert!(error.contains("give https://") && error.contains("--insecure"), "{error}");
            credential(true).check_way(url).unwrap();
        }
    }
}
