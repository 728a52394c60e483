//! What a score means: probabilities instead of cosines.
//!
//! A cosine of 0.76 may be a certain match with one model and next to nothing with another, and every description has
//! some nearest image. So a gallery is calibrated: captions of people who are *not* in it are searched, which shows how
//! near the nearest image comes by chance. The best cosine `s` of a query is put on that scale, `z = (s - mean) /
//! deviation`, and two logistic curves turn `z` into the probability that the person is in the gallery, and the
//! probability that a hit is the right one. Where captions of people who are in the gallery are given as well, the
//! curves are fitted (Platt, 1999); otherwise their usual shape is taken, see [`Curve`]. Both assume that before looking
//! it is as likely as not that the person is in the gallery.
//!
//! Persons and tracks are measured in the same way, each by their best images and by their mean embeddings: how near the
//! nearest mean comes by chance is not how near the nearest image does. Whether the person is there at all is told by
//! images alone, however hits are put together.

mod cache;
mod logistic;
mod measuring;

pub(crate) use cache::Calibrations;
pub(crate) use measuring::{Caption, measure};

use descry_model::Fingerprint;
use descry_store::{GroupBy, Grouping, Pool};
use logistic::fit_logistic;
use serde::{Deserialize, Serialize};

/// What scores of one gallery and model mean.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// The model. With another one scores mean something else.
    pub fingerprint: String,
    /// Mean of the best cosines of captions of people who are not there.
    pub background_mean: f32,
    /// Standard deviation of these.
    pub background_deviation: f32,
    /// Probability that the person is in the gallery, by the best score.
    pub presence: Curve,
    /// Probability that a hit is the right one, by its score.
    pub hit: Curve,
    /// Captions of people who are not in the gallery.
    pub background_captions: u32,
    /// Captions of people who are.
    pub labelled_captions: u32,
    /// Milliseconds since the Unix epoch.
    pub calibrated_at_ms: i64,
    /// What scores of persons and tracks mean. Empty in a calibration of an earlier version, and not written where it is empty,
    /// so that what is kept of a gallery of images alone stays as it was.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<GroupCalibration>,
}

/// What scores of persons or of tracks mean: each kind of group and each way to score it has scores of its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GroupCalibration {
    /// `person` or `track`.
    pub by: String,
    /// `best` or `mean`.
    pub pool: String,
    /// As for images, of the best groups.
    pub background_mean: f32,
    /// As for images, of the best groups.
    pub background_deviation: f32,
    /// Probability that a group is the right one, by its score.
    pub hit: Curve,
}

impl GroupCalibration {
    /// What was fitted on groups instead of images.
    pub fn new(grouping: Grouping, fitted: &Calibration) -> Self {
        let (by, pool) = names_of(grouping);
        Self {
            by: by.to_owned(),
            pool: pool.to_owned(),
            background_mean: fitted.background_mean,
            background_deviation: fitted.background_deviation,
            hit: fitted.hit,
        }
    }
}

fn names_of(grouping: Grouping) -> (&'static str, &'static str) {
    let by = match grouping.by {
        GroupBy::Person => "person",
        GroupBy::Track => "track",
    };
    let pool = match grouping.pool {
        Pool::Best => "best",
        Pool::Mean => "mean",
    };
    (by, pool)
}

/// A logistic curve, `1 / (1 + exp(-slope (z - midpoint)))`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// Rises with the score: never negative.
    pub slope: f32,
    /// Where the probability is one half, in deviations above the background's mean.
    pub midpoint: f32,
}

impl Curve {
    /// The usual shape for the presence of a person. Fitted on SYNTH-PEDES with DM-Adapter and UP-Person, whose curves
    /// differ by less than the fits of one of them; `docs/CALIBRATION.md` has the numbers.
    pub const USUAL_PRESENCE: Self = Self { slope: 1.9, midpoint: 0.6 };

    /// The usual shape for a hit, from the same fits.
    pub const USUAL_HIT: Self = Self { slope: 1.8, midpoint: 0.8 };

