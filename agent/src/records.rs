//! What is written down of a night: the rows of the database and, the same types again, the files `night.json`,
//! `experiment.json` and `trial.json` from which the database can be rebuilt.
//!
//! Plain data. No SQL, no IO, no rules of the loop.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use protocol::Budget;
use serde::{Deserialize, Serialize};

use crate::flow::{
    Author, BadName, Certificate, CommitId, Decision, Edit, ExperimentId, NightId, PastExperiment, Proposal, Rejected,
    Trained, Verdict, Verified,
};

/// Raised whenever the files of a night change their meaning.
pub const FILE_VERSION: u32 = 1;

/// Gives a fieldless enum the words that stand for it in the database and in files.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident, $expected:literal { $($(#[$doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$doc])* #[serde(rename = $word)] $variant,)+
        }

        impl $name {
            /// All of them, in order.
            pub const ALL: &'static [$name] = &[$($name::$variant,)+];

            /// The word used in the database and in files.
            pub fn name(self) -> &'static str {
                match self { $($name::$variant => $word,)+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }

        impl FromStr for $name {
            type Err = BadName;

            fn from_str(text: &str) -> Result<Self, BadName> {
                match text {
                    $($word => Ok($name::$variant),)+
                    _ => Err(BadName { text: text.to_owned(), expected: $expected }),
                }
            }
        }
    };
}

words! {
    /// Why a night ended.
    NightEnding, "a reason for which a night ends" {
        /// The number of experiments asked for was reached.
        ExperimentsDone = "experiments-done",
        /// Its time was up.
        Deadline = "deadline",
        /// No proposer had anything left.
        NothingLeft = "nothing-left",
        /// A person stopped it.
        Stopped = "stopped",
        /// It could not go on; the detail says why.
        Failed = "failed",
        /// It was given up for another night after it had been cut off.
        Abandoned = "abandoned",
    }
}

words! {
    /// How far an experiment has come. It only moves forward, except that a repair sends it back to `proposed`.
    ExperimentState, "an experiment's state" {
        /// Thought of; no commit yet.
        Proposed = "proposed",
        /// On its branch.
        Committed = "committed",
        /// Its trainer's executable exists.
        Built = "built",
        /// A trial has begun.
        Training = "training",
        /// A trial was evaluated.
        Measured = "measured",
        /// It has its verdict; nothing changes any more.
        Decided = "decided",
    }
}

words! {
    /// What was attempted between a proposal and an executable.
    AttemptKind, "a kind of attempt" {
        /// Fitting the edits to the champion's files and the policy.
        Edit = "edit",
        /// Building the commit.
        Build = "build",
    }
}

words! {
    /// Whether an attempt succeeded.
    AttemptOutcome, "an attempt's outcome" {
        /// It did.
        Succeeded = "succeeded",
        /// It did not; the evidence says why.
        Failed = "failed",
    }
}

words! {
    /// How much an event matters.
    Level, "an event's level" {
        /// For whoever looks for a fault.
        Debug = "debug",
        /// The night's ordinary course.
        Info = "info",
        /// Something to look at in the morning.
        Warning = "warning",
        /// Something failed.
        Error = "error",
    }
}

/// The end of a night.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NightEnd {
    /// When.
    pub at: Timestamp,
    /// Why.
    pub how: NightEnding,
    /// In words; may be empty.
    pub detail: String,
}

/// A night: what it was started with, and how it ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NightRecord {
    /// Its name.
    pub id: NightId,
    /// The campaign's name: its folder below `experiments/`.
    pub campaign: String,
    /// The commit that experiment 0 measures and every champion descends from.
    pub start_commit: CommitId,
    /// SHA-256 of `program.md`, hexadecimal.
    pub program_sha256: String,
    /// SHA-256 of `campaign.toml`, hexadecimal.
    pub campaign_sha256: String,
    /// `campaign.toml`, whole.
    pub campaign_text: String,
    /// When it began.
    pub started_at: Timestamp,
    /// When it has to end.
    pub deadline: Option<Timestamp>,
    /// After how many experiments it ends (experiment 0 not counted).
    pub experiment_limit: Option<u32>,
    /// The secret training seeds, in the order of their use.
    pub seeds: Vec<u64>,
    /// The random number for proposers.
    pub proposer_seed: u64,
    /// Facts of the machine by name: `cpu`, `cores`, `memory`, `gpu`, `rustc`, `libtorch`, ...
    pub machine: BTreeMap<String, String>,
    /// How it ended; `None` while it runs, or after it was cut off.
    pub end: Option<NightEnd>,
}

