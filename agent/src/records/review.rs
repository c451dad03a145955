//! What is written down of a person's review.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::words::ReviewChoice;
use crate::flow::ExperimentId;

/// What a person thinks of an experiment. Of several on one experiment the last one counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReviewRecord {
    /// Counted from 1 over all nights, in the order in which they were made.
    pub ordinal: u32,
    /// What it is of.
    pub experiment: ExperimentId,
    /// What is to become of it.
    pub choice: ReviewChoice,
    /// Why, in the person's words. Never empty where it was rejected.
    pub reason: String,
    /// When.
    pub at: Timestamp,
}

/// `reviews.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReviewsFile {
    /// [`FILE_VERSION`](super::FILE_VERSION).
    pub version: u32,
    /// All of them, by ordinal.
    pub reviews: Vec<ReviewRecord>,
}
