//! Certificates and keys in PEM files.

use super::certificate::facts;
use crate::TrustError;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// Every CA that a system trusts fits into a quarter of it.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Whose bits say that everybody may read the file, or write to it.
#[cfg(unix)]
const OTHERS: u32 = 0o007;

/// A file as it was when it was read.
pub(super) struct PemFile {
    path: PathBuf,
    bytes: Vec<u8>,
}

impl PemFile {
    /// # Errors
    /// [`TrustError::Unreadable`] for one that is missing, no file, or larger than 1 MiB.
    pub(super) fn read(path: &Path) -> Result<Self, TrustError> {
        let unreadable = |source| TrustError::Unreadable { path: path.to_owned(), source };
        let read = || {
            let file = File::open(path)?;
            if !file.metadata()?.is_file() {
                return Err(io::Error::other("it is no file"));
            }
            let mut bytes = Vec::new();
            file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
            if bytes.len() as u64 > MAX_FILE_BYTES {
                return Err(io::Error::other(format!("it is larger than {MAX_FILE_BYTES} bytes")));
            }
            Ok(bytes)
        };
        Ok(Self { path: path.to_owned(), bytes: read().map_err(unreadable)? })
    }

    /// As [`PemFile::read`], for a setting that may be empty.
    pub(super) fn read_if_named(path: &Path) -> Result<Option<Self>, TrustError> {
        if path.as_os_str().is_empty() { Ok(None) } else { Self::read(path).map(Some) }
    }

    /// The certificates, at least one, in the order of the file.
    pub(super) fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, TrustError> {
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&self.bytes).collect();
        let found = found.map_err(|error| self.unusable(error.to_string()))?;
        if found.is_empty() {
            return Err(self.unusable("there is no certificate in it (PEM, \"BEGIN CERTIFICATE\")".to_owned()));
        }
        Ok(found)
    }

    /// The first private key.
    pub(super) fn key(&self) -> Result<PrivateKeyDer<'static>, TrustError> {
        PrivateKeyDer::from_pem_slice(&self.bytes).map_err(|_| {
            // The library's own words could quote the key.
            self.unusable("there is no private key in it that can be read (PEM, unencrypted)".to_owned())
        })
    }

    /// The CAs in it.
    pub(super) fn authorities(&self) -> Result<RootCertStore, TrustError> {
        let mut authorities = RootCertStore::empty();
        for certificate in self.certificates()? {
            authorities.add(certificate).map_err(|error| self.unusable(format!("a certificate in it: {error}")))?;
        }
        Ok(authorities)
    }

    pub(super) fn unusable(&self, reason: String) -> TrustError {
        TrustError::Unusable { path: self.path.clone(), reason }
    }

    /// Says in the log that everybody on the machine can read a key.
    pub(super) fn warn_if_everybody_reads_it(&self) {
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = std::fs::metadata(&self.path).map(|metadata| metadata.permissions().mode());
            if mode.is_ok_and(|mode| mode & OTHERS != 0) {
                let path = self.path.display();
                tracing::warn!(%path, "everybody on this machine can read a private key; chmod 600 keeps it private");
            }
        }
    }
}

/// A checksum over files, so that a change is noticed by what they hold: copies and links to new folders keep no order of times.
pub(super) fn checksum<'a>(files: impl IntoIterator<Item = Option<&'a PemFile>>) -> [u8; 32] {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    for file in files {
        let bytes = file.map(|file| file.bytes.as_slice()).unwrap_or_default();
        context.update(&(bytes.len() as u64).to_le_bytes());
        context.update(bytes);
    }
    let mut sum = [0; 32];
    sum.copy_from_slice(context.finish().as_ref());
    sum
}

/// When the first of these certificates expires, in seconds since 1970.
pub(super) fn first_expiry(chain: &[CertificateDer<'_>]) -> Option<i64> {
    chain.iter().filter_map(|certificate| Some(facts(certificate)?.not_after)).min()
}
