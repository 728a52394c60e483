//! Who may do what: each call with a token that is enough for it, and with all kinds that are not; and what becomes of tokens
//! that change while the service runs.

mod changes;
mod command_line;
mod document;
mod erasing;
mod every_method;
mod galleries;

use descry_search::SearchConfig;
use descry_serving::AccessConfig;
use descry_trust::{Limits, NewToken, Token, TokenFile};
use std::path::PathBuf;
use tempfile::TempDir;
use tonic::service::Interceptor;
use tonic::{Request, Status};

/// Everything that may be allowed.
const ALL: [&str; 6] = ["search:*", "index:*", "manage:*", "encode", "admin", "audit"];

/// A file of tokens.
struct Tokens {
    folder: TempDir,
}

impl Tokens {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("tokens.json")
    }

    /// The settings of a service that takes these tokens, and looks often whether they are still the same.
    fn settings(&self) -> AccessConfig {
        let tokens_file = self.path();
        AccessConfig { tokens_file, reload_interval_ms: 10, ..SearchConfig::load(None).unwrap().access }
    }

    fn change<Changed>(&self, change: impl FnOnce(&mut TokenFile) -> Changed) -> Changed {
        TokenFile::change(&self.path(), |file| Ok(change(file))).unwrap()
    }

    fn add(&self, name: &str, scopes: &[&str], expires_at_ms: Option<i64>) -> Token {
        let scopes = scopes.iter().map(|scope| scope.parse().unwrap()).collect();
        let new = NewToken { name: name.to_owned(), scopes, expires_at_ms, limits: Limits::default() };
        self.change(|file| file.add(new, 0).unwrap())
    }

    /// A new token, as it is sent.
    fn allow(&self, scopes: &[&str]) -> String {
        self.add("someone", scopes, None).reveal()
    }

    /// A file with a token as it is sent.
    fn secret_file(&self, name: &str, token: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, format!("{token}\n")).unwrap();
        path
    }
}

/// Sends a token with each call.
#[derive(Clone)]
struct With(String);

impl Interceptor for With {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", format!("Bearer {}", self.0).parse().unwrap());
        Ok(request)
    }
}
