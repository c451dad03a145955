//! Mixtures of normal distributions: what may be true of an effect, before and after something was seen of it.
//!
//! All of it is exact arithmetic on normal distributions (Gelman et al., Bayesian Data Analysis, chapters 2 and 22), but that each part
//! stays one normal distribution, with the exact mean and variance, where several accounts of what was seen, or of the other effect in
//! a sum, make it a mixture itself.

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

/// What was seen of an effect where one of several accounts of how it was seen is right.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Seen {
    /// Probability of this account, in proportion.
    pub weight: f64,
    /// Bits per byte.
    pub estimate: f64,
    /// Its normal standard error by this account.
    pub error: f64,
}

impl Seen {
    /// One account for certain.
    pub fn surely(estimate: f64, error: f64) -> [Seen; 1] {
        [Seen { weight: 1.0, estimate, error }]
    }

    /// Mean and sd of what was seen, over all accounts.
    pub fn overall(seen: &[Seen]) -> Option<(f64, f64)> {
        let total: f64 = seen.iter().map(|seen| seen.weight).sum();
        let mean = seen.iter().map(|seen| seen.weight * seen.estimate).sum::<f64>() / total;
        let square = |seen: &Seen| seen.weight * (seen.error.powi(2) + (seen.estimate - mean).powi(2));
        (total > 0.0).then(|| (mean, (seen.iter().map(square).sum::<f64>() / total).sqrt()))
    }
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

    /// What is believed after something was seen. Each part stays one normal distribution, with the exact mean and variance over all
    /// accounts.
    pub fn after(&self, seen: &[Seen]) -> Mixture {
        let accounts: Vec<(&Seen, &Part)> =
            seen.iter().flat_map(|seen| self.parts.iter().map(move |part| (seen, part))).collect();
        let logs: Vec<f64> = accounts.iter().map(|(seen, part)| log_likelihood(part, seen)).collect();
        let mut sums = vec![Sums::default(); self.parts.len()];
        for (k, (weight, (seen, part))) in weighed(&logs).zip(&accounts).enumerate() {
            let share = pull(part.sd * part.sd, seen.error * seen.error);
            let mean = part.mean + share * (seen.estimate - part.mean);
            sums[k % self.parts.len()].add(weight, mean, seen.error * seen.error * share);
        }
        Mixture::new(sums.iter().filter_map(Sums::part))
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

    /// What is believed of this effect after something was seen of its sum with an independent one.
    pub fn given_sum(&self, other: &Mixture, seen: &[Seen]) -> Mixture {
        let accounts: Vec<(usize, &Part, &Seen)> = seen
            .iter()
            .flat_map(|seen| other.parts.iter().map(move |part| (part, seen)))
            .flat_map(|(part, seen)| (0..self.parts.len()).map(move |i| (i, part, seen)))
            .collect();
        let logs: Vec<f64> = accounts
            .iter()
            .map(|&(i, b, seen)| {
                let a = &self.parts[i];
                let sum = Part { weight: a.weight * b.weight, mean: a.mean + b.mean, sd: a.sd.hypot(b.sd) };
                log_likelihood(&sum, seen)
            })
            .collect();
        let mut sums = vec![Sums::default(); self.parts.len()];
        for (weight, &(i, b, seen)) in weighed(&logs).zip(&accounts) {
            let a = &self.parts[i];
            let share = pull(a.sd * a.sd, b.sd * b.sd + seen.error * seen.error);
            let mean = a.mean + share * (seen.estimate - a.mean - b.mean);
            sums[i].add(weight, mean, a.sd * a.sd * (1.0 - share));
        }
        Mixture::new(sums.iter().filter_map(Sums::part))
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

fn log_likelihood(part: &Part, seen: &Seen) -> f64 {
    let spread = (part.sd * part.sd + seen.error * seen.error).max(f64::MIN_POSITIVE);
    let weight = (part.weight * seen.weight).max(1e-300);
    weight.ln() - 0.5 * spread.ln() - 0.5 * (seen.estimate - part.mean).powi(2) / spread
}

/// Weighted sums about the first mean, by which nearly equal means lose no digits.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    weight: f64,
    origin: f64,
    mean: f64,
    square: f64,
}

impl Sums {
    fn add(&mut self, weight: f64, mean: f64, variance: f64) {
        if self.weight == 0.0 {
            self.origin = mean;
        }
        let away = mean - self.origin;
        self.weight += weight;
        self.mean += weight * away;
        self.square += weight * (away * away + variance);
    }

    /// The normal distribution with these moments.
    fn part(&self) -> Option<Part> {
        let away = self.mean / self.weight;
        let variance = (self.square / self.weight - away * away).max(0.0);
        (self.weight > 0.0).then(|| Part { weight: self.weight, mean: self.origin + away, sd: variance.sqrt() })
    }
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
        let after = prior.after(&Seen::surely(-3.0, 1.0));
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
            let gain = miss.given_sum(&miss, &Seen::surely(estimate, 0.8)).below(-0.5);
            assert!((low..=high).contains(&gain), "{estimate}: {gain}");
        }
    }

    #[test]
    fn an_account_by_which_what_was_seen_is_likely_counts_more() {
        let prior = two((0.5, 0.0, 0.0), (0.5, -3.0, 0.5));
        let sharp = Seen { weight: 0.5, estimate: 0.0, error: 0.01 };
        let blurred = Seen { weight: 0.5, estimate: -1.4, error: 1.0 };
        let apart = [prior.after(&[sharp]), prior.after(&[blurred])].map(|after| after.below(-0.5));
        let both = prior.after(&[sharp, blurred]).below(-0.5);
        assert!(apart[0] < 1e-6 && apart[1] > 0.3 && both < 0.1 * apart[1], "{apart:?} {both}");
        // Two accounts that say the same are one.
        let one = prior.after(&Seen::surely(-2.0, 0.7));
        let same = prior.after(&[0.2, 0.8].map(|weight| Seen { weight, estimate: -2.0, error: 0.7 }));
        assert!(
            (one.below(-1.0) - same.below(-1.0)).abs() < 1e-12 && (one.moments().1 - same.moments().1).abs() < 1e-12
        );
        let (mean, sd) = Seen::overall(&[sharp, blurred]).unwrap();
        assert!((mean + 0.7).abs() < 1e-12 && (sd * sd - (0.5 * 1.0001 + 0.49)).abs() < 1e-9, "{mean} {sd}");
        assert_eq!(Seen::overall(&[]), None);
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
