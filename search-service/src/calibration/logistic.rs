//! Fitting a logistic curve to right and wrong by Newton's method.

use super::Curve;

/// Weight of the prior that keeps the slope finite when right and wrong do not overlap.
const RIDGE: f64 = 1e-2;

const MAX_STEPS: usize = 50;

/// The curve under which the observed outcomes are most likely. Nothing when all are right or all wrong, or when scores do
/// not tell them apart.
pub(super) fn fit_logistic(observed: &[(f32, bool)]) -> Option<Curve> {
    let right = observed.iter().filter(|(_, right)| *right).count() as f64;
    let wrong = observed.len() as f64 - right;
    if right < 1.0 || wrong < 1.0 {
        return None;
    }
    let (mut slope, mut intercept) = (1.0_f64, 0.0_f64);
    for _ in 0..MAX_STEPS {
        let mut gradient = [-RIDGE * slope, -RIDGE * intercept];
        let mut curvature = [RIDGE, 0.0, RIDGE];
        for &(z, is_right) in observed {
            let z = f64::from(z);
            let probability = 1.0 / (1.0 + (-(slope * z + intercept)).exp());
            let error = f64::from(u8::from(is_right)) - probability;
            gradient[0] += error * z;
            gradient[1] += error;
            let weight = probability * (1.0 - probability);
            curvature[0] += weight * z * z;
            curvature[1] += weight * z;
            curvature[2] += weight;
        }
        let determinant = curvature[0] * curvature[2] - curvature[1] * curvature[1];
        if determinant.abs() < 1e-12 {
            break;
        }
        let step = [
            (gradient[0] * curvature[2] - gradient[1] * curvature[1]) / determinant,
            (gradient[1] * curvature[0] - gradient[0] * curvature[1]) / determinant,
        ];
        // Steps are bounded, so that a far start does not throw the next one further away.
        slope += step[0].clamp(-2.0, 2.0);
        intercept += step[1].clamp(-2.0, 2.0);
        if step[0].abs() + step[1].abs() < 1e-9 {
            break;
        }
    }
    let curve = Curve { slope: slope as f32, midpoint: (-intercept / slope) as f32 };
    (curve.slope > 0.0 && curve.slope.is_finite() && curve.midpoint.is_finite()).then_some(curve)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_curve_is_found_again() {
        let truth = Curve { slope: 1.7, midpoint: 0.4 };
        // Outcomes in the proportions of the curve.
        let observed: Vec<(f32, bool)> = (-30..=30)
            .flat_map(|step| {
                let z = step as f32 / 10.0;
                let right = (truth.probability(z) * 200.0).round() as usize;
                (0..200).map(move |number| (z, number < right))
            })
            .collect();
        let fitted = fit_logistic(&observed).unwrap();
        assert!((fitted.slope - truth.slope).abs() < 0.02 && (fitted.midpoint - truth.midpoint).abs() < 0.02);
    }

    #[test]
    fn what_cannot_be_fitted_is_none() {
        assert_eq!(fit_logistic(&[]), None);
        assert_eq!(fit_logistic(&[(0.5, true), (0.7, true)]), None);
        // The higher the score the more wrong: no curve that rises fits.
        let upside_down: Vec<_> = (0..40).map(|step| (step as f32 / 10.0, step < 20)).collect();
        assert_eq!(fit_logistic(&upside_down), None);
        let apart: Vec<_> = (0..40).map(|step| (step as f32 / 10.0, step >= 20)).collect();
        let curve = fit_logistic(&apart).unwrap();
        assert!((curve.midpoint - 1.95).abs() < 0.3, "{curve:?}");
    }
}
