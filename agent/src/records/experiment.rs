//! What is written down of an experiment.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::night::WithdrawalRecord;
use super::words::{AttemptKind, AttemptOutcome, ExperimentState};
use crate::flow::{Author, CommitId, Decision, Edit, Evidence, ExperimentId, PastExperiment, Proposal, Verdict};

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
    /// The figures behind its verdict.
    pub evidence: Option<Box<Evidence>>,
    /// Seconds that its trials took, evaluation included.
    pub seconds: f64,
}

impl HistoryEntry {
    /// Takes from it what its night had to take back: the experiment that broke a rule is invalid, and those after it, which were
    /// compared with that or built on it, are as good as not measured.
    pub fn take_back(&mut self, withdrawal: &WithdrawalRecord) {
        if withdrawal.trusts(self.id.number) {
            return;
        }
        let unmasked = self.id.number == withdrawal.experiment;
        self.verdict = self.verdict.map(|_| if unmasked { Verdict::Invalid } else { Verdict::Inconclusive });
        (self.difference, self.evidence) = (None, None);
    }

    /// As a line of a [`crate::flow::Brief`] written for `champion`.
    pub fn for_brief(self, champion: &CommitId) -> PastExperiment {
        PastExperiment {
            same_champion: self.champion == *champion,
            id: self.id,
            proposal: self.proposal,
            digest: self.patch_digest,
            verdict: self.verdict,
            difference: self.difference,
            evidence: self.evidence,
            seconds: self.seconds,
        }
    }
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
