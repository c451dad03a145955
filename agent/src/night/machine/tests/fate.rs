//! What happens in a night that is cut, all of it by lot.

use crate::night::messages::Limits;
use crate::stats::Rules;

/// What happens in a night.
#[derive(Debug, Clone)]
pub(super) struct Fate {
    pub salt: u64,
    pub ideas: u32,
    pub limits: Limits,
    pub rules: Rules,
    /// One in so many; 0: never.
    pub spoilt: u64,
    pub failing: u64,
    pub cheating: u64,
    /// After so many trials the machine is another, which a repetition of the champion shows.
    pub drifts_after: usize,
    /// After so many it says itself that it has changed.
    pub changes_after: usize,
    /// After so many it is not fit for another until the search is over.
    pub unfit_after: usize,
}

impl Fate {
    pub fn lot(&self, of: &[u64]) -> u64 {
        // SplitMix64's finaliser over all of them.
        of.iter().fold(self.salt, |state, more| {
            let mut z = (state ^ more).wrapping_add(0x9e37_79b9_7f4a_7c15);
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        })
    }

    pub fn happens(&self, one_in: u64, of: &[u64]) -> bool {
        one_in > 0 && self.lot(of).is_multiple_of(one_in)
    }

    /// From -1 to 1.
    pub fn share(&self, of: &[u64]) -> f64 {
        (self.lot(of) % 2_001) as f64 / 1_000.0 - 1.0
    }

    /// What an idea is worth, bits per byte.
    pub fn effect(&self, number: u32) -> f64 {
        let own = 0.002 * self.share(&[1, u64::from(number)]);
        match self.lot(&[2, u64::from(number)]) % 4 {
            0 => own - 0.004,
            1 => own - 0.001,
            2 => own + 0.008,
            _ => 0.5 * own,
        }
    }
}
