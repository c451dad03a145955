//! Where a night begins, or goes on from: everything that the machine knew when the night was cut off, as the records keep it.
//!
//! The machine recomputes what it can from the trials, so that there is one account of what happened: which seeds the champion
//! has had, how noisy runs are, which era it is, what waits for its evaluation.

use super::{Lines, Measured};
use crate::flow::{Artifact, Candidate, Proposal, Purpose, Verdict};
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
    /// The kept experiment whose edits it takes back, for one of the morning's.
    pub without: Option<u32>,
    /// What was concluded after each of its trials ([`super::Effect::Conclude`]), in order.
    pub story: Vec<String>,
}

/// How a trial of this night came out.
#[derive(Debug, Clone, PartialEq)]
pub enum Came {
    /// Verified. The documents may be left empty for experiments that are settled and not the champion.
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
    /// Nothing: cut off, stopped by the person, or a fault of the machine.
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
    /// Seconds of training and evaluation together; `None` where it came to nothing.
    pub seconds: Option<f64>,
    /// How it came out.
    pub came: Came,
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
    /// The champion, where it is not the night's start.
    pub champion: Option<Standing>,
    /// What is to be tested first.
    pub unsettled: Option<Unsettled>,
    /// Numbers of the experiments kept so far, in order; the night's start is not among them.
    pub kept: Vec<u32>,
    /// Every trial of this night so far, in the order in which they began.
    pub trials: Vec<PastTrial>,
    /// The first number that is free.
    pub next_number: u32,
    /// The first turn that is free.
    pub turn: u64,
    /// Verdicts so far; the night's start and the morning's experiments are not counted.
    pub settled: u32,
    /// What settled experiments were found to do: those of earlier nights of the campaign, then this night's.
    pub findings: Vec<Finding>,
    /// Runs of earlier nights of the campaign on the same machine and under the same budget, by which the noise is estimated. Their
    /// nights are numbered from [`EARLIER_NIGHTS`] on.
    pub observations: Vec<Observation>,
    /// Looks at trials of those nights and of this one that had finished.
    pub looks: Vec<PastLook>,
    /// Kept experiments that the morning has tested the champion without.
    pub tested_without: Vec<u32>,
    /// Whether the morning's claim is recorded.
    pub claimed: bool,
    /// The night's own random number, from which it follows which hopeless trials are left to finish; no training seed.
    pub lot: u64,
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
            champion: None,
            unsettled: None,
            kept: Vec::new(),
            trials: Vec::new(),
            next_number: 1,
            turn: 0,
            settled: 0,
            findings: Vec::new(),
            observations: Vec::new(),
            looks: Vec::new(),
            tested_without: Vec::new(),
            claimed: false,
            lot,
        }
    }

    /// The trials of an experiment, in order.
    pub fn trials_of(&self, number: u32) -> impl DoubleEndedIterator<Item = &PastTrial> {
        self.trials.iter().filter(move |trial| trial.number == number)
    }
}
