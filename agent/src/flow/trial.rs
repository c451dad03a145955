//! One training run: what it is for, how it ended, what was measured of it from outside.

use std::str::FromStr;

use protocol::Budget;
use serde::{Deserialize, Serialize};

use super::BadName;

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
    /// The most memory in bytes, by the trainer's word: its resident set on the CPU, its tensors' part of the device's memory on a GPU.
    pub peak_memory_bytes: u64,
    /// Mean training loss over the last tenth of the steps, nats per token, by the trainer's word.
    pub final_loss: Option<f64>,
    /// SHA-256 of the checkpoint, hexadecimal, where one was written.
    pub checkpoint_sha256: Option<String>,
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