/// A candidate on its branch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CandidateRecord {
    /// The commit.
    pub commit: CommitId,
    /// The commit it stands on.
    pub parent: CommitId,
    /// The branch, for example `nocturne/quickstart/2026-03-08-k4/3-higher-matrix-rate`.
    pub branch: String,
    /// Lines that the commit adds.
    pub lines_added: u32,
    /// Lines that the commit removes.
    pub lines_removed: u32,
}

/// The executable of an experiment; it lies at [`crate::layout::Layout::trainer`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ArtifactRecord {
    /// SHA-256 of the file, hexadecimal.
    pub sha256: String,
    /// Seconds the build took.
    pub build_seconds: f64,
}

/// One round of fitting edits or building.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttemptRecord {
    /// Counted from 1 within the experiment.
    pub ordinal: u32,
    /// What was attempted.
    pub kind: AttemptKind,
    /// What was tried; a repair changes the edits.
    pub edits: Vec<Edit>,
    /// The edits' digest, where they applied.
    pub patch_digest: Option<String>,
    /// The commit, where there was one.
    pub commit: Option<CommitId>,
    /// Whether it succeeded.
    pub outcome: AttemptOutcome,
    /// The compiler's first errors, the policy's complaint; empty on success.
    pub evidence: String,
    /// Seconds it took.
    pub seconds: f64,
    /// When it ended.
    pub at: Timestamp,
}

/// An experiment and all that happened to it, its trials aside.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExperimentRecord {
    /// Which.
    pub id: ExperimentId,
    /// What was proposed; after a repair, the repaired proposal.
    pub proposal: Proposal,
    /// Digest of the edits' content; no two experiments of a night share one.
    pub patch_digest: String,
    /// The champion it was proposed against.
    pub champion: CommitId,
    /// How far it has come.
    pub state: ExperimentState,
    /// Its commit and branch.
    pub candidate: Option<CandidateRecord>,
    /// Its executable.
    pub artifact: Option<ArtifactRecord>,
    /// Rounds of fitting and building, in order.
    pub attempts: Vec<AttemptRecord>,
    /// Its verdict and the reasons.
    pub decision: Option<Decision>,
    /// When it was first recorded.
    pub proposed_at: Timestamp,
    /// When its verdict was recorded.
    pub decided_at: Option<Timestamp>,
}

/// What the evaluator said of a trial.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Evaluation {
    /// It vouches for these figures.
    Verified(Verified),
    /// It does not.
    Rejected(Rejected),
}

impl Evaluation {
    /// Bits per byte, where the evaluator vouches for them.
    pub fn val_bpb(&self) -> Option<f64> {
        match self {
            Evaluation::Verified(verified) => Some(verified.val_bpb),
            Evaluation::Rejected(_) => None,
        }
    }
}

impl From<Verified> for Evaluation {
    fn from(verified: Verified) -> Self {
        Evaluation::Verified(verified)
    }
}

impl From<Rejected> for Evaluation {
    fn from(rejected: Rejected) -> Self {
        Evaluation::Rejected(rejected)
    }
}

/// One training run. Its curve is `curve.jsonl` in `folder`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrialRecord {
    /// Of which experiment.
    pub experiment: ExperimentId,
    /// Counted from 1 within the experiment, runs that a fault of the machine ended included.
    pub ordinal: u32,
    /// The seed.
    pub seed: u64,
    /// The budget.
    pub budget: Budget,
    /// SHA-256 of the executable that ran, hexadecimal.
    pub artifact_sha256: String,
    /// Where its files lie, relative to `.nocturne/`, with forward slashes.
    pub folder: String,
    /// When it began.
    pub started_at: Timestamp,
    /// How it ended; `None` while it runs, or after the night was cut off.
    pub trained: Option<Trained>,
    /// When that was recorded.
    pub ended_at: Option<Timestamp>,
    /// What the evaluator said.
    pub evaluation: Option<Evaluation>,
    /// What the evaluator did; `None` also for trials that were evaluated before claims were audited.
    #[serde(default)]
    pub certificate: Option<Certificate>,
    /// When both were recorded.
    pub evaluated_at: Option<Timestamp>,
}

impl TrialRecord {
    /// Bits per byte, where the evaluator vouches for them.
    pub fn val_bpb(&self) -> Option<f64> {
        self.evaluation.as_ref().and_then(Evaluation::val_bpb)
    }

    /// Standard error of the correction in [`Self::val_bpb`], bits per byte; `None` where nothing was audited.
    pub fn standard_error(&self) -> Option<f64> {
        match (&self.evaluation, &self.certificate) {
            (Some(Evaluation::Verified(verified)), Some(_)) => Some(verified.standard_error),
            _ => None,
        }
    }
}

