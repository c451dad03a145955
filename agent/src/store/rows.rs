//! Rows as SQLite gives them, and their way into [`crate::records`]. Every row goes through here, so a word or number that
//! this program did not write is noticed and named.

use std::fmt;
use std::str::FromStr;

use serde::de::DeserializeOwned;

use super::error::{Context, StoreError};
use crate::flow::{Author, Decision, ExperimentId, Proposal};
use crate::records::{
    ArtifactRecord, AttemptRecord, CandidateRecord, ChampionMove, EffectRecord, EventRecord, ExperimentRecord,
    HistoryEntry, NightEnd, NightRecord, SkipRecord,
};

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

pub(super) struct NightRow {
    pub id: String,
    pub campaign: String,
    pub start_commit: String,
    pub program_sha256: String,
    pub campaign_sha256: String,
    pub campaign_text: String,
    pub started_at: String,
    pub deadline: Option<String>,
    pub experiment_limit: Option<i64>,
    pub seeds_json: String,
    pub proposer_seed: String,
    pub machine_json: String,
    pub ended_at: Option<String>,
    pub ending: Option<String>,
    pub ending_detail: Option<String>,
}

impl NightRow {
    pub(super) fn decode(self, context: &Context) -> Result<NightRecord, StoreError> {
        let row = Decoder::new(context, format!("night {}", self.id));
        let end = match self.ending {
            None => None,
            Some(how) => Some(NightEnd {
                at: row.word("ended_at", &row.present("ended_at", self.ended_at)?)?,
                how: row.word("ending", &how)?,
                detail: row.present("ending_detail", self.ending_detail)?,
            }),
        };
        Ok(NightRecord {
            id: row.word("id", &self.id)?,
            start_commit: row.word("start_commit", &self.start_commit)?,
            started_at: row.word("started_at", &self.started_at)?,
            deadline: row.optional_word("deadline", self.deadline.as_ref())?,
            experiment_limit: self.experiment_limit.map(|n| row.count("experiment_limit", n)).transpose()?,
            seeds: row.json("seeds_json", &self.seeds_json)?,
            proposer_seed: row.word("proposer_seed", &self.proposer_seed)?,
            machine: row.json("machine_json", &self.machine_json)?,
            end,
            campaign: self.campaign,
            program_sha256: self.program_sha256,
            campaign_sha256: self.campaign_sha256,
            campaign_text: self.campaign_text,
        })
    }
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
                evidence: None,
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
                confidence: None,
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

    pub(super) fn decode_history(self, context: &Context) -> Result<HistoryEntry, StoreError> {
        let record = self.decode(context)?;
        Ok(HistoryEntry {
            id: record.id,
            proposal: record.proposal,
            patch_digest: record.patch_digest,
            champion: record.champion,
            verdict: record.decision.as_ref().map(|decision| decision.verdict),
            difference: record.decision.and_then(|decision| decision.difference),
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

pub(super) struct ChampionMoveRow {
    pub night: String,
    pub ordinal: i64,
    pub experiment: i64,
    pub commit_id: String,
    pub at: String,
}

impl ChampionMoveRow {
    pub(super) fn decode(self, context: &Context) -> Result<ChampionMove, StoreError> {
        let row = Decoder::new(context, format!("champion {} of night {}", self.ordinal, self.night));
        Ok(ChampionMove {
            ordinal: row.count("ordinal", self.ordinal)?,
            experiment: row.count("experiment", self.experiment)?,
            commit: row.word("commit_id", &self.commit_id)?,
            at: row.word("at", &self.at)?,
        })
    }
}

pub(super) struct SkipRow {
    pub night: String,
    pub ordinal: i64,
    pub proposer: String,
    pub key: String,
    pub champion_commit: String,
    pub reason: String,
    pub at: String,
}

impl SkipRow {
    pub(super) fn decode(self, context: &Context) -> Result<SkipRecord, StoreError> {
        let row = Decoder::new(context, format!("skip {} of night {}", self.ordinal, self.night));
        Ok(SkipRecord {
            ordinal: row.count("ordinal", self.ordinal)?,
            champion: row.word("champion_commit", &self.champion_commit)?,
            at: row.word("at", &self.at)?,
            proposer: self.proposer,
            key: self.key,
            reason: self.reason,
        })
    }
}

pub(super) struct EffectRow {
    pub night: String,
    pub ordinal: i64,
    pub key: String,
    pub kind: String,
    pub payload_json: String,
    pub begun_at: String,
    pub ended_at: Option<String>,
    pub outcome_json: Option<String>,
}

impl EffectRow {
    pub(super) fn decode(self, context: &Context) -> Result<EffectRecord, StoreError> {
        let row = Decoder::new(context, format!("effect {} of night {}", self.ordinal, self.night));
        Ok(EffectRecord {
            ordinal: row.count("ordinal", self.ordinal)?,
            payload: row.json("payload_json", &self.payload_json)?,
            begun_at: row.word("begun_at", &self.begun_at)?,
            ended_at: row.optional_word("ended_at", self.ended_at.as_ref())?,
            outcome: self.outcome_json.map(|text| row.json("outcome_json", &text)).transpose()?,
            key: self.key,
            kind: self.kind,
        })
    }
}

pub(super) struct EventRow {
    pub night: String,
    pub ordinal: i64,
    pub at: String,
    pub level: String,
    pub stage: String,
    pub text: String,
}

impl EventRow {
    pub(super) fn decode(self, context: &Context) -> Result<EventRecord, StoreError> {
        let row = Decoder::new(context, format!("event {} of night {}", self.ordinal, self.night));
        Ok(EventRecord {
            ordinal: row.count("ordinal", self.ordinal)?,
            at: row.word("at", &self.at)?,
            level: row.word("level", &self.level)?,
            stage: self.stage,
            text: self.text,
        })
    }
}
