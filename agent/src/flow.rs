//! What passes between the stages of a night, in the order in which it is made:
//!
//! `Brief -> Proposal -> CheckedPatch -> Candidate -> Artifact | BuildFailure -> Trained -> Verified | Rejected -> Decision`
//!
//! Plain data: no IO, no behaviour beyond what keeps the data whole. Everything is serialisable, because the files of a
//! night (`experiment.json`, `trial.json`) are these types, and the database can be rebuilt from them.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use protocol::Budget;
use serde::{Deserialize, Serialize};

/// Names one run of a campaign, for example `2026-03-08-k4`: the date on which it began and two characters that tell nights of one
/// day apart. Safe in a branch name, a path and a URL.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NightId(String);

/// A 40-digit lower-case hexadecimal git object id.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CommitId(String);

/// An experiment: its night and its number there. Number 0 is the night's start itself, measured as the first champion.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ExperimentId {
    /// The night.
    pub night: NightId,
    /// Counted from 1; 0 is the night's start.
    pub number: u32,
}

/// A name that cannot be what it claims to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {expected}")]
pub struct BadName {
    /// What was given.
    pub text: String,
    /// What it should have been.
    pub expected: &'static str,
}

impl NightId {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl CommitId {
    /// The 40 digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first seven digits, as people write them.
    pub fn short(&self) -> &str {
        &self.0[..7]
    }
}

impl TryFrom<String> for NightId {
    type Error = BadName;

    fn try_from(text: String) -> Result<Self, BadName> {
        let fits = (1..=40).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !text.starts_with('-')
            && !text.ends_with('-');
        if fits {
            Ok(Self(text))
        } else {
            Err(BadName { text, expected: "a night's name (lower-case letters, digits and inner dashes, at most 40)" })
        }
    }
}

impl TryFrom<String> for CommitId {
    type Error = BadName;

    fn try_from(text: String) -> Result<Self, BadName> {
        if text.len() == 40 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
            Ok(Self(text))
        } else {
            Err(BadName { text, expected: "a commit id (40 lower-case hexadecimal digits)" })
        }
    }
}

impl FromStr for ExperimentId {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let bad = || BadName { text: text.to_owned(), expected: "an experiment (NIGHT/NUMBER)" };
        let (night, number) = text.rsplit_once('/').ok_or_else(bad)?;
        Ok(Self { night: NightId::try_from(night.to_owned())?, number: number.parse().map_err(|_| bad())? })
    }
}

impl fmt::Display for ExperimentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.night, self.number)
    }
}

macro_rules! text_conversions {
    ($($name:ident),*) => {$(
        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = BadName;

            fn from_str(text: &str) -> Result<Self, BadName> {
                Self::try_from(text.to_owned())
            }
        }
    )*};
}
text_conversions!(NightId, CommitId);

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
    /// `playbook`, `tuner`, `combine`, `leave-one-out`, `model`, `agent`, `person`.
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

/// How a training run ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "end", rename_all = "kebab-case")]
pub enum TrialEnd {
    /// It used its budget and wrote a checkpoint.
    Finished,
    /// It trained on after its budget, or was still there after the grace period.
    TimedOut,
    /// It exited by itself without finishing.
    Crashed {
        /// Exit status or signal, and the trainer's last words.
        message: String,
    },
    /// The host or the device had no memory left for it.
    OutOfMemory {
        /// The trainer's last words.
        message: String,
    },
    /// Its loss was not finite.
    NotFinite,
    /// The night was stopped; says nothing about the experiment.
    Stopped,
    /// The agent ended it because it had become hopeless.
    StoppedEarly {
        /// What was seen of its curve.
        message: String,
    },
    /// The machine failed (disk, device); says nothing about the experiment, which is run again.
    MachineFault {
        /// What happened.
        message: String,
    },
}

impl TrialEnd {
    /// The word used in the database, in files and on pages.
    pub fn name(&self) -> &'static str {
        match self {
            TrialEnd::Finished => "finished",
            TrialEnd::TimedOut => "timed-out",
            TrialEnd::Crashed { .. } => "crashed",
            TrialEnd::OutOfMemory { .. } => "out-of-memory",
            TrialEnd::NotFinite => "not-finite",
            TrialEnd::Stopped => "stopped",
            TrialEnd::StoppedEarly { .. } => "stopped-early",
            TrialEnd::MachineFault { .. } => "machine-fault",
        }
    }

    /// What more is known of it.
    pub fn message(&self) -> Option<&str> {
        match self {
            TrialEnd::Crashed { message }
            | TrialEnd::OutOfMemory { message }
            | TrialEnd::StoppedEarly { message }
            | TrialEnd::MachineFault { message } => Some(message),
            TrialEnd::Finished | TrialEnd::TimedOut | TrialEnd::NotFinite | TrialEnd::Stopped => None,
        }
    }
}

/// One training run, measured from outside.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trained {
    /// How it ended.
    #[serde(flatten)]
    pub end: TrialEnd,
    /// The seed.
    pub seed: u64,
    /// The budget.
    pub budget: Budget,
    /// Optimizer steps, by the trainer's word.
    pub steps: u64,
    /// Tokens trained on, by the trainer's word.
    pub tokens: u64,
    /// Scalars in all trained parameters, by the trainer's word.
    pub parameters: u64,
    /// Seconds from `Go` to the trainer's end, by the agent's clock.
    pub training_seconds: f64,
    /// Seconds from starting the process to `Go`, by the agent's clock.
    pub start_seconds: f64,
    /// Largest resident set in bytes, by the trainer's word.
    pub peak_memory_bytes: u64,
    /// Mean training loss over the last tenth of the steps, nats per token, by the trainer's word.
    pub final_loss: Option<f64>,
    /// SHA-256 of the checkpoint, hexadecimal, where one was written.
    pub checkpoint_sha256: Option<String>,
}

