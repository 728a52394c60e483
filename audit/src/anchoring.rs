//! Heads that are kept elsewhere: who can write the log could write all of it anew, but not what somebody else keeps of it.

use crate::disk::FILE_MODE;
use crate::lines::Lines;
use crate::record::{Kind, Record, now_ms};
use crate::{AuditError, AuditLog, Head};
use serde::{Deserialize, Serialize};
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A command that has not ended by then is ended.
const COMMAND_LIMIT: Duration = Duration::from_secs(30);
const COMMAND_PACE: Duration = Duration::from_millis(50);

/// Anchors of a file that are read.
const MAX_ANCHORS: usize = 1_000_000;

/// Where heads are kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Anchoring {
    /// A file to which each is added as a line of JSON; best on a disk that this machine cannot change, or that others read.
    pub file: Option<PathBuf>,
    /// A program and its arguments that is given the line on its standard input, and ends with 0 when it has kept it.
    pub command: Vec<String>,
}

/// A head that is kept elsewhere, and when that was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Anchor {
    /// Milliseconds since the Unix epoch.
    pub time_ms: i64,
    /// The last line of the log then.
    #[serde(flatten)]
    pub head: Head,
}

impl Anchor {
    /// The anchors of a file. What is no anchor is passed over.
    ///
    /// # Errors
    /// [`AuditError::File`].
    pub fn read(file: &Path) -> Result<Vec<Self>, AuditError> {
        let (mut lines, mut anchors) = (Lines::open(file)?, Vec::new());
        while let Some(line) = lines.next()? {
            anchors.extend(serde_json::from_slice::<Self>(line.content));
            if anchors.len() >= MAX_ANCHORS {
                break;
            }
        }
        Ok(anchors)
    }
}

impl Anchoring {
    /// Whether there is any place to keep heads.
    pub fn is_wanted(&self) -> bool {
        self.file.is_some() || !self.command.is_empty()
    }

    /// Keeps a head at each of the places.
    fn keep(&self, anchor: &Anchor) -> Result<(), String> {
        let line = serde_json::to_string(anchor).map_err(|error| error.to_string())? + "\n";
        if let Some(path) = &self.file {
            let kept = || {
                let mut file = OpenOptions::new().create(true).append(true).mode(FILE_MODE).open(path)?;
                file.write_all(line.as_bytes())?;
                file.sync_data()
            };
            kept().map_err(|error: std::io::Error| format!("{}: {error}", path.display()))?;
        }
        match self.command.split_first() {
            Some((program, arguments)) => run(program, arguments, &line).map_err(|error| format!("{program}: {error}")),
            None => Ok(()),
        }
    }
}

fn run(program: &str, arguments: &[String], line: &str) -> Result<(), String> {
    let text = |error: std::io::Error| error.to_string();
    let mut command = Command::new(program);
    let mut process = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().map_err(text)?;
    // A line is shorter than what a pipe holds. Who does not read it says by its status how it went.
    if let Some(mut input) = process.stdin.take() {
        let _ = input.write_all(line.as_bytes());
    }
    let give_up = Instant::now() + COMMAND_LIMIT;
    loop {
        match process.try_wait().map_err(text)? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => return Err(status.to_string()),
            None if Instant::now() < give_up => std::thread::sleep(COMMAND_PACE),
            None => {
                let _ = process.kill();
                let _ = process.wait();
                return Err(format!("it did not end within {} s", COMMAND_LIMIT.as_secs()));
            }
        }
    }
}

impl AuditLog {
    /// Hands the head to those who keep it, and records that. Nothing where no record came since the last time, whose number is
    /// `last`. Returns the number that is anchored now.
    ///
    /// # Errors
    /// [`AuditError::Unwritable`] where that is not recorded. That a head could not be kept is recorded, and no error.
    pub async fn anchor(&self, anchoring: &Anchoring, last: u64) -> Result<u64, AuditError> {
        let head = self.head();
        // The record of the last time is no news.
        if head.sequence <= last.saturating_add(1) {
            return Ok(last);
        }
        let (anchoring, sequence) = (anchoring.clone(), head.sequence);
        let anchor = Anchor { time_ms: now_ms(), head };
        let kept = tokio::task::spawn_blocking(move || anchoring.keep(&anchor)).await;
        let mut record = Record::new(Kind::Anchored);
        record.count("anchored_sequence", sequence);
        match kept.map_err(|error| error.to_string()).and_then(|kept| kept) {
            Ok(()) => record.status = Some("OK".to_owned()),
            Err(reason) => {
                tracing::error!(reason, "the head of the audit log cannot be kept elsewhere");
                (record.status, record.note) = (Some("UNAVAILABLE".to_owned()), Some(reason));
            }
        }
        self.append(record).await.map(|_| sequence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn anchor(sequence: u64) -> Anchor {
        Anchor { time_ms: 5, head: Head { instance: "one".to_owned(), sequence, hash: "0f".repeat(32) } }
    }

    #[test]
    fn anchors_are_added_to_a_file_and_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("anchors");
        let anchoring = Anchoring { file: Some(path.clone()), ..Anchoring::default() };
        anchoring.keep(&anchor(1)).unwrap();
        std::fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"a remark\n").unwrap();
        anchoring.keep(&anchor(2)).unwrap();
        assert_eq!(Anchor::read(&path).unwrap(), [anchor(1), anchor(2)]);
    }

    #[test]
    fn a_command_gets_the_line_and_its_failure_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let kept = folder.path().join("kept");
        let shell = |script: String| Anchoring { command: vec!["sh".to_owned(), "-c".to_owned(), script], file: None };
        shell(format!("cat > {}", kept.display())).keep(&anchor(7)).unwrap();
        assert_eq!(Anchor::read(&kept).unwrap(), [anchor(7)]);
        assert!(shell("exit 3".to_owned()).keep(&anchor(7)).unwrap_err().contains('3'));
        let missing = Anchoring { command: vec!["no-such-program".to_owned()], file: None };
        assert!(missing.keep(&anchor(7)).unwrap_err().starts_with("no-such-program: "));
    }
}
