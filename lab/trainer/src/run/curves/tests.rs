use super::*;
use crate::run::history::{EvaluationRecord, StepRecord};
use roxmltree::Document;
use std::collections::BTreeMap;

fn step(epoch: usize, step: usize, loss: f64) -> HistoryRecord {
    HistoryRecord::Step(StepRecord {
        epoch,
        step,
        steps_in_epoch: 4,
        loss,
        parts: BTreeMap::new(),
        learning_rate: 1e-4,
        gradient_norm: 1.0,
        pairs_per_second: 10.0,
    })
}

fn evaluation(epoch: usize, rank_1: f64) -> HistoryRecord {
    HistoryRecord::Evaluation(EvaluationRecord {
        epoch,
        split: "test".to_owned(),
        rank_1,
        rank_5: 90.0,
        rank_10: 95.0,
        mean_average_precision: rank_1 - 5.0,
        mean_inverse_negative_penalty: 30.0,
        queries: 10,
        gallery: 5,
        unmatched_queries: 0,
        is_best: true,
        seconds: 1.0,
    })
}

/// Texts and number of markers of the drawing.
fn drawn(records: &[HistoryRecord]) -> (Vec<String>, usize) {
    let text = draw("a run", records).unwrap().unwrap();
    let svg = Document::parse(&text).unwrap();
    let texts = svg.descendants().filter(|node| node.has_tag_name("text")).filter_map(|node| node.text());
    let texts = texts.map(|text| text.trim().to_owned()).collect();
    (texts, svg.descendants().filter(|node| node.has_tag_name("circle")).count())
}

#[test]
fn everything_is_drawn_and_named() {
    let records = [step(1, 2, 3.0), step(1, 4, 2.0), evaluation(1, 40.0), step(2, 4, 1.0), evaluation(2, 60.0)];
    let (texts, markers) = drawn(&records);
    let expected = ["a run", "epochs", "loss", "loss of each step", "smoothed", "Rank-1", "mAP", "learning rate"];
    for text in expected {
        assert!(texts.iter().any(|found| found == text), "{text} is not in {texts:?}");
    }
    assert_eq!(markers, 4);
}

#[test]
fn nothing_is_drawn_over_the_points() {
    let records = [step(1, 2, 3.0), step(1, 4, 2.0), evaluation(1, 40.0), step(2, 4, 1.0), evaluation(2, 60.0)];
    let text = draw("a run", &records).unwrap().unwrap();
    let svg = Document::parse(&text).unwrap();
    let number = |node: &roxmltree::Node<'_, '_>, name: &str| node.attribute(name).unwrap().parse::<f64>().unwrap();
    let is_name = |node: &roxmltree::Node<'_, '_>| {
        let names = ["smoothed", "Rank-1", "mAP"];
        node.has_tag_name("text") && node.text().is_some_and(|text| names.contains(&text.trim()))
    };
    // The points of each chart, from its first to its last line on the page.
    let mut tops: Vec<f64> = svg.descendants().filter(is_name).map(|node| number(&node, "y")).collect();
    tops.sort_by(f64::total_cmp);
    let markers: Vec<f64> =
        svg.descendants().filter(|node| node.has_tag_name("circle")).map(|node| number(&node, "cy")).collect();
    assert_eq!((tops.len(), markers.len()), (3, 4));
    let names_of_qualities = tops[2];
    assert!(markers.iter().all(|height| *height > names_of_qualities + 10.0), "{markers:?} {tops:?}");
}

#[test]
fn one_point_is_enough() {
    assert_eq!(drawn(&[step(1, 1, 3.0)]).1, 1);
    assert_eq!(drawn(&[evaluation(1, 5.0)]).1, 2);
    assert_eq!(draw("a run", &[]).unwrap(), None);
}

#[test]
fn long_runs_are_thinned() {
    let records: Vec<HistoryRecord> = (0..40_000).map(|index| step(1 + index / 4, 1 + index % 4, 2.0)).collect();
    let curves = Curves::of(&records);
    assert!(curves.loss.len() <= MAX_POINTS && curves.loss.len() > MAX_POINTS / 2);
    assert!(curves.loss.iter().all(|&(_, loss)| (loss - 2.0).abs() < 1e-12));
    assert_eq!(smoothed(&curves.loss).len(), curves.loss.len());
    assert!(draw("a run", &records).unwrap().unwrap().len() < 400_000);
}

#[test]
fn smoothing_keeps_the_level() {
    let points: Vec<Point> = (0..200).map(|index| (f64::from(index), if index % 2 == 0 { 1.0 } else { 3.0 })).collect();
    let smooth = smoothed(&points);
    assert_eq!(smooth[0], (0.0, 1.0));
    assert!((smooth[199].1 - 2.0).abs() < 0.2, "{:?}", smooth[199]);
}
