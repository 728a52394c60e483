//! What a power loss leaves of a journal: never an image that was not acknowledged for this very job, and never a file that
//! stands in a job's way.

use super::{JobIdentity, Journal, JournalFile};
use crate::FileVersion;
use std::collections::HashSet;
use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

const SEEDS: u64 = 2_000;

/// What a disk writes at once or not at all.
const SECTOR_BYTES: usize = 512;

/// Numbers from a seed: SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

#[derive(Default)]
struct Disk {
    content: Vec<u8>,
    synced: Vec<u8>,
    since: Vec<Change>,
}

enum Change {
    Write(usize, Vec<u8>),
    Cut(usize),
}

impl Disk {
    /// Of what was not synced, any part may be there, in whole sectors.
    fn after_power_loss(&self, random: &mut Random) -> Self {
        let mut content = self.synced.clone();
        let manner = random.below(3);
        for change in &self.since {
            match change {
                Change::Cut(length) if manner == 0 || random.below(2) == 0 => content.resize(*length, 0),
                Change::Cut(_) => {}
                Change::Write(offset, bytes) => {
                    for (place, byte) in bytes.iter().enumerate() {
                        let at = offset + place;
                        let is_sector_start = place == 0 || at.is_multiple_of(SECTOR_BYTES);
                        if is_sector_start && manner != 0 && random.below(2) == 0 {
                            // The rest of this sector is left out, those behind it may be there.
                            let next = (at / SECTOR_BYTES + 1) * SECTOR_BYTES;
                            if next >= offset + bytes.len() {
                                break;
                            }
                            content.resize(content.len().max(next), 0);
                            continue;
                        }
                        if content.len() <= at {
                            content.resize(at + 1, 0);
                        }
                        content[at] = *byte;
                    }
                }
            }
        }
        Self { synced: content.clone(), content, since: Vec::new() }
    }
}

/// A file on that disk.
#[derive(Clone)]
struct OnDisk {
    disk: Arc<Mutex<Disk>>,
    at: u64,
}

impl OnDisk {
    fn of(disk: &Arc<Mutex<Disk>>) -> Box<Self> {
        Box::new(Self { disk: Arc::clone(disk), at: 0 })
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap()
    }
}

impl Read for OnDisk {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let content = self.disk().content.clone();
        let mut reader = Cursor::new(content);
        reader.set_position(self.at);
        let read = reader.read(into)?;
        self.at += read as u64;
        Ok(read)
    }
}

impl Write for OnDisk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let at = self.at as usize;
        {
            let mut disk = self.disk();
            let length = disk.content.len().max(at + bytes.len());
            disk.content.resize(length, 0);
            disk.content[at..at + bytes.len()].copy_from_slice(bytes);
            disk.since.push(Change::Write(at, bytes.to_vec()));
        }
        self.at += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for OnDisk {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let SeekFrom::Start(at) = to else { return Err(io::ErrorKind::Unsupported.into()) };
        self.at = at;
        Ok(at)
    }
}

impl JournalFile for OnDisk {
    fn cut(&mut self, bytes: u64) -> io::Result<()> {
        let mut disk = self.disk();
        disk.content.resize(bytes as usize, 0);
        disk.since.push(Change::Cut(bytes as usize));
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut disk = self.disk();
        disk.synced = disk.content.clone();
        disk.since.clear();
        Ok(())
    }
}

fn identity(job: u64) -> JobIdentity {
    JobIdentity { gallery: "lobby".to_owned(), fingerprint: "f".repeat(64), created_at_ms: job as i64 }
}

fn version(number: u64) -> FileVersion {
    FileVersion { bytes: number, modified_ms: 5 }
}

/// Jobs of one gallery or another follow each other on one file, and the power goes between them.
#[test]
fn a_journal_never_tells_what_was_not_acknowledged_for_its_job() {
    let mut survived = 0;
    for seed in 0..SEEDS {
        let mut random = Random(seed);
        let mut disk = Arc::new(Mutex::new(Disk::default()));
        let mut acknowledged: Vec<HashSet<u64>> = vec![HashSet::new(); 2];
        for _ in 0..4 {
            let job = random.below(2);
            let mut journal = Journal::over(Path::new("j"), OnDisk::of(&disk), &identity(job))
                .unwrap_or_else(|error| panic!("seed {seed}: {error:?}"));
            let known = (0..200).filter(|image| journal.contains(&image.to_string(), &version(*image)));
            let known: HashSet<u64> = known.collect();
            assert!(known.is_subset(&acknowledged[job as usize]), "seed {seed}: tells too much");
            assert_eq!(known.len(), journal.len(), "seed {seed}");
            survived += known.len();
            for _ in 0..random.below(40) {
                let image = random.below(100) + 100 * job;
                journal.record(&image.to_string(), &version(image)).unwrap();
                acknowledged[job as usize].insert(image);
            }
            journal.flush().unwrap();
            drop(journal);
            if random.below(2) == 0 {
                let after = disk.lock().unwrap().after_power_loss(&mut random);
                disk = Arc::new(Mutex::new(after));
            }
        }
    }
    assert!(survived > 1_000, "{survived} images were known again");
}
