//! A CA and its certificates as files in a folder: `ca.pem` and `ca.key`, and a pair for each server and client.

use crate::{Authority, Issued, IssuingError, Subject, Validity};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use std::fs::{self, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

const AUTHORITY: &str = "ca";
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Where a certificate and its key were written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// The certificate.
    pub certificate: PathBuf,
    /// The private key, which its owner alone may read.
    pub key: PathBuf,
}

impl Files {
    fn of(folder: &Path, stem: &str) -> Self {
        Self { certificate: folder.join(format!("{stem}.pem")), key: folder.join(format!("{stem}.key")) }
    }

    /// Writes both, or neither.
    fn write(&self, issued: &Issued) -> Result<(), IssuingError> {
        for path in [&self.certificate, &self.key] {
            if fs::symlink_metadata(path).is_ok() {
                return Err(IssuingError::Exists { path: path.clone() });
            }
        }
        write_new(&self.key, &issued.key, 0o600)?;
        write_new(&self.certificate, &issued.certificate, 0o644).inspect_err(|_| {
            // Without its certificate the key is of no use to anybody.
            let _ = fs::remove_file(&self.key);
        })
    }
}

/// Makes a CA in a folder, which is created where it is missing.
///
/// # Errors
/// [`IssuingError::Exists`] where there is one already, [`IssuingError::File`] when the folder cannot be written to.
pub fn make_authority_in(folder: &Path, validity: Validity) -> Result<Files, IssuingError> {
    fs::create_dir_all(folder).map_err(|source| IssuingError::File { path: folder.to_owned(), source })?;
    let files = Files::of(folder, AUTHORITY);
    let (_, issued) = Authority::generate(validity)?;
    files.write(&issued)?;
    Ok(files)
}

/// Signs a certificate with the CA in a folder, and writes it beside it as `STEM.pem` and `STEM.key`.
///
/// # Errors
/// [`IssuingError::NoAuthority`], [`IssuingError::ForeignAuthority`], [`IssuingError::Name`], [`IssuingError::Exists`],
/// [`IssuingError::File`].
pub fn issue_in(folder: &Path, stem: &str, subject: &Subject, validity: Validity) -> Result<Files, IssuingError> {
    let own = Files::of(folder, AUTHORITY);
    if !own.key.exists() {
        return Err(IssuingError::NoAuthority { folder: folder.to_owned() });
    }
    let authority = Authority::from_key(&read(&own.key)?)?;
    let is_its_own = certificate_in(&read(&own.certificate)?).is_some_and(|der| authority.is_of(&der));
    if !is_its_own {
        return Err(IssuingError::ForeignAuthority { path: own.certificate });
    }
    let files = Files::of(folder, &file_stem(stem));
    files.write(&authority.issue(subject, validity)?)?;
    Ok(files)
}

/// A name as a file's: what would lead to another folder, or mean something to a shell, becomes a dash.
fn file_stem(name: &str) -> String {
    let is_plain = |letter: char| letter.is_alphanumeric() || matches!(letter, '-' | '_' | '.');
    let stem: String = name.chars().map(|letter| if is_plain(letter) { letter } else { '-' }).take(100).collect();
    let stem = stem.trim_start_matches(['.', '-']);
    // The CA's own files are nobody else's.
    if stem.is_empty() || stem == AUTHORITY { format!("{stem}-certificate") } else { stem.to_owned() }
}

fn certificate_in(pem: &str) -> Option<CertificateDer<'static>> {
    CertificateDer::from_pem_slice(pem.as_bytes()).ok()
}

fn read(path: &Path) -> Result<String, IssuingError> {
    let read = || {
        let mut text = String::new();
        fs::File::open(path)?.take(MAX_FILE_BYTES).read_to_string(&mut text)?;
        Ok(text)
    };
    read().map_err(|source: io::Error| IssuingError::File { path: path.to_owned(), source })
}

fn write_new(path: &Path, text: &str, mode: u32) -> Result<(), IssuingError> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    let written = options.open(path).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    written.map_err(|source| {
        let path = path.to_owned();
        if source.kind() == io::ErrorKind::AlreadyExists {
            IssuingError::Exists { path }
        } else {
            IssuingError::File { path, source }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(name: &str) -> Subject {
        Subject::Client { name: name.to_owned() }
    }

    #[test]
    fn nothing_is_written_over_and_keys_are_their_owners() {
        let folder = tempfile::tempdir().unwrap();
        let certs = folder.path().join("new/certs");
        let own = make_authority_in(&certs, Validity::days(1)).unwrap();
        let before = fs::read(&own.key).unwrap();
        assert!(
            matches!(make_authority_in(&certs, Validity::days(1)), Err(IssuingError::Exists { path }) if path == own.certificate)
        );
        let alice = issue_in(&certs, "alice", &client("alice"), Validity::days(1)).unwrap();
        fs::remove_file(&alice.certificate).unwrap();
        let refused = issue_in(&certs, "alice", &client("alice"), Validity::days(1));
        assert!(matches!(refused, Err(IssuingError::Exists { path }) if path == alice.key), "its key alone is there");
        assert!(!alice.certificate.exists());
        assert_eq!(fs::read(&own.key).unwrap(), before);
        for key in [own.key, alice.key] {
            let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&key).unwrap().permissions());
            assert_eq!(mode & 0o777, 0o600, "{}", key.display());
        }
    }

    #[test]
    fn whatever_the_name_its_files_are_in_the_folder_and_not_the_cas() {
        let folder = tempfile::tempdir().unwrap();
        let own = make_authority_in(folder.path(), Validity::days(1)).unwrap();
        let before = fs::read(&own.certificate).unwrap();
        for name in ["../escaped", "/etc/escaped", "spiffe://example/search", "ca", "..", "-rf", "Ünal Öz"] {
            let files = issue_in(folder.path(), name, &client(name), Validity::days(1)).unwrap();
            assert_eq!(files.certificate.parent(), Some(folder.path()), "{name}");
            assert_ne!(files.certificate, own.certificate, "{name}");
        }
        assert_eq!(fs::read(&own.certificate).unwrap(), before);
        for wrong in ["", "a\nb", &"a".repeat(65)] {
            let refused = issue_in(folder.path(), "wrong", &client(wrong), Validity::days(1));
            assert!(matches!(refused, Err(IssuingError::Name { .. })), "{wrong}");
        }
        for wrong in ["", "127.0.0.1", "a b", "https://example"] {
            let server = Subject::Server { names: vec![wrong.to_owned()], addresses: vec![] };
            let refused = issue_in(folder.path(), "wrong", &server, Validity::days(1));
            assert!(matches!(refused, Err(IssuingError::Name { .. })), "{wrong}");
        }
    }

    #[test]
    fn only_a_ca_that_was_made_here_signs_here() {
        let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let refused = issue_in(folder.path(), "alice", &client("alice"), Validity::days(1));
        assert!(matches!(refused, Err(IssuingError::NoAuthority { .. })));
        let own = make_authority_in(folder.path(), Validity::days(1)).unwrap();
        let foreign = make_authority_in(other.path(), Validity::days(1)).unwrap();
        fs::copy(foreign.certificate, own.certificate).unwrap();
        let refused = issue_in(folder.path(), "alice", &client("alice"), Validity::days(1));
        assert!(matches!(refused, Err(IssuingError::ForeignAuthority { .. })));
    }
}
