//! An indexing job's journal: whatever was torn or written over, it opens or is refused, and what is recorded afterwards is
//! there when it is opened again.

use descry_intake::{FileVersion, JobIdentity, Journal};

const HEADER: &[u8] = br#"{"descry_journal":1,"gallery":"g","fingerprint":"f","created_at_ms":1}"#;

/// Reads bytes as the module says; panics where a promise is broken.
pub fn read(bytes: &[u8]) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    // Most of what is random would be refused at its first line.
    let content = match bytes.split_first() {
        Some((0..128, rest)) => [HEADER, b"\n", rest].concat(),
        _ => bytes.to_vec(),
    };
    std::fs::write(&path, content).unwrap();
    let identity = JobIdentity { gallery: "g".to_owned(), fingerprint: "f".to_owned(), created_at_ms: 1 };
    let Ok(mut journal) = Journal::open(&path, &identity) else { return };
    let version = FileVersion { bytes: 7, modified_ms: 7 };
    journal.record("an image \u{e9}\n", &version).unwrap();
    journal.flush().unwrap();
    let before = journal.len();
    drop(journal);
    let journal = Journal::open(&path, &identity).unwrap();
    assert!(journal.contains("an image \u{e9}\n", &version));
    assert_eq!(journal.len(), before);
}
