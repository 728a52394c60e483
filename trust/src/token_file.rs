//! The file in which a service finds who may do what: of each token its name, its scopes and a hash.

use crate::token::is_id;
use crate::{Limits, Scope, Token, TokenHash, TrustError};
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

/// The most that a file of tokens may have: some ten thousand of them.
pub const MAX_TOKEN_FILE_BYTES: u64 = 16 << 20;

const VERSION: u32 = 1;
const MAX_NAME_BYTES: usize = 128;
const MAX_SCOPES: usize = 256;

/// The tokens that a service takes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenFile {
    version: u32,
    tokens: Vec<TokenRecord>,
}

/// What is kept of a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenRecord {
    /// The token's id, which is in the token itself.
    pub id: String,
    /// Whose it is. Several tokens may be of one name, as while one replaces another.
    pub name: String,
    /// SHA-256 of the secret, in hexadecimal digits.
    pub sha256: String,
    /// What it allows.
    pub scopes: Vec<Scope>,
    /// When it was made, in milliseconds since 1970.
    pub created_at_ms: i64,
    /// From when on it is worth nothing, in milliseconds since 1970; nothing for never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at_ms: Option<i64>,
    /// When it was revoked, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at_ms: Option<i64>,
    /// Requests a minute, in place of the service's own setting; 0 for no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_requests_per_minute: Option<u32>,
    /// Images a day, in place of the service's own setting; 0 for no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_images_per_day: Option<u32>,
}

/// A token that is to be made.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// Whose it is.
    pub name: String,
    /// What it allows.
    pub scopes: Vec<Scope>,
    /// From when on it is worth nothing, in milliseconds since 1970; nothing for never.
    pub expires_at_ms: Option<i64>,
    /// Its own limits, where they are not the service's.
    pub limits: Limits,
}

impl TokenRecord {
    /// What its principal may use, with the service's own limits where it has none.
    pub fn limits(&self, of_service: Limits) -> Limits {
        let or = |own: Option<u32>, of_service: Option<u32>| own.or(of_service).filter(|most| *most > 0);
        Limits {
            max_requests_per_minute: or(self.max_requests_per_minute, of_service.max_requests_per_minute),
            max_images_per_day: or(self.max_images_per_day, of_service.max_images_per_day),
        }
    }

    /// The hash of its secret.
    ///
    /// # Errors
    /// [`TrustError::MalformedHash`]; never of one that was read from a file.
    pub fn hash(&self) -> Result<TokenHash, TrustError> {
        self.sha256.parse()
    }
}

impl TokenFile {
    /// One without any token.
    pub fn empty() -> Self {
        Self { version: VERSION, tokens: Vec::new() }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// [`TrustError::Unreadable`], [`TrustError::Unusable`].
    pub fn read(path: &Path) -> Result<Self, TrustError> {
        Self::parse(&read_bounded(path, MAX_TOKEN_FILE_BYTES)?)
            .map_err(|reason| TrustError::Unusable { path: path.to_owned(), reason })
    }

    /// Reads the content of a file.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn parse(content: &[u8]) -> Result<Self, String> {
        if content.len() as u64 > MAX_TOKEN_FILE_BYTES {
            return Err(format!("it has more than {MAX_TOKEN_FILE_BYTES} bytes"));
        }
        let file: Self = serde_json::from_slice(content).map_err(|error| error.to_string())?;
        if file.version != VERSION {
            return Err(format!("it is of version {}, and this release reads version {VERSION}", file.version));
        }
        for (index, token) in file.tokens.iter().enumerate() {
            let wrong = |reason: String| format!("tokens[{index}]: {reason}");
            if !is_id(&token.id) {
                return Err(wrong("its id must be 12 hexadecimal digits".to_owned()));
            }
            check(&token.name, &token.scopes).map_err(|error| wrong(error.to_string()))?;
            token.hash().map_err(|error| wrong(error.to_string()))?;
            if file.tokens[..index].iter().any(|other| other.id == token.id) {
                return Err(wrong(format!("id {} stands there twice", token.id)));
            }
        }
        Ok(file)
    }

    /// All tokens, in the order in which they were made.
    pub fn tokens(&self) -> &[TokenRecord] {
        &self.tokens
    }

