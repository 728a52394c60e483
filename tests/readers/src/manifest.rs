//! A bundle's manifest.

use descry_model::Manifest;

/// Reads bytes as the module says; panics where a promise is broken.
pub fn read(bytes: &[u8]) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("manifest.json");
    std::fs::write(&path, bytes).unwrap();
    if let Ok(manifest) = Manifest::read(&path) {
        let _ = manifest.compute_fingerprint();
    }
}
