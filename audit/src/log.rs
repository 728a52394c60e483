//! The log as a service uses it: records of many requests wait together for one write to reach the disk.

use crate::chain::{Chain, Head, json};
use crate::disk::{Disk, SystemDisk};
use crate::naming::Names;
use crate::record::{Kind, Record};
use crate::{AuditError, AuditSettings, opening};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// KiB of records that wait for the disk; further ones wait before they are taken in.
const MAX_WAITING_KIB: usize = 64 << 10;

/// Records of so many bytes are written together at most.
const MAX_GROUP_BYTES: usize = 4 << 20;

/// An open log. Clones append to the same one; it ends, with a record that says so, when the last of them is dropped.
#[derive(Clone)]
pub struct AuditLog {
    writer: Arc<Writer>,
}

/// The thread that writes, as it is met from others.
struct Writer {
    /// None when it is to end.
    tasks: Option<Sender<Task>>,
    thread: Option<JoinHandle<()>>,
    room: Arc<Semaphore>,
    state: Arc<State>,
    folder: PathBuf,
    kept_days: u32,
    names: Names,
}

/// What the thread tells without being asked.
struct State {
    is_writable: AtomicBool,
    head: Mutex<Head>,
}

/// Records that wait for the disk together. Without records: an attempt to write again after a failure.
struct Task {
    records: Vec<Vec<u8>>,
    _room: Option<OwnedSemaphorePermit>,
    /// Whether the caller has gone away is no matter.
    done: oneshot::Sender<Result<u64, AuditError>>,
}

impl AuditLog {
    /// Opens the log of this instance, mends its end where that is torn, and writes that a service begins, with the SHA-256 of
    /// its settings.
    ///
    /// # Errors
    /// [`AuditError`] where a setting is not allowed, another process writes this log, or the disk fails.
    pub fn open(settings: &AuditSettings, all_settings: &str) -> Result<Self, AuditError> {
        Self::over(settings, all_settings, Box::new(SystemDisk))
    }

    pub(crate) fn over(settings: &AuditSettings, all_settings: &str, disk: Box<dyn Disk>) -> Result<Self, AuditError> {
        let names = Names::open(settings.names, &settings.name_key_file)?;
        let mut chain = opening::open(settings, disk)?;
        let note = Some(format!("version {}", env!("CARGO_PKG_VERSION")));
        let settings_sha256 = Some(crate::line::sha256_hex(all_settings.as_bytes()));
        chain.append(&[&json(Record { note, settings_sha256, ..Record::new(Kind::Start) })?])?;
        let state = Arc::new(State { is_writable: AtomicBool::new(true), head: Mutex::new(chain.head()) });
        let (tasks, waiting) = channel();
        let (folder, shared) = (chain.folder.clone(), Arc::clone(&state));
        let thread = std::thread::Builder::new().name("audit".to_owned());
        let thread = thread.spawn(move || write(chain, &waiting, &shared)).map_err(AuditError::file(&folder))?;
        let room = Arc::new(Semaphore::new(MAX_WAITING_KIB));
        let (tasks, thread, kept_days) = (Some(tasks), Some(thread), settings.kept_days);
        Ok(Self { writer: Arc::new(Writer { tasks, thread, room, state, folder, kept_days, names }) })
    }

    /// Writes a record. Returns its number when it is on disk.
    ///
    /// # Errors
    /// [`AuditError::Unwritable`]; then what it tells of must not be answered.
    pub async fn append(&self, record: Record) -> Result<u64, AuditError> {
        self.append_all(vec![record]).await
    }

    /// Writes records one behind the other. Returns the number of the first when all of them are on disk.
    ///
    /// # Errors
    /// [`AuditError::Unwritable`]; then none of them is in the log.
    pub async fn append_all(&self, records: Vec<Record>) -> Result<u64, AuditError> {
        let records = self.finish(records)?;
        let room = Arc::clone(&self.writer.room).acquire_many_owned(kibibytes(&records)).await;
        self.hand_over(records, room.ok()).await.unwrap_or_else(|_| Err(ended()))
    }

