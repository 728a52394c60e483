//! With what a command proves who calls.

use anyhow::Context as _;
use descry_client::Connection;
use descry_terminal::{shell, whole_file};
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
}

impl Credential {
    /// The connection, whose calls say who makes them where that is known.
    pub(crate) fn prove(&self, connection: Connection) -> anyhow::Result<Connection> {
        let (token, source) = match &self.token_file {
            Some(path) => (Some(read(path)?), format!("--token-file {}", path.display())),
            None => (descry_serving::config::variable(VARIABLE)?, format!("the variable {VARIABLE}")),
        };
        match token {
            Some(token) => connection.with_token(token.trim()).context(source),
            None => Ok(connection),
        }
    }
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
