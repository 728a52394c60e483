//! Giving memory back to the system.

/// Returns what the allocator keeps of freed memory. Building a session frees copies of all weights in pieces that the
/// allocator would hold on to for the life of the process.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(crate) fn trim() {
    #[expect(unsafe_code, reason = "a function of the C library")]
    // SAFETY: callable at any time, from any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Other C libraries have no such call.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn trim() {}
