//! A champion and those that it descends from, as far as they help to tell how good it is.
//!
//! A champion that was kept after three trials is known from three trials, and they were lucky ones: it was kept for them. But it is one
//! step away from a champion that was measured better, and what steps are like is known too. So its ancestors' runs count, each step
//! between being known as far as the belief of the time knew it without the step's own runs (which count themselves). The means of
//! all are then estimated at once by generalised least squares with these steps as further observations (mixed model equations,
//! Henderson, 1975). It corrects the winner's curse of champions, and every run of the night helps.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Run;
use super::noise::Noise;
use crate::flow::{Decision, Verdict};

/// What is known of the step from a champion to the next besides their runs: a normal distribution, bits per byte.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Link {
    /// Its mean.
    pub mean: f64,
    /// Its sd.
    pub sd: f64,
}

impl Link {
    /// What the belief at the time of a decision adds to the runs behind it: the posterior with the runs' own part taken out. `None`
    /// for decisions that rest on no figures, or where the belief added nothing.
    pub fn of(decision: &Decision) -> Option<Link> {
        let evidence = decision.evidence.as_deref()?;
        let estimate = decision.difference?;
        let (low, high) = evidence.expected_interval;
        let posterior = ((high - low) / (2.0 * 1.96)).powi(2);
        let found = evidence.standard_error.powi(2);
        let precision = 1.0 / posterior - 1.0 / found;
        let usable = decision.verdict == Verdict::Kept && precision.is_finite() && precision > 0.0;
        usable.then(|| {
            let mean = (evidence.expected / posterior - estimate / found) / precision;
            Link { mean, sd: precision.sqrt().recip() }
        })
    }
}

/// An earlier champion.
#[derive(Debug, Clone, PartialEq)]
pub struct Ancestor {
    /// Its runs.
    pub runs: Vec<Run>,
    /// The step to the champion after it; `None` when nothing is known of it.
    pub link: Option<Link>,
}

/// What a candidate is compared with: the champion's runs and, oldest first, the earlier champions. Made from the runs alone, too.
#[derive(Debug, Clone, Copy)]
pub struct Reference<'a> {
    /// The champion's runs.
    pub runs: &'a [Run],
    /// Earlier champions of the night, oldest first.
    pub ancestors: &'a [Ancestor],
}

impl<'a> From<&'a [Run]> for Reference<'a> {
    fn from(runs: &'a [Run]) -> Self {
        Reference { runs, ancestors: &[] }
    }
}

impl<'a> From<&'a Vec<Run>> for Reference<'a> {
    fn from(runs: &'a Vec<Run>) -> Self {
        Reference { runs, ancestors: &[] }
    }
}

impl<'a, const N: usize> From<&'a [Run; N]> for Reference<'a> {
    fn from(runs: &'a [Run; N]) -> Self {
        Reference { runs, ancestors: &[] }
    }
}

impl Reference<'_> {
    /// The newest era that the champion ran in; only its runs are compared.
    pub fn era(&self) -> Option<u32> {
        self.runs.iter().map(|run| run.era).max()
    }
}

/// One value a seed: the mean of the runs of this era under it. Figures that are not finite do not count.
pub(super) fn by_seed(runs: &[Run], era: u32) -> BTreeMap<u32, f64> {
    let mut sums: BTreeMap<u32, (f64, f64)> = BTreeMap::new();
    for run in runs.iter().filter(|run| run.era == era && run.val_bpb.is_finite()) {
        let sum = sums.entry(run.seed).or_insert((0.0, 0.0));
        *sum = (sum.0 + run.val_bpb, sum.1 + 1.0);
    }
    sums.into_iter().map(|(seed, (sum, count))| (seed, sum / count)).collect()
}

/// The mixed model equations of a line of champions and a candidate.
#[derive(Debug, Clone)]
pub(super) struct Equations {
    /// Ancestors oldest first, then the champion, then the candidate: each one's values by seed.
    commits: Vec<BTreeMap<u32, f64>>,
    /// Steps between neighbours, the last (champion to candidate) not among them.
    links: Vec<Option<Link>>,
}

impl Equations {
    /// `None` when candidate or champion have no run in the champion's newest era.
    pub(super) fn new(candidate: &[Run], reference: Reference<'_>) -> Option<Equations> {
        let era = reference.era()?;
        let (ours, theirs) = (by_seed(candidate, era), by_seed(reference.runs, era));
        if ours.is_empty() || theirs.is_empty() {
            return None;
        }
        // A step of which nothing is known cuts off all that is before it, and ancestors without runs at the far end tell nothing.
        let mut commits = Vec::new();
        let mut links = Vec::new();
        for ancestor in reference.ancestors {
            let values = by_seed(&ancestor.runs, era);
            match ancestor.link {
                Some(link) if !commits.is_empty() || !values.is_empty() => {
                    commits.push(values);
                    links.push(Some(link));
                }
                Some(_) => {}
                None => {
                    commits.clear();
                    links.clear();
                }
            }
        }
        commits.extend([theirs, ours]);
        Some(Equations { commits, links })
    }

