//! What the state machine of a night and its driver say to each other: events go in, effects come out. Plain data.

use std::fmt;
use std::sync::Arc;

use crate::flow::{
    Artifact, BuildFailure, Candidate, CommitId, Decision, DocumentLoss, Proposal, Purpose, Rejected, Trained, Verified,
};

use crate::stats::claim::Claim;

mod start;

pub use start::{Came, EARLIER_NIGHTS, Finding, PastDecision, PastLook, PastTrial, Standing, Start, Unsettled};

/// When a night ends by itself.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Experiments with a verdict, the night's start not counted.
    pub experiments: Option<u32>,
    /// Seconds from the night's beginning; no trial starts that is not expected to end before.
    pub seconds: Option<f64>,
    /// What one trial is expected to take before the first was measured, in seconds.
    pub expected_trial_seconds: f64,
}

/// Why a proposal did not become a candidate.
#[derive(Debug, Clone, PartialEq)]
pub enum Refusal {
    /// The edits do not apply to the champion's files.
    DoesNotApply(String),
    /// The edits break a rule.
    Policy(String),
    /// The resulting files were already an experiment, or are the champion's own.
    Duplicate(String),
}

/// What a proposer is told when it is asked to repair a proposal.
#[derive(Debug, Clone, PartialEq)]
pub enum Setback {
    /// The edits were refused.
    Refused(Refusal),
    /// The compiler refused the result.
    Build(BuildFailure),
}

/// One step of the way from a proposal to a candidate, kept as evidence.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    /// What was tried.
    pub proposal: Proposal,
    /// The commit, where the edits applied.
    pub candidate: Option<Candidate>,
    /// What stood in the way; `None` for the attempt that built.
    pub setback: Option<Setback>,
}

/// Lines that a patch changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lines {
    /// Lines that were not there before.
    pub added: u32,
    /// Lines that are gone.
    pub removed: u32,
}

/// What the evaluator vouches for, with its share of every held-out document.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// The figures.
    pub verified: Verified,
    /// Losses of the documents in the held-out rows, always in the same order; empty where they are not known.
    pub documents: Arc<[DocumentLoss]>,
}

/// An executable on its way through the testing lane: a candidate, the champion, the night's start.
#[derive(Debug, Clone, PartialEq)]
pub struct Launch {
    /// The experiment's number.
    pub number: u32,
    /// The proposal; `None` for the night's start.
    pub proposal: Option<Proposal>,
    /// The commit.
    pub candidate: Candidate,
    /// Lines that it changes.
    pub lines: Lines,
    /// The executable.
    pub artifact: Artifact,
    /// All that happened before.
    pub attempts: Vec<Attempt>,
    /// What it takes back out of the champion, for one of the morning's.
    pub without: Option<Without>,
}

/// What the morning leaves out of the champion, to see whether it is a passenger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Without {
    /// The kept experiment.
    pub kept: u32,
    /// Of a combination, which of its ideas alone, counted from 1 in its proposal's order; `None`: the whole change.
    pub idea: Option<u32>,
}

impl From<u32> for Without {
    fn from(kept: u32) -> Self {
        Self { kept, idea: None }
    }
}

impl fmt::Display for Without {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.idea {
            None => write!(f, "experiment {}", self.kept),
            Some(idea) => write!(f, "idea {idea} of experiment {}", self.kept),
        }
    }
}

/// The best commit so far.
#[derive(Debug, Clone, PartialEq)]
pub struct Champion {
    /// The experiment's number, 0 for the night's start.
    pub number: u32,
    /// The commit.
    pub commit: CommitId,
    /// Mean of its bits per byte on the search text over the seeds of this era; `None` until measured.
    pub val_bpb: Option<f64>,
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The night begins (or goes on).
    Begin,
    /// A proposer answered; `None` when it has nothing left.
    Proposed(Option<Box<Proposal>>),
    /// The edits were applied and committed.
    Committed {
        /// The commit.
        candidate: Candidate,
        /// Lines that it changes.
        lines: Lines,
    },
    /// The edits were not applied.
    Refused(Refusal),
    /// The compiler answered.
    Built {
        /// The experiment's number.
        number: u32,
        /// The executable, or the compiler's errors.
        result: Result<Artifact, BuildFailure>,
    },
    /// The trial in flight passed a look of `stats::early::LOOKS`. Not an answer.
    Look {
        /// The experiment's number.
        number: u32,
        /// Counted from 1.
        trial: u32,
        /// Which look.
        look: usize,
        /// Its smoothed training loss minus that of the champion's run under the same seed, at the same progress; nats per token.
        curve_difference: f64,
    },
    /// What disturbs trials is there to stay, as heat that they make themselves: runs from now on do not compare with earlier ones. The
    /// trial in flight counts for neither. Not an answer.
    Changed(String),
    /// A candidate was tried for a few steps, or could not be.
    SmokeTested {
        /// The experiment's number.
        number: u32,
        /// Which commit.
        commit: CommitId,
        /// How it failed, in words; `None` where it did not, or nothing can be said.
        failed: Option<String>,
    },
    /// A training run ended.
    Trained(Box<Trained>),
    /// The evaluator answered.
    Evaluated(Result<Measured, Rejected>),
    /// The decision is recorded, the branch and the note are written.
    Settled {
        /// The experiment's number.
        number: u32,
    },
    /// The morning's claim is recorded.
    Claimed,
    /// The trial in flight could not be trained or evaluated, for a reason that lies in the machine.
    TrialFault(String),
    /// The trial in flight was never begun: the machine was not fit for it as long as there was time. Neither a trial nor a fault.
    NotBegun(String),
    /// A candidate could not be made, for a reason that lies in the machine or in a proposer.
    MakingFault {
        /// The number that it would have had.
        number: u32,
        /// What happened.
        what: String,
    },
    /// The night cannot go on, for a reason that lies in the machine; says which.
    Fault(String),
    /// Time has passed.
    Tick,
    /// The person wants the night to end: after this trial, or at once.
    Stop {
        /// Do not wait for the trial in flight.
        at_once: bool,
    },
}

