use super::*;
use crate::Domain;
use descry_evaluation::{Dataset, DatasetLayout};
use std::collections::BTreeMap;

fn small(threads: usize) -> SynthesisSettings {
    SynthesisSettings {
        identities: 9,
        images_per_identity: 2,
        test_share: 1.0 / 3.0,
        validation_share: 1.0 / 9.0,
        width_px: 48,
        height_px: 144,
        threads,
        ..SynthesisSettings::default()
    }
}

fn make(settings: &SynthesisSettings, out: &Path) -> Result<SynthesisSummary, SynthesisError> {
    synthesize(settings, out, &|| false, &|_| {})
}

/// Every file below a folder with its content.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path).into_iter().map(|(name, content)| {
                let inner = Path::new(path.file_name().unwrap()).join(name);
                (inner, content)
            }));
        } else {
            found.insert(path.file_name().unwrap().into(), fs::read(&path).unwrap());
        }
    }
    found
}

#[test]
fn threads_change_nothing_and_the_seed_changes_everything() {
    let folder = tempfile::tempdir().unwrap();
    let [one, three, other] = ["one", "three", "other"].map(|name| folder.path().join(name));
    make(&small(1), &one).unwrap();
    make(&small(3), &three).unwrap();
    assert_eq!(files(&one), files(&three));
    make(&SynthesisSettings { seed: 2, ..small(1) }, &other).unwrap();
    assert_ne!(files(&one)[Path::new(ANNOTATIONS)], files(&other)[Path::new(ANNOTATIONS)]);
    // Making it again repeats it, over whatever an interrupted run left.
    fs::remove_file(one.join(ANNOTATIONS)).unwrap();
    make(&small(2), &one).unwrap();
    assert_eq!(files(&one), files(&three));
}

#[test]
fn the_layout_is_read_by_the_evaluation() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("a/new/folder");
    let summary = make(&small(2), &out).unwrap();
    let counts = (summary.train_identities, summary.validation_identities, summary.test_identities);
    assert_eq!((summary.identities, summary.images, summary.captions, counts), (9, 18, 36, (5, 1, 3)));
    for (split, identities) in [("train", 1..=5), ("val", 6..=6), ("test", 7..=9)] {
        let dataset = Dataset::load(DatasetLayout::CuhkPedes, &out, split).unwrap();
        assert!(dataset.missing_images().is_empty());
        let expected: Vec<i64> = identities.flat_map(|identity| [identity, identity]).collect();
        assert_eq!(dataset.image_identities(), expected);
        assert_eq!(dataset.captions().len(), expected.len() * 2);
        for image in dataset.images() {
            let decoded = image::open(&image.path).unwrap();
            assert_eq!((decoded.width(), decoded.height()), (48, 144));
        }
    }
}

#[test]
fn other_content_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path();
    fs::write(out.join("thesis.txt"), "important").unwrap();
    let message = make(&small(1), out).unwrap_err().to_string();
    assert!(message.contains("empty or new folder"), "{message}");
    assert_eq!(fs::read_dir(out).unwrap().count(), 1);
    fs::remove_file(out.join("thesis.txt")).unwrap();
    make(&small(1), out).unwrap();
    let before = files(out);
    let other = SynthesisSettings { domain: Domain::Night, ..small(1) };
    assert!(matches!(make(&other, out), Err(SynthesisError::OtherSettings { .. })));
    assert_eq!(files(out), before);
    fs::write(out.join(SETTINGS), "{}").unwrap();
    assert!(matches!(make(&small(1), out), Err(SynthesisError::NotOurs { .. })));
}

#[test]
fn a_run_killed_at_its_very_start_is_in_nobodys_way() {
    let folder = tempfile::tempdir().unwrap();
    let (out, settings) = (folder.path(), folder.path().join(SETTINGS));
    fs::write(json_file::partial_path(&settings), "{").unwrap();
    make(&small(1), out).unwrap();
    let made = files(out);
    assert!(made.keys().all(|name| !name.to_string_lossy().ends_with(".partial")));
    // What says the same is not written again: nothing could be lost.
    let text = serde_json::from_slice::<serde_json::Value>(&made[Path::new(SETTINGS)]).unwrap().to_string();
    fs::write(&settings, &text).unwrap();
    make(&small(1), out).unwrap();
    assert_eq!(fs::read_to_string(&settings).unwrap(), text);
}

#[test]
fn a_cancelled_run_leaves_no_complete_data_set() {
    let folder = tempfile::tempdir().unwrap();
    make(&small(1), folder.path()).unwrap();
    let asked = AtomicUsize::new(0);
    let is_cancelled = || asked.fetch_add(1, Ordering::Relaxed) >= 3;
    let told = AtomicUsize::new(0);
    let progress = |done: usize| {
        told.fetch_max(done, Ordering::Relaxed);
    };
    let result = synthesize(&small(1), folder.path(), &is_cancelled, &progress);
    assert!(matches!(result, Err(SynthesisError::Cancelled)));
    assert_eq!(told.into_inner(), 3);
    assert!(!folder.path().join(ANNOTATIONS).exists());
}
