//! Metrics by person and by track against what numpy makes of PyTorch's embeddings, and against hand computation.

use descry_evaluation::{Dataset, DatasetLayout, EvaluationError, GroupPool, ImageGroups, grouped_metrics};
use ndarray::{Array2, array};
use ndarray_npy::NpzReader;
use serde_json::Value;
use std::fs::{self, File};
use std::path::Path;

/// Points of a percentage.
const TOLERANCE: f64 = 1e-6;

#[test]
fn groups_of_the_demo_agree_with_numpy() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let golden = repository.join("tests/golden/demo");
    let expected: Value = serde_json::from_slice(&fs::read(golden.join("groups.json")).unwrap()).unwrap();
    let dataset = Dataset::load(DatasetLayout::CuhkPedes, &repository.join("demo/gallery"), "test").unwrap();
    let (cameras, people) = (dataset.image_cameras().unwrap(), dataset.image_identities());
    for model in ["dm_adapter", "up_person"] {
        let mut file = NpzReader::new(File::open(golden.join(format!("{model}.npz"))).unwrap()).unwrap();
        let images: Array2<f32> = file.by_name("images").unwrap();
        let captions: Array2<f32> = file.by_name("texts").unwrap();
        let (people, cameras) = (&people[..images.nrows()], &cameras[..images.nrows()]);
        let described = &dataset.caption_identities()[..captions.nrows()];
        for (name, groups) in
            [("person", ImageGroups::of_people(people)), ("track", ImageGroups::of_tracks(people, cameras))]
        {
            for (pool_name, pool) in [("best", GroupPool::Best), ("mean", GroupPool::Mean)] {
                let found = grouped_metrics(captions.view(), described, images.view(), &groups, pool).unwrap();
                let found = serde_json::to_value(found).unwrap();
                for (metric, expected) in expected[model][name][pool_name].as_object().unwrap() {
                    let (found, expected) = (found[metric].as_f64().unwrap(), expected.as_f64().unwrap());
                    let where_ = format!("{model}, {name}, {pool_name}, {metric}");
                    assert!((found - expected).abs() < TOLERANCE, "{where_}: {found}, numpy {expected}");
                }
            }
        }
    }
}

#[test]
fn the_mean_overrules_one_lucky_image() {
    // Person 1 has the nearest image of all and one that is nothing like the caption; both images of person 2 are near.
    let caption = array![[1.0f32, 0.0]];
    let images = array![[1.0f32, 0.0], [0.0, 1.0], [0.96, 0.28], [0.96, -0.28]];
    let groups = ImageGroups::of_people(&[1, 1, 2, 2]);
    let rank1 =
        |person: i64, pool| grouped_metrics(caption.view(), &[person], images.view(), &groups, pool).unwrap().rank1;
    assert_eq!((rank1(1, GroupPool::Best), rank1(2, GroupPool::Best)), (100.0, 0.0));
    assert_eq!((rank1(1, GroupPool::Mean), rank1(2, GroupPool::Mean)), (0.0, 100.0));
}

#[test]
fn several_tracks_of_a_person_are_all_right() {
    // Scores of the tracks: 0.6 of (1, a), 1.0 of (2, a), 0.8 of (1, b).
    let caption = array![[1.0f32, 0.0]];
    let images = array![[0.6f32, 0.8], [1.0, 0.0], [0.8, 0.6]];
    let groups = ImageGroups::of_tracks(&[1, 2, 1], &["a", "a", "b"]);
    let found = grouped_metrics(caption.view(), &[1], images.view(), &groups, GroupPool::Mean).unwrap();
    assert_eq!((found.rank1, found.rank5, found.gallery), (0.0, 100.0, 3));
    assert!((found.map - 100.0 * (1.0 / 2.0 + 2.0 / 3.0) / 2.0).abs() < 1e-9, "{found:?}");
    assert!((found.minp - 100.0 * 2.0 / 3.0).abs() < 1e-9, "{found:?}");
}

#[test]
fn embeddings_that_cancel_each_other_out_are_like_nothing() {
    let caption = array![[1.0f32, 0.0]];
    let images = array![[1.0f32, 0.0], [-1.0, 0.0], [0.28, 0.96]];
    let groups = ImageGroups::of_people(&[1, 1, 2]);
    let found = grouped_metrics(caption.view(), &[2], images.view(), &groups, GroupPool::Mean).unwrap();
    assert_eq!(found.rank1, 100.0);
}

#[test]
fn groups_of_another_gallery_are_refused() {
    let row = array![[1.0f32, 0.0]];
    let groups = ImageGroups::of_people(&[1, 2]);
    let error = grouped_metrics(row.view(), &[1], row.view(), &groups, GroupPool::Mean).unwrap_err();
    assert!(matches!(error, EvaluationError::LengthMismatch { embeddings: 1, identities: 2, .. }), "{error}");
}
