//! SQLite on simulated disks: a virtual file system of its own, for all of them.
//!
//! The first part of a path is the disk's number. Locks and the shared index of the log are those of one process.
#![expect(unsafe_code, reason = "SQLite calls a file system through pointers")]

use super::disk::{Refusal, SimulatedDisk, State};
use rusqlite::ffi;
use std::collections::HashMap;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, Once, PoisonError, Weak};

/// What SQLite knows it by.
pub(crate) const VFS_NAME: &CStr = c"descry-simulated";

static DISKS: LazyLock<Mutex<Disks>> = LazyLock::new(Mutex::default);

#[derive(Default)]
struct Disks {
    by_number: HashMap<u64, Weak<SimulatedDisk>>,
    highest: u64,
    /// Locks and shared memory by path; gone when nobody has the file open.
    shared: HashMap<String, Shared>,
    handles: u64,
}

/// What the connections to one file share.
#[derive(Default)]
struct Shared {
    open: u32,
    /// The lock that each handle has on the file.
    levels: HashMap<u64, c_int>,
    regions: Vec<Box<[u64]>>,
    /// The locks in shared memory, by handle: shared ones and exclusive ones as bits.
    memory_locks: HashMap<u64, (u32, u32)>,
}

fn disks() -> MutexGuard<'static, Disks> {
    DISKS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Gives a disk its number, so that SQLite finds it.
pub(super) fn mount(disk: impl FnOnce(u64) -> SimulatedDisk) -> Arc<SimulatedDisk> {
    static REGISTERED: Once = Once::new();
    REGISTERED.call_once(register);
    let mut disks = disks();
    disks.by_number.retain(|_, disk| disk.strong_count() > 0);
    disks.highest += 1;
    let disk = Arc::new(disk(disks.highest));
    disks.by_number.insert(disk.id, Arc::downgrade(&disk));
    disk
}

/// An open file.
#[repr(C)]
struct Handle {
    base: ffi::sqlite3_file,
    inner: *mut Opened,
}

struct Opened {
    disk: Arc<SimulatedDisk>,
    path: String,
    name: String,
    number: u64,
    is_deleted_on_close: bool,
}

fn register() {
    let vfs = Box::new(ffi::sqlite3_vfs {
        iVersion: 2,
        szOsFile: size_of::<Handle>() as c_int,
        mxPathname: 512,
        pNext: ptr::null_mut(),
        zName: VFS_NAME.as_ptr(),
        pAppData: ptr::null_mut(),
        xOpen: Some(open),
        xDelete: Some(delete),
        xAccess: Some(access),
        xFullPathname: Some(full_path),
        xDlOpen: None,
        xDlError: None,
        xDlSym: None,
        xDlClose: None,
        xRandomness: Some(randomness),
        xSleep: Some(sleep),
        xCurrentTime: Some(current_time),
        xGetLastError: Some(last_error),
        xCurrentTimeInt64: Some(current_time_ms),
        xSetSystemCall: None,
        xGetSystemCall: None,
        xNextSystemCall: None,
    });
    // SAFETY: it lives as long as the process.
    let registered = unsafe { ffi::sqlite3_vfs_register(Box::into_raw(vfs), 0) };
    assert_eq!(registered, ffi::SQLITE_OK);
}

static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    iVersion: 2,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(characteristics),
    xShmMap: Some(map_memory),
    xShmLock: Some(lock_memory),
    xShmBarrier: Some(barrier),
    xShmUnmap: Some(unmap_memory),
    xFetch: None,
    xUnfetch: None,
};

fn code(done: Result<(), Refusal>, failed: c_int) -> c_int {
    match done {
        Ok(()) => ffi::SQLITE_OK,
        Err(Refusal::Failed) => failed,
        Err(Refusal::Full) => ffi::SQLITE_FULL,
    }
}

/// The disk and the file's name on it.
fn find(path: &str) -> Option<(Arc<SimulatedDisk>, String)> {
    let (number, name) = path.strip_prefix('/')?.split_once('/')?;
    let disk = disks().by_number.get(&number.parse().ok()?)?.upgrade()?;
    Some((disk, name.to_owned()))
}

