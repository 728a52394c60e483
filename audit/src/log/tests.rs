use super::*;
use crate::disk::LogFile;
use crate::{BreakKind, Verification, verify};
use std::fs;
use std::future::Future;
use std::io;
use std::sync::Condvar;
use std::task::{Context, Waker};

/// A disk that a test can fill, slow down and break. Clones are the same one.
#[derive(Clone, Default)]
struct TestDisk(Arc<(Mutex<Behaviour>, Condvar)>);

#[derive(Default)]
struct Behaviour {
    is_full: bool,
    sync_fails: bool,
    /// Whoever waits for the disk waits until this is false.
    is_stuck: bool,
    syncs: u64,
}

impl TestDisk {
    fn behave(&self, change: impl FnOnce(&mut Behaviour)) {
        change(&mut self.0.0.lock().unwrap());
        self.0.1.notify_all();
    }

    fn syncs(&self) -> u64 {
        self.0.0.lock().unwrap().syncs
    }
}

impl Disk for TestDisk {
    fn open(&mut self, path: &Path, end: u64) -> io::Result<Box<dyn LogFile>> {
        if self.0.0.lock().unwrap().is_full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(Box::new(TestFile { file: SystemDisk.open(path, end)?, disk: self.clone() }))
    }
}

struct TestFile {
    file: Box<dyn LogFile>,
    disk: TestDisk,
}

impl LogFile for TestFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.disk.0.0.lock().unwrap().is_full {
            // What there was room for.
            self.file.append(&bytes[..bytes.len() / 2])?;
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.file.append(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut behaviour = self.disk.0.1.wait_while(self.disk.0.0.lock().unwrap(), |disk| disk.is_stuck).unwrap();
        behaviour.syncs += 1;
        if behaviour.sync_fails { Err(io::Error::other("broken on purpose")) } else { Ok(()) }
    }

    fn cut_off(&mut self, end: u64) -> io::Result<()> {
        self.file.cut_off(end)
    }
}

pub(crate) fn settings(folder: &Path) -> AuditSettings {
    AuditSettings {
        folder: folder.to_owned(),
        instance: "one".to_owned(),
        max_file_bytes: 1 << 20,
        kept_days: 200,
        names: crate::KeptNames::Clear,
        name_key_file: std::path::PathBuf::new(),
    }
}

fn named(name: usize) -> Record {
    Record { gallery: Some(name.to_string()), ..Record::new(Kind::Request) }
}

fn checked(folder: &Path) -> Verification {
    verify(&folder.join("one"), &[]).unwrap()
}

#[track_caller]
fn assert_whole(folder: &Path) -> Verification {
    let found = checked(folder);
    assert_eq!(found.breaks, []);
    assert_eq!(found.torn_bytes, 0);
    found
}

#[tokio::test]
async fn records_that_wait_together_reach_a_slow_disk_together_and_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let disk = TestDisk::default();
    let log = AuditLog::over(&settings(folder.path()), "", Box::new(disk.clone())).unwrap();
    let before = disk.syncs();
    disk.behave(|disk| disk.is_stuck = true);
    let mut waiting = Vec::new();
    for number in 0..100 {
        let mut appending = Box::pin(log.append(named(number)));
        assert!(appending.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        waiting.push(appending);
    }
    disk.behave(|disk| disk.is_stuck = false);
    let mut sequences = Vec::new();
    for appending in waiting {
        sequences.push(appending.await.unwrap());
    }
    assert!(sequences.windows(2).all(|pair| pair[1] == pair[0] + 1), "{sequences:?}");
    // Those that came before the first was written, and the others.
    assert!(disk.syncs() - before <= 2, "{}", disk.syncs() - before);
    drop(log);
    let mut names = Vec::new();
    crate::records(&folder.path().join("one"), &crate::RecordFilter::default(), |stored| {
        names.extend(stored.record.gallery);
        Ok(())
    })
    .unwrap();
    assert_eq!(names, (0..100).map(|number| number.to_string()).collect::<Vec<_>>());
    // The file, the start, the records, the end.
    assert_eq!(assert_whole(folder.path()).records, 103);
}

#[tokio::test]
async fn what_does_not_reach_the_disk_is_refused_until_there_is_room() {
    for max_file_bytes in [1 << 20, 1] {
        for breaks in [|disk: &mut Behaviour| disk.is_full = true, |disk: &mut Behaviour| disk.sync_fails = true] {
            let folder = tempfile::tempdir().unwrap();
            let disk = TestDisk::default();
            let settings = AuditSettings { max_file_bytes, ..settings(folder.path()) };
            let log = AuditLog::over(&settings, "", Box::new(disk.clone())).unwrap();
            log.append(named(1)).await.unwrap();
            log.ready().await.unwrap();
            disk.behave(breaks);
            for number in [2, 3] {
                let error = log.append(named(number)).await.unwrap_err().to_string();
                assert!(error.starts_with("the audit log cannot be written, so nothing is answered"), "{error}");
                assert!(log.ready().await.is_err());
            }
            disk.behave(|disk| (disk.is_full, disk.sync_fails) = (false, false));
            log.ready().await.unwrap();
            log.append(named(4)).await.unwrap();
            drop(log);
            let found = assert_whole(folder.path());
            assert_eq!(found.interrupted, 1);
            let mut told = Vec::new();
            crate::records(&folder.path().join("one"), &crate::RecordFilter::default(), |stored| {
                told.extend(stored.record.gallery);
                told.extend(stored.record.counts.get("refused").map(|refused| format!("{refused} refused")));
                Ok(())
            })
            .unwrap();
            assert_eq!(told, ["1", "2 refused", "4"]);
        }
    }
}

