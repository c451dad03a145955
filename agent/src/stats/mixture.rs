//! Mixtures of normal distributions: what may be true of an effect, before and after something was seen of it.
//!
//! All of it is exact arithmetic on normal distributions (Gelman et al., Bayesian Data Analysis, chapters 2 and 22), but for
//! [`Mixture::given_sum`], which gives each part one normal distribution with the exact mean and variance.

use serde::{Deserialize, Serialize};

use super::belief::Belief;
use super::distributions::normal_below;

/// One normal distribution of a mixture; an sd of 0 is a value that is taken exactly.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// Its probability.
    pub weight: f64,
    /// Bits per byte.
    pub mean: f64,
    /// Bits per byte.
    pub sd: f64,
}

/// A distribution of true effects; the weights add up to 1.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Mixture {
    parts: Vec<Part>,
}

/// Parts less probable than this are forgotten.
const NEGLIGIBLE: f64 = 1e-6;

impl Mixture {
    /// From parts whose weights are in proportion. Parts without weight are left out.
    pub fn new(parts: impl IntoIterator<Item = Part>) -> Self {
        let mut parts: Vec<Part> = parts.into_iter().filter(|part| part.weight > 0.0).collect();
        let total: f64 = parts.iter().map(|part| part.weight).sum();
        parts.retain(|part| part.weight > NEGLIGIBLE * total);
        let total: f64 = parts.iter().map(|part| part.weight).sum();
        for part in &mut parts {
            part.weight /= total;
        }
        Self { parts }
    }

    /// What is believed after an estimate with this (normal) standard error.
    pub fn after(&self, estimate: f64, standard_error: f64) -> Mixture {
        let noise = standard_error * standard_error;
        let logs: Vec<f64> = self.parts.iter().map(|part| log_likelihood(part, estimate, noise)).collect();
        Mixture::new(weighed(&logs).zip(&self.parts).map(|(weight, part)| {
            let share = pull(part.sd * part.sd, noise);
            Part { weight, mean: part.mean + share * (estimate - part.mean), sd: standard_error * share.sqrt() }
        }))
    }

    /// The sum of two independent effects.
    pub fn plus(&self, other: &Mixture) -> Mixture {
        Mixture::new(self.parts.iter().flat_map(|a| {
            other.parts.iter().map(|b| Part {
                weight: a.weight * b.weight,
                mean: a.mean + b.mean,
                sd: a.sd.hypot(b.sd),
            })
        }))
    }

    /// What is believed of this effect after an estimate of its sum with an independent one.
    pub fn given_sum(&self, other: &Mixture, estimate: f64, standard_error: f64) -> Mixture {
        let noise = standard_error * standard_error;
        let pairs: Vec<(usize, &Part)> =
            (0..self.parts.len()).flat_map(|i| other.parts.iter().map(move |part| (i, part))).collect();
        let logs: Vec<f64> = pairs
            .iter()
            .map(|&(i, b)| {
                let a = &self.parts[i];
                let sum = Part { weight: a.weight * b.weight, mean: a.mean + b.mean, sd: a.sd.hypot(b.sd) };
                log_likelihood(&sum, estimate, noise)
            })
            .collect();
        // Per part of this effect: weight, mean and mean square.
        let mut sums = vec![(0.0, 0.0, 0.0); self.parts.len()];
        for (weight, &(i, b)) in weighed(&logs).zip(&pairs) {
            let a = &self.parts[i];
            let share = pull(a.sd * a.sd, b.sd * b.sd + noise);
            let mean = a.mean + share * (estimate - a.mean - b.mean);
            let square = mean * mean + a.sd * a.sd * (1.0 - share);
            sums[i] = (sums[i].0 + weight, sums[i].1 + weight * mean, sums[i].2 + weight * square);
        }
        Mixture::new(sums.into_iter().filter(|sum| sum.0 > 0.0).map(|(weight, mean, square)| {
            let mean = mean / weight;
            Part { weight, mean, sd: (square / weight - mean * mean).max(0.0).sqrt() }
        }))
    }

    /// Probability of an effect below `x`, `x` itself not counted.
    pub fn below(&self, x: f64) -> f64 {
        self.parts
            .iter()
            .map(|part| {
                let within = if part.sd > 0.0 {
                    normal_below((x - part.mean) / part.sd)
                } else {
                    f64::from(u8::from(part.mean < x))
                };
                part.weight * within
            })
            .sum()
    }

