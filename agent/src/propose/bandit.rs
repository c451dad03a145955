//! How much to expect of a group of ideas, from what its earlier ones gained. Thompson sampling with normal beliefs:
//! draw once from the belief on each arm and take the largest draw, so that arms are tried as often as they may be best.
//! (W. R. Thompson, "On the likelihood that one unknown probability exceeds another", Biometrika 1933.)

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::flow::{Brief, PastExperiment, Verdict};

/// The belief on one arm: a prior gain worth some tries, and the tries.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Arm {
    weight: f64,
    sum: f64,
}

impl Arm {
    /// An untried arm of which a gain of `prior` bits per byte is expected, as firmly as after `weight` tries.
    pub fn new(prior: f64, weight: f64) -> Self {
        Self { weight, sum: prior * weight }
    }

    /// Takes in a try that gained `gain` bits per byte and counts for `weight` tries.
    pub fn observe(&mut self, gain: f64, weight: f64) {
        self.weight += weight;
        self.sum += gain * weight;
    }

    /// Expected gain in bits per byte.
    pub fn mean(&self) -> f64 {
        self.sum / self.weight
    }

    /// One draw from the belief, given the sd of a single try's gain.
    pub fn draw(&self, spread: f64, random: &mut ChaCha8Rng) -> f64 {
        self.mean() + spread / self.weight.sqrt() * normal(random)
    }
}

/// What a past experiment gained in the end: its verified difference when it was kept, else nothing. A discarded idea
/// costs its time, however bad it was; one that is still running has gained nothing yet, which keeps the next one apart.
pub(super) fn gain(past: &PastExperiment) -> f64 {
    match (past.verdict, past.difference) {
        (Some(Verdict::Kept), Some(difference)) if difference.is_finite() => (-difference).max(0.0),
        _ => 0.0,
    }
}

/// The sd to assume of one try's gain: the root mean square of the gains so far, and at least 0.001, a usual sd over
/// seeds, so that a night without any success still tries everything.
pub(super) fn spread(brief: &Brief) -> f64 {
    let gains = || brief.history.iter().map(gain);
    let mean_square = gains().map(|gain| gain * gain).sum::<f64>() / gains().count().max(1) as f64;
    mean_square.sqrt().clamp(0.001, 0.05)
}

/// The random numbers of one turn. `salt` keeps proposers that are asked in the same turn apart.
pub(super) fn random(brief: &Brief, salt: u64) -> ChaCha8Rng {
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&brief.proposer_seed.to_le_bytes());
    seed[8..16].copy_from_slice(&brief.turn.to_le_bytes());
    seed[16..24].copy_from_slice(&salt.to_le_bytes());
    ChaCha8Rng::from_seed(seed)
}

/// A standard normal number to good approximation: the sum of twelve uniform ones. Unlike logarithms and cosines it is
/// the same to the last bit on every machine.
fn normal(random: &mut ChaCha8Rng) -> f64 {
    (0..12).map(|_| (random.next_u32() >> 8) as f64 / f64::from(1 << 24)).sum::<f64>() - 6.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_centred_and_narrow_with_tries() {
        let mut random = ChaCha8Rng::seed_from_u64(7);
        let mut arm = Arm::new(0.01, 2.0);
        let spread_of = |arm: &Arm, random: &mut ChaCha8Rng| {
            let draws: Vec<f64> = (0..4_000).map(|_| arm.draw(0.002, random) - arm.mean()).collect();
            assert!((draws.iter().sum::<f64>() / 4_000.0).abs() < 1e-4);
            (draws.iter().map(|d| d * d).sum::<f64>() / 4_000.0).sqrt()
        };
        let before = spread_of(&arm, &mut random);
        assert!((before - 0.002 / 2f64.sqrt()).abs() < 1e-4, "{before}");
        for _ in 0..6 {
            arm.observe(0.0, 1.0);
        }
        assert!((arm.mean() - 0.0025).abs() < 1e-12);
        let after = spread_of(&arm, &mut random);
        assert!((after - 0.002 / 8f64.sqrt()).abs() < 1e-4, "{after}");
    }
}