/// Temporary files lie on a disk that never fails.
fn temporary_path() -> String {
    static DISK: LazyLock<Arc<SimulatedDisk>> = LazyLock::new(|| SimulatedDisk::new(0));
    let disk = Arc::clone(&DISK);
    let mut disks = disks();
    disks.handles += 1;
    disk.path_of(&format!("temporary-{}", disks.handles))
}

fn text(path: *const c_char) -> String {
    // SAFETY: SQLite gives a text that ends with zero.
    unsafe { CStr::from_ptr(path) }.to_string_lossy().into_owned()
}

unsafe extern "C" fn open(
    _: *mut ffi::sqlite3_vfs,
    path: ffi::sqlite3_filename,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    let handle = file.cast::<Handle>();
    // SAFETY: SQLite gives room for a handle.
    unsafe { (*handle).base.pMethods = ptr::null() };
    let path = if path.is_null() { temporary_path() } else { text(path) };
    let Some((disk, name)) = find(&path) else { return ffi::SQLITE_CANTOPEN };
    let opened = {
        let mut state = disk.state();
        let is_there = state.contains(&name);
        if !is_there && flags & ffi::SQLITE_OPEN_CREATE == 0 {
            return ffi::SQLITE_CANTOPEN;
        }
        state.check_power().and_then(|()| state.create(&name))
    };
    if opened.is_err() {
        return ffi::SQLITE_CANTOPEN;
    }
    let number = {
        let mut disks = disks();
        disks.handles += 1;
        disks.shared.entry(path.clone()).or_default().open += 1;
        disks.handles
    };
    let is_deleted_on_close = flags & ffi::SQLITE_OPEN_DELETEONCLOSE != 0;
    let opened = Box::new(Opened { disk, path, name, number, is_deleted_on_close });
    // SAFETY: as above; the flags go where SQLite wants them, if it does.
    unsafe {
        (*handle).inner = Box::into_raw(opened);
        (*handle).base.pMethods = &raw const METHODS;
        if !out_flags.is_null() {
            *out_flags = flags;
        }
    }
    ffi::SQLITE_OK
}

fn opened<'a>(file: *mut ffi::sqlite3_file) -> &'a Opened {
    // SAFETY: SQLite calls with a file that `open` opened and `close` has not closed.
    unsafe { &*(*file.cast::<Handle>()).inner }
}

fn with_state<T>(file: *mut ffi::sqlite3_file, work: impl FnOnce(&mut State, &str) -> T) -> T {
    let opened = opened(file);
    work(&mut opened.disk.state(), &opened.name)
}

