//! View models of what a person makes of experiments.

use serde::{Deserialize, Serialize};

/// What is to become of an experiment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Choice {
    /// It is wanted.
    Accepted,
    /// It is not.
    Rejected,
    /// Later.
    Deferred,
}

impl Choice {
    /// The word on pages.
    pub fn name(self) -> &'static str {
        match self {
            Choice::Accepted => "accepted",
            Choice::Rejected => "rejected",
            Choice::Deferred => "deferred",
        }
    }
}

/// The person's last word on an experiment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReviewView {
    /// What is to become of it.
    pub choice: Choice,
    /// Why, in the person's words; may be empty.
    pub reason: String,
    /// When, as a person reads it.
    pub date: String,
}
