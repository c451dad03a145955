//! A trial's row: the widest, because it holds what the agent saw, what the trainer said and what the evaluator vouches for.

use protocol::Budget;

use super::error::{Context, StoreError};
use super::rows::{Decoder, to_unsigned};
use crate::flow::{ExperimentId, Rejected, Trained, TrialEnd, Verified};
use crate::records::{Evaluation, TrialRecord};

pub(super) struct TrialRow {
    pub night: String,
    pub number: i64,
    pub ordinal: i64,
    pub seed: String,
    pub budget_seconds: Option<f64>,
    pub budget_tokens: Option<i64>,
    pub artifact_sha256: String,
    pub folder: String,
    pub started_at: String,
    pub ending: Option<String>,
    pub message: Option<String>,
    pub steps: Option<i64>,
    pub tokens: Option<i64>,
    pub parameters: Option<i64>,
    pub training_seconds: Option<f64>,
    pub start_seconds: Option<f64>,
    pub peak_memory_bytes: Option<i64>,
    pub final_loss: Option<f64>,
    pub checkpoint_sha256: Option<String>,
    pub ended_at: Option<String>,
    pub evaluation: Option<String>,
    pub val_bpb: Option<f64>,
    pub nats: Option<f64>,
    pub bytes: Option<i64>,
    pub scored_tokens: Option<i64>,
    pub evaluator_seconds: Option<f64>,
    pub evaluator: Option<String>,
    pub failed_check: Option<String>,
    pub evidence: Option<String>,
    pub evaluated_at: Option<String>,
    pub standard_error: Option<f64>,
    pub claimed_bpb: Option<f64>,
    pub certificate_json: Option<String>,
    pub purpose: String,
    pub era: i64,
    pub would_stop: Option<i64>,
    pub device: Option<String>,
}

impl TrialRow {
    pub(super) fn decode(self, context: &Context) -> Result<TrialRecord, StoreError> {
        let row = Decoder::new(context, format!("trial {} of experiment {}/{}", self.ordinal, self.night, self.number));
        let seed = row.word("seed", &self.seed)?;
        let budget = match (self.budget_seconds, self.budget_tokens) {
            (Some(seconds), None) => Budget::Seconds(seconds),
            (None, Some(tokens)) => Budget::Tokens(to_unsigned(tokens)),
            _ => return Err(row.bad("budget_seconds, budget_tokens", "exactly one must be there")),
        };
        let trained = match self.ending.as_deref() {
            None => None,
            Some(word) => {
                let message = || row.present("message", self.message.clone());
                let end = match word {
                    "finished" => TrialEnd::Finished,
                    "timed-out" => TrialEnd::TimedOut,
                    "crashed" => TrialEnd::Crashed { message: message()? },
                    "out-of-memory" => TrialEnd::OutOfMemory { message: message()? },
                    "not-finite" => TrialEnd::NotFinite,
                    "stopped" => TrialEnd::Stopped,
                    "stopped-early" => TrialEnd::StoppedEarly { message: message()? },
                    "machine-fault" => TrialEnd::MachineFault { message: message()? },
                    other => return Err(row.bad("ending", format!("{other:?} is not an end of a trial"))),
                };
                Some(Trained {
                    end,
                    seed,
                    budget,
                    steps: to_unsigned(row.present("steps", self.steps)?),
                    tokens: to_unsigned(row.present("tokens", self.tokens)?),
                    parameters: to_unsigned(row.present("parameters", self.parameters)?),
                    training_seconds: row.present("training_seconds", self.training_seconds)?,
                    start_seconds: row.present("start_seconds", self.start_seconds)?,
                    peak_memory_bytes: to_unsigned(row.present("peak_memory_bytes", self.peak_memory_bytes)?),
                    final_loss: self.final_loss,
                    checkpoint_sha256: self.checkpoint_sha256,
                })
            }
        };
        let evaluation = match self.evaluation.as_deref() {
            None => None,
            Some("verified") => Some(Evaluation::Verified(Verified {
                val_bpb: row.present("val_bpb", self.val_bpb)?,
                // Rows of before claims were audited have neither.
                standard_error: self.standard_error.unwrap_or(0.0),
                claimed_bpb: self.claimed_bpb.unwrap_or(0.0),
                nats: row.present("nats", self.nats)?,
                bytes: to_unsigned(row.present("bytes", self.bytes)?),
                tokens: to_unsigned(row.present("scored_tokens", self.scored_tokens)?),
                seconds: row.present("evaluator_seconds", self.evaluator_seconds)?,
                evaluator: row.present("evaluator", self.evaluator)?,
            })),
            Some("rejected") => Some(Evaluation::Rejected(Rejected {
                check: row.present("failed_check", self.failed_check)?,
                evidence: row.present("evidence", self.evidence)?,
            })),
            Some(other) => return Err(row.bad("evaluation", format!("{other:?} is not an evaluation"))),
        };
        Ok(TrialRecord {
            experiment: ExperimentId {
                night: row.word("night", &self.night)?,
                number: row.count("number", self.number)?,
            },
            ordinal: row.count("ordinal", self.ordinal)?,
            seed,
            budget,
            purpose: row.word("purpose", &self.purpose)?,
            era: row.count("era", self.era)?,
            would_stop: self.would_stop.map(|look| row.count("would_stop", look)).transpose()?,
            device: self.device,
            artifact_sha256: self.artifact_sha256,
            folder: self.folder,
            started_at: row.word("started_at", &self.started_at)?,
            trained,
            ended_at: row.optional_word("ended_at", self.ended_at.as_ref())?,
            evaluation,
            certificate: self.certificate_json.map(|text| row.json("certificate_json", &text)).transpose()?,
            evaluated_at: row.optional_word("evaluated_at", self.evaluated_at.as_ref())?,
        })
    }
}
