//! What came of asking an agent, written down before it is used, so that a night that goes on does not ask again for what it has.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::files::{self, FileError};
use crate::flow::Proposal;

/// Bytes of a record that are read.
const MOST_BYTES: u64 = 16 << 20;

/// One turn of an agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::propose) struct Record {
    /// The agent's name.
    pub agent: String,
    /// SHA-256 of the brief that it got, hexadecimal.
    pub brief_sha256: String,
    /// Seconds that it took, all attempts together.
    pub seconds: f64,
    /// What was wrong with each attempt, in order; the last one is empty where it led to a proposal.
    pub attempts: Vec<Vec<String>>,
    /// What it proposed.
    pub proposal: Option<Proposal>,
}

/// Where the records of a night's turns lie.
#[derive(Debug, Clone)]
pub(in crate::propose) struct Records {
    folder: PathBuf,
}

impl Records {
    pub(in crate::propose) fn in_folder(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// The folder of one turn: brief, logs, record.
    pub(in crate::propose) fn turn(&self, turn: u64) -> PathBuf {
        self.folder.join(turn.to_string())
    }

    /// Whether there is a record of a turn.
    pub(in crate::propose) fn has(&self, turn: u64) -> bool {
        self.place(turn).exists()
    }

    /// What is on record of a turn for this agent and brief.
    ///
    /// # Errors
    /// When there is a record that cannot be read.
    pub(in crate::propose) fn of(
        &self,
        turn: u64,
        agent: &str,
        brief_sha256: &str,
    ) -> Result<Option<Record>, FileError> {
        match files::read_json::<Record>(&self.place(turn), MOST_BYTES) {
            Ok(record) => {
                Ok(Some(record).filter(|record| record.agent == agent && record.brief_sha256 == brief_sha256))
            }
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes a turn's record, durably.
    ///
    /// # Errors
    /// When the disk refuses.
    pub(in crate::propose) fn write(&self, turn: u64, record: &Record) -> Result<(), FileError> {
        files::write_json_atomically(&self.place(turn), record)
    }

    fn place(&self, turn: u64) -> PathBuf {
        self.turn(turn).join("record.json")
    }
}