    fn probability(self, z: f32) -> f32 {
        1.0 / (1.0 + (-self.slope * (z - self.midpoint)).exp())
    }
}

/// What one caption found, for fitting.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    /// Cosines of the first hits, falling.
    pub scores: Vec<f32>,
    /// Which of them show the person. Empty for a person who is not in the gallery.
    pub right: Vec<bool>,
}

/// Fewer captions say nothing about the spread of scores.
pub const MIN_BACKGROUND_CAPTIONS: usize = 20;

/// Fewer captions do not fit a curve.
pub const MIN_LABELLED_CAPTIONS: usize = 50;

/// Far below any spread of real scores.
const LEAST_DEVIATION: f32 = 1e-4;

impl Calibration {
    /// Fits a calibration. `background` are captions of people who are not in the gallery, `labelled` of people who are.
    ///
    /// Returns nothing when there are too few background captions ([`MIN_BACKGROUND_CAPTIONS`]).
    pub fn fit(
        fingerprint: &Fingerprint,
        background: &[Observation],
        labelled: &[Observation],
        calibrated_at_ms: i64,
    ) -> Option<Self> {
        let best = |observation: &Observation| observation.scores.first().copied();
        let background_best: Vec<f32> = background.iter().filter_map(best).collect();
        if background_best.len() < MIN_BACKGROUND_CAPTIONS {
            return None;
        }
        let count = background_best.len() as f32;
        let background_mean = background_best.iter().sum::<f32>() / count;
        let variance = background_best.iter().map(|score| (score - background_mean).powi(2)).sum::<f32>() / count;
        let background_deviation = variance.sqrt().max(LEAST_DEVIATION);
        let z = |score: f32| (score - background_mean) / background_deviation;
        let (mut presence, mut hit) = (Curve::USUAL_PRESENCE, Curve::USUAL_HIT);
        if labelled.len() >= MIN_LABELLED_CAPTIONS {
            let here = labelled.iter().filter_map(best).map(|score| (z(score), true));
            let not_here = background_best.iter().map(|&score| (z(score), false));
            presence = fit_logistic(&here.chain(not_here).collect::<Vec<_>>()).unwrap_or(presence);
            let hits = labelled.iter().chain(background).flat_map(|observation| {
                let right = observation.right.iter().copied().chain(std::iter::repeat(false));
                observation.scores.iter().copied().zip(right)
            });
            hit = fit_logistic(&hits.map(|(score, right)| (z(score), right)).collect::<Vec<_>>()).unwrap_or(hit);
        }
        Some(Self {
            fingerprint: fingerprint.to_string(),
            background_mean,
            background_deviation,
            presence,
            hit,
            background_captions: background_best.len() as u32,
            labelled_captions: labelled.len() as u32,
            calibrated_at_ms,
            groups: Vec::new(),
        })
    }

    /// Probability that the person is in the gallery, by the cosine of the best hit.
    pub fn presence_probability(&self, best_score: f32) -> f32 {
        self.presence.probability(self.standardized(best_score))
    }

    /// Probability that a hit of this score is the right one: an image without `grouping`, or one of its groups.
    ///
    /// A calibration that knows nothing of groups takes a group's best image for what it is, an image. What a mean's score
    /// means it cannot say.
    pub fn match_probability(&self, score: f32, grouping: Option<Grouping>) -> Option<f32> {
        let of_images = || self.hit.probability(self.standardized(score));
        let Some(grouping) = grouping else { return Some(of_images()) };
        let names = names_of(grouping);
        match self.groups.iter().find(|group| (group.by.as_str(), group.pool.as_str()) == names) {
            Some(GroupCalibration { background_mean, background_deviation, hit, .. }) => {
                Some(hit.probability((score - background_mean) / background_deviation))
            }
            None => (grouping.pool == Pool::Best).then(of_images),
        }
    }

