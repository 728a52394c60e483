//! Whatever the disk does, what was acknowledged is there, and what was not is whole or absent.

use super::SimulatedDisk;
use super::random::Random;
use super::script::{Change, Model};
use crate::VectorStore as _;
use crate::embedded::database_file::DatabaseFile;
use crate::embedded::{EmbeddedConfig, EmbeddedError, EmbeddedStore};
use std::sync::Arc;

const SEEDS: u64 = 1_000;
const CHANGES: usize = 14;

const CONFIG: EmbeddedConfig = EmbeddedConfig { search_threads: 1, lock_wait_ms: 0, reserve_bytes: 0 };

/// Logs are worked into the file after every change, some, or none.
fn open(disk: &Arc<SimulatedDisk>, seed: u64) -> Result<EmbeddedStore, EmbeddedError> {
    let checkpoint_bytes = [1 << 13, 1 << 16, 1 << 30][(seed % 3) as usize];
    EmbeddedStore::load(DatabaseFile::simulated(disk, checkpoint_bytes), &CONFIG)
}

/// Each seed is a script, a disk that fails now and then, and a moment at which the power goes.
async fn check(seed: u64) -> Outcome {
    let mut random = Random::new(seed);
    let disk = SimulatedDisk::new(random.number());
    disk.lose_power_at(random.below(260) + 1);
    let is_reliable = !random.once_in(2);
    if !is_reliable {
        (0..3).for_each(|_| disk.fail_at(random.below(200) + 1));
    }
    let mut outcome = Outcome::default();
    let mut model = Model::default();
    // What the store may hold besides, because it did not say what became of a change.
    let mut untold = Vec::new();
    let mut store = open(&disk, seed).ok();
    for _ in 0..CHANGES {
        let Some(opened) = &store else {
            if disk.is_dead() {
                break;
            }
            store = open(&disk, seed).ok();
            if let Some(opened) = &store
                && let Ok(read) = Model::read(opened).await
            {
                // What was not told is told by now.
                model = found(&read, &model, &untold, seed).clone();
                untold.clear();
            } else {
                store = None;
            }
            continue;
        };
        let change = Change::any(&model, &mut random);
        let next = model.after(&change);
        match change.make(opened).await {
            Ok(()) => {
                model = next;
                untold.clear();
                outcome.acknowledged += 1;
            }
            Err(_) if disk.is_dead() => {
                untold.push(next);
                break;
            }
            Err(_) => {
                outcome.failed += 1;
                untold.push(next);
                // Whoever goes on sees the change whole or not at all.
                if let Ok(read) = Model::read(opened).await {
                    assert_eq!(read, model.without_retired(), "seed {seed}: {change:?} failed and shows");
                }
            }
        }
        if let Some(opened) = store.as_ref().filter(|_| random.once_in(5)) {
            outcome.scrubbed +=
                usize::from(opened.scrub("any").await.is_ok_and(|scrubbed| scrubbed.pending.is_empty()));
        }
        // Some services are restarted without losing the power.
        if random.once_in(8) {
            store = None;
        }
    }
    outcome.lost_power = disk.is_dead();
    drop(store);
    let after = disk.after_power_loss(random.number());
    let recovered = match open(&after, seed) {
        Ok(recovered) => recovered,
        Err(error) => panic!("seed {seed}: does not open: {error:?}"),
    };
    let read = Model::read(&recovered).await.unwrap();
    // Whenever the power goes, the next start finds what is not overwritten yet.
    if is_reliable {
        let unused = recovered.database.lock().await.sweep_file().unwrap();
        assert_eq!(unused, 0, "seed {seed}: bytes that nobody uses hold something");
    }
    outcome.untold_survived = read != model.without_retired();
    let model = found(&read, &model, &untold, seed);
    // It goes on as if nothing had been.
    let change = Change::any(model, &mut random);
    change.make(&recovered).await.unwrap();
    let expected = model.after(&change).without_retired();
    assert_eq!(Model::read(&recovered).await.unwrap(), expected, "seed {seed}");
    drop(recovered);
    let reopened = open(&after, seed + 1).unwrap();
    assert_eq!(Model::read(&reopened).await.unwrap(), expected, "seed {seed}");
    outcome
}

/// Which of the states that are allowed is there.
fn found<'a>(read: &Model, acknowledged: &'a Model, untold: &'a [Model], seed: u64) -> &'a Model {
    let mut allowed = std::iter::once(acknowledged).chain(untold);
    allowed
        .find(|allowed| allowed.without_retired() == *read)
        .unwrap_or_else(|| panic!("seed {seed}: found {read:#?}\nacknowledged {acknowledged:#?}\nuntold {untold:#?}"))
}

#[derive(Debug, Default)]
struct Outcome {
    acknowledged: usize,
    failed: usize,
    scrubbed: usize,
    lost_power: bool,
    untold_survived: bool,
}

#[tokio::test]
async fn what_was_acknowledged_survives_and_nothing_is_there_by_half() {
    let mut outcomes = Vec::new();
    for seed in 0..SEEDS {
        outcomes.push(check(seed).await);
    }
    // The seeds reach what they are for.
    let count = |is: fn(&Outcome) -> bool| outcomes.iter().filter(|outcome| is(outcome)).count();
    let lost = count(|outcome| outcome.lost_power);
    assert!(lost > 500, "{lost} seeds lost their power");
    assert!(count(|outcome| outcome.lost_power && outcome.acknowledged > 2) > 200);
    assert!(count(|outcome| outcome.failed > 0) > 50);
    assert!(count(|outcome| outcome.scrubbed > 0) > 200);
    assert!(count(|outcome| outcome.untold_survived) > 5, "a change is on disk before it is acknowledged");
}

/// A store that did not sync would be found out: the test of the test.
#[tokio::test]
async fn without_syncs_changes_would_be_lost() {
    let mut lost = 0;
    for seed in 0..40 {
        let mut random = Random::new(seed);
        let disk = SimulatedDisk::new(seed);
        let store = open(&disk, 2).unwrap();
        store.forget_to_sync().await;
        let mut model = Model::default();
        for _ in 0..6 {
            let change = Change::any(&model, &mut random);
            change.make(&store).await.unwrap();
            model = model.after(&change);
        }
        disk.lose_power_at(1);
        drop(store);
        let found = match open(&disk.after_power_loss(seed), 2) {
            Ok(recovered) => Model::read(&recovered).await.ok(),
            Err(_) => None,
        };
        lost += usize::from(found != Some(model.without_retired()));
    }
    assert!(lost > 10, "{lost} of 40");
}

impl EmbeddedStore {
    async fn forget_to_sync(&self) {
        self.database.lock().await.connection().pragma_update(None, "synchronous", "OFF").unwrap();
    }
}