/// The champion changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChampionMove {
    /// Counted from 1 within the night.
    pub ordinal: u32,
    /// The experiment that won; number 0 is the night's start.
    pub experiment: u32,
    /// Its commit.
    pub commit: CommitId,
    /// When.
    pub at: Timestamp,
}

/// A proposal that was not tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SkipRecord {
    /// Counted from 1 within the night.
    pub ordinal: u32,
    /// Who proposed it.
    pub proposer: String,
    /// The idea's name for its proposer.
    pub key: String,
    /// The champion it did not fit.
    pub champion: CommitId,
    /// Why it was skipped.
    pub reason: String,
    /// When.
    pub at: Timestamp,
}

/// An effect of the night, written down before it is performed and after.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EffectRecord {
    /// Counted from 1 within the night, in the order of beginning.
    pub ordinal: u32,
    /// Names the effect: the same effect has the same key after a restart, for example `build/3/1`.
    pub key: String,
    /// What is done, for example `build`.
    pub kind: String,
    /// With what.
    pub payload: serde_json::Value,
    /// When it was begun.
    pub begun_at: Timestamp,
    /// When it was done; `None` while it is under way, or after the night was cut off.
    pub ended_at: Option<Timestamp>,
    /// What came of it.
    pub outcome: Option<serde_json::Value>,
}

/// Something worth telling.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventRecord {
    /// Counted from 1 within the night.
    pub ordinal: u32,
    /// When.
    pub at: Timestamp,
    /// How much it matters.
    pub level: Level,
    /// Which stage tells it, for example `build`.
    pub stage: String,
    /// What happened.
    pub text: String,
}

/// One experiment of a campaign's history, as proposers need it.
#[derive(Debug, Clone, PartialEq)]
pub struct HistoryEntry {
    /// Which.
    pub id: ExperimentId,
    /// What was proposed.
    pub proposal: Proposal,
    /// Digest of the edits' content.
    pub patch_digest: String,
    /// The champion it was proposed against.
    pub champion: CommitId,
    /// How it ended; `None` while it is being built or trained.
    pub verdict: Option<Verdict>,
    /// Bits per byte against its champion, negative is better.
    pub difference: Option<f64>,
}

impl HistoryEntry {
    /// As a line of a [`crate::flow::Brief`] written for `champion`.
    pub fn for_brief(self, champion: &CommitId) -> PastExperiment {
        PastExperiment {
            same_champion: self.champion == *champion,
            id: self.id,
            proposal: self.proposal,
            verdict: self.verdict,
            difference: self.difference,
            evidence: None,
            seconds: 0.0,
        }
    }
}

/// `night.json`. Events and effects grow all night and stand in `events.jsonl` and `effects.jsonl` beside it, one record a
/// line; of an effect the last line counts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NightFile {
    /// [`FILE_VERSION`].
    pub version: u32,
    /// The night.
    pub night: NightRecord,
    /// Champions in order.
    pub champions: Vec<ChampionMove>,
    /// Proposals that were not tried, in order.
    pub skips: Vec<SkipRecord>,
}

/// `experiment.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExperimentFile {
    /// [`FILE_VERSION`].
    pub version: u32,
    /// The experiment.
    pub experiment: ExperimentRecord,
}

/// `trial.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrialFile {
    /// [`FILE_VERSION`].
    pub version: u32,
    /// The trial.
    pub trial: TrialRecord,
}

/// What stands for a proposal in experiment 0, which changes nothing.
pub fn baseline_proposal() -> Proposal {
    Proposal {
        key: "baseline".to_owned(),
        title: "baseline".to_owned(),
        hypothesis: "The night's start, measured as the first champion.".to_owned(),
        source: String::new(),
        family: "baseline".to_owned(),
        predicted_effect: None,
        confidence: None,
        edits: Vec::new(),
        author: Author { proposer: "person".to_owned(), model: None, cost_usd: 0.0 },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_survive_text_and_json() {
        for state in ExperimentState::ALL {
            assert_eq!(state.name().parse::<ExperimentState>().unwrap(), *state);
            assert_eq!(serde_json::to_value(state).unwrap(), state.name());
        }
        for ending in NightEnding::ALL {
            assert_eq!(ending.name().parse::<NightEnding>().unwrap(), *ending);
        }
        assert!("done".parse::<ExperimentState>().is_err());
    }

    #[test]
    fn states_are_ordered_as_they_follow_each_other() {
        assert!(ExperimentState::ALL.is_sorted());
        assert!(ExperimentState::Training < ExperimentState::Decided);
    }
}
