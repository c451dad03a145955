//! What passes between the stages of a night, in the order in which it is made:
//!
//! `Brief -> Proposal -> CheckedPatch -> Candidate -> Artifact | BuildFailure -> Trained -> Verified | Rejected -> Decision`
//!
//! Plain data: no IO, no behaviour beyond what keeps the data whole. Everything is serialisable, because the files of a
//! night (`experiment.json`, `trial.json`) are these types, and the database can be rebuilt from them.

mod decision;
mod details;
mod evaluation;
mod names;
mod trial;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use decision::{Decision, Evidence, Verdict};
pub use details::{Details, Telemetry, Told, Wish};
pub use evaluation::{Audit, Certificate, Check, DocumentLoss, Rejected, Verified};
pub use names::{BadName, CommitId, ExperimentId, NightId};
pub use trial::{Purpose, Trained, TrialEnd};

/// One file of the repository, as text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceFile {
    /// Relative to the repository's root, with forward slashes.
    pub path: String,
    /// Its whole content.
    pub text: String,
}

/// What a proposer gets to know.
#[derive(Debug, Clone, PartialEq)]
pub struct Brief {
    /// `program.md`, whole.
    pub goal: String,
    /// The recipe's constructor in use.
    pub scale: protocol::Scale,
    /// The champion's candidate files, sorted by path.
    pub champion_files: Vec<SourceFile>,
    /// The champion's commit.
    pub champion: CommitId,
    /// The champion's bits per byte on the search text.
    pub champion_val_bpb: Option<f64>,
    /// This night's experiments so far, in order, and those of earlier nights of the campaign before them.
    pub history: Vec<PastExperiment>,
    /// How many of this night's experiments have been settled since the champion last moved; the more, the broader the search.
    pub stagnation: u32,
    /// Counts the calls to proposers in this night: the only source of variation a proposer may use besides the history, so
    /// that a resumed night goes on as it would have.
    pub turn: u64,
    /// The night's own random number for proposers; not one of the secret training seeds.
    pub proposer_seed: u64,
    /// What there is to read, for proposers that do.
    pub details: Details,
}

/// One line of a [`Brief`]'s history.
#[derive(Debug, Clone, PartialEq)]
pub struct PastExperiment {
    /// Which.
    pub id: ExperimentId,
    /// What was proposed.
    pub proposal: Proposal,
    /// [`content_digest`](crate::edit::content_digest) of the candidate files that were tested: equal exactly for the same code.
    pub digest: String,
    /// How it ended; `None` while it is being built or trained.
    pub verdict: Option<Verdict>,
    /// Bits per byte against its champion, negative is better.
    pub difference: Option<f64>,
    /// The figures behind its verdict.
    pub evidence: Option<Box<Evidence>>,
    /// Seconds that its trials took, evaluation included.
    pub seconds: f64,
    /// Whether it was proposed against the present champion (an edit that did not fit an older one may fit now).
    pub same_champion: bool,
}

/// Replace one place of one file. An empty `search` replaces the whole file.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Edit {
    /// Relative to the repository's root, with forward slashes.
    pub path: String,
    /// Text that must be found at exactly one place.
    pub search: String,
    /// What stands there afterwards.
    pub replace: String,
}

/// Who proposed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Author {
    /// `playbook`, `tuner`, `combine`, `leave-one-out`, `models`, `agents`, `person`.
    pub proposer: String,
    /// The language model's name, where one was asked.
    pub model: Option<String>,
    /// What the proposal cost, in US dollars.
    pub cost_usd: f64,
}

/// One change worth a training run, in a proposer's words.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Proposal {
    /// Names the idea for its proposer, so that it is not proposed twice: a playbook entry's id, a tuner's step.
    pub key: String,
    /// One line, at most 72 characters, in the imperative.
    pub title: String,
    /// Why it should help; a few sentences.
    pub hypothesis: String,
    /// Where the idea comes from (a paper, a repository, a person).
    pub source: String,
    /// Groups ideas that vary the same thing: `schedule`, `optimizer`, `attention`, ...
    pub family: String,
    /// Predicted change of the metric in bits per byte; negative is better.
    pub predicted_effect: Option<f64>,
    /// How probable its author thinks it that the change is an improvement at all, 0 to 1.
    #[serde(default)]
    pub confidence: Option<f64>,
    /// All of them apply, or none.
    pub edits: Vec<Edit>,
    /// Who proposed it.
    pub author: Author,
}

/// A commit that holds one proposal's edits on top of its parent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// The commit.
    pub commit: CommitId,
    /// The champion it was made from.
    pub parent: CommitId,
}

/// A trainer's executable, built from a candidate and set aside where no later build writes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Artifact {
    /// The executable.
    pub path: PathBuf,
    /// SHA-256 of the file, hexadecimal.
    pub sha256: String,
    /// Seconds the build took.
    pub build_seconds: f64,
}

/// The compiler said no.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BuildFailure {
    /// The compiler's first errors, rendered, at most three; they quote edited code.
    pub errors: Vec<String>,
    /// How many errors there were in all.
    pub error_count: usize,
    /// Seconds the build took.
    pub build_seconds: f64,
}
