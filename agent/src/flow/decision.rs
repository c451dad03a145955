//! How an experiment ended, and what that rests on.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::BadName;

/// How an experiment ended. A fault of the machine is never a verdict: the trial is run again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The champion from now on.
    Kept,
    /// Not better.
    Discarded,
    /// The trials did not tell.
    Inconclusive,
    /// Broke a rule or cheated.
    Invalid,
    /// The trainer did not finish.
    Crashed,
    /// The compiler refused it to the end.
    Unbuildable,
}

impl Verdict {
    /// All verdicts.
    pub const ALL: [Verdict; 6] = [
        Verdict::Kept,
        Verdict::Discarded,
        Verdict::Inconclusive,
        Verdict::Invalid,
        Verdict::Crashed,
        Verdict::Unbuildable,
    ];

    /// The word used in the database, in notes and on pages.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Kept => "kept",
            Verdict::Discarded => "discarded",
            Verdict::Inconclusive => "inconclusive",
            Verdict::Invalid => "invalid",
            Verdict::Crashed => "crashed",
            Verdict::Unbuildable => "unbuildable",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Verdict {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        Self::ALL
            .into_iter()
            .find(|verdict| verdict.name() == text)
            .ok_or_else(|| BadName { text: text.to_owned(), expected: "a verdict" })
    }
}

/// What the rule said of an experiment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// The verdict.
    pub verdict: Verdict,
    /// Bits per byte against its champion, negative is better.
    pub difference: Option<f64>,
    /// 95 % interval of the difference, where the rule gives one.
    pub interval: Option<(f64, f64)>,
    /// How many trials it rests on.
    pub trials: u32,
    /// Name and version of the rule, for example `lower-is-kept/1`.
    pub rule: String,
    /// The decision in words.
    pub reason: String,
    /// The figures behind it, where the rule weighed any. Records of the rule `lower-is-kept/1` have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Box<Evidence>>,
}

/// What a decision rests on, beyond its difference and interval. All differences are in bits per byte, negative is better.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// Standard error of the difference over seeds and over held-out documents; of the forecast, where there is one.
    pub standard_error: f64,
    /// Degrees of freedom of that standard error; infinite where the noise is taken for known.
    #[serde(with = "crate::figure")]
    pub degrees: f64,
    /// How probable it is, after all that was seen, that the change is an improvement at all.
    pub probability: f64,
    /// The difference to be expected when it is measured again: shrunk towards what is usual, because what is kept was picked for
    /// looking good (winner's curse).
    pub expected: f64,
    /// 95 % interval of that expectation.
    pub expected_interval: (f64, f64),
    /// The least improvement worth having for this change; grows with the lines that it adds.
    pub least_effect: f64,
    /// sd of one run over seeds, as estimated when the decision was made.
    pub run_sd: f64,
    /// sd of the difference of two runs under the same seed, as estimated then.
    pub pair_sd: f64,
    /// Not kept, but worth trying again with others or on another champion.
    pub near_miss: bool,
    /// What was seen and done after each trial, one line each, in words.
    pub story: Vec<String>,
    /// The difference by which an experiment was stopped before any trial of it had finished. Its curve promised that and nobody vouches for
    /// it: it counts for what effects are believed to be like, which would look better than they are without those that were stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forecast: Option<f64>,
}

impl Evidence {
    /// Whether figures that the evaluator vouched for stand behind this. Where none do, all that it says of the effect is a forecast from
    /// what the trainer itself said of its loss, and is no finding.
    pub fn vouched(&self) -> bool {
        self.forecast.is_none()
    }

    /// What a forecast teaches of what effects are like, where there is one: the harm that it foresaw, or none. Never a gain, which
    /// trainers could make look usual by what they say.
    pub fn harm_foreseen(&self) -> Option<f64> {
        self.forecast.map(|forecast| forecast.max(0.0))
    }
}