    /// Writes records that nobody waits for, without waiting for room either: for few of them.
    pub fn append_unwaited(&self, records: Vec<Record>) {
        match self.finish(records) {
            Ok(records) => drop(self.hand_over(records, None)),
            Err(error) => tracing::error!(%error, "records are not written"),
        }
    }

    /// Records as they are written. All come this way, so none says more than the settings allow.
    fn finish(&self, records: Vec<Record>) -> Result<Vec<Vec<u8>>, AuditError> {
        records.into_iter().map(|record| json(self.writer.names.keep(record))).collect()
    }

    /// Writes a record that nobody can wait for, of a request whose caller has gone away.
    pub fn append_unheard(&self, record: Record) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let log = self.clone();
        runtime.spawn(async move {
            if let Err(error) = log.append(record).await {
                tracing::error!(%error, "a request whose caller went away is not recorded");
            }
        });
    }

    /// Whether records reach the disk. Where the last ones did not, it is tried again.
    ///
    /// # Errors
    /// [`AuditError::Unwritable`].
    pub async fn ready(&self) -> Result<(), AuditError> {
        if self.writer.state.is_writable.load(Ordering::Acquire) {
            return Ok(());
        }
        self.hand_over(Vec::new(), None).await.unwrap_or_else(|_| Err(ended())).map(drop)
    }

    /// The last line that is on disk.
    pub fn head(&self) -> Head {
        self.writer.state.head.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.writer.folder
    }

    pub(crate) fn kept_days(&self) -> u32 {
        self.writer.kept_days
    }

    fn hand_over(
        &self,
        records: Vec<Vec<u8>>,
        room: Option<OwnedSemaphorePermit>,
    ) -> oneshot::Receiver<Result<u64, AuditError>> {
        let (done, answer) = oneshot::channel();
        if let Some(tasks) = &self.writer.tasks {
            // Where the thread has ended, the answer says so.
            let _ = tasks.send(Task { records, _room: room, done });
        }
        answer
    }
}

fn kibibytes(records: &[Vec<u8>]) -> u32 {
    let bytes: usize = records.iter().map(Vec::len).sum();
    u32::try_from((bytes.div_ceil(1_024) + 1).min(MAX_WAITING_KIB)).unwrap_or(u32::MAX)
}

fn ended() -> AuditError {
    AuditError::Unwritable { reason: "the thread that writes it has ended".to_owned() }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.tasks = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that writes the audit log panicked");
        }
    }
}

/// The life of the thread: all that waits is one group, while that is written the next one comes together.
fn write(mut chain: Chain, waiting: &Receiver<Task>, state: &State) {
    while let Ok(first) = waiting.recv() {
        let mut group = vec![first];
        let mut bytes = 0;
        while bytes < MAX_GROUP_BYTES
            && let Ok(next) = waiting.try_recv()
        {
            bytes += next.records.iter().map(Vec::len).sum::<usize>();
            group.push(next);
        }
        let records: Vec<&[u8]> = group.iter().flat_map(|task| &task.records).map(Vec::as_slice).collect();
        let appended = chain.append(&records);
        state.is_writable.store(appended.is_ok(), Ordering::Release);
        *state.head.lock().unwrap_or_else(PoisonError::into_inner) = chain.head();
        let mut before = 0;
        for Task { records, done, .. } in group {
            let answer = appended.clone().map(|first| first + before);
            before += records.len() as u64;
            // Who went away needs no answer.
            let _ = done.send(answer);
        }
    }
    let stopped = json(Record::new(Kind::Stop)).and_then(|record| chain.append(&[&record]));
    if let Err(error) = stopped {
        tracing::error!(%error, "the end of the service is not recorded");
    }
    if let Err(error) = chain.end() {
        tracing::warn!(%error, "the head of the audit log may not last");
    }
}

#[cfg(test)]
pub(crate) mod tests;