/// What the evaluator vouches for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verified {
    /// Bits per byte: `nats / (ln 2 * bytes)`, the model's claim corrected by what the audit found.
    pub val_bpb: f64,
    /// Standard error of that correction, bits per byte; 0 where every audited token agreed with the claim to the last bit.
    /// Records of the evaluator `plain/1`, which audited nothing, have none and are read as 0.
    #[serde(default)]
    pub standard_error: f64,
    /// Bits per byte as claimed, before the correction. Records of the evaluator `plain/1` have none and are read as 0; what
    /// they vouch for, `val_bpb`, is the claim.
    #[serde(default)]
    pub claimed_bpb: f64,
    /// Sum of the nats of all scored target tokens, corrected.
    pub nats: f64,
    /// Bytes of text that those tokens stand for.
    pub bytes: u64,
    /// How many target tokens were scored; special tokens stand for no bytes and are left out.
    pub tokens: u64,
    /// Seconds of evaluation, by the agent's clock.
    pub seconds: f64,
    /// Which evaluator, for example `claim-and-audit/1`.
    pub evaluator: String,
}

/// What the evaluator did with one trial, whether or not it vouches for it: enough to repeat the check elsewhere.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Certificate {
    /// Name and version of the evaluator, for example `claim-and-audit/1`.
    pub evaluator: String,
    /// SHA-256 of the executable that evaluated, hexadecimal.
    pub evaluator_sha256: String,
    /// SHA-256 of the held-out rows, hexadecimal.
    pub data_sha256: String,
    /// SHA-256 of the checkpoint, hexadecimal.
    pub checkpoint_sha256: String,
    /// SHA-256 of the trainer's executable, hexadecimal.
    pub trainer_sha256: String,
    /// What the trainer was confined by, in words.
    pub sandbox: String,
    /// The checks in the order in which they ran, up to the first that failed.
    pub checks: Vec<Check>,
    /// What the audit saw, where it came that far.
    pub audit: Option<Audit>,
    /// Seconds of the whole verification, by the agent's clock.
    pub seconds: f64,
}

/// One check of a [`Certificate`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// Its name, for example `finite`; the same word as in [`Rejected::check`].
    pub name: String,
    /// Whether it passed.
    pub passed: bool,
    /// What was compared, in words and figures.
    pub detail: String,
}

/// What the audit of a claim saw. For a claim that is rejected its figures may be anything, NaN and infinity included.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Audit {
    /// At how many distinct places the claim was audited.
    pub cuts: u32,
    /// How many of them were drawn only where a leak would have paid.
    pub weighted_cuts: u32,
    /// Largest difference between claim and audit at a cut, nats, in absolute value.
    #[serde(with = "crate::figure")]
    pub largest_difference: f64,
    /// Mean of audit minus claim over all scored tokens, estimated from the cuts, nats per token.
    #[serde(with = "crate::figure")]
    pub mean_difference: f64,
    /// Standard error of that mean, nats per token.
    #[serde(with = "crate::figure")]
    pub standard_error: f64,
    /// Bits per byte as claimed, before the correction.
    #[serde(with = "crate::figure")]
    pub claimed_bpb: f64,
}

/// Why the evaluator does not vouch for a trial.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rejected {
    /// The check that failed, for example `finite`.
    pub check: String,
    /// What was seen.
    pub evidence: String,
}

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

/// What a trial is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// Deciding during the night: measured on the search text.
    Search,
    /// The morning claim: measured on the sealed text, under seeds that nothing was decided by.
    Morning,
}

impl Purpose {
    /// The word used in the database and on pages.
    pub fn name(self) -> &'static str {
        match self {
            Purpose::Search => "search",
            Purpose::Morning => "morning",
        }
    }
}

impl FromStr for Purpose {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        [Purpose::Search, Purpose::Morning]
            .into_iter()
            .find(|purpose| purpose.name() == text)
            .ok_or_else(|| BadName { text: text.to_owned(), expected: "what a trial is for (search, morning)" })
    }
}

/// One held-out document, or the part of it that lies in the held-out rows, as a trial's model predicts it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct DocumentLoss {
    /// Nats of its scored tokens.
    pub nats: f64,
    /// Bytes of text that these stand for.
    pub bytes: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_leave_their_place_are_refused() {
        for bad in ["", "-a", "a-", "a/b", "..", "a b", "A", "ä", &"a".repeat(41)] {
            assert!(bad.parse::<NightId>().is_err(), "{bad:?} was taken for a night");
        }
        for bad in ["", "abc", &"g".repeat(40), &"A".repeat(40), &"a".repeat(41)] {
            assert!(bad.parse::<CommitId>().is_err(), "{bad:?} was taken for a commit");
        }
        for bad in ["2026-03-08-k4", "2026-03-08-k4/", "2026-03-08-k4/x", "/3", "2026-03-08-k4/-1"] {
            assert!(bad.parse::<ExperimentId>().is_err(), "{bad:?} was taken for an experiment");
        }
    }

    #[test]
    fn names_survive_text() {
        let id: ExperimentId = "2026-03-08-k4/12".parse().unwrap();
        assert_eq!((id.night.as_str(), id.number), ("2026-03-08-k4", 12));
        assert_eq!(id.to_string(), "2026-03-08-k4/12");
        for verdict in Verdict::ALL {
            assert_eq!(verdict.name().parse::<Verdict>().unwrap(), verdict);
            assert_eq!(serde_json::to_value(verdict).unwrap(), verdict.name());
        }
    }
}