    pub(super) fn candidate(&self) -> &BTreeMap<u32, f64> {
        &self.commits[self.commits.len() - 1]
    }

    pub(super) fn champion(&self) -> &BTreeMap<u32, f64> {
        &self.commits[self.commits.len() - 2]
    }

    /// The same line with a candidate of `n` runs, under seeds that the champion has run under while there are such and under new ones
    /// of both after that. Values do not matter for variances.
    pub(super) fn planned(&self, n: usize) -> Equations {
        let mut planned = self.clone();
        let (champion, candidate) = (self.commits.len() - 2, self.commits.len() - 1);
        let mut seeds: Vec<u32> = self.commits[champion].keys().copied().take(n).collect();
        let mut fresh = 1_000_000;
        while seeds.len() < n {
            planned.commits[champion].insert(fresh, 0.0);
            seeds.push(fresh);
            fresh += 1;
        }
        planned.commits[candidate] = seeds.into_iter().map(|seed| (seed, 0.0)).collect();
        planned
    }

    /// Best linear unbiased estimate of candidate less champion and its variance over seeds.
    pub(super) fn solve(&self, noise: &Noise) -> (f64, f64) {
        let n = self.commits.len();
        // A correlation of 1 would make pairs exact; the noise never claims that, and the arithmetic must not break on it.
        let correlation = noise.correlation().clamp(0.0, 0.999_9);
        let rest = 1.0 - correlation;
        let run = (noise.seed_variance + noise.rest_variance).max(f64::MIN_POSITIVE);
        // About a common origin, for the sake of rounding.
        let champion = self.champion();
        let origin = champion.values().sum::<f64>() / champion.len().max(1) as f64;

        let mut seeds: BTreeMap<u32, Vec<(usize, f64)>> = BTreeMap::new();
        for (commit, values) in self.commits.iter().enumerate() {
            for (seed, value) in values {
                seeds.entry(*seed).or_default().push((commit, value - origin));
            }
        }
        let mut matrix = vec![0.0; n * n];
        let mut vector = vec![0.0; n];
        for runs in seeds.values() {
            // The inverse of rest I + correlation J is (I - shrink J) / rest.
            let shrink = correlation / (rest + correlation * runs.len() as f64);
            let sum: f64 = runs.iter().map(|run| run.1).sum();
            for &(i, value) in runs {
                vector[i] += (value - shrink * sum) / rest;
                matrix[i * n + i] += 1.0 / rest;
                for &(j, _) in runs {
                    matrix[i * n + j] -= shrink / rest;
                }
            }
        }
        for (i, link) in self.links.iter().enumerate() {
            if let Some(link) = link {
                let weight = run / link.sd.powi(2);
                matrix[i * n + i] += weight;
                matrix[(i + 1) * n + i + 1] += weight;
                matrix[i * n + i + 1] -= weight;
                matrix[(i + 1) * n + i] -= weight;
                vector[i] -= weight * link.mean;
                vector[i + 1] += weight * link.mean;
            }
        }
        let mut contrast = vec![0.0; n];
        (contrast[n - 2], contrast[n - 1]) = (-1.0, 1.0);
        // With the solution w of matrix w = contrast, the estimate is w'vector and its variance w'contrast.
        let weights = solved(matrix, contrast);
        let estimate = weights.iter().zip(&vector).map(|(w, v)| w * v).sum();
        (estimate, run * (weights[n - 1] - weights[n - 2]))
    }
}

/// Solves a symmetric positive definite system by Cholesky's factorisation.
fn solved(mut matrix: Vec<f64>, mut vector: Vec<f64>) -> Vec<f64> {
    let n = vector.len();
    for i in 0..n {
        for j in 0..=i {
            let inner: f64 = (0..j).map(|k| matrix[i * n + k] * matrix[j * n + k]).sum();
            let value = matrix[i * n + j] - inner;
            matrix[i * n + j] = if i == j { value.max(1e-12).sqrt() } else { value / matrix[j * n + j] };
        }
        let inner: f64 = (0..i).map(|k| matrix[i * n + k] * vector[k]).sum();
        vector[i] = (vector[i] - inner) / matrix[i * n + i];
    }
    for i in (0..n).rev() {
        let inner: f64 = (i + 1..n).map(|k| matrix[k * n + i] * vector[k]).sum();
        vector[i] = (vector[i] - inner) / matrix[i * n + i];
    }
    vector
}