fn with_shared<T>(file: *mut ffi::sqlite3_file, work: impl FnOnce(&mut Shared, u64) -> T) -> T {
    let opened = opened(file);
    work(disks().shared.entry(opened.path.clone()).or_default(), opened.number)
}

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    // SAFETY: as for `opened`; nothing uses the file afterwards.
    let opened = unsafe { Box::from_raw((*file.cast::<Handle>()).inner) };
    let mut disks = disks();
    if let Some(shared) = disks.shared.get_mut(&opened.path) {
        shared.levels.remove(&opened.number);
        shared.memory_locks.remove(&opened.number);
        shared.open -= 1;
        if shared.open == 0 {
            disks.shared.remove(&opened.path);
        }
    }
    drop(disks);
    if opened.is_deleted_on_close {
        // A file that stays is one that nobody opens again.
        let _ = opened.disk.state().delete(&opened.name, false);
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn read(file: *mut ffi::sqlite3_file, into: *mut c_void, amount: c_int, offset: i64) -> c_int {
    // SAFETY: SQLite gives room for so many bytes.
    let into = unsafe { std::slice::from_raw_parts_mut(into.cast::<u8>(), amount as usize) };
    with_state(file, |state, name| {
        if state.check_power().is_err() {
            return ffi::SQLITE_IOERR_READ;
        }
        let content = state.content(name);
        let start = content.len().min(offset as usize);
        let there = &content[start..content.len().min(start + into.len())];
        into[..there.len()].copy_from_slice(there);
        into[there.len()..].fill(0);
        if there.len() < into.len() { ffi::SQLITE_IOERR_SHORT_READ } else { ffi::SQLITE_OK }
    })
}

unsafe extern "C" fn write(file: *mut ffi::sqlite3_file, from: *const c_void, amount: c_int, offset: i64) -> c_int {
    // SAFETY: SQLite gives so many bytes.
    let bytes = unsafe { std::slice::from_raw_parts(from.cast::<u8>(), amount as usize) };
    with_state(file, |state, name| code(state.write(name, offset as usize, bytes), ffi::SQLITE_IOERR_WRITE))
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, length: i64) -> c_int {
    with_state(file, |state, name| code(state.truncate(name, length as usize), ffi::SQLITE_IOERR_TRUNCATE))
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, _: c_int) -> c_int {
    with_state(file, |state, name| code(state.sync(name), ffi::SQLITE_IOERR_FSYNC))
}

unsafe extern "C" fn file_size(file: *mut ffi::sqlite3_file, length: *mut i64) -> c_int {
    // SAFETY: SQLite gives room for the answer.
    unsafe { *length = with_state(file, |state, name| state.content(name).len() as i64) };
    ffi::SQLITE_OK
}

unsafe extern "C" fn lock(file: *mut ffi::sqlite3_file, level: c_int) -> c_int {
    with_shared(file, |shared, number| {
        let highest = shared.levels.iter().filter(|(other, _)| **other != number).map(|(_, level)| *level).max();
        let highest = highest.unwrap_or(ffi::SQLITE_LOCK_NONE);
        let is_busy = match level {
            ffi::SQLITE_LOCK_SHARED => highest >= ffi::SQLITE_LOCK_PENDING,
            ffi::SQLITE_LOCK_RESERVED => highest >= ffi::SQLITE_LOCK_RESERVED,
            _ => highest > ffi::SQLITE_LOCK_NONE,
        };
        if is_busy {
            return ffi::SQLITE_BUSY;
        }
        let held = shared.levels.entry(number).or_default();
        *held = (*held).max(level);
        ffi::SQLITE_OK
    })
}

unsafe extern "C" fn unlock(file: *mut ffi::sqlite3_file, level: c_int) -> c_int {
    with_shared(file, |shared, number| {
        shared.levels.insert(number, level);
    });
    ffi::SQLITE_OK
}

unsafe extern "C" fn check_reserved_lock(file: *mut ffi::sqlite3_file, is_held: *mut c_int) -> c_int {
    let held = with_shared(file, |shared, _| shared.levels.values().any(|level| *level >= ffi::SQLITE_LOCK_RESERVED));
    // SAFETY: SQLite gives room for the answer.
    unsafe { *is_held = c_int::from(held) };
    ffi::SQLITE_OK
}

unsafe extern "C" fn file_control(_: *mut ffi::sqlite3_file, _: c_int, _: *mut c_void) -> c_int {
    ffi::SQLITE_NOTFOUND
}

unsafe extern "C" fn sector_size(_: *mut ffi::sqlite3_file) -> c_int {
    4_096
}

/// What Unix file systems promise: a torn write harms no byte beside it.
unsafe extern "C" fn characteristics(_: *mut ffi::sqlite3_file) -> c_int {
    ffi::SQLITE_IOCAP_POWERSAFE_OVERWRITE
}

unsafe extern "C" fn map_memory(
    file: *mut ffi::sqlite3_file,
    region: c_int,
    bytes: c_int,
    extend: c_int,
    address: *mut *mut c_void,
) -> c_int {
    let found = with_shared(file, |shared, _| {
        let region = region as usize;
        while extend != 0 && shared.regions.len() <= region {
            shared.regions.push(vec![0; bytes as usize / size_of::<u64>()].into_boxed_slice());
        }
        shared.regions.get_mut(region).map_or(ptr::null_mut(), |region| region.as_mut_ptr().cast())
    });
    // SAFETY: SQLite gives room for the answer. A region stays where it is as long as the file is open.
    unsafe { *address = found };
    ffi::SQLITE_OK
}

unsafe extern "C" fn lock_memory(file: *mut ffi::sqlite3_file, first: c_int, count: c_int, flags: c_int) -> c_int {
    let bits = ((1_u32 << count) - 1) << first;
    let is_shared = flags & ffi::SQLITE_SHM_SHARED != 0;
    with_shared(file, |shared, number| {
        if flags & ffi::SQLITE_SHM_UNLOCK != 0 {
            let (own_shared, own_exclusive) = shared.memory_locks.entry(number).or_default();
            *own_shared &= !bits;
            *own_exclusive &= !bits;
            return ffi::SQLITE_OK;
        }
        let others = shared.memory_locks.iter().filter(|(other, _)| **other != number).map(|(_, locks)| *locks);
        let taken = others.fold(0, |taken, (shared, exclusive)| taken | exclusive | if is_shared { 0 } else { shared });
        if taken & bits != 0 {
            return ffi::SQLITE_BUSY;
        }
        let (own_shared, own_exclusive) = shared.memory_locks.entry(number).or_default();
        *if is_shared { own_shared } else { own_exclusive } |= bits;
        ffi::SQLITE_OK
    })
}

unsafe extern "C" fn barrier(_: *mut ffi::sqlite3_file) {
    std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
    // Taking the lock orders what other connections did before.
    drop(disks());
}

unsafe extern "C" fn unmap_memory(file: *mut ffi::sqlite3_file, _: c_int) -> c_int {
    with_shared(file, |shared, number| {
        shared.memory_locks.remove(&number);
    });
    ffi::SQLITE_OK
}

unsafe extern "C" fn delete(_: *mut ffi::sqlite3_vfs, path: *const c_char, sync_folder: c_int) -> c_int {
    let Some((disk, name)) = find(&text(path)) else { return ffi::SQLITE_IOERR_DELETE };
    let mut state = disk.state();
    if !state.contains(&name) {
        return ffi::SQLITE_IOERR_DELETE_NOENT;
    }
    code(state.delete(&name, sync_folder != 0), ffi::SQLITE_IOERR_DELETE)
}

unsafe extern "C" fn access(_: *mut ffi::sqlite3_vfs, path: *const c_char, _: c_int, answer: *mut c_int) -> c_int {
    let is_there = find(&text(path)).is_some_and(|(disk, name)| disk.state().contains(&name));
    // SAFETY: SQLite gives room for the answer.
    unsafe { *answer = c_int::from(is_there) };
    ffi::SQLITE_OK
}

unsafe extern "C" fn full_path(
    _: *mut ffi::sqlite3_vfs,
    path: *const c_char,
    room: c_int,
    answer: *mut c_char,
) -> c_int {
    let path = text(path);
    if path.len() >= room as usize {
        return ffi::SQLITE_CANTOPEN;
    }
    // SAFETY: there is room for the text and the zero behind it.
    unsafe {
        ptr::copy_nonoverlapping(path.as_ptr(), answer.cast::<u8>(), path.len());
        *answer.add(path.len()) = 0;
    }
    ffi::SQLITE_OK
}

/// SQLite asks the system for the numbers that matter.
unsafe extern "C" fn randomness(_: *mut ffi::sqlite3_vfs, amount: c_int, into: *mut c_char) -> c_int {
    // SAFETY: SQLite gives room for so many bytes.
    let into = unsafe { std::slice::from_raw_parts_mut(into.cast::<u8>(), amount as usize) };
    into.iter_mut().enumerate().for_each(|(place, byte)| *byte = (place * 37 + 11) as u8);
    amount
}

/// Nothing is waited for in tests but other threads.
unsafe extern "C" fn sleep(_: *mut ffi::sqlite3_vfs, microseconds: c_int) -> c_int {
    std::thread::yield_now();
    microseconds
}

/// Days since noon of the first day of the Julian calendar, at the Unix epoch.
const UNIX_EPOCH_DAYS: f64 = 2_440_587.5;

unsafe extern "C" fn current_time(_: *mut ffi::sqlite3_vfs, days: *mut f64) -> c_int {
    // SAFETY: SQLite gives room for the answer.
    unsafe { *days = UNIX_EPOCH_DAYS };
    ffi::SQLITE_OK
}

unsafe extern "C" fn current_time_ms(_: *mut ffi::sqlite3_vfs, milliseconds: *mut i64) -> c_int {
    // SAFETY: SQLite gives room for the answer.
    unsafe { *milliseconds = (UNIX_EPOCH_DAYS * 86_400_000.0) as i64 };
    ffi::SQLITE_OK
}

unsafe extern "C" fn last_error(_: *mut ffi::sqlite3_vfs, _: c_int, _: *mut c_char) -> c_int {
    0
}
