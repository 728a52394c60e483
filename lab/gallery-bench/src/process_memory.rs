//! The memory of this process, and a place for files that go away with it.

use crate::GalleryBenchError;
use procfs::process::Process;
use std::path::Path;
use tempfile::TempDir;

/// Memory that is resident now, without what the allocator only keeps.
pub(crate) fn resident_bytes() -> Result<u64, GalleryBenchError> {
    trim();
    Ok(Process::myself()?.status()?.vmrss.unwrap_or_default().saturating_mul(1024))
}

/// Returns what the allocator keeps of freed memory, so that it does not count as somebody's.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn trim() {
    #[expect(unsafe_code, reason = "a function of the C library")]
    // SAFETY: callable at any time, from any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Other C libraries have no such call.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn trim() {}

/// An empty folder that is removed when it is dropped, below `parent` or where the system keeps such.
///
/// A folder in memory makes writes look faster than any disk is; choose the parent accordingly.
///
/// # Errors
/// [`GalleryBenchError::Folder`].
pub fn scratch_folder(parent: Option<&Path>) -> Result<TempDir, GalleryBenchError> {
    let folder = match parent {
        None => TempDir::with_prefix("descry-bench-"),
        Some(parent) => std::fs::create_dir_all(parent).and_then(|()| TempDir::with_prefix_in("descry-bench-", parent)),
    };
    folder.map_err(GalleryBenchError::Folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_in_use_counts() {
        const BYTES: usize = 64 << 20;
        let before = resident_bytes().unwrap();
        let held = vec![1_u8; BYTES];
        let after = resident_bytes().unwrap();
        assert!(after > before + BYTES as u64 / 2, "{before} {after} {}", held.len());
    }

    #[test]
    fn scratch_folders_go_away() {
        let parent = scratch_folder(None).unwrap();
        let below = scratch_folder(Some(&parent.path().join("new"))).unwrap();
        let path = below.path().to_owned();
        assert!(path.is_dir());
        drop(below);
        assert!(!path.exists());
    }
}
