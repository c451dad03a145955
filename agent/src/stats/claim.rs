//! The morning's claim: is the champion better than the night's start? Asked once, on seeds that decided nothing and on sealed text.

use serde::{Deserialize, Serialize};

use super::Run;
use super::difference::{Difference, by_seed, difference, newest_era};
use super::distributions::{student_below, student_quantile};
use super::noise::Noise;
use super::rules::Rules;

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

/// Degrees of freedom at most that the night's noise has against the morning's own: sealed text and fresh seeds may be noisier.
const MOST_FROM_THE_NIGHT: f64 = 12.0;

/// Weighs the morning's runs. `None` when champion or start has none.
///
/// The noise is the night's, which was measured by more runs than a morning has; where the morning's own pairs spread more, both are
/// pooled, so that the claim never rests on a noise that its own runs belie. A smaller spread of a few pairs changes nothing.
pub fn claim(start: &[Run], champion: &[Run], noise: &Noise, _rules: &Rules) -> Option<Claim> {
    let mut difference = difference(champion, start, noise)?;
    if let Some((widened, degrees)) = own_spread(start, champion, noise) {
        let documents = difference.document_error.powi(2);
        let seeds = (difference.standard_error.powi(2) - documents).max(0.0) * widened;
        difference.standard_error = (seeds + documents).sqrt();
        difference.degrees = difference.degrees.min(degrees);
        let reach = student_quantile(0.975, difference.degrees) * difference.standard_error;
        difference.interval = (difference.estimate - reach, difference.estimate + reach);
    }
    let p_value = student_below(difference.estimate / difference.standard_error, difference.degrees);
    let holds = p_value < LEVEL && difference.estimate < 0.0;
    let (low, high) = difference.interval;
    let words = format!(
        "{}: the champion's difference from the night's start is {:+.5} bits per byte (95 % interval {low:+.5} to {high:+.5}, \
         p = {p_value:.2e}) on sealed text under {} fresh seeds",
        if holds { "holds" } else { "does not hold" },
        difference.estimate,
        difference.paired,
    );
    Some(Claim { difference, p_value, pairs: difference.paired, holds, words })
}

/// By how much the morning's pairs widen the variance over seeds, and its degrees of freedom then; `None` where they do not.
fn own_spread(start: &[Run], champion: &[Run], noise: &Noise) -> Option<(f64, f64)> {
    let era = newest_era(start)?;
    let (starts, champions) = (by_seed(start, era), by_seed(champion, era));
    let pairs: Vec<f64> =
        champions.iter().filter_map(|(seed, value)| starts.get(seed).map(|start| value - start)).collect();
    let own_degrees = pairs.len().checked_sub(1).filter(|degrees| *degrees > 0)? as f64;
    let mean = pairs.iter().sum::<f64>() / pairs.len() as f64;
    let own = pairs.iter().map(|pair| (pair - mean).powi(2)).sum::<f64>() / own_degrees;
    let expected = noise.pair_sd().powi(2);
    if own <= expected {
        return None;
    }
    let known = noise.pair_degrees.min(MOST_FROM_THE_NIGHT);
    Some(((known * expected + own_degrees * own) / (known + own_degrees) / expected, known + own_degrees))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::testing::Lots;

    fn noise(pair_sd: f64, degrees: f64) -> Noise {
        Noise {
            seed_variance: 1e-6,
            rest_variance: 0.5 * pair_sd * pair_sd,
            run_degrees: degrees,
            pair_degrees: degrees,
            runs: 20,
            commits: 5,
            contrasts: 15,
        }
    }

    fn morning(differences: &[f64]) -> (Vec<Run>, Vec<Run>) {
        let run = |seed: usize, val_bpb: f64| Run { seed: 16 + seed as u32, val_bpb, era: 0, documents: [].into() };
        let start = |seed: usize| 1.0 + 0.002 * seed as f64;
        (
            (0..differences.len()).map(|seed| run(seed, start(seed))).collect(),
            differences.iter().enumerate().map(|(seed, d)| run(seed, start(seed) + d)).collect(),
        )
    }

    #[test]
    fn a_plain_gain_holds_and_luck_does_not() {
        let noise = noise(0.001, 30.0);
        for (differences, holds) in [
            (vec![-0.010, -0.011, -0.009, -0.010], true),
            (vec![-0.0005, -0.0006, -0.0004, -0.0005], false),
            (vec![0.010, 0.011, 0.009, 0.010], false),
            (vec![-0.010], true),
        ] {
            let (start, champion) = morning(&differences);
            let claim = claim(&start, &champion, &noise, &Rules::default()).unwrap();
            assert_eq!(claim.holds, holds, "{claim:?}");
            assert_eq!(claim.pairs as usize, differences.len());
            assert!(claim.words.starts_with(if holds { "holds" } else { "does not hold" }), "{}", claim.words);
        }
        assert!(claim(&[], &morning(&[0.0]).1, &noise, &Rules::default()).is_none());
    }

    #[test]
    fn pairs_that_spread_more_than_the_night_said_widen_the_claim() {
        let noise = noise(0.001, 30.0);
        let calm = morning(&[-0.004, -0.004, -0.004, -0.004]);
        let wild = morning(&[-0.016, 0.008, -0.012, 0.004]);
        let (calm, wild) = (
            claim(&calm.0, &calm.1, &noise, &Rules::default()).unwrap(),
            claim(&wild.0, &wild.1, &noise, &Rules::default()).unwrap(),
        );
        assert!((calm.difference.estimate - wild.difference.estimate).abs() < 1e-12);
        assert!(calm.holds && !wild.holds, "{calm:?} {wild:?}");
        assert!((calm.difference.standard_error - 0.0005).abs() < 1e-9, "{calm:?}");
        assert!(wild.difference.standard_error > 4.0 * calm.difference.standard_error);
    }

    #[test]
    fn without_a_gain_at_most_one_morning_in_a_hundred_holds_and_intervals_cover() {
        let mut lots = Lots::new(3);
        let (mut held, mut covered) = (0, 0);
        const MORNINGS: u32 = 4_000;
        for _ in 0..MORNINGS {
            let pairs: Vec<f64> = (0..6).map(|_| 0.001 * lots.normal()).collect();
            let (start, champion) = morning(&pairs);
            // The night's noise is an estimate itself, with 20 degrees of freedom.
            let squares: f64 = (0..20).map(|_| lots.normal().powi(2)).sum();
            let claim =
                claim(&start, &champion, &noise(0.001 * (squares / 20.0).sqrt(), 20.0), &Rules::default()).unwrap();
            held += u32::from(claim.holds);
            let (low, high) = claim.difference.interval;
            covered += u32::from(low <= 0.0 && 0.0 <= high);
        }
        assert!(f64::from(held) <= 0.012 * f64::from(MORNINGS), "{held} of {MORNINGS}");
        let share = f64::from(covered) / f64::from(MORNINGS);
        assert!((0.93..=0.98).contains(&share), "{share}");
    }
}
