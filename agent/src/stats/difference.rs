//! The difference of two commits, from all of their runs.
//!
//! Under the model of [`super::noise`] a seed that both ran under gives a pair of correlated values, a seed of one alone a single value.
//! Generalised least squares (Aitken, 1936) over both means weighs them exactly; the champion's runs under other seeds therefore help
//! in two ways, directly and by telling how far off its run under the shared seed was; its ancestors' help through [`super::related`]. The held-out text is a sample too: the part of
//! it is the paired ratio estimator over documents (Cochran, Sampling Techniques, chapter 6), robust to documents of any length.

use serde::{Deserialize, Serialize};

use super::Run;
use super::distributions::student_quantile;
use super::noise::Noise;
use super::related::{Equations, Reference};
use crate::flow::DocumentLoss;

/// Candidate less champion, bits per byte; negative is better.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// Best linear unbiased estimate.
    pub estimate: f64,
    /// Over seeds and held-out documents.
    pub standard_error: f64,
    /// The part of the standard error that more seeds do not make smaller: that of the held-out documents. 0 where none were given.
    pub document_error: f64,
    /// Degrees of freedom of the standard error.
    pub degrees: f64,
    /// 95 %.
    pub interval: (f64, f64),
    /// Seeds that the candidate ran under.
    pub candidate_runs: u32,
    /// Seeds that the champion ran under.
    pub champion_runs: u32,
    /// Seeds that both ran under.
    pub paired: u32,
}

/// The difference of a candidate from a champion (its runs, or these with its ancestors: [`Reference`]); `None` when either has no run
/// in the champion's newest era.
pub fn difference<'a>(candidate: &[Run], champion: impl Into<Reference<'a>>, noise: &Noise) -> Option<Difference> {
    let champion = champion.into();
    let equations = Equations::new(candidate, champion)?;
    let (ours, theirs) = (equations.candidate(), equations.champion());
    let paired = ours.keys().filter(|seed| theirs.contains_key(seed)).count() as u32;
    let (candidate_runs, champion_runs) = (ours.len() as u32, theirs.len() as u32);
    let (estimate, seeds) = equations.solve(noise);
    let documents = document_variance(candidate, champion.runs, champion.era()?);
    let share = f64::from(paired) / f64::from(candidate_runs);
    let seed_degrees = share * noise.pair_degrees + (1.0 - share) * noise.run_degrees;
    let (document_part, document_degrees) = documents.unwrap_or((0.0, f64::INFINITY));
    let variance = seeds + document_part;
    // Satterthwaite (1946).
    let degrees = variance.powi(2)
        / (seeds.powi(2) / seed_degrees + document_part.powi(2) / document_degrees).max(f64::MIN_POSITIVE);
    let degrees = if variance > 0.0 { degrees } else { seed_degrees };
    let standard_error = variance.sqrt();
    let reach = student_quantile(0.975, degrees) * standard_error;
    Some(Difference {
        estimate,
        standard_error,
        document_error: document_part.sqrt(),
        degrees,
        interval: (estimate - reach, estimate + reach),
        candidate_runs,
        champion_runs,
        paired,
    })
}

/// Variance of the difference over held-out documents, with its degrees of freedom. Runs that were measured on other documents than the
/// candidate's first cannot be paired and stay out; `None` when nothing is left or there are fewer than two documents.
fn document_variance(candidate: &[Run], champion: &[Run], era: u32) -> Option<(f64, f64)> {
    let reference = candidate.iter().find(|run| run.era == era && run.documents.len() >= 2)?.documents.clone();
    let means = |runs: &[Run]| -> Option<Vec<f64>> {
        let mut sums = vec![0.0; reference.len()];
        let mut count = 0.0;
        for run in runs.iter().filter(|run| run.era == era && same_documents(&run.documents, &reference)) {
            count += 1.0;
            for (sum, document) in sums.iter_mut().zip(run.documents.iter()) {
                *sum += document.nats;
            }
        }
        (count > 0.0).then(|| sums.into_iter().map(|sum| sum / count).collect())
    };
    let (ours, theirs) = (means(candidate)?, means(champion)?);
    let bits: Vec<f64> = ours.iter().zip(&theirs).map(|(a, b)| (a - b) / std::f64::consts::LN_2).collect();
    let bytes: Vec<f64> = reference.iter().map(|document| f64::from(document.bytes)).collect();
    let total: f64 = bytes.iter().sum();
    if total <= 0.0 || bits.iter().any(|value| !value.is_finite()) {
        return None;
    }
    let ratio = bits.iter().sum::<f64>() / total;
    let n = bits.len() as f64;
    let squares: f64 = bits.iter().zip(&bytes).map(|(d, b)| (d - ratio * b).powi(2)).sum();
    Some((n / (n - 1.0) * squares / (total * total), n - 1.0))
}

fn same_documents(some: &[DocumentLoss], others: &[DocumentLoss]) -> bool {
    some.len() == others.len() && some.iter().zip(others).all(|(one, other)| one.bytes == other.bytes)
}
