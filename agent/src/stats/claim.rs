//! The morning's claim: is the champion better than the night's start? Asked once, on seeds that decided nothing and on sealed text.

use serde::{Deserialize, Serialize};

use super::Run;
use super::difference::{Difference, difference};
use super::distributions::student_below;
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

/// Weighs the morning's runs. `None` when champion or start has none.
pub fn claim(start: &[Run], champion: &[Run], noise: &Noise, _rules: &Rules) -> Option<Claim> {
    let difference = difference(champion, start, noise)?;
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