/// What is to be done. Each is answered by exactly one event, but for those that say otherwise.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Ask for a proposal: [`Event::Proposed`].
    Propose {
        /// Number that the experiment will have.
        number: u32,
        /// Counts these calls.
        turn: u64,
    },
    /// Ask the same proposer to repair its proposal: [`Event::Proposed`], `None` to give up.
    Repair {
        /// Number that the experiment will have.
        number: u32,
        /// Counts these calls.
        turn: u64,
        /// What failed.
        proposal: Box<Proposal>,
        /// How.
        setback: Box<Setback>,
    },
    /// Ask for a proposal that takes back the edits of a kept experiment, or of one of its ideas: [`Event::Proposed`], `None` where that cannot be done
    /// because later edits build on them.
    ProposeWithout {
        /// The kept experiment, or one of its ideas.
        of: Without,
        /// Number that the experiment will have.
        number: u32,
        /// Counts these calls, with those for proposals.
        turn: u64,
    },
    /// Check the edits and commit them on top of the parent: [`Event::Committed`] or [`Event::Refused`].
    Commit {
        /// Number that the experiment will have.
        number: u32,
        /// What to commit.
        proposal: Box<Proposal>,
        /// On top of what.
        parent: CommitId,
    },
    /// Build: [`Event::Built`].
    Build {
        /// The experiment's number.
        number: u32,
        /// What to build.
        candidate: Candidate,
    },
    /// Try a candidate for a few steps while it waits for its trials: [`Event::SmokeTested`].
    SmokeTest {
        /// What to try.
        launch: Arc<Launch>,
    },
    /// Write down a proposal that came to nothing before it became an experiment. Not answered.
    Skip {
        /// The proposal.
        proposal: Box<Proposal>,
        /// Why.
        reason: String,
    },
    /// Make the experiment (record, branch) if it has none, then train it: [`Event::Trained`].
    Train {
        /// What to train.
        launch: Arc<Launch>,
        /// Counted from 1 within the experiment.
        trial: u32,
        /// Index in the night's list of seeds.
        seed: u32,
        /// What it is for.
        purpose: Purpose,
        /// Runs of different eras are not compared; to be recorded with the trial.
        era: u32,
    },
    /// End the training run in flight because it is hopeless; it then ends as `TrialEnd::StoppedEarly`. Not answered.
    StopEarly {
        /// The experiment's number.
        number: u32,
        /// Counted from 1.
        trial: u32,
        /// Why, in words.
        reason: String,
    },
    /// Record that the training run in flight would have been stopped at this look, and is left to finish as a sample. Not
    /// answered.
    Spare {
        /// The experiment's number.
        number: u32,
        /// Counted from 1.
        trial: u32,
        /// The look.
        look: usize,
    },
    /// Evaluate the checkpoint of the trial: [`Event::Evaluated`].
    Evaluate {
        /// The experiment's number.
        number: u32,
        /// Counted from 1.
        trial: u32,
        /// Which text it is measured on.
        purpose: Purpose,
    },
    /// Record the morning's claim: [`Event::Claimed`].
    Claim {
        /// The claim.
        claim: Box<Claim>,
        /// The night's start.
        start: CommitId,
        /// What it was compared with.
        champion: Champion,
    },
    /// Record what was concluded after a trial that did not settle its experiment, for whoever reads along and for
    /// [`Unsettled::story`]. Not answered.
    Conclude {
        /// The experiment's number.
        number: u32,
        /// In words.
        words: String,
    },
    /// Record a warning and tell the person. Not answered.
    Warn {
        /// In words.
        text: String,
    },
    /// Record the decision; move the champion's branch if it was kept: [`Event::Settled`].
    Settle {
        /// What was tested, or what could not be built.
        settled: Box<Settled>,
    },
    /// The night is over.
    Finish(Ending),
}

/// What [`Effect::Settle`] records.
#[derive(Debug, Clone, PartialEq)]
pub struct Settled {
    /// The experiment's number.
    pub number: u32,
    /// The proposal; `None` for the night's start.
    pub proposal: Option<Proposal>,
    /// The commit, where there is one.
    pub candidate: Option<Candidate>,
    /// The executable, of one that was built and never had a trial.
    pub untried: Option<Artifact>,
    /// All that happened on the way.
    pub attempts: Vec<Attempt>,
    /// The verdict.
    pub decision: Decision,
    /// Mean of its bits per byte over its seeds, where measured.
    pub val_bpb: Option<f64>,
    /// What it takes back out of the champion, for one of the morning's; these are never kept.
    pub without: Option<Without>,
}

/// Why a night ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Ending {
    /// As many experiments as asked for have their verdict.
    ExperimentsDone,
    /// No further trial would end in time.
    Deadline,
    /// No proposer has anything left.
    NothingLeft,
    /// The person stopped it.
    Stopped,
    /// The night's start itself cannot be built, trained or evaluated.
    BadStart(String),
    /// The machine failed again and again.
    MachineFaults(String),
    /// The champion, which had been kept, broke a rule under another seed: what was compared with it tells nothing.
    ChampionInvalid(String),
}