#[tokio::test]
async fn every_torn_end_is_mended_and_said_to_be() {
    let origin = tempfile::tempdir().unwrap();
    let log = AuditLog::open(&settings(origin.path()), "").unwrap();
    log.append(named(1)).await.unwrap();
    let one = origin.path().join("one");
    let file = crate::folder::chain_files(&one).unwrap().remove(0);
    let (whole, head) = (fs::read(&file.path).unwrap(), fs::read(one.join("head")).unwrap());
    log.append_all(vec![named(2), named(3)]).await.unwrap();
    let longer = fs::read(&file.path).unwrap();
    // As a killed process leaves it: any part of the group that nobody was answered for.
    let ends = (whole.len()..longer.len()).step_by(29).chain([longer.len() - 1, longer.len()]);
    for end in ends {
        let folder = tempfile::tempdir().unwrap();
        let copy = folder.path().join("one");
        fs::create_dir(&copy).unwrap();
        fs::write(copy.join("head"), &head).unwrap();
        fs::write(copy.join(file.name()), &longer[..end]).unwrap();
        let found = checked(folder.path());
        assert_eq!(found.breaks, [], "{end}");
        drop(AuditLog::open(&settings(folder.path()), "").unwrap());
        let found = assert_whole(folder.path());
        // A line that lacks its line feed alone is whole.
        let is_torn = longer[end - 1] != b'\n' && longer.get(end) != Some(&b'\n');
        assert_eq!(found.mended, u64::from(is_torn), "{end}");
        // Nothing was taken away.
        assert!(fs::read(copy.join(file.name())).unwrap().starts_with(&longer[..end]));
    }
    drop(log);
}

#[tokio::test]
async fn acknowledged_records_that_are_gone_stay_missing() {
    let folder = tempfile::tempdir().unwrap();
    let log = AuditLog::open(&settings(folder.path()), "").unwrap();
    log.append_all((0..5).map(named).collect()).await.unwrap();
    drop(log);
    let file = crate::folder::chain_files(&folder.path().join("one")).unwrap().remove(0);
    let text = fs::read_to_string(&file.path).unwrap();
    let kept: Vec<&str> = text.lines().take(4).collect();
    fs::write(&file.path, kept.join("\n") + "\n").unwrap();
    assert_eq!(checked(folder.path()).breaks[0].kind, BreakKind::EndMissing);
    // A new process goes on, and hides nothing.
    drop(AuditLog::open(&settings(folder.path()), "").unwrap());
    let found = checked(folder.path());
    assert_eq!((found.breaks[0].kind, found.breaks[0].line), (BreakKind::Missing, 5), "{:?}", found.breaks);
}

#[tokio::test]
async fn files_follow_one_another_in_the_chain_and_go_when_their_time_is_over() {
    let folder = tempfile::tempdir().unwrap();
    let log = AuditLog::open(&AuditSettings { max_file_bytes: 1, ..settings(folder.path()) }, "").unwrap();
    for number in 0..6 {
        log.append(named(number)).await.unwrap();
    }
    let now_ms = crate::record::now_ms();
    let days = |days: i64| now_ms + days * 86_400_000;
    assert_eq!(log.remove_kept_long_enough(days(199)).await.unwrap(), 0);
    assert_eq!(assert_whole(folder.path()).files, 7);
    // All but the last, which is written to.
    assert_eq!(log.remove_kept_long_enough(days(201)).await.unwrap(), 6);
    drop(log);
    let found = assert_whole(folder.path());
    assert!(found.first > 1, "{found:?}");
    let files = crate::folder::chain_files(&folder.path().join("one")).unwrap();
    fs::remove_file(&files[0].path).unwrap();
    assert_eq!(checked(folder.path()).breaks[0].kind, BreakKind::BeginMissing);
}

#[tokio::test]
async fn each_day_has_a_file_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    drop(AuditLog::open(&settings(folder.path()), "").unwrap());
    let one = folder.path().join("one");
    let today = crate::folder::chain_files(&one).unwrap().remove(0);
    let yesterday = crate::folder::ChainFile::new(&one, 1, crate::record::now_ms() - 86_400_000);
    fs::rename(today.path, yesterday.path).unwrap();
    drop(AuditLog::open(&settings(folder.path()), "").unwrap());
    assert_eq!(assert_whole(folder.path()).files, 2);
}

#[tokio::test]
async fn files_are_their_owners_alone_and_a_second_writer_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let new = folder.path().join("new");
    let log = AuditLog::open(&settings(&new), "all settings").unwrap();
    assert!(matches!(AuditLog::open(&settings(&new), ""), Err(AuditError::InUse { .. })));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&new), mode(&new.join("one"))), (0o700, 0o700));
    for entry in fs::read_dir(new.join("one")).unwrap() {
        assert_eq!(mode(&entry.unwrap().path()), 0o600);
    }
    drop(log);
}
