//! What killed exports left beside a bundle's place: staged bundles, and bundles that were about to be replaced.
//!
//! A process holds a lock on the folder it stages. A folder is only taken for left behind when nobody has that lock and no
//! process of the number in its name runs here, so that exports side by side, also of other containers, are safe.

use crate::ExportError;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// How the name of a folder ends while a bundle is made in it.
pub(crate) const STAGED: &str = "partial";
/// And while it keeps the bundle that is being replaced.
pub(crate) const REPLACED: &str = "replaced";

/// Where a process makes a bundle for `target`.
pub(crate) fn staging_path(target: &Path) -> PathBuf {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    target.with_file_name(format!(".{name}.{}.{STAGED}", std::process::id()))
}

/// Makes a folder and locks it. File systems without locks give none; nothing is removed there either.
///
/// # Errors
/// [`ExportError::Unwritable`].
pub(crate) fn claim(staging: &Path) -> Result<Option<File>, ExportError> {
    let unwritable = |source| ExportError::Unwritable { path: staging.to_owned(), source };
    fs::create_dir_all(staging).map_err(unwritable)?;
    let folder = File::open(staging).map_err(unwritable)?;
    Ok(folder.try_lock().is_ok().then_some(folder))
}

/// Removes what ended processes left for `target`, and puts back the bundle that one had moved aside and not yet replaced.
/// What cannot be removed is only untidy.
pub(crate) fn tidy(target: &Path) {
    let parent = target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let Some(name) = target.file_name() else { return };
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        let file_name = entry.file_name();
        let Some((process, ending)) = parts(&file_name, name) else { continue };
        if is_running(process) || !is_unlocked(&entry.path()) {
            continue;
        }
        let is_whole = ending == REPLACED && file_name.to_string_lossy() == replaced_name(name, process);
        if is_whole && !target.exists() && fs::rename(entry.path(), target).is_ok() {
            continue;
        }
        if fs::remove_dir_all(entry.path()).is_ok() {
            tracing::info!(path = %entry.path().display(), "removed what an export that was ended left behind");
        }
    }
}

fn replaced_name(name: &OsStr, process: u32) -> String {
    format!(".{}.{process}.{REPLACED}", name.to_string_lossy())
}

/// Process and ending of a folder's name, if it was made for `target` or for something that is compared with it.
fn parts<'name>(folder: &'name OsStr, target: &OsStr) -> Option<(u32, &'name str)> {
    let rest = folder.to_str()?.strip_prefix('.')?.strip_prefix(target.to_str()?)?.strip_prefix('.')?;
    let (rest, ending) = rest.rsplit_once('.')?;
    let process = rest.rsplit_once('.').map_or(rest, |(_, process)| process).parse().ok()?;
    [STAGED, REPLACED].contains(&ending).then_some((process, ending))
}

/// Where the system does not say, the lock alone decides.
fn is_running(process: u32) -> bool {
    let processes = Path::new("/proc");
    processes.join("self").exists() && processes.join(process.to_string()).exists()
}

fn is_unlocked(folder: &Path) -> bool {
    File::open(folder).is_ok_and(|folder| folder.try_lock().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Beyond what Linux gives to a process.
    const ENDED: u32 = 4_194_305;

    fn folders(parent: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(parent).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn only_what_nobody_works_on_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let make = |name: String| fs::create_dir_all(path(&name).join("inside")).unwrap();
        let own = std::process::id();
        let left = [format!(".cuhk.{ENDED}.partial"), format!(".cuhk.fp32-for-comparison.{ENDED}.partial")];
        let kept = [
            format!(".cuhk.{own}.partial"),
            ".cuhk.partial".to_owned(),
            format!(".cuhk.{ENDED}.other"),
            format!(".icfg.{ENDED}.partial"),
            format!("cuhk.{ENDED}.partial"),
            "cuhk".to_owned(),
        ];
        left.iter().chain(&kept).cloned().for_each(make);
        let locked = format!(".cuhk.{}.partial", ENDED + 1);
        let lock = claim(&path(&locked)).unwrap();
        tidy(&path("cuhk"));
        let mut expected: Vec<String> = kept.to_vec();
        if lock.is_some() {
            expected.push(locked);
        }
        expected.sort();
        assert_eq!(folders(folder.path()), expected);
    }

    #[test]
    fn a_bundle_that_was_moved_aside_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("cuhk");
        let aside = folder.path().join(format!(".cuhk.{ENDED}.replaced"));
        fs::create_dir_all(aside.join("manifest")).unwrap();
        tidy(&target);
        assert!(target.join("manifest").is_dir());
        // With a bundle in the place it is an old one.
        fs::create_dir_all(&aside).unwrap();
        tidy(&target);
        assert_eq!(folders(folder.path()), ["cuhk"]);
    }
}
