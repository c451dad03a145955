//! The morning's claim: is the champion better than the night's start? Asked once, on seeds that decided nothing and on sealed text.

use serde::{Deserialize, Serialize};

use super::Run;
use super::difference::{Difference, Documents, by_seed, difference, documents, newest_era};
use super::distributions::{student_below, student_quantile};
use super::noise::Noise;

/// A claim holds when its p-value is below this.
pub const LEVEL: f64 = 0.01;

/// What may be claimed in the morning.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Claim {
    /// Champion less start, bits per byte on the sealed text; negative is better.
    pub difference: Difference,
    /// Probability of a difference as good as this or better if the champion were no better than the start.
    pub p_value: f64,
    /// Fresh seeds that both ran under.
    pub pairs: u32,
    /// Whether the claim holds.
    pub holds: bool,
    /// The claim in words.
    pub words: String,
}

/// The model's variance over seeds is multiplied by this where there is one pair only: it has no scatter that could belie the model.
const ONE_PAIR: f64 = 2.0;

/// Weighs the morning's runs. `None` when champion or start has none.
///
/// The noise is the night's, which more runs measured than a morning has. But fresh seeds and sealed text may be noisier than those of
/// the search: where the morning's own pairs scatter more than the model says, the standard error is that of their mean, with one
/// degree of freedom less than there are pairs (Student's one-sample test). A smaller scatter of a few pairs changes nothing.
///
/// A claim does not hold where one side has per-document figures and the other has none, for the part of the error that is the text's
/// is then unknown; where neither has any, the words say that it is left out ([`claim_on_text`] does not let such a claim hold either).
pub fn claim(start: &[Run], champion: &[Run], noise: &Noise) -> Option<Claim> {
    // Champion and start are a night apart: how single ideas scatter says nothing of them.
    let mut difference = difference(champion, start, &noise.pooled())?;
    let era = newest_era(start)?;
    let known = documents(champion, start, era);
    let text = difference.document_error.powi(2);
    let model = (difference.standard_error.powi(2) - text).max(0.0);
    let (seeds, degrees, basis) = match scatter(start, champion, era) {
        Some((own, degrees)) if own > model => {
            (own, difference.degrees.min(degrees), "by the pairs' own scatter, which is larger than the search's noise")
        }
        Some(_) => (model, difference.degrees, "by the search's noise, which the pairs' scatter does not exceed"),
        None => (ONE_PAIR * model, difference.degrees, "by the search's noise, widened, for one pair has no scatter"),
    };
    difference.standard_error = (seeds + text).sqrt();
    difference.degrees = degrees;
    let reach = student_quantile(0.975, degrees) * difference.standard_error;
    difference.interval = (difference.estimate - reach, difference.estimate + reach);
    let p_value = student_below(difference.estimate / difference.standard_error, degrees);
    let about_text = match known {
        Documents::Both => "",
        Documents::OneSided => {
            "; only one of the two has figures per document, so that the text's part of the error is not that of the difference and nothing can be claimed"
        }
        Documents::Neither => "; without figures per document, so that the text's part of the error is left out",
    };
    let holds = p_value < LEVEL && difference.estimate < 0.0 && known != Documents::OneSided;
    let (low, high) = difference.interval;
    let words = format!(
        "{}: the champion's difference from the night's start is {:+.5} bits per byte (95 % interval {low:+.5} to {high:+.5}, \
         p = {p_value:.2e}, {basis}) on sealed text under {} fresh seeds{about_text}",
        told(holds),
        difference.estimate,
        difference.paired,
    );
    Some(Claim { difference, p_value, pairs: difference.paired, holds, words })
}

/// [`claim`] for a night whose every evaluation gives figures per document: where they are lost on both sides it does not hold
/// either, for what was lost could only have made the p-value larger.
pub fn claim_on_text(start: &[Run], champion: &[Run], noise: &Noise) -> Option<Claim> {
    let mut claim = claim(start, champion, noise)?;
    let known = documents(champion, start, newest_era(start)?);
    if known == Documents::Neither {
        if claim.holds {
            claim.words = claim.words.replacen(told(true), told(false), 1);
            claim.holds = false;
        }
        claim.words.push_str(" and nothing can be claimed");
    }
    Some(claim)
}

fn told(holds: bool) -> &'static str {
    if holds { "holds" } else { "does not hold" }
}