    /// Mean and variance.
    pub fn moments(&self) -> (f64, f64) {
        let mean: f64 = self.parts.iter().map(|part| part.weight * part.mean).sum();
        let square: f64 =
            self.parts.iter().map(|part| part.weight * (part.sd.powi(2) + (part.mean - mean).powi(2))).sum();
        (mean, square)
    }

    /// The central interval with this probability, for example 0.95.
    pub fn interval(&self, probability: f64) -> (f64, f64) {
        // By Chebyshev's inequality no quantile that is asked for lies further out.
        let (mean, variance) = self.moments();
        let reach = (variance / (1.0 - probability).max(1e-6)).sqrt() * 2.0;
        let quantile = |p: f64| {
            let (mut low, mut high) = (mean - reach, mean + reach);
            for _ in 0..24 {
                let middle = 0.5 * (low + high);
                if self.below(middle) < p {
                    low = middle;
                } else {
                    high = middle;
                }
            }
            0.5 * (low + high)
        };
        (quantile(0.5 - 0.5 * probability), quantile(0.5 + 0.5 * probability))
    }
}

impl Belief {
    /// What is believed of a fresh idea.
    pub fn fresh(&self) -> Mixture {
        Mixture::new(self.rungs.iter().map(|rung| Part { weight: rung.weight, mean: rung.centre, sd: rung.sd }))
    }
}

/// The share of an estimate's surprise that an effect of this prior variance takes for true.
fn pull(variance: f64, noise: f64) -> f64 {
    if variance > 0.0 { variance / (variance + noise) } else { 0.0 }
}

fn log_likelihood(part: &Part, estimate: f64, noise: f64) -> f64 {
    let spread = (part.sd * part.sd + noise).max(f64::MIN_POSITIVE);
    part.weight.max(1e-300).ln() - 0.5 * spread.ln() - 0.5 * (estimate - part.mean).powi(2) / spread
}

/// Weights of which only the logarithms are known, up to a factor.
fn weighed(logs: &[f64]) -> impl Iterator<Item = f64> + '_ {
    let most = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    logs.iter().map(move |log| (log - most).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two(a: (f64, f64, f64), b: (f64, f64, f64)) -> Mixture {
        Mixture::new([a, b].map(|(weight, mean, sd)| Part { weight, mean, sd }))
    }

    #[test]
    fn an_estimate_moves_weight_to_the_part_that_expects_it() {
        let prior = two((0.5, 0.0, 0.0), (0.5, -3.0, 0.5));
        let after = prior.after(-3.0, 1.0);
        // Likelihood ratio of the two by hand: exp(4.5) against 1 / sqrt(1.25).
        let odds = (4.5_f64).exp() / 1.25_f64.sqrt();
        assert!((after.below(-0.5) - odds / (1.0 + odds)).abs() < 1e-4, "{}", after.below(-0.5));
        let (mean, _) = after.moments();
        assert!(mean > -3.0 && mean < -2.8, "{mean}");
    }

    #[test]
    fn what_one_of_a_pair_is_less_the_other_is_more() {
        let miss = two((0.5, 0.0, 0.0), (0.5, -3.0, 0.3));
        let sum = miss.plus(&miss);
        assert!((sum.moments().0 + 3.0).abs() < 1e-9 && (sum.below(-4.5) - 0.25).abs() < 1e-3);
        // Both, one, none of the two: seen at -6, -3 and 0.
        for (estimate, low, high) in [(-6.0, 0.95, 1.0), (-3.0, 0.45, 0.55), (0.0, 0.0, 0.05)] {
            let gain = miss.given_sum(&miss, estimate, 0.8).below(-0.5);
            assert!((low..=high).contains(&gain), "{estimate}: {gain}");
        }
    }

    #[test]
    fn the_interval_holds_its_probability_and_an_exact_value_counts_once() {
        let normal = Mixture::new([Part { weight: 2.0, mean: 1.0, sd: 2.0 }]);
        let (low, high) = normal.interval(0.95);
        assert!((low - (1.0 - 1.96 * 2.0)).abs() < 0.01 && (high - (1.0 + 1.96 * 2.0)).abs() < 0.01);
        let exact = two((0.9, 0.0, 0.0), (0.1, -1.0, 0.1));
        assert!((exact.below(0.0) - 0.1).abs() < 1e-9 && exact.below(1e-9) > 0.999);
    }
}
