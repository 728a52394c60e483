//! The programs, run as a user runs them.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Command, Output};

/// A program of this workspace, from the same build as the running test.
///
/// # Panics
/// When it was not built.
pub fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap_or_else(|error| panic!("{error}"));
    let folder = test.parent().and_then(|deps| deps.parent()).unwrap_or_else(|| panic!("{}", test.display()));
    let path = folder.join(name);
    assert!(path.is_file(), "{} was not built; `make test` builds it before the tests", path.display());
    path
}

/// Runs `descry` to its end.
///
/// # Panics
/// When it cannot be started.
pub fn descry<Argument: AsRef<OsStr>>(arguments: impl IntoIterator<Item = Argument>) -> Output {
    Command::new(program("descry")).args(arguments).output().unwrap_or_else(|error| panic!("{error}"))
}
