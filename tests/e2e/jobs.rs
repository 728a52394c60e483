//! The command line as its users run it: filling galleries, looking after them, moving and searching them.

mod copies;
mod embedding;
mod frames;
mod galleries;
mod inputs;
mod interruptions;
mod reports;
mod searching;
mod sources;
mod terminal;
mod watching;

use crate::stands::commands::last_json;
use serde_json::Value;

/// Image ids and scores of what `descry search --json` printed, best first.
#[track_caller]
fn ranking(printed: &str) -> Vec<(String, f64)> {
    let reply = last_json(printed);
    let hit = |hit: &Value| (hit["image_id"].as_str().unwrap().to_owned(), hit["score"].as_f64().unwrap());
    let ranking: Vec<_> = reply["hits"].as_array().unwrap().iter().map(hit).collect();
    assert!(ranking.is_sorted_by(|(_, a), (_, b)| a >= b), "{ranking:?}");
    ranking
}

/// Two rankings of the same images, apart from the rounding of scores.
#[track_caller]
fn assert_alike(one: &[(String, f64)], other: &[(String, f64)]) {
    let by_id = |ranking: &[(String, f64)]| {
        let mut ranking = ranking.to_vec();
        ranking.sort_by(|a, b| a.0.cmp(&b.0));
        ranking
    };
    assert_eq!(one.len(), other.len());
    for ((image_id, score), (other_id, other_score)) in by_id(one).iter().zip(&by_id(other)) {
        assert_eq!(image_id, other_id);
        assert!((score - other_score).abs() < 1e-3, "{image_id}: {score} and {other_score}");
    }
}
