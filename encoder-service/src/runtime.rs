//! ONNX Runtime's shared library: found, loaded once, kept for the life of the process.

use crate::EncodeError;
use ort::environment::Environment;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Where `make setup` puts the library, relative to the project's folder.
const SETUP_FOLDER: &str = ".onnxruntime/onnxruntime/capi";

static ENVIRONMENT: Mutex<Option<Environment>> = Mutex::new(None);

/// Loads the library (once a process) and returns its environment, which every session must be built on.
///
/// An empty `library` is searched for: beside the program, then in [`SETUP_FOLDER`] of the program's and the current
/// folder and their parents.
///
/// # Errors
/// [`EncodeError::RuntimeLibrary`].
pub(crate) fn environment(library: &Path) -> Result<Environment, EncodeError> {
    let mut slot = ENVIRONMENT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(environment) = slot.as_ref() {
        return Ok(environment.clone());
    }
    let path = if library.as_os_str().is_empty() { find_library()? } else { library.to_owned() };
    let failed = |error: String| EncodeError::RuntimeLibrary { reason: format!("{} {error}", path.display()) };
    let environment = ort::init_from(&path)
        .map_err(|error| failed(format!("does not load: {error}")))?
        .with_name("descry")
        .with_telemetry(false)
        .build()
        .map_err(|error| failed(format!("does not start: {error}")))?;
    tracing::debug!(library = %path.display(), "ONNX Runtime loaded");
    *slot = Some(environment.clone());
    Ok(environment)
}

fn find_library() -> Result<PathBuf, EncodeError> {
    let program = std::env::current_exe().ok();
    let program_folder = program.as_deref().and_then(Path::parent).map(Path::to_owned);
    let current_folder = std::env::current_dir().ok();
    if let Some(found) = program_folder.as_deref().and_then(library_in) {
        return Ok(found);
    }
    for start in [program_folder, current_folder].into_iter().flatten() {
        if let Some(found) = start.ancestors().find_map(|folder| library_in(&folder.join(SETUP_FOLDER))) {
            return Ok(found);
        }
    }
    Err(EncodeError::RuntimeLibrary {
        reason: format!("no libonnxruntime.so beside the program or in {SETUP_FOLDER} of its parent folders"),
    })
}

/// The wheel names the library with its version only, so the name cannot be guessed whole.
fn library_in(folder: &Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(folder).ok()?;
    let mut libraries: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name == "libonnxruntime.so" || name.starts_with("libonnxruntime.so.")
        })
        .collect();
    libraries.sort();
    libraries.pop()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_versioned_name_is_found() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(library_in(folder.path()), None);
        for name in ["libonnxruntime_providers_shared.so", "libonnxruntime.so.1.31.1"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        assert_eq!(library_in(folder.path()), Some(folder.path().join("libonnxruntime.so.1.31.1")));
    }
}
