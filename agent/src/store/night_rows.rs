//! Rows of what belongs to a night as a whole, and their way into [`crate::records`].

use super::error::{Context, StoreError};
use super::rows::Decoder;
use crate::flow::NightId;
use crate::records::{
    ChampionMove, ClaimRecord, EffectRecord, EventRecord, LookRecord, NightEnd, NightRecord, SkipRecord,
    WithdrawalRecord,
};

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

pub(super) struct ClaimRow {
    pub night: String,
    pub start_commit: String,
    pub champion_commit: String,
    pub pairs: i64,
    pub difference: Option<f64>,
    pub interval_low: Option<f64>,
    pub interval_high: Option<f64>,
    pub p_value: Option<f64>,
    pub holds: i64,
    pub words: String,
    pub at: String,
}

impl ClaimRow {
    pub(super) fn decode(self, context: &Context) -> Result<ClaimRecord, StoreError> {
        let row = Decoder::new(context, format!("the claim of night {}", self.night));
        Ok(ClaimRecord {
            start: row.word("start_commit", &self.start_commit)?,
            champion: row.word("champion_commit", &self.champion_commit)?,
            pairs: row.count("pairs", self.pairs)?,
            difference: self.difference,
            interval: self.interval_low.zip(self.interval_high),
            p_value: self.p_value,
            holds: self.holds != 0,
            words: self.words,
            at: row.word("at", &self.at)?,
        })
    }
}

pub(super) struct WithdrawalRow {
    pub night: String,
    pub experiment: i64,
    pub words: String,
    pub at: String,
}

impl WithdrawalRow {
    pub(super) fn decode(self, context: &Context) -> Result<WithdrawalRecord, StoreError> {
        let row = Decoder::new(context, format!("what was taken back of night {}", self.night));
        let (experiment, at) = (row.count("experiment", self.experiment)?, row.word("at", &self.at)?);
        Ok(WithdrawalRecord { experiment, words: self.words, at })
    }
}

pub(super) struct LookRow {
    pub night: String,
    pub part: String,
    pub what_for: String,
    pub evaluations: i64,
    pub first_at: String,
    pub last_at: String,
}

impl LookRow {
    pub(super) fn decode(self, context: &Context) -> Result<(NightId, LookRecord), StoreError> {
        let row = Decoder::new(context, format!("the ledger of night {}", self.night));
        let look = LookRecord {
            part: row.word("part", &self.part)?,
            evaluations: row.count("evaluations", self.evaluations)?,
            first_at: row.word("first_at", &self.first_at)?,
            last_at: row.word("last_at", &self.last_at)?,
            what_for: self.what_for,
        };
        Ok((row.word("night", &self.night)?, look))
    }
}
