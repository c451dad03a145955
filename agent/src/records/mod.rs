//! What is written down of a night: the rows of the database and, the same types again, the files `night.json`,
//! `experiment.json` and `trial.json` from which the database can be rebuilt.
//!
//! Plain data. No SQL, no IO, no rules of the loop.

mod experiment;
mod model;
mod night;
mod review;
mod trial;
mod words;

use serde::{Deserialize, Serialize};

pub use experiment::*;
pub use model::*;
pub use night::*;
pub use review::*;
pub use trial::*;
pub use words::*;

/// Raised whenever the files of a night change their meaning.
pub const FILE_VERSION: u32 = 1;

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
    /// The morning's claim.
    #[serde(default)]
    pub claim: Option<ClaimRecord>,
    /// What had to be taken back.
    #[serde(default)]
    pub withdrawal: Option<WithdrawalRecord>,
    /// The ledger of held-out text.
    #[serde(default)]
    pub looks: Vec<LookRecord>,
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
