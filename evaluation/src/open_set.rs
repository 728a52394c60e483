//! How well a system knows that nobody in the gallery matches.

use crate::EvaluationError;

/// Area under the receiver operating characteristic: the probability that a query whose person is in the gallery scores
/// higher than one whose person is not; ties count half. 0.5 is guessing, 1 is perfect.
///
/// # Errors
/// [`EvaluationError::NothingToScore`] when one of the groups is empty.
pub fn area_under_roc(present: &[f32], absent: &[f32]) -> Result<f64, EvaluationError> {
    if present.is_empty() || absent.is_empty() {
        return Err(EvaluationError::NothingToScore { queries: present.len(), gallery: absent.len() });
    }
    let mut scored: Vec<(f32, bool)> =
        present.iter().map(|&score| (score, true)).chain(absent.iter().map(|&score| (score, false))).collect();
    scored.sort_by(|a, b| a.0.total_cmp(&b.0));
    // Ranks of equal scores are averaged (Mann and Whitney).
    let (mut rank_sum, mut start) = (0.0_f64, 0);
    while start < scored.len() {
        let end = start + scored[start..].iter().take_while(|(score, _)| *score == scored[start].0).count();
        let rank = (start + 1 + end) as f64 / 2.0;
        rank_sum += rank * scored[start..end].iter().filter(|(_, is_present)| *is_present).count() as f64;
        start = end;
    }
    let (present, absent) = (present.len() as f64, absent.len() as f64);
    Ok((rank_sum - present * (present + 1.0) / 2.0) / (present * absent))
}

/// Expected calibration error: predictions are put into `bins` equally wide bins of probability, and the differences
/// between mean probability and share of true outcomes are averaged, weighted by the bins' sizes. 0 is perfect.
///
/// # Errors
/// [`EvaluationError::NothingToScore`] without predictions.
pub fn calibration_error(predictions: &[(f32, bool)], bins: usize) -> Result<f64, EvaluationError> {
    if predictions.is_empty() || bins == 0 {
        return Err(EvaluationError::NothingToScore { queries: predictions.len(), gallery: bins });
    }
    let mut sums = vec![(0.0_f64, 0.0_f64); bins];
    for &(probability, outcome) in predictions {
        let bin = ((probability.clamp(0.0, 1.0) * bins as f32) as usize).min(bins - 1);
        sums[bin].0 += f64::from(probability);
        sums[bin].1 += f64::from(u8::from(outcome));
    }
    Ok(sums.iter().map(|(probability, outcome)| (probability - outcome).abs()).sum::<f64>() / predictions.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn areas_of_known_groups() {
        let area = |present: &[f32], absent: &[f32]| area_under_roc(present, absent).unwrap();
        assert_eq!(area(&[0.8, 0.9], &[0.1, 0.2]), 1.0);
        assert_eq!(area(&[0.1], &[0.9, 0.8]), 0.0);
        assert_eq!(area(&[0.5, 0.5], &[0.5]), 0.5);
        // Of the four pairs three are in order.
        assert_eq!(area(&[0.3, 0.9], &[0.1, 0.4]), 0.75);
        assert!(area_under_roc(&[], &[0.1]).is_err());
    }

    #[test]
    fn errors_of_known_predictions() {
        let error = |predictions: &[(f32, bool)]| calibration_error(predictions, 10).unwrap();
        assert!(error(&[(1.0, true), (0.0, false)]) < 1e-9);
        assert!((error(&[(1.0, false), (0.0, true)]) - 1.0).abs() < 1e-9);
        // Four predictions of 0.75, three of which come true.
        let honest = [(0.75, true), (0.75, true), (0.75, true), (0.75, false)];
        assert!(error(&honest) < 1e-6);
        assert!((error(&[(0.75, true), (0.75, false)]) - 0.25).abs() < 1e-6);
        assert!(calibration_error(&[], 10).is_err());
    }
}
