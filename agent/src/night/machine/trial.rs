//! What can be run, what for, and one run of it.

use std::sync::Arc;

use crate::flow::{Candidate, DocumentLoss, Proposal, Purpose, TrialEnd};
use crate::night::messages::{Launch, Measured, Standing, Without};
use crate::stats::reference::Glimpse;

/// A commit that may have trials.
#[derive(Debug, Clone)]
pub(super) enum Executable {
    /// Built.
    Built(Arc<Launch>),
    /// To be built before its next trial: the night's start, or after a restart.
    Unbuilt(Box<Standing>),
}

impl Executable {
    /// What an earlier part of the night had; `without` for one of the morning's experiments.
    pub fn of(standing: Standing, without: Option<Without>) -> Self {
        match standing {
            Standing { number, proposal, candidate, lines, artifact: Some(artifact) } => {
                let attempts = Vec::new();
                Self::Built(Arc::new(Launch { number, proposal, candidate, lines, artifact, attempts, without }))
            }
            unbuilt => Self::Unbuilt(Box::new(unbuilt)),
        }
    }

    pub fn number(&self) -> u32 {
        match self {
            Self::Built(launch) => launch.number,
            Self::Unbuilt(standing) => standing.number,
        }
    }

    pub fn candidate(&self) -> &Candidate {
        match self {
            Self::Built(launch) => &launch.candidate,
            Self::Unbuilt(standing) => &standing.candidate,
        }
    }

    pub fn proposal(&self) -> Option<&Proposal> {
        match self {
            Self::Built(launch) => launch.proposal.as_ref(),
            Self::Unbuilt(standing) => standing.proposal.as_ref(),
        }
    }
}

/// What a trial is run for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// To decide on the experiment in the testing lane.
    Candidate,
    /// To have the champion's value under a seed.
    Champion,
    /// To see whether the champion's value under a seed is still the same.
    DriftWatch,
    /// For the morning's claim.
    Morning(Side),
}

/// Which of the two that the morning compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Start,
    Champion,
}

/// The trial in flight.
#[derive(Debug, Clone)]
pub(super) struct Trial {
    pub launch: Arc<Launch>,
    pub ordinal: u32,
    pub seed: u32,
    pub role: Role,
    /// Seconds of start and training; `None` before it has trained.
    pub seconds: Option<f64>,
    /// By the trainer's word.
    pub steps: u64,
    /// Looks at its curve: which, and the difference seen.
    pub looks: Vec<(usize, f64)>,
    /// Asked to be stopped early.
    pub stopping: bool,
    /// Left to finish though it looked hopeless.
    pub spared: bool,
    /// What it showed when it was asked to be stopped.
    pub glimpse: Option<Glimpse>,
}

impl Trial {
    pub fn purpose(&self) -> Purpose {
        match self.role {
            Role::Morning(_) => Purpose::Morning,
            Role::Candidate | Role::Champion | Role::DriftWatch => Purpose::Search,
        }
    }
}

/// What a trial showed on held-out text.
#[derive(Debug, Clone)]
pub(super) struct Shown {
    /// Bits per byte.
    pub val_bpb: f64,
    /// Losses of the documents; empty where they are not known.
    pub documents: Arc<[DocumentLoss]>,
}

impl From<Measured> for Shown {
    fn from(measured: Measured) -> Self {
        Self { val_bpb: measured.verified.val_bpb, documents: measured.documents }
    }
}

/// A trial's own failure in words; of other ends what is known of them.
pub(in crate::night) fn failure(end: &TrialEnd) -> String {
    match end {
        TrialEnd::TimedOut => "it was still running after its budget and what is allowed beyond it".to_owned(),
        TrialEnd::NotFinite => "its loss was not finite".to_owned(),
        TrialEnd::OutOfMemory { message } => format!("out of memory: {message}"),
        TrialEnd::Crashed { message } => format!("it crashed: {message}"),
        other => other.message().unwrap_or_default().to_owned(),
    }
}
