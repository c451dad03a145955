//! What is written down of a trial.

use jiff::Timestamp;
use protocol::Budget;
use serde::{Deserialize, Serialize};

use crate::flow::{Certificate, ExperimentId, Purpose, Rejected, Trained, Verified};

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
    /// What it is for, which says on which held-out text it is measured.
    #[serde(default = "for_the_search")]
    pub purpose: Purpose,
    /// Counts the times in a night at which the machine changed; runs of different eras are not compared.
    #[serde(default)]
    pub era: u32,
    /// The look at its curve at which it would have been stopped early, had it not been left to finish as a sample.
    #[serde(default)]
    pub would_stop: Option<u32>,
    /// The device that it ran on: `cpu` or `cuda:0`, and where the CPU is divided among several trials `cpu:1`; `None` for trials of
    /// before this was recorded.
    #[serde(default)]
    pub device: Option<String>,
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

/// Before the morning had trials of its own, all were the search's.
fn for_the_search() -> Purpose {
    Purpose::Search
}

impl TrialRecord {
    /// What the evaluator vouches for, where it does.
    pub fn verified(&self) -> Option<&Verified> {
        match &self.evaluation {
            Some(Evaluation::Verified(verified)) => Some(verified),
            Some(Evaluation::Rejected(_)) | None => None,
        }
    }

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
