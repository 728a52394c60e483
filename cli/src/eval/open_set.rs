//! `descry eval --open-set`: does a low score mean that nobody matches?

use super::Arguments;
use crate::model;
use crate::output::{say, say_lines};
use crate::split_features::{SplitFeatures, encode_captions, encode_split};
use anyhow::Context as _;
use comfy_table::{CellAlignment, Table};
use descry_evaluation::{Dataset, area_under_roc, calibration_error};
use descry_model::Fingerprint;
use descry_search::calibration::{Calibration, MIN_LABELLED_CAPTIONS, Observation};
use ndarray::{Array2, ArrayView1};
use serde::Serialize;
use std::collections::{BTreeSet, HashSet};
use std::process::ExitCode;

/// Hits of each caption that are judged.
const HITS: usize = 10;

const BINS: usize = 10;

/// What one way of calibrating comes to, the mean over all rounds.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
struct Outcome {
    calibrated_from: &'static str,
    /// Of the presence probability; the same for any calibration, which only bends scores.
    area_under_roc: f64,
    /// Of the probability that the person is in the gallery.
    presence_calibration_error: f64,
    /// Of the probability that a hit is right, over the first hits of all captions.
    hit_calibration_error: f64,
    /// Slopes and midpoints of the curves.
    presence_slope: f64,
    presence_midpoint: f64,
    hit_slope: f64,
    hit_midpoint: f64,
}

#[derive(Debug, Serialize)]
struct Report {
    rounds: u64,
    gallery_identities: usize,
    removed_identities: usize,
    background_captions: usize,
    outcomes: Vec<Outcome>,
}

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let dataset = Dataset::load_with_images(arguments.dataset, &arguments.root, &arguments.split)?;
    let background = Dataset::load_with_images(arguments.dataset, &arguments.root, &arguments.background)?;
    anyhow::ensure!(arguments.background != arguments.split, "the background must be another split: --background");
    let (encoder, _workers) = model::open(&arguments.model).await?;
    let SplitFeatures { images, captions, lost: _ } = encode_split(&encoder, &dataset).await?;
    let background = encode_captions(&encoder, &background).await?;
    let split = Split {
        image_identities: dataset.image_identities(),
        caption_identities: dataset.caption_identities(),
        background_scores: background.dot(&images.t()),
        scores: captions.dot(&images.t()),
        fingerprint: encoder.fingerprint().clone(),
    };
    let report = split.measure(arguments.rounds)?;
    if arguments.json {
        say!("{}", serde_json::to_string(&report).context("writing JSON")?);
    } else {
        print(&report);
    }
    Ok(ExitCode::SUCCESS)
}

/// Cosines of all captions with all images, and whose they are.
struct Split {
    image_identities: Vec<i64>,
    caption_identities: Vec<i64>,
    /// `[background captions, images]`
    background_scores: Array2<f32>,
    /// `[captions, images]`
    scores: Array2<f32>,
    fingerprint: Fingerprint,
}

impl Split {
    fn measure(&self, rounds: u64) -> anyhow::Result<Report> {
        let identities: Vec<i64> = self.image_identities.iter().copied().collect::<BTreeSet<_>>().into_iter().collect();
        anyhow::ensure!(identities.len() >= 4, "{} identities are too few to take some out", identities.len());
        let kept = identities.len() / 2;
        let mut outcomes: Vec<Vec<Outcome>> = Vec::new();
        for round in 0..rounds {
            let shuffled = shuffled(&identities, round);
            outcomes.push(self.round(&shuffled[..kept])?);
        }
        let mean = |kind: usize, of: fn(&Outcome) -> f64| {
            outcomes.iter().map(|round| of(&round[kind])).sum::<f64>() / rounds as f64
        };
        let kinds = outcomes.first().map(Vec::len).unwrap_or_default();
        let outcomes = (0..kinds).map(|kind| Outcome {
            calibrated_from: outcomes[0][kind].calibrated_from,
            area_under_roc: mean(kind, |outcome| outcome.area_under_roc),
            presence_calibration_error: mean(kind, |outcome| outcome.presence_calibration_error),
            hit_calibration_error: mean(kind, |outcome| outcome.hit_calibration_error),
            presence_slope: mean(kind, |outcome| outcome.presence_slope),
            presence_midpoint: mean(kind, |outcome| outcome.presence_midpoint),
            hit_slope: mean(kind, |outcome| outcome.hit_slope),
            hit_midpoint: mean(kind, |outcome| outcome.hit_midpoint),
        });
        Ok(Report {
            rounds,
            gallery_identities: kept,
            removed_identities: identities.len() - kept,
            background_captions: self.background_scores.nrows(),
            outcomes: outcomes.collect(),
        })
    }