/// Variance of the mean of the pairs' differences by their own scatter, with its degrees of freedom; `None` for less than two pairs.
fn scatter(start: &[Run], champion: &[Run], era: u32) -> Option<(f64, f64)> {
    let (starts, champions) = (by_seed(start, era), by_seed(champion, era));
    let pairs: Vec<f64> = champions.iter().filter_map(|(seed, value)| Some(value - starts.get(seed)?)).collect();
    if pairs.len() < 2 {
        return None;
    }
    let count = pairs.len() as f64;
    let mean = pairs.iter().sum::<f64>() / count;
    let squares: f64 = pairs.iter().map(|pair| (pair - mean).powi(2)).sum();
    Some((squares / (count - 1.0) / count, count - 1.0))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::flow::DocumentLoss;
    use crate::stats::spread::Spread;
    use crate::stats::testing::Lots;

    fn noise(pair_sd: f64, degrees: f64) -> Noise {
        let rest_variance = 0.5 * pair_sd * pair_sd;
        Noise {
            seed_variance: 1e-6,
            rest_variance,
            spread: Spread::alike(),
            run_degrees: degrees,
            pair_degrees: degrees,
            runs: 20,
            commits: 5,
            contrasts: 15,
        }
    }

    /// Start and champion under fresh seeds; every run has the same four documents of which one pair has one uneven.
    fn morning(differences: &[f64]) -> (Vec<Run>, Vec<Run>) {
        let documents = |last: f64| -> Arc<[DocumentLoss]> {
            [70.0, 70.0, 70.0, last].iter().map(|&nats| DocumentLoss { nats, bytes: 100 }).collect()
        };
        let run = |seed: usize, val_bpb: f64, last: f64| Run {
            seed: 16 + seed as u32,
            val_bpb,
            era: 0,
            documents: documents(last),
        };
        let start = |seed: usize| 1.0 + 0.002 * seed as f64;
        (
            (0..differences.len()).map(|seed| run(seed, start(seed), 70.0)).collect(),
            differences.iter().enumerate().map(|(seed, d)| run(seed, start(seed) + d, 70.1)).collect(),
        )
    }

    fn without_documents(runs: &[Run]) -> Vec<Run> {
        runs.iter().map(|run| Run { documents: Arc::new([]), ..run.clone() }).collect()
    }

    #[test]
    fn pairs_that_scatter_more_than_the_night_said_are_believed() {
        let noise = noise(0.001, 30.0);
        assert!(claim(&[], &morning(&[0.0]).1, &noise).is_none());
        for (differences, holds, basis) in [
            (&[-0.0005, -0.0006, -0.0004, -0.0005][..], false, "does not exceed"),
            (&[-0.010, -0.011, -0.009, -0.010], true, "does not exceed"),
            (&[0.010, 0.011, 0.009, 0.010], false, "does not exceed"),
            (&[-0.016, 0.008, -0.012, 0.004], false, "own scatter"),
            // A t of 5.2 with two degrees of freedom: p = 0.018.
            (&[-0.010, -0.006, -0.014 + 0.001], false, "own scatter"),
        ] {
            let (start, champion) = morning(differences);
            let (start, champion) = (without_documents(&start), without_documents(&champion));
            let claim = claim(&start, &champion, &noise).unwrap();
            assert_eq!(claim.holds, holds, "{claim:?}");
            assert!(claim.words.contains(basis), "{}", claim.words);
            assert!(claim.words.starts_with(told(holds)), "{}", claim.words);
        }
        // The textbook's standard error and t quantile, by hand: mean -0.004, squares 5.04e-4 over 3 over 4.
        let (start, champion) = morning(&[-0.016, 0.008, -0.012, 0.004]);
        let claim = claim(&without_documents(&start), &without_documents(&champion), &noise).unwrap();
        let error = (4.16e-4_f64 / 12.0).sqrt();
        assert!((claim.difference.standard_error - error).abs() < 1e-9, "{claim:?}");
        assert!((claim.difference.interval.1 - (-0.004 + 3.182_446 * error)).abs() < 1e-6, "{claim:?}");
    }

    #[test]
    fn one_pair_has_only_the_model_which_is_widened() {
        let (start, champion) = morning(&[-0.010]);
        let (start, champion) = (without_documents(&start), without_documents(&champion));
        let claim = claim(&start, &champion, &noise(0.001, 30.0)).unwrap();
        assert!((claim.difference.standard_error - 0.001 * ONE_PAIR.sqrt()).abs() < 1e-9, "{claim:?}");
        assert!(claim.holds && claim.words.contains("one pair has no scatter"), "{}", claim.words);
    }

    #[test]
    fn lost_documents_never_make_a_claim_hold() {
        let noise = noise(0.001, 30.0);
        let (start, champion) = morning(&[-0.010, -0.011, -0.009, -0.010]);
        let whole = claim_on_text(&start, &champion, &noise).unwrap();
        assert!(whole.holds && whole.difference.document_error > 0.0, "{whole:?}");
        let (bare_start, bare_champion) = (without_documents(&start), without_documents(&champion));
        for (start, champion) in [(&bare_start, &champion), (&start, &bare_champion), (&bare_start, &bare_champion)] {
            let lost = claim_on_text(start, champion, &noise).unwrap();
            assert!(!lost.holds && lost.words.starts_with("does not hold"), "{lost:?}");
            assert!(lost.words.contains("nothing can be claimed"), "{}", lost.words);
            assert!(
                lost.difference.document_error == 0.0
                    || lost.difference.document_error > whole.difference.document_error
            );
        }
        // The document error is that of the pairs which have one.
        let mut partly = champion.clone();
        partly[1].documents = Arc::new([]);
        let partly = claim_on_text(&start, &partly, &noise).unwrap();
        assert!(partly.holds, "{partly:?}");
        assert!((partly.difference.document_error - whole.difference.document_error).abs() < 1e-12, "{partly:?}");
    }

    #[test]
    fn without_a_gain_at_most_one_morning_in_a_hundred_holds_and_intervals_cover() {
        let mut lots = Lots::new(3);
        let (mut held, mut covered) = (0, 0);
        const MORNINGS: u32 = 4_000;
        for _ in 0..MORNINGS {
            let pairs: Vec<f64> = (0..6).map(|_| 0.001 * lots.normal()).collect();
            let (start, champion) = morning(&pairs);
            let (start, champion) = (without_documents(&start), without_documents(&champion));
            // The night's noise is an estimate itself, with 20 degrees of freedom.
            let squares: f64 = (0..20).map(|_| lots.normal().powi(2)).sum();
            let noise = noise(0.001 * (squares / 20.0).sqrt(), 20.0);
            let claim = claim(&start, &champion, &noise).unwrap();
            held += u32::from(claim.holds);
            let (low, high) = claim.difference.interval;
            covered += u32::from(low <= 0.0 && 0.0 <= high);
        }
        assert!(f64::from(held) <= 0.012 * f64::from(MORNINGS), "{held} of {MORNINGS}");
        let share = f64::from(covered) / f64::from(MORNINGS);
        assert!((0.93..=0.99).contains(&share), "{share}");
    }
}