    /// Makes a token and keeps its hash.
    ///
    /// # Errors
    /// [`TrustError::Name`], [`TrustError::Scopes`], [`TrustError::NoRandomness`].
    pub fn add(&mut self, new: NewToken, now_ms: i64) -> Result<Token, TrustError> {
        check(&new.name, &new.scopes)?;
        let token = loop {
            let token = Token::generate()?;
            if self.tokens.iter().all(|other| other.id != token.id()) {
                break token;
            }
        };
        self.tokens.push(TokenRecord {
            id: token.id().to_owned(),
            name: new.name,
            sha256: token.hash().to_string(),
            scopes: new.scopes,
            created_at_ms: now_ms,
            expires_at_ms: new.expires_at_ms,
            revoked_at_ms: None,
            max_requests_per_minute: new.limits.max_requests_per_minute,
            max_images_per_day: new.limits.max_images_per_day,
        });
        Ok(token)
    }

    /// Revokes the token of that id, or all of that name, and returns how many were not revoked before.
    ///
    /// # Errors
    /// [`TrustError::NoToken`] where there is none.
    pub fn revoke(&mut self, id_or_name: &str, now_ms: i64) -> Result<usize, TrustError> {
        let is_meant = |token: &&mut TokenRecord| token.id == id_or_name || token.name == id_or_name;
        let mut meant: Vec<_> = self.tokens.iter_mut().filter(is_meant).collect();
        if meant.is_empty() {
            return Err(TrustError::NoToken { id_or_name: id_or_name.to_owned() });
        }
        meant.retain(|token| token.revoked_at_ms.is_none());
        let count = meant.len();
        meant.into_iter().for_each(|token| token.revoked_at_ms = Some(now_ms));
        Ok(count)
    }

    /// Changes the file at `path`, which is made where it is missing: readable by its owner alone, and whole at any moment.
    /// Changes at the same time come one after the other.
    ///
    /// # Errors
    /// [`TrustError::Unreadable`], [`TrustError::Unusable`], [`TrustError::Unwritable`], and those of `change`, after which the
    /// file is as it was.
    pub fn change<Changed>(
        path: &Path,
        change: impl FnOnce(&mut Self) -> Result<Changed, TrustError>,
    ) -> Result<Changed, TrustError> {
        let failed = |source| TrustError::Unwritable { path: path.to_owned(), source };
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // The folder is locked, since the file is replaced. It is let go when this ends, however it ends.
        let lock = File::open(folder).map_err(failed)?;
        lock.lock().map_err(failed)?;
        let mut file = match Self::read(path) {
            Err(TrustError::Unreadable { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                Self::empty()
            }
            read => read?,
        };
        let changed = change(&mut file)?;
        file.write(path).map_err(failed)?;
        lock.sync_all().map_err(failed)?;
        Ok(changed)
    }

    fn write(&self, path: &Path) -> std::io::Result<()> {
        let mut content = serde_json::to_vec_pretty(self)?;
        content.push(b'\n');
        let mut partial = path.as_os_str().to_owned();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        // One that a killed run left may be readable by others.
        match std::fs::remove_file(&partial) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt as _;
            options.mode(0o600);
        }
        let mut file = options.open(&partial)?;
        file.write_all(&content)?;
        file.sync_all()?;
        std::fs::rename(&partial, path)
    }
}

/// Reads a file, and not much more of a longer one than is allowed.
///
/// # Errors
/// [`TrustError::Unreadable`].
pub fn read_bounded(path: &Path, max_bytes: u64) -> Result<Vec<u8>, TrustError> {
    let unreadable = |source| TrustError::Unreadable { path: path.to_owned(), source };
    let mut content = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(max_bytes + 1).read_to_end(&mut content).map_err(unreadable)?;
    Ok(content)
}

fn check(name: &str, scopes: &[Scope]) -> Result<(), TrustError> {
    let is_plain = name.chars().all(|letter| !letter.is_whitespace() && !letter.is_control());
    if name.is_empty() || name.len() > MAX_NAME_BYTES || !is_plain {
        return Err(TrustError::Name);
    }
    if scopes.is_empty() || scopes.len() > MAX_SCOPES {
        return Err(TrustError::Scopes { max: MAX_SCOPES });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