    fn standardized(&self, score: f32) -> f32 {
        (score - self.background_mean) / self.background_deviation
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn observation(best: f32, right: bool) -> Observation {
        Observation { scores: vec![best, best - 0.1], right: if right { vec![true, false] } else { Vec::new() } }
    }

    fn spread(around: f32, count: usize, right: bool) -> Vec<Observation> {
        (0..count).map(|step| observation(around + 0.1 * (step as f32 / count as f32 - 0.5), right)).collect()
    }

    #[test]
    fn background_alone_gives_rising_probabilities() {
        let model = Fingerprint::of_parts([]);
        let calibration = Calibration::fit(&model, &spread(0.5, 40, false), &[], 7).unwrap();
        assert_eq!((calibration.background_captions, calibration.labelled_captions), (40, 0));
        assert!((calibration.background_mean - 0.5).abs() < 0.01);
        let by_score: Vec<f32> = [0.3, 0.5, 0.55, 0.7].map(|score| calibration.presence_probability(score)).to_vec();
        assert!(by_score.is_sorted() && by_score[0] < 0.01 && by_score[3] > 0.99, "{by_score:?}");
        assert!(Calibration::fit(&model, &spread(0.5, 19, false), &[], 7).is_none());
    }

    #[test]
    fn labels_move_the_curves() {
        let model = Fingerprint::of_parts([]);
        let background = spread(0.5, 100, false);
        let labelled = spread(0.62, 100, true);
        let calibration = Calibration::fit(&model, &background, &labelled, 7).unwrap();
        let middle = calibration.presence_probability(0.56);
        assert!((middle - 0.5).abs() < 0.1, "half-way between the two groups: {middle}");
        assert!(calibration.presence_probability(0.62) > 0.8 && calibration.presence_probability(0.5) < 0.2);
        assert!(calibration.match_probability(0.64, None) > calibration.match_probability(0.5, None));
    }

    #[test]
    fn groups_have_scores_of_their_own() {
        let model = Fingerprint::of_parts([]);
        let fit = |around| Calibration::fit(&model, &spread(around, 40, false), &[], 7).unwrap();
        let grouping = |by, pool| Some(Grouping { by, pool });
        let of_images = fit(0.5);
        // As an earlier version kept it.
        let mut earlier = serde_json::to_value(&of_images).unwrap();
        assert_eq!(earlier.as_object_mut().unwrap().remove("groups"), None);
        let earlier: Calibration = serde_json::from_value(earlier).unwrap();
        assert_eq!(earlier, of_images);
        let image = earlier.match_probability(0.55, None);
        assert_eq!(earlier.match_probability(0.55, grouping(GroupBy::Person, Pool::Best)), image);
        assert_eq!(earlier.match_probability(0.55, grouping(GroupBy::Person, Pool::Mean)), None);
        let means = GroupCalibration::new(Grouping { by: GroupBy::Person, pool: Pool::Mean }, &fit(0.7));
        let both = Calibration { groups: vec![means], ..of_images };
        let mean = both.match_probability(0.75, grouping(GroupBy::Person, Pool::Mean)).unwrap();
        assert!((mean - image.unwrap()).abs() < 1e-3, "as far above what comes by chance: {mean}, {image:?}");
        assert_eq!(both.match_probability(0.55, grouping(GroupBy::Track, Pool::Mean)), None);
    }

    #[test]
    fn a_calibration_without_groups_is_kept_as_earlier_releases_wrote_it() {
        let earlier = concat!(
            r#"{"fingerprint":"f","background_mean":0.5,"background_deviation":0.125,"#,
            r#""presence":{"slope":1.5,"midpoint":0.5},"hit":{"slope":2.0,"midpoint":0.75},"#,
            r#""background_captions":40,"labelled_captions":0,"calibrated_at_ms":7}"#
        );
        let calibration: Calibration = serde_json::from_str(earlier).unwrap();
        assert_eq!(serde_json::to_string(&calibration).unwrap(), earlier);
    }

    #[test]
    fn equal_scores_do_not_divide_by_zero() {
        let same = vec![observation(0.4, false); 30];
        let calibration = Calibration::fit(&Fingerprint::of_parts([]), &same, &[], 0).unwrap();
        assert!(calibration.presence_probability(0.4).is_finite());
        assert!(calibration.presence_probability(0.9) > 0.99);
    }
}
