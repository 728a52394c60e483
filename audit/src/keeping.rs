//! How long a log is kept, and the end of what was kept long enough.

use crate::folder::{ChainFile, chain_files};
use crate::line::{parse_line, read_line};
use crate::lines::Lines;
use crate::record::{Kind, Record, now_ms};
use crate::{Anchoring, AuditError, AuditLog};
use std::fs;
use std::future::Future;
use std::path::Path;
use std::time::Duration;
use tokio::time::Instant;

const DAY_MS: i64 = 86_400_000;

/// How often it is looked for files that have been kept long enough.
const INTERVAL: Duration = Duration::from_secs(3_600);

/// A clock that leapt ahead while the service was not running must run evenly for as long as the leap at most. Nothing else
/// tells a leap from a service that stood still.
const LONGEST_WAIT: Duration = Duration::from_secs(7 * 86_400);

/// The clock by which files are removed: that of the start, and then the one that nobody sets.
#[derive(Debug, Clone, Copy)]
struct KeepingClock {
    started_ms: i64,
    started: Instant,
    /// Until then nothing is removed.
    wait: Duration,
}

impl KeepingClock {
    /// `last_ms`: when the last record before the start was written.
    fn begin(last_ms: i64, now_ms: i64, now: Instant) -> Self {
        let gap = Duration::from_millis(u64::try_from(now_ms.saturating_sub(last_ms)).unwrap_or_default());
        Self { started_ms: now_ms, started: now, wait: gap.min(LONGEST_WAIT) }
    }

    /// The time, once it is believed.
    fn now_ms(&self, now: Instant) -> Option<i64> {
        let passed = now.saturating_duration_since(self.started);
        let passed_ms = i64::try_from(passed.as_millis()).unwrap_or(i64::MAX);
        (passed >= self.wait).then(|| self.started_ms.saturating_add(passed_ms))
    }
}

impl AuditLog {
    /// Removes files that have been kept long enough, and hands heads to those who keep them every so often, until `shutdown`.
    pub async fn tend(self, anchoring: Anchoring, anchor_every: Duration, shutdown: impl Future<Output = ()> + Send) {
        let log = self.clone();
        let removing = async {
            let folder = log.folder().to_owned();
            let last_ms = tokio::task::spawn_blocking(move || before_start(&folder)).await;
            let last_ms = last_ms.unwrap_or(Ok(None)).unwrap_or_default().unwrap_or_else(now_ms);
            let clock = KeepingClock::begin(last_ms, now_ms(), Instant::now());
            loop {
                if let Some(now_ms) = clock.now_ms(Instant::now())
                    && let Err(error) = log.remove_kept_long_enough(now_ms).await
                {
                    tracing::warn!(%error, "files of the audit log that were kept long enough are not removed");
                }
                tokio::time::sleep(INTERVAL).await;
            }
        };
        let anchored = self.clone();
        let anchoring = async {
            let mut last = 0;
            while anchoring.is_wanted() {
                match anchored.anchor(&anchoring, last).await {
                    Ok(sequence) => last = sequence,
                    Err(error) => tracing::warn!(%error, "that the head was kept elsewhere is not recorded"),
                }
                tokio::time::sleep(anchor_every).await;
            }
        };
        tokio::select! {
            _ = async { tokio::join!(removing, anchoring) } => {}
            () = shutdown => {}
        }
    }

    /// Removes the files whose last record is older than the log is kept: first a record says so, then they go.
    ///
    /// # Errors
    /// [`AuditError::File`], [`AuditError::Unwritable`]; then nothing is removed that no record tells of.
    pub(crate) async fn remove_kept_long_enough(&self, now_ms: i64) -> Result<u64, AuditError> {
        let (folder, kept_ms) = (self.folder().to_owned(), i64::from(self.kept_days()) * DAY_MS);
        let looking = tokio::task::spawn_blocking(move || kept_long_enough(&folder, now_ms.saturating_sub(kept_ms)));
        let looked = looking.await.map_err(|error| AuditError::Unwritable { reason: error.to_string() })?;
        let Some((files, mut record)) = looked? else { return Ok(0) };
        record.count("files", files.len() as u64);
        self.append(record).await?;
        for file in &files {
            fs::remove_file(&file.path).map_err(AuditError::file(&file.path))?;
        }
        tracing::info!(files = files.len(), "removed files of the audit log that had been kept long enough");
        Ok(files.len() as u64)
    }
}

/// The first files, as long as their last record is older; and what is said of them. The last file is never one.
fn kept_long_enough(folder: &Path, before_ms: i64) -> Result<Option<(Vec<ChainFile>, Record)>, AuditError> {
    let files = chain_files(folder)?;
    let mut old = Vec::new();
    let mut record = Record::new(Kind::Removed);
    for pair in files.windows(2) {
        let [file, next] = pair else { break };
        // A file begins when the one before it has ended.
        match first_time(next)? {
            Some(began_ms) if began_ms < before_ms => {}
            _ => break,
        }
        let Some((sequence, hash)) = last_line(file)? else { break };
        record.count("first_sequence", files.first().map_or(0, |first| first.first));
        record.count("last_sequence", sequence);
        record.sha256 = Some(hash);
        old.push(file.clone());
    }
    record.note = old.first().zip(old.last()).map(|(first, last)| format!("{} to {}", first.name(), last.name()));
    Ok((!old.is_empty()).then_some((old, record)))
}

/// When the first record of a file ended.
fn first_time(file: &ChainFile) -> Result<Option<i64>, AuditError> {
    let mut lines = Lines::open(&file.path)?;
    while let Some(line) = lines.next()? {
        if let Some(stored) = parse_line(line.content) {
            return Ok(Some(stored.record.end_ms));
        }
    }
    Ok(None)
}

fn last_line(file: &ChainFile) -> Result<Option<(u64, String)>, AuditError> {
    let (mut lines, mut last) = (Lines::open(&file.path)?, None);
    while let Some(line) = lines.next()? {
        last = read_line(line.content).map(|line| (line.link.sequence, line.link.hash)).or(last);
    }
    Ok(last)
}

/// When the last record before this service's start was written.
fn before_start(folder: &Path) -> Result<Option<i64>, AuditError> {
    let (mut last_ms, mut before_ms) = (None, None);
    // The start is in one of the last two files: there is one a day.
    for file in chain_files(folder)?.iter().rev().take(2).rev() {
        let mut lines = Lines::open(&file.path)?;
        while let Some(line) = lines.next()? {
            let Some(stored) = parse_line(line.content) else { continue };
            // A file is begun, and its end mended, with the start, by the clock that is to be believed.
            let is_with_start = [Kind::File, Kind::Mended].contains(&stored.record.kind);
            if stored.record.kind == Kind::Start {
                before_ms = last_ms;
            } else if !is_with_start {
                last_ms = Some(stored.record.end_ms);
            }
        }
    }
    Ok(before_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_leapt_while_nothing_ran_is_not_believed_at_once() {
        let now = Instant::now();
        let hours = |hours: u64| Duration::from_secs(hours * 3_600);
        let clock = KeepingClock::begin(0, 2 * 3_600_000, now);
        assert_eq!(clock.now_ms(now + hours(1)), None);
        assert_eq!(clock.now_ms(now + hours(3)), Some(5 * 3_600_000));
        let year = KeepingClock::begin(0, 365 * DAY_MS, now);
        assert_eq!(year.now_ms(now + hours(6 * 24)), None);
        assert!(year.now_ms(now + hours(7 * 24)).is_some());
    }
}
