//! How good proposers are at predicting their own ideas' effects.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What a proposer said of one idea, and what was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    /// Who proposed.
    pub proposer: String,
    /// Predicted effect, bits per byte.
    pub predicted: Option<f64>,
    /// How probable it was called that the idea is an improvement, 0 to 1.
    pub confidence: Option<f64>,
    /// The difference to be expected after all that was seen, bits per byte.
    pub expected: f64,
    /// Probability, after all that was seen, that the idea is an improvement.
    pub probability: f64,
}

/// One proposer's predictions against what was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Who.
    pub proposer: String,
    /// Experiments with a predicted effect.
    pub predictions: u32,
    /// Mean predicted effect, bits per byte.
    pub mean_predicted: Option<f64>,
    /// Mean effect found for the same experiments, bits per byte.
    pub mean_found: Option<f64>,
    /// Slope of what was found on what was predicted: 1 is right, 0 says that predictions tell nothing.
    pub slope: Option<f64>,
    /// Experiments with a stated confidence.
    pub confidences: u32,
    /// Mean stated confidence.
    pub mean_confidence: Option<f64>,
    /// Mean probability found for the same experiments.
    pub mean_probability: Option<f64>,
    /// Brier's score of the confidence (1950), expected over what is still open: 0 is perfect, 0.25 is a coin.
    pub brier: Option<f64>,
    /// All of it in words.
    pub words: String,
}

/// Per proposer, sorted by name.
pub fn calibration(predictions: &[Prediction]) -> Vec<Calibration> {
    let mut proposers: BTreeMap<&str, Vec<&Prediction>> = BTreeMap::new();
    for prediction in predictions.iter().filter(|p| p.expected.is_finite() && p.probability.is_finite()) {
        proposers.entry(&prediction.proposer).or_default().push(prediction);
    }
    proposers.into_iter().map(|(proposer, predictions)| of(proposer, &predictions)).collect()
}

fn of(proposer: &str, predictions: &[&Prediction]) -> Calibration {
    let effects: Vec<(f64, f64)> = predictions
        .iter()
        .filter_map(|p| p.predicted.filter(|value| value.is_finite()).map(|predicted| (predicted, p.expected)))
        .collect();
    let confidences: Vec<(f64, f64)> = predictions
        .iter()
        .filter_map(|p| p.confidence.filter(|value| (0.0..=1.0).contains(value)).map(|said| (said, p.probability)))
        .collect();
    let (mean_predicted, mean_found) = (mean(&effects, |e| e.0), mean(&effects, |e| e.1));
    let (mean_confidence, mean_probability) = (mean(&confidences, |c| c.0), mean(&confidences, |c| c.1));
    // E(said - outcome)^2 when the outcome is 1 with probability p.
    let brier = mean(&confidences, |(said, p)| p * (said - 1.0).powi(2) + (1.0 - p) * said * said);
    let slope = slope(&effects);
    let mut words = format!("{proposer}: ");
    match (mean_predicted, mean_found) {
        (Some(predicted), Some(found)) => words.push_str(&format!(
            "{} predictions, {predicted:+.5} bits per byte on average where {found:+.5} was found",
            effects.len()
        )),
        _ => words.push_str("no effect was predicted"),
    }
    if let Some(slope) = slope {
        words.push_str(&format!(", slope {slope:.2}"));
    }
    if let (Some(said), Some(found), Some(brier)) = (mean_confidence, mean_probability, brier) {
        words.push_str(&format!(
            "; confident at {:.0} % on average where {:.0} % was found (Brier score {brier:.3})",
            100.0 * said,
            100.0 * found
        ));
    }
    Calibration {
        proposer: proposer.to_owned(),
        predictions: effects.len() as u32,
        mean_predicted,
        mean_found,
        slope,
        confidences: confidences.len() as u32,
        mean_confidence,
        mean_probability,
        brier,
        words,
    }
}

fn mean(pairs: &[(f64, f64)], value: impl Fn((f64, f64)) -> f64) -> Option<f64> {
    (!pairs.is_empty()).then(|| pairs.iter().map(|pair| value(*pair)).sum::<f64>() / pairs.len() as f64)
}

/// Least squares; `None` with fewer than three predictions or when all are the same.
fn slope(pairs: &[(f64, f64)]) -> Option<f64> {
    let (x, y) = (mean(pairs, |p| p.0)?, mean(pairs, |p| p.1)?);
    let squares: f64 = pairs.iter().map(|p| (p.0 - x).powi(2)).sum();
    let products: f64 = pairs.iter().map(|p| (p.0 - x) * (p.1 - y)).sum();
    (pairs.len() >= 3 && squares > 1e-30).then(|| products / squares)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prediction(proposer: &str, predicted: f64, confidence: f64, expected: f64, probability: f64) -> Prediction {
        Prediction {
            proposer: proposer.to_owned(),
            predicted: Some(predicted),
            confidence: Some(confidence),
            expected,
            probability,
        }
    }

    #[test]
    fn who_promises_twice_too_much_has_a_slope_of_one_half() {
        let predictions: Vec<Prediction> = [-0.004, -0.002, 0.0, 0.002]
            .into_iter()
            .map(|effect| prediction("tuner", effect, 0.8, 0.5 * effect, if effect < 0.0 { 1.0 } else { 0.0 }))
            .collect();
        let all = calibration(&predictions);
        assert_eq!(all.len(), 1);
        let tuner = &all[0];
        assert!((tuner.slope.unwrap() - 0.5).abs() < 1e-12);
        assert!(
            (tuner.mean_predicted.unwrap() + 0.001).abs() < 1e-12 && (tuner.mean_found.unwrap() + 0.0005).abs() < 1e-12
        );
        // Half came out: 0.5 * 0.2^2 + 0.5 * 0.8^2.
        assert!((tuner.brier.unwrap() - 0.34).abs() < 1e-12);
        assert!(
            (tuner.mean_confidence.unwrap() - 0.8).abs() < 1e-12
                && (tuner.mean_probability.unwrap() - 0.5).abs() < 1e-12
        );
        for word in ["tuner", "4 predictions", "slope 0.50", "80 %", "50 %", "0.340"] {
            assert!(tuner.words.contains(word), "{word}: {}", tuner.words);
        }
    }

    #[test]
    fn who_predicts_nothing_is_said_to() {
        let mut silent = prediction("person", f64::NAN, 3.0, 0.0, 0.1);
        silent.predicted = None;
        let broken = prediction("model", f64::NAN, f64::NAN, -0.001, 0.5);
        let lost = prediction("agent", 0.0, 0.5, f64::NAN, 0.5);
        let all = calibration(&[silent, broken, lost]);
        assert_eq!(all.iter().map(|c| c.proposer.as_str()).collect::<Vec<_>>(), ["model", "person"]);
        for one in &all {
            assert_eq!((one.predictions, one.confidences, one.slope, one.brier), (0, 0, None, None));
            assert!(one.words.contains("no effect was predicted"), "{}", one.words);
        }
        assert!(calibration(&[]).is_empty());
    }
}
