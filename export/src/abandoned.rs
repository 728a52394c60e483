//! What killed exports left beside a bundle's place: staged bundles, and bundles that were about to be replaced.
//!
//! A process holds a lock on the folder it stages. A folder is only taken for left behind when nobody has that lock and no
//! process of the number in its name runs here, so that exports side by side, also of other containers, are safe. What
//! happens around a bundle's place (a folder is made and locked, a bundle takes another's place, folders are tidied up)
//! happens one after the other: for that there is a lock of the place, a file beside it.

use crate::ExportError;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
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

/// Makes a folder for `target` and locks it. File systems without locks give none; nothing is removed there either.
///
/// # Errors
/// [`ExportError::Unwritable`].
pub(crate) fn claim(staging: &Path, target: &Path) -> Result<Option<File>, ExportError> {
    let unwritable = |source| ExportError::Unwritable { path: staging.to_owned(), source };
    if let Some(parent) = staging.parent() {
        fs::create_dir_all(parent).map_err(unwritable)?;
    }
    let _place = PlaceLock::take(target).map_err(unwritable)?;
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
        let Some(Leftover { own_name, process, ending }) = Leftover::of(&file_name, name) else { continue };
        // Without locks nobody knows who is at work.
        let Ok(Some(_place)) = PlaceLock::take(&target.with_file_name(own_name)) else { continue };
        if is_running(process) || !is_unlocked(&entry.path()) {
            continue;
        }
        // Nobody is between the two steps of replacing it: that takes the lock of the place.
        let is_whole = ending == REPLACED && own_name == name;
        if is_whole && !target.exists() && fs::rename(entry.path(), target).is_ok() {
            continue;
        }
        if fs::remove_dir_all(entry.path()).is_ok() {
            tracing::info!(path = %entry.path().display(), "removed what an export that was ended left behind");
        }
    }
}

/// The lock of a bundle's place. The file is gone when nobody has it.
pub(crate) struct PlaceLock {
    path: PathBuf,
    _file: File,
}

impl PlaceLock {
    /// Waits for the lock of `target`'s place. `None` on file systems without locks.
    ///
    /// # Errors
    /// The system's, where the file cannot be made.
    pub(crate) fn take(target: &Path) -> io::Result<Option<Self>> {
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let path = target.with_file_name(format!(".{name}.lock"));
        loop {
            let file = File::options().create(true).truncate(false).write(true).open(&path)?;
            if file.lock().is_err() {
                let _ = fs::remove_file(&path);
                return Ok(None);
            }
            // Whoever had it before has removed the file, and somebody may have made another since.
            let own = file.metadata()?;
            if fs::metadata(&path).is_ok_and(|found| (found.dev(), found.ino()) == (own.dev(), own.ino())) {
                return Ok(Some(Self { path, _file: file }));
            }
        }
    }
}

impl Drop for PlaceLock {
    fn drop(&mut self) {
        // While it is locked. An empty file that stays does no harm.
        let _ = fs::remove_file(&self.path);
    }
}

/// What the name of a folder says that was made for `target`, or for something that is compared with it.
struct Leftover<'name> {
    /// Name of what it was made for.
    own_name: &'name str,
    process: u32,
    ending: &'name str,
}

impl<'name> Leftover<'name> {
    fn of(folder: &'name OsStr, target: &OsStr) -> Option<Self> {
        let (rest, ending) = folder.to_str()?.strip_prefix('.')?.rsplit_once('.')?;
        let (own_name, process) = rest.rsplit_once('.')?;
        let process = process.parse().ok()?;
        let behind = own_name.strip_prefix(target.to_str()?)?;
        let is_ours = behind.is_empty() || behind.starts_with('.');
        (is_ours && [STAGED, REPLACED].contains(&ending)).then_some(Self { own_name, process, ending })
    }
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
        let lock = claim(&path(&locked), &path("cuhk")).unwrap();
        tidy(&path("cuhk"));
        let mut expected: Vec<String> = kept.to_vec();
        if lock.is_some() {
            expected.push(locked);
        }
        expected.sort();
        assert_eq!(folders(folder.path()), expected);
    }

    /// Of a process that is not seen here, such as one of another container.
    #[test]
    fn a_bundle_that_is_being_replaced_is_left_to_who_does_it() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("cuhk");
        let path = |ending: &str| folder.path().join(format!(".cuhk.{ENDED}.{ending}"));
        fs::create_dir_all(path("replaced").join("old")).unwrap();
        fs::create_dir_all(path("partial").join("new")).unwrap();
        let staged = File::open(path("partial")).unwrap();
        staged.try_lock().unwrap();
        let Some(place) = PlaceLock::take(&target).unwrap() else { return };
        std::thread::scope(|scope| {
            let tidying = scope.spawn(|| tidy(&target));
            // It waits, so it cannot have put the old bundle into the place.
            for _ in 0..1_000 {
                std::thread::yield_now();
            }
            fs::rename(path("partial"), &target).unwrap();
            drop(place);
            tidying.join().unwrap();
        });
        assert!(target.join("new").is_dir());
        assert_eq!(folders(folder.path()), ["cuhk"]);
    }

    #[test]
    fn one_at_a_time_has_the_lock_of_a_place() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("cuhk");
        let at_work = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let Some(_place) = PlaceLock::take(&target).unwrap() else { return };
                        assert!(!at_work.swap(true, std::sync::atomic::Ordering::SeqCst));
                        std::thread::yield_now();
                        at_work.store(false, std::sync::atomic::Ordering::SeqCst);
                    }
                });
            }
        });
        assert!(folders(folder.path()).is_empty());
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