    /// One choice of who stays. Captions of one half of them may be learned from, those of the other half and of
    /// everybody taken out are judged.
    fn round(&self, kept: &[i64]) -> anyhow::Result<Vec<Outcome>> {
        let gallery: HashSet<i64> = kept.iter().copied().collect();
        let (learned, judged) = kept.split_at(kept.len() / 2);
        let learned: HashSet<i64> = learned.iter().copied().collect();
        let judged: HashSet<i64> = judged.iter().copied().collect();
        let background: Vec<Observation> =
            self.background_scores.outer_iter().map(|scores| self.observe(scores, &gallery, None)).collect();
        let captions = || self.scores.outer_iter().zip(&self.caption_identities);
        let labelled: Vec<Observation> = captions()
            .filter(|(_, identity)| learned.contains(identity))
            .map(|(scores, &identity)| self.observe(scores, &gallery, Some(identity)))
            .collect();
        let judged: Vec<(bool, Observation)> = captions()
            .filter(|(_, identity)| judged.contains(identity) || !gallery.contains(identity))
            .map(|(scores, &identity)| {
                let is_present = gallery.contains(&identity);
                (is_present, self.observe(scores, &gallery, is_present.then_some(identity)))
            })
            .collect();
        let mut outcomes = Vec::new();
        for (calibrated_from, labelled) in [("background captions", &[][..]), ("with labelled captions", &labelled[..])]
        {
            if calibrated_from.starts_with("with") && labelled.len() < MIN_LABELLED_CAPTIONS {
                continue;
            }
            let calibration = Calibration::fit(&self.fingerprint, &background, labelled, 0)
                .context("the background split has too few captions")?;
            outcomes.push(judge(calibrated_from, &calibration, &judged)?);
        }
        Ok(outcomes)
    }

    /// The first hits of a caption among the images of those who stayed.
    fn observe(&self, scores: ArrayView1<'_, f32>, gallery: &HashSet<i64>, identity: Option<i64>) -> Observation {
        let mut hits: Vec<(f32, i64)> = scores
            .iter()
            .copied()
            .zip(self.image_identities.iter().copied())
            .filter(|(_, identity)| gallery.contains(identity))
            .collect();
        hits.sort_by(|a, b| b.0.total_cmp(&a.0));
        hits.truncate(HITS);
        Observation {
            right: identity.map(|identity| hits.iter().map(|hit| hit.1 == identity).collect()).unwrap_or_default(),
            scores: hits.into_iter().map(|(score, _)| score).collect(),
        }
    }
}

fn judge(
    calibrated_from: &'static str,
    calibration: &Calibration,
    judged: &[(bool, Observation)],
) -> anyhow::Result<Outcome> {
    let mut presence = Vec::with_capacity(judged.len());
    let mut hits = Vec::with_capacity(judged.len() * HITS);
    for (is_present, observation) in judged {
        let best = observation.scores.first().copied().unwrap_or(-1.0);
        presence.push((calibration.presence_probability(best), *is_present));
        let right = observation.right.iter().copied().chain(std::iter::repeat(false));
        let judged = |&score: &f32| calibration.match_probability(score, None).unwrap_or_default();
        hits.extend(observation.scores.iter().map(judged).zip(right));
    }
    let of = |wanted: bool| -> Vec<f32> {
        presence.iter().filter(|(_, is_present)| *is_present == wanted).map(|(probability, _)| *probability).collect()
    };
    Ok(Outcome {
        calibrated_from,
        area_under_roc: area_under_roc(&of(true), &of(false))?,
        presence_calibration_error: calibration_error(&presence, BINS)?,
        hit_calibration_error: calibration_error(&hits, BINS)?,
        presence_slope: calibration.presence.slope.into(),
        presence_midpoint: calibration.presence.midpoint.into(),
        hit_slope: calibration.hit.slope.into(),
        hit_midpoint: calibration.hit.midpoint.into(),
    })
}

/// The identities in an order that is the same for a round in every run (Fisher and Yates, with SplitMix64).
fn shuffled(identities: &[i64], round: u64) -> Vec<i64> {
    let mut shuffled = identities.to_vec();
    let mut state = round;
    for last in (1..shuffled.len()).rev() {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = state;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        shuffled.swap(last, ((bits ^ (bits >> 31)) % (last as u64 + 1)) as usize);
    }
    shuffled
}

fn print(report: &Report) {
    say!(
        "{} identities in the gallery, {} taken out, {} background captions, mean of {} rounds",
        report.gallery_identities,
        report.removed_identities,
        report.background_captions,
        report.rounds
    );
    let mut table = Table::new();
    table.set_header(["calibrated from", "AUROC", "error of presence", "error of hits", "presence curve", "hit curve"]);
    for outcome in &report.outcomes {
        let number = |value: f64| format!("{value:.3}");
        table.add_row([
            outcome.calibrated_from.to_owned(),
            number(outcome.area_under_roc),
            number(outcome.presence_calibration_error),
            number(outcome.hit_calibration_error),
            format!("{:.2}, {:.2}", outcome.presence_slope, outcome.presence_midpoint),
            format!("{:.2}, {:.2}", outcome.hit_slope, outcome.hit_midpoint),
        ]);
    }
    for column in 1..6 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    say_lines!("{table}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_differ_and_repeat() {
        let identities: Vec<i64> = (0..50).collect();
        assert_eq!(shuffled(&identities, 3), shuffled(&identities, 3));
        assert_ne!(shuffled(&identities, 3), shuffled(&identities, 4));
        let mut sorted = shuffled(&identities, 5);
        sorted.sort_unstable();
        assert_eq!(sorted, identities);
    }
}
