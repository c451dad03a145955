//! What true effects are like, learnt from what experiments have found.
//!
//! A mixture: no effect at all, a ladder of gains and a ladder of harms, each rung a normal distribution about three times as far from
//! zero as it is wide (after Stephens, False discovery rates: a new deal, 2017, whose mixtures are adaptive in the same way). The
//! rungs' weights are learnt from all settled experiments by expectation and maximisation with a Dirichlet prior. A stopping rule
//! does not bias this: the likelihood of what was seen does not depend on why one stopped looking.

use serde::{Deserialize, Serialize};

use super::distributions::normal_below;
use super::rules::Rules;

/// What a rung of the mixture says of an effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Kind {
    Null,
    Gain,
    Harm,
}

/// A normal distribution of true effects, bits per byte.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Rung {
    pub kind: Kind,
    pub centre: f64,
    pub sd: f64,
    /// Experiments that the prior weight is worth.
    prior: f64,
    pub weight: f64,
}

/// The mixture and what it was learnt from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Belief {
    pub(super) rungs: Vec<Rung>,
    /// Estimates and standard errors of settled experiments.
    settled: Vec<(f64, f64)>,
}

/// What is believed of one experiment.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Posterior {
    /// Probability that the true effect is an improvement at all.
    pub probability: f64,
    /// Mean of the true effect, bits per byte.
    pub expected: f64,
    /// 95 % of the true effect's probability lie within.
    pub interval: (f64, f64),
}

/// Rungs of the ladders in units of the typical effect, with the experiments that their prior weights are worth.
const GAINS: [(f64, f64); 5] = [(0.5, 0.45), (1.0, 2.7), (2.0, 0.9), (4.0, 0.45), (8.0, 0.2)];
const HARMS: [(f64, f64); 6] = [(0.5, 2.4), (1.0, 4.5), (2.0, 3.0), (4.0, 1.5), (8.0, 0.9), (32.0, 0.6)];
const NULL: f64 = 14.0;

/// The typical effect in standard deviations of a run.
const TYPICAL_EFFECT: f64 = 2.0;

/// Width of a rung in units of its distance from zero.
const RUNG_WIDTH: f64 = 1.0 / 3.0;

/// Rounds of expectation and maximisation after each experiment; they go on from where the last ended.
const ROUNDS: usize = 3;

impl Belief {
    /// What is believed before anything was found.
    pub fn new(rules: &Rules) -> Belief {
        let unit = TYPICAL_EFFECT * rules.expected_run_sd;
        let ladder = |kind: Kind, sign: f64, rungs: &[(f64, f64)]| -> Vec<Rung> {
            rungs
                .iter()
                .map(|&(distance, prior)| Rung {
                    kind,
                    centre: sign * distance * unit,
                    sd: RUNG_WIDTH * distance * unit,
                    prior,
                    weight: 0.0,
                })
                .collect()
        };
        let mut rungs = vec![Rung { kind: Kind::Null, centre: 0.0, sd: 0.0, prior: NULL, weight: 0.0 }];
        rungs.extend(ladder(Kind::Gain, -1.0, &GAINS));
        rungs.extend(ladder(Kind::Harm, 1.0, &HARMS));
        let mut belief = Belief { rungs, settled: Vec::new() };
        belief.refine();
        belief
    }

    /// Learns from a settled experiment: its difference and that difference's standard error, both in bits per byte. Figures that are
    /// not finite, or an error that is not positive, teach nothing.
    pub fn learn(&mut self, estimate: f64, standard_error: f64) {
        if estimate.is_finite() && standard_error.is_finite() && standard_error > 0.0 {
            self.settled.push((estimate, standard_error));
            self.refine();
        }
    }

    /// Probability that a fresh idea is an improvement at all.
    pub fn gain_share(&self) -> f64 {
        self.rungs.iter().filter(|rung| rung.kind == Kind::Gain).map(|rung| rung.weight).sum()
    }

    /// An effect of the usual size, bits per byte.
    pub fn typical_effect(&self) -> f64 {
        self.rungs.iter().map(|rung| rung.centre.abs()).find(|size| *size > 0.0).unwrap_or(0.0) / GAINS[0].0
    }

    /// Experiments that it was learnt from.
    pub fn experiments(&self) -> usize {
        self.settled.len()
    }

    fn refine(&mut self) {
        let prior: f64 = self.rungs.iter().map(|rung| rung.prior).sum();
        let total = prior + self.settled.len() as f64;
        if self.settled.is_empty() {
            for rung in &mut self.rungs {
                rung.weight = rung.prior / prior;
            }
            return;
        }
        for _ in 0..ROUNDS {
            let mut counts: Vec<f64> = self.rungs.iter().map(|rung| rung.prior).collect();
            for &(estimate, standard_error) in &self.settled {
                for (count, share) in counts.iter_mut().zip(self.shares(estimate, standard_error)) {
                    *count += share;
                }
            }
            for (rung, count) in self.rungs.iter_mut().zip(counts) {
                rung.weight = count / total;
            }
        }
    }

    /// The probability of each rung, given an estimate.
    fn shares(&self, estimate: f64, standard_error: f64) -> Vec<f64> {
        let logs: Vec<f64> = self
            .rungs
            .iter()
            .map(|rung| {
                let spread = rung.sd.hypot(standard_error);
                rung.weight.max(1e-300).ln() - spread.ln() - 0.5 * ((estimate - rung.centre) / spread).powi(2)
            })
            .collect();
        let most = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let shares: Vec<f64> = logs.iter().map(|log| (log - most).exp()).collect();
        let total: f64 = shares.iter().sum();
        shares.into_iter().map(|share| share / total).collect()
    }

    /// What is believed of an experiment whose difference was estimated so; `standard_error` is taken for a normal one.
    pub fn posterior(&self, estimate: f64, standard_error: f64) -> Posterior {
        let shares = self.shares(estimate, standard_error);
        // Per rung: weight, mean and sd of the true effect.
        let parts: Vec<(f64, f64, f64)> = self
            .rungs
            .iter()
            .zip(shares)
            .map(|(rung, share)| {
                let precision = rung.sd.powi(2) / (rung.sd.powi(2) + standard_error.powi(2)).max(f64::MIN_POSITIVE);
                (share, rung.centre + precision * (estimate - rung.centre), standard_error * precision.sqrt())
            })
            .collect();
        // "No effect" is no improvement: what lies below zero counts, zero does not.
        let below = |x: f64, inclusive: bool| -> f64 {
            parts
                .iter()
                .map(|&(share, mean, sd)| {
                    let within = if sd > 0.0 {
                        normal_below((x - mean) / sd)
                    } else {
                        f64::from(u8::from(mean < x || (inclusive && mean <= x)))
                    };
                    share * within
                })
                .sum()
        };
        let reach = parts.iter().map(|(_, mean, sd)| mean.abs() + 10.0 * sd).fold(0.0, f64::max);
        let quantile = |probability: f64| -> f64 {
            let (mut low, mut high) = (-reach, reach);
            for _ in 0..60 {
                let middle = 0.5 * (low + high);
                if below(middle, true) < probability {
                    low = middle;
                } else {
                    high = middle;
                }
            }
            0.5 * (low + high)
        };
        Posterior {
            probability: below(0.0, false),
            expected: parts.iter().map(|(share, mean, _)| share * mean).sum(),
            interval: (quantile(0.025), quantile(0.975)),
        }
    }
}
