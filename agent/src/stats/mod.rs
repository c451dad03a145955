//! Decisions, as pure functions: numbers in, [`Decision`] out. No IO, no clock, no randomness.
//!
//! From runs to verdicts: [`noise`] says how much runs differ anyway, [`spread`] how unequally ideas scatter, [`difference`] by how much two commits differ, [`reference`] what
//! the champion would measure by all that the night has run, [`belief`] and [`mixture`] what true effects are like, [`decide`] what to
//! do after each trial, in the words of [`race`], [`early`] (with [`curve`]) how a trial will end by its loss curve, [`claim`] what may
//! be said in the morning, [`calibration`] how good proposers' predictions were. All figures are in bits per byte and negative
//! differences are better.

pub mod belief;
pub mod calibration;
pub mod claim;
pub mod curve;
pub mod decide;
pub mod difference;
mod distributions;
pub mod early;
pub mod mixture;
pub mod noise;
pub mod race;
pub mod reference;
pub mod rules;
pub mod spread;
#[cfg(test)]
mod testing;

use std::sync::Arc;

pub use rules::{Method, Rules};

use crate::flow::{Decision, DocumentLoss, Rejected, Verdict};
use race::RULE;

/// One verified trial of one commit under one seed.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// The seed's index in the night's secret list.
    pub seed: u32,
    /// Bits per byte on held-out text.
    pub val_bpb: f64,
    /// Stretch of the night during which the machine did not change; runs of different eras are not compared.
    pub era: u32,
    /// Per held-out document, in their order; may be empty, then nothing is known of the text's own sampling error.
    pub documents: Arc<[DocumentLoss]>,
}

/// The night's start is its first champion, with so many bits per byte.
pub fn night_start(val_bpb: f64) -> Decision {
    Decision {
        verdict: Verdict::Kept,
        difference: None,
        interval: None,
        trials: 1,
        rule: RULE.to_owned(),
        reason: format!("the night's start: {val_bpb:.6} bits per byte"),
        evidence: None,
    }
}

/// The evaluator does not vouch for the trial. A model that gives no numbers at all, or infinite ones, has failed; one that
/// gives numbers which cannot be has broken a rule.
pub fn rejected(rejected: &Rejected) -> Decision {
    let verdict = match rejected.check.as_str() {
        "claim" | "finite" => Verdict::Crashed,
        _ => Verdict::Invalid,
    };
    let reason = format!("check '{}' failed: {}", rejected.check, rejected.evidence);
    Decision { trials: 1, ..untested(verdict, reason) }
}

/// A verdict that rests on no measurement.
pub fn untested(verdict: Verdict, reason: String) -> Decision {
    Decision { verdict, difference: None, interval: None, trials: 0, rule: RULE.to_owned(), reason, evidence: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_numbers_are_a_failure_and_impossible_numbers_a_broken_rule() {
        for (check, verdict) in [
            ("claim", Verdict::Crashed),
            ("finite", Verdict::Crashed),
            ("normalised", Verdict::Invalid),
            ("count", Verdict::Invalid),
        ] {
            let why = Rejected { check: check.to_owned(), evidence: "seen".to_owned() };
            assert_eq!(rejected(&why).verdict, verdict, "{check}");
        }
    }
}
