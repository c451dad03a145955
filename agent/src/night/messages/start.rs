//! Where a night begins, or goes on from: everything that the machine knew when the night was cut off, as the records keep it.
//!
//! The machine takes the trials and decisions in again as it took them in then, so that there is one account of what happened: which
//! seeds the champion has had, how noisy runs are, what is believed of near misses, which era it is, what waits for its evaluation.

use super::Ending;
use super::{Lines, Measured, Without};
use crate::flow::{Artifact, Candidate, Decision, NightId, Proposal, Purpose, Verdict};
use crate::stats::noise::Observation;

/// A commit of this night that can be run again after a restart.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    /// The experiment's number, 0 for the night's start.
    pub number: u32,
    /// Its proposal; `None` for the night's start.
    pub proposal: Option<Proposal>,
    /// Its commit. The night's start is its own parent.
    pub candidate: Candidate,
    /// Lines that it changes.
    pub lines: Lines,
    /// Its executable, if that is still there; it is built before its next trial otherwise.
    pub artifact: Option<Artifact>,
}

/// An experiment that an interrupted night had begun and not settled; its commit and branch are there.
#[derive(Debug, Clone, PartialEq)]
pub struct Unsettled {
    /// Which.
    pub standing: Standing,
    /// What it takes back out of the champion, for one of the morning's.
    pub without: Option<Without>,
    /// What was concluded after each of its trials ([`super::Effect::Conclude`]), in order.
    pub story: Vec<String>,
}

/// How a trial of this night came out.
#[derive(Debug, Clone, PartialEq)]
pub enum Came {
    /// Verified. After the claim the documents of the morning's trials may be left empty.
    Verified(Measured),
    /// Trained to the end, and executable and checkpoint are there to evaluate it.
    Waits,
    /// Its own failure: a crash, a timeout, a loss that is not finite, a rejection by the evaluator.
    Failed {
        /// What that makes of an experiment.
        verdict: Verdict,
        /// What happened, in words.
        words: String,
    },
    /// Stopped early as hopeless, in words.
    StoppedEarly(String),
    /// A fault of the machine, in words: it is run again.
    Spoilt(String),
    /// Nothing: cut off, or stopped by the person.
    Nothing,
}

/// A trial of this night that had begun.
#[derive(Debug, Clone, PartialEq)]
pub struct PastTrial {
    /// The experiment's number.
    pub number: u32,
    /// Counted from 1 within the experiment.
    pub ordinal: u32,
    /// Index in the night's list of seeds.
    pub seed: u32,
    /// What it was for.
    pub purpose: Purpose,
    /// Its era.
    pub era: u32,
    /// Steps of training, by the trainer's word.
    pub steps: u64,
    /// Seconds of start and training; `None` where it was not trained.
    pub seconds: Option<f64>,
    /// What was seen at looks at its curve, in order: which of `stats::early::LOOKS`, and its smoothed training loss less that of the
    /// champion's run under the same seed.
    pub looks: Vec<(usize, f64)>,
    /// That the machine was seen to have changed for good while it ran, in words.
    pub changed: Option<String>,
    /// How it came out.
    pub came: Came,
}

/// A decision of this night that is on record.
#[derive(Debug, Clone, PartialEq)]
pub struct PastDecision {
    /// On which experiment.
    pub standing: Standing,
    /// What it takes back out of the champion, for one of the morning's.
    pub without: Option<Without>,
    /// As it was recorded.
    pub decision: Decision,
    /// How many of the night's trials had begun before it.
    pub after: usize,
}

/// The first number for an earlier night in [`Start::observations`]; smaller ones are eras of this night.
pub const EARLIER_NIGHTS: u64 = 1 << 32;

/// What a settled experiment was found to do, in bits per byte; negative is better.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Finding {
    /// Estimate of its effect.
    pub estimate: f64,
    /// Standard error of that estimate.
    pub standard_error: f64,
}

/// What a look at the curve of a trial against the present champion that finished was worth, for learning which trials are hopeless.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PastLook {
    /// Which of `stats::early::LOOKS`.
    pub look: usize,
    /// Smoothed training loss less that of the champion's run under the same seed.
    pub curve_difference: f64,
    /// Difference of the two runs in the end, bits per byte.
    pub final_difference: f64,
}

/// Where a night begins, or goes on from.
#[derive(Debug, Clone, PartialEq)]
pub struct Start {
    /// The night's start, experiment 0.
    pub baseline: Standing,
    /// Whether its decision is recorded.
    pub baseline_settled: bool,
    /// The decisions on experiments, in the order in which they were recorded; that on the night's start is not among them.
    pub decisions: Vec<PastDecision>,
    /// What is to be tested first.
    pub unsettled: Option<Unsettled>,
    /// Every trial of this night so far, in the order in which they began.
    pub trials: Vec<PastTrial>,
    /// The first number that is free.
    pub next_number: u32,
    /// The first turn that is free.
    pub turn: u64,
    /// Verdicts so far; the night's start and the morning's experiments are not counted.
    pub settled: u32,
    /// What settled experiments of earlier nights of the campaign were found to do.
    pub findings: Vec<Finding>,
    /// Runs of earlier nights of the campaign on the same machine and under the same budget, by which the noise is estimated. Their
    /// nights are numbered from [`EARLIER_NIGHTS`] on.
    pub observations: Vec<Observation>,
    /// Looks at trials of those nights against this one's start that had finished.
    pub looks: Vec<PastLook>,
    /// What the morning has tested the champion without, or found that it cannot be tested without.
    pub tested_without: Vec<Without>,
    /// Seconds of the longest build of an experiment so far.
    pub longest_build: f64,
    /// Why the search has ended, where that is on record.
    pub ending: Option<Ending>,
    /// Whether the morning's claim is recorded.
    pub claimed: bool,
    /// The night's own random number, from which it follows which hopeless trials are left to finish; no training seed.
    pub lot: u64,
    /// The night's name, by which its own experiments are told from those of earlier nights; `None`: all that are named are its own.
    pub night: Option<NightId>,
}

impl Start {
    /// A night of which nothing has happened yet.
    pub fn new(start: crate::flow::CommitId, lot: u64) -> Self {
        Self {
            baseline: Standing {
                number: 0,
                proposal: None,
                candidate: Candidate { commit: start.clone(), parent: start },
                lines: Lines::default(),
                artifact: None,
            },
            baseline_settled: false,
            decisions: Vec::new(),
            unsettled: None,
            trials: Vec::new(),
            next_number: 1,
            turn: 0,
            settled: 0,
            findings: Vec::new(),
            observations: Vec::new(),
            looks: Vec::new(),
            tested_without: Vec::new(),
            longest_build: 0.0,
            ending: None,
            claimed: false,
            lot,
            night: None,
        }
    }

    /// The trials of an experiment, in order.
    pub fn trials_of(&self, number: u32) -> impl DoubleEndedIterator<Item = &PastTrial> {
        self.trials.iter().filter(move |trial| trial.number == number)
    }
}
