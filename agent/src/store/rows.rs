//! Rows as SQLite gives them, and their way into [`crate::records`]. Every row goes through here, so a word or number that
//! this program did not write is noticed and named.

use std::fmt;
use std::str::FromStr;

use serde::de::DeserializeOwned;

use super::error::{Context, StoreError};
use crate::flow::{Author, Decision, ExperimentId, Proposal};
use crate::records::{ArtifactRecord, AttemptRecord, CandidateRecord, ExperimentRecord, HistoryEntry};

/// Reads the columns of one row; names the row when one cannot be read.
pub(super) struct Decoder<'a> {
    context: &'a Context,
    row: String,
}

impl<'a> Decoder<'a> {
    pub(super) fn new(context: &'a Context, row: impl Into<String>) -> Self {
        Self { context, row: row.into() }
    }

    pub(super) fn bad(&self, column: &str, problem: impl fmt::Display) -> StoreError {
        self.context.bad_row(self.row.clone(), format!("{column}: {problem}"))
    }

    pub(super) fn word<T: FromStr>(&self, column: &str, text: &str) -> Result<T, StoreError>
    where
        T::Err: fmt::Display,
    {
        text.parse().map_err(|problem| self.bad(column, problem))
    }

    pub(super) fn optional_word<T: FromStr>(&self, column: &str, text: Option<&String>) -> Result<Option<T>, StoreError>
    where
        T::Err: fmt::Display,
    {
        text.map(|text| self.word(column, text)).transpose()
    }

    pub(super) fn json<T: DeserializeOwned>(&self, column: &str, text: &str) -> Result<T, StoreError> {
        serde_json::from_str(text).map_err(|problem| self.bad(column, problem))
    }

    pub(super) fn count(&self, column: &str, number: i64) -> Result<u32, StoreError> {
        u32::try_from(number).map_err(|problem| self.bad(column, problem))
    }

    /// A column that the schema's checks promise beside the one that was found.
    pub(super) fn present<T>(&self, column: &str, value: Option<T>) -> Result<T, StoreError> {
        value.ok_or_else(|| self.bad(column, "is missing"))
    }
}

/// Unsigned numbers are stored bit for bit; see the migration's head.
pub(super) fn to_signed(number: u64) -> i64 {
    number.cast_signed()
}

pub(super) fn to_unsigned(number: i64) -> u64 {
    number.cast_unsigned()
}

pub(super) struct ExperimentRow {
    pub night: String,
    pub number: i64,
    pub key: String,
    pub title: String,
    pub hypothesis: String,
    pub source: String,
    pub family: String,
    pub predicted_effect: Option<f64>,
    pub proposer: String,
    pub model: Option<String>,
    pub cost_usd: f64,
    pub edits_json: String,
    pub patch_digest: String,
    pub champion_commit: String,
    pub state: String,
    pub commit_id: Option<String>,
    pub parent_commit: Option<String>,
    pub branch: Option<String>,
    pub lines_added: Option<i64>,
    pub lines_removed: Option<i64>,
    pub artifact_sha256: Option<String>,
    pub build_seconds: Option<f64>,
    pub verdict: Option<String>,
    pub difference: Option<f64>,
    pub interval_low: Option<f64>,
    pub interval_high: Option<f64>,
    pub decided_on_trials: Option<i64>,
    pub rule: Option<String>,
    pub reason: Option<String>,
    pub proposed_at: String,
    pub decided_at: Option<String>,
    pub confidence: Option<f64>,
    pub evidence_json: Option<String>,
}

impl ExperimentRow {
    /// Without its attempts.
    pub(super) fn decode(self, context: &Context) -> Result<ExperimentRecord, StoreError> {
        let row = Decoder::new(context, format!("experiment {}/{}", self.night, self.number));
        let id = ExperimentId { night: row.word("night", &self.night)?, number: row.count("number", self.number)? };
        let candidate = match self.commit_id {
            None => None,
            Some(commit) => Some(CandidateRecord {
                commit: row.word("commit_id", &commit)?,
                parent: row.word("parent_commit", &row.present("parent_commit", self.parent_commit)?)?,
                branch: row.present("branch", self.branch)?,
                lines_added: row.count("lines_added", row.present("lines_added", self.lines_added)?)?,
                lines_removed: row.count("lines_removed", row.present("lines_removed", self.lines_removed)?)?,
            }),
        };
        let artifact = match self.artifact_sha256 {
            None => None,
            Some(sha256) => {
                Some(ArtifactRecord { sha256, build_seconds: row.present("build_seconds", self.build_seconds)? })
            }
        };
        let decision = match self.verdict {
            None => None,
            Some(verdict) => Some(Decision {
                verdict: row.word("verdict", &verdict)?,
                difference: self.difference,
                interval: self.interval_low.zip(self.interval_high),
                trials: row.count("decided_on_trials", row.present("decided_on_trials", self.decided_on_trials)?)?,
                rule: row.present("rule", self.rule)?,
                reason: row.present("reason", self.reason)?,
                evidence: self.evidence_json.map(|text| row.json("evidence_json", &text)).transpose()?,
            }),
        };
        Ok(ExperimentRecord {
            id,
            proposal: Proposal {
                key: self.key,
                title: self.title,
                hypothesis: self.hypothesis,
                source: self.source,
                family: self.family,
                predicted_effect: self.predicted_effect,
                confidence: self.confidence,
                edits: row.json("edits_json", &self.edits_json)?,
                author: Author { proposer: self.proposer, model: self.model, cost_usd: self.cost_usd },
            },
            patch_digest: self.patch_digest,
            champion: row.word("champion_commit", &self.champion_commit)?,
            state: row.word("state", &self.state)?,
            candidate,
            artifact,
            attempts: Vec::new(),
            decision,
            proposed_at: row.word("proposed_at", &self.proposed_at)?,
            decided_at: row.optional_word("decided_at", self.decided_at.as_ref())?,
        })
    }

    /// `seconds`: what its trials took.
    pub(super) fn decode_history(self, context: &Context, seconds: f64) -> Result<HistoryEntry, StoreError> {
        let record = self.decode(context)?;
        Ok(HistoryEntry {
            id: record.id,
            proposal: record.proposal,
            patch_digest: record.patch_digest,
            champion: record.champion,
            verdict: record.decision.as_ref().map(|decision| decision.verdict),
            difference: record.decision.as_ref().and_then(|decision| decision.difference),
            evidence: record.decision.and_then(|decision| decision.evidence),
            seconds,
        })
    }
}

pub(super) struct AttemptRow {
    pub night: String,
    pub number: i64,
    pub ordinal: i64,
    pub kind: String,
    pub edits_json: String,
    pub patch_digest: Option<String>,
    pub commit_id: Option<String>,
    pub outcome: String,
    pub evidence: String,
    pub seconds: f64,
    pub at: String,
}

impl AttemptRow {
    pub(super) fn decode(self, context: &Context) -> Result<(u32, AttemptRecord), StoreError> {
        let row =
            Decoder::new(context, format!("attempt {} of experiment {}/{}", self.ordinal, self.night, self.number));
        let record = AttemptRecord {
            ordinal: row.count("ordinal", self.ordinal)?,
            kind: row.word("kind", &self.kind)?,
            edits: row.json("edits_json", &self.edits_json)?,
            patch_digest: self.patch_digest,
            commit: row.optional_word("commit_id", self.commit_id.as_ref())?,
            outcome: row.word("outcome", &self.outcome)?,
            evidence: self.evidence,
            seconds: self.seconds,
            at: row.word("at", &self.at)?,
        };
        Ok((row.count("number", self.number)?, record))
    }
}
