//! From a drawn data set to a bundle that is as good as its run says.

use super::stand::{data, finished, records};
use crate::stands::commands::{last_json, succeed};

/// Points of a percentage: another order of sums may turn near ties.
const MAX_METRIC_DIFFERENCE: f64 = 0.5;

/// Exports the best weights with what lies beside them, and measures the bundle. The export itself checks the bundle
/// against the unmerged weights.
///
/// `turned_captions`: how many captions may find another image first.
fn check_bundle(method: &str, turned_captions: f64) {
    let run = &finished(method).folder;
    let evaluations = records(run, "evaluation");
    let best = evaluations.iter().rfind(|evaluation| evaluation["is_best"] == true).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let bundle = folder.path().join("bundle");
    let (weights, bundle) = (run.join("best.safetensors"), bundle.to_str().unwrap());
    succeed(&["export", "--checkpoint", weights.to_str().unwrap(), "--out", bundle]);
    let root = data().to_str().unwrap();
    let measured =
        last_json(&succeed(&["eval", "--model", bundle, "--dataset", "cuhk-pedes", "--root", root, "--json"]));
    for (field, recorded) in [("queries", "queries"), ("gallery", "gallery")] {
        assert_eq!(measured[field], best[recorded]);
    }
    let allowed = MAX_METRIC_DIFFERENCE + turned_captions * 100.0 / measured["queries"].as_f64().unwrap();
    for (field, recorded) in [("rank1", "rank_1"), ("map", "mean_average_precision")] {
        let (found, expected) = (measured[field].as_f64().unwrap(), best[recorded].as_f64().unwrap());
        assert!((found - expected).abs() <= allowed, "{method}, {field}: {found}, the run measured {expected}");
    }
}

#[test]
fn a_plain_clip_from_nothing() {
    check_bundle("clip", 0.0);
}

#[test]
fn dm_adapter_on_that_clip() {
    check_bundle("dm-adapter", 0.0);
}

#[test]
fn up_person_on_that_clip() {
    // Its bundle rounds some merged products to float16.
    check_bundle("up-person", 1.0);
}

#[test]
fn a_run_says_how_to_go_on_with_its_weights() {
    for method in ["clip", "dm-adapter", "up-person"] {
        let run = finished(method);
        let weights = run.folder.join("best.safetensors");
        assert!(run.printed.contains(&format!("descry export --checkpoint {}", weights.display())), "{}", run.printed);
        for name in ["run.json", "configs.yaml", "tokenizer.json", "curves.svg", "last.safetensors"] {
            assert!(run.folder.join(name).is_file(), "{method} has no {name}");
        }
    }
}
