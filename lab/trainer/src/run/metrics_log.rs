//! `metrics.jsonl`: one JSON object a line.

use super::metrics_record::MetricsRecord;
use crate::TrainError;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::PathBuf;

/// The file, open at its end as soon as something is written.
#[derive(Debug)]
pub(super) struct MetricsLog {
    path: PathBuf,
    file: Option<File>,
    bytes: u64,
}

impl MetricsLog {
    /// Keeps `kept_bytes` of the file, or the whole lines of less where a power cut took the end. It is begun or cut
    /// only when something is written: before that a continuation can still be refused.
    pub(super) fn new(path: PathBuf, kept_bytes: u64) -> Self {
        Self { path, file: None, bytes: kept_bytes }
    }

    /// Adds a line, in one piece. It is on disk after the next [`MetricsLog::sync`].
    pub(super) fn append(&mut self, record: &MetricsRecord) -> Result<(), TrainError> {
        let written = serde_json::to_vec(record).map_err(io::Error::from).and_then(|mut line| {
            line.push(b'\n');
            self.file()?.write_all(&line)?;
            Ok(line.len() as u64)
        });
        self.bytes += written.map_err(|source| TrainError::Unwritable { path: self.path.clone(), source })?;
        Ok(())
    }

    /// Brings all lines to the disk and says how long they are.
    pub(super) fn sync(&mut self) -> Result<u64, TrainError> {
        let synced = self.file().and_then(|file| file.sync_data());
        synced.map_err(|source| TrainError::Unwritable { path: self.path.clone(), source })?;
        Ok(self.bytes)
    }

    fn file(&mut self) -> io::Result<&mut File> {
        let file = match self.file.take() {
            Some(file) => file,
            None => {
                let mut options = OpenOptions::new();
                let mut file = options.read(true).write(true).create(true).truncate(false).open(&self.path)?;
                self.bytes = cut(&mut file, self.bytes)?;
                file
            }
        };
        Ok(self.file.insert(file))
    }
}

fn cut(file: &mut File, kept_bytes: u64) -> io::Result<u64> {
    let mut kept = Vec::new();
    (&*file).take(kept_bytes).read_to_end(&mut kept)?;
    let end = kept.iter().rposition(|&byte| byte == b'\n').map_or(0, |last| last as u64 + 1);
    file.set_len(end)?;
    file.seek(SeekFrom::Start(end))?;
    Ok(end)
}

/// The records of a text; lines that are none, such as a torn last one, are left out.
pub(super) fn parse(text: &str) -> Vec<MetricsRecord> {
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}
