//! View models of what a night's decisions rest on. All differences are in the metric's unit, negative is better.

use serde::{Deserialize, Serialize};

/// The morning's claim: the champion against the night's start, on fresh seeds and text that nothing was decided by.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ClaimView {
    /// Whether it holds.
    pub holds: bool,
    /// Why it was taken back after it had been made.
    #[serde(default)]
    pub withdrawn: Option<String>,
    /// Champion less start.
    pub difference: Option<f64>,
    /// The difference's 95 % interval.
    pub interval: Option<(f64, f64)>,
    /// How probable a difference at least as good would be if nothing had been gained.
    pub p_value: Option<f64>,
    /// Pairs of runs that it rests on.
    pub pairs: u32,
    /// What was to be expected of all kept changes together, before the morning.
    pub expected: Option<f64>,
}

/// How much runs differ anyway.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct NoiseView {
    /// sd of one run over seeds.
    pub run_sd: f64,
    /// sd of the difference of two runs under the same seed.
    pub pair_sd: f64,
    /// Correlation of two runs under the same seed.
    pub correlation: f64,
    /// Degrees of freedom of the variance of a pair.
    pub degrees: f64,
    /// Runs that it is estimated from.
    pub runs: u32,
    /// Commits that these are of.
    pub commits: u32,
}

/// What ending hopeless trials early saved.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct EarlyView {
    /// Trials that were stopped.
    pub stopped: u32,
    /// Seconds of training that they would have taken on top.
    pub seconds_saved: f64,
    /// Share of the training time that trials of discarded experiments would have taken without it.
    pub share_saved: Option<f64>,
    /// Hopeless trials that were left to finish as a sample.
    pub spared: u32,
    /// Those of them that were kept in the end.
    pub wrong: u32,
    /// 95 % interval of the share of wrong stops.
    pub wrong_interval: Option<(f64, f64)>,
}

/// The champion without one of its changes.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct LeftOutView {
    /// The experiment that measured it.
    pub number: u32,
    /// The kept experiment that was left out, whole or in part; `None` where the record does not say.
    #[serde(default)]
    pub of: Option<u32>,
    /// Which idea of it was left out, where that is one of several.
    #[serde(default)]
    pub part: Option<String>,
    /// Its title.
    pub title: String,
    /// The champion without the change less the champion: positive says that the change is needed.
    pub difference: Option<f64>,
    /// The difference's 95 % interval.
    pub interval: Option<(f64, f64)>,
    /// What that says.
    pub words: String,
}

/// How often a part of the held-out text has been looked at.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LooksView {
    /// The part's name.
    pub part: String,
    /// What it was looked at for in this night; empty where it was not.
    pub what_for: String,
    /// Models that were asked about it in this night.
    pub this_night: u64,
    /// Models that were asked about it in all nights of the campaign.
    pub all_nights: u64,
    /// Nights of the campaign in which it was looked at.
    pub nights: u32,
}

/// One proposer's predictions against what was found.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct CalibrationView {
    /// Who.
    pub proposer: String,
    /// Experiments with a predicted effect.
    pub predictions: u32,
    /// Mean predicted effect.
    pub mean_predicted: Option<f64>,
    /// Mean effect found for the same experiments.
    pub mean_found: Option<f64>,
    /// Slope of what was found on what was predicted; 1 is right.
    pub slope: Option<f64>,
    /// Mean stated confidence, 0 to 1.
    pub mean_confidence: Option<f64>,
    /// Mean probability of an improvement found for the same experiments.
    pub mean_probability: Option<f64>,
    /// Brier's score of the confidence: 0 is perfect, 0.25 is a coin.
    pub brier: Option<f64>,
}

/// How far the answers of one language model or coding agent got, and what they cost.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ModelView {
    /// Which.
    pub model: String,
    /// Tries over the network, or runs of an agent.
    pub calls: u64,
    /// Calls that no answer came of, by the reason.
    pub failed: Vec<(String, u32)>,
    /// Answers.
    pub answers: u32,
    /// Of these, the ones that can be read.
    pub parsed: u32,
    /// Edits that fitted and were allowed.
    pub applied: u32,
    /// Edits that compiled.
    pub compiled: u32,
    /// Experiments of which a trial ran.
    pub ran: u32,
    /// Experiments that were kept and stand.
    pub kept: u32,
    /// Tokens of requests and answers; `None` where nobody counts them.
    pub tokens: Option<u64>,
    /// US dollars; `None` where that is not known.
    pub dollars: Option<f64>,
    /// US dollars for a thousandth of the metric gained; `None` where nothing was gained, or the cost is not known.
    pub dollars_per_thousandth: Option<f64>,
}

/// What a decision rests on.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct EvidenceView {
    /// The difference to be expected when it is measured again, corrected for having been picked.
    pub expected: f64,
    /// 95 % interval of that expectation.
    pub expected_interval: (f64, f64),
    /// How probable it is that the change is an improvement at all.
    pub probability: f64,
    /// The least improvement worth having for this change.
    pub least_effect: f64,
    /// Standard error of the measured difference; `None` where it is not on record. Half an interval is more than twice of it where
    /// that is Student's.
    #[serde(default)]
    pub standard_error: Option<f64>,
    /// What was seen and done after each trial, one line each.
    pub story: Vec<String>,
}

/// What the evaluator did with an experiment's trials. Of several certificates the newest one that passed is told, or else the newest.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct CertificateView {
    /// Name and version of the evaluator.
    pub evaluator: String,
    /// What the trainer was confined by, in words.
    pub sandbox: String,
    /// The checks in their order, and whether each was passed.
    pub checks: Vec<(String, bool)>,
    /// At how many places of the held-out text the claim was audited; `None` where it did not come that far.
    pub cuts: Option<u32>,
    /// Largest difference between claim and audit at a place, nats.
    pub largest_difference: Option<f64>,
    /// Standard error of what the audit found over all scored tokens, nats per token.
    pub standard_error: Option<f64>,
    /// Trials of the experiment that the evaluator vouches for.
    pub verified: u32,
    /// Trials of the experiment that it rejected.
    pub rejected: u32,
}

/// One trial of an experiment.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct TrialView {
    /// Index of its seed in the night's list.
    pub seed: Option<u32>,
    /// What it was for, and how it ended where that is not by finishing.
    pub what: String,
    /// The metric.
    pub val_bpb: Option<f64>,
    /// The metric of what it is paired with, under the same seed.
    pub paired_with: Option<f64>,
    /// The difference of the two.
    pub difference: Option<f64>,
}
