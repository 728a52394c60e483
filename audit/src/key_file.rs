//! Keys in files: 64 hexadecimal digits each, as `openssl rand -hex 32` writes them.

use crate::AuditError;
use crate::line::from_hex;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

pub(crate) const KEY_BYTES: usize = 32;

/// A longer file holds something else.
const LONGEST: u64 = 1_024;

/// What a file of a secret is to hold.
pub(crate) const SECRET_EXPECTED: &str =
    "expected a file with 64 hexadecimal digits, as `openssl rand -hex 32` writes them";

/// Reads 64 hexadecimal digits, with or without an end of the line, from the file that a setting names. What the file holds is
/// never repeated.
///
/// # Errors
/// [`AuditError::Setting`] where there is no key, with what is `expected`.
pub(crate) fn read_key(setting: &'static str, path: &Path, expected: &str) -> Result<Vec<u8>, AuditError> {
    if path.as_os_str().is_empty() {
        let reason = format!("it is empty, and what it is for is to be kept closed; {expected}");
        return Err(AuditError::setting(setting, reason));
    }
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(LONGEST).read_to_string(&mut text));
    read.map_err(|error| AuditError::setting(setting, format!("{}: {error}; {expected}", path.display())))?;
    let key = from_hex(text.trim()).filter(|key| key.len() == KEY_BYTES);
    key.ok_or_else(|| AuditError::setting(setting, format!("{} holds no key; {expected}", path.display())))
}
