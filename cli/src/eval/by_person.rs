//! `descry eval --by-person`: people and tracks in place of images, by their best image and by their mean embedding.

use crate::output::{say, say_lines};
use crate::split_features::SplitFeatures;
use anyhow::Context as _;
use comfy_table::{CellAlignment, Table};
use descry_evaluation::{Dataset, GroupPool, ImageGroups, RetrievalMetrics, grouped_metrics, retrieval_metrics};
use serde::Serialize;

/// Metrics of one way to put images together, by both ways to score what comes of it.
#[derive(Debug, Serialize)]
struct Pooled {
    best: RetrievalMetrics,
    mean: RetrievalMetrics,
}

#[derive(Debug, Serialize)]
struct Report {
    by_image: RetrievalMetrics,
    by_person: Pooled,
    /// Where the images' names tell their cameras.
    by_track: Option<Pooled>,
    truncated: usize,
    with_unknown_letters: usize,
}

pub(super) fn report(dataset: &Dataset, features: &SplitFeatures, json: bool) -> anyhow::Result<()> {
    let (people, described) = (dataset.image_identities(), dataset.caption_identities());
    let (captions, images) = (features.captions.view(), features.images.view());
    let pooled = |groups: &ImageGroups| {
        let metrics = |pool| grouped_metrics(captions, &described, images, groups, pool);
        anyhow::Ok(Pooled { best: metrics(GroupPool::Best)?, mean: metrics(GroupPool::Mean)? })
    };
    let report = Report {
        by_image: retrieval_metrics(captions, &described, images, &people)?,
        by_person: pooled(&ImageGroups::of_people(&people))?,
        by_track: dataset
            .image_cameras()
            .map(|cameras| pooled(&ImageGroups::of_tracks(&people, &cameras)))
            .transpose()?,
        truncated: features.lost.truncated,
        with_unknown_letters: features.lost.with_unknown_letters,
    };
    if json {
        say!("{}", serde_json::to_string(&report).context("writing JSON")?);
    } else {
        print(&report, features);
    }
    Ok(())
}

fn print(report: &Report, features: &SplitFeatures) {
    say!("{} captions against {} images", report.by_image.queries, report.by_image.gallery);
    if report.by_image.unmatched_queries > 0 {
        let unmatched = report.by_image.unmatched_queries;
        say!("{unmatched} captions have no image of their person in the gallery; they are left out");
    }
    features.lost.tell("captions");
    let mut table = Table::new();
    table.set_header(["ranked", "scored by", "number", "Rank-1", "Rank-5", "Rank-10", "mAP", "mINP"]);
    let mut add = |ranked: &str, scored_by: &str, metrics: &RetrievalMetrics| {
        let RetrievalMetrics { rank1, rank5, rank10, map, minp, gallery, .. } = metrics;
        let mut row = vec![ranked.to_owned(), scored_by.to_owned(), gallery.to_string()];
        row.extend([rank1, rank5, rank10, map, minp].map(|percent| format!("{percent:.2}")));
        table.add_row(row);
    };
    add("images", "", &report.by_image);
    for (ranked, pooled) in [("people", Some(&report.by_person)), ("tracks", report.by_track.as_ref())] {
        if let Some(Pooled { best, mean }) = pooled {
            add(ranked, "best image", best);
            add(ranked, "mean embedding", mean);
        }
    }
    for column in 2..8 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    say_lines!("{table}");
    if report.by_track.is_none() {
        say!("the images' names do not tell their cameras, so there are no tracks");
    }
}
