//! Writing down a trial: that it began, how it ended, what the evaluator said.

use jiff::Timestamp;
use protocol::Budget;

use super::error::{Context, StoreError};
use super::writer::{Store, now, set_once};
use super::{put, select};
use crate::flow::{Certificate, ExperimentId, Purpose, Trained};
use crate::layout::Layout;
use crate::records::{Evaluation, ExperimentState, TrialRecord};

type Result<T> = std::result::Result<T, StoreError>;

impl Store {
    /// Records that a trial begins; `ordinal` counts from 1 within the experiment, `era` the times at which the machine changed.
    #[expect(clippy::too_many_arguments, reason = "each is one fact of the trial")]
    pub async fn begin_trial(
        &self,
        id: &ExperimentId,
        ordinal: u32,
        seed: u64,
        budget: Budget,
        artifact_sha256: &str,
        purpose: Purpose,
        era: u32,
    ) -> Result<()> {
        self.trial_begun_at(id, ordinal, seed, budget, artifact_sha256, purpose, era, None, now()).await
    }

    /// As [`Self::begin_trial`], of one on a device that has been running since `started_at`, before it was certain that it is asked for.
    #[expect(clippy::too_many_arguments, reason = "each is one fact of the trial")]
    pub async fn trial_begun_at(
        &self,
        id: &ExperimentId,
        ordinal: u32,
        seed: u64,
        budget: Budget,
        artifact_sha256: &str,
        purpose: Purpose,
        era: u32,
        device: Option<&str>,
        started_at: Timestamp,
    ) -> Result<()> {
        let _turn = self.turn.lock().await;
        let mut transaction = self.begin().await?;
        let mut experiment = select::experiment(&mut transaction, &self.context, id).await?;
        let found = select::trials(&mut transaction, &self.context, &id.night, Some(id.number), Some(ordinal)).await?;
        let trial = match found.into_iter().next() {
            Some(recorded) => {
                let was = (recorded.seed, recorded.budget, &*recorded.artifact_sha256, recorded.purpose, recorded.era);
                let given = (seed, budget, artifact_sha256, purpose, era);
                if was != given {
                    let what = format!("trial {ordinal} of experiment {id}");
                    return Err(self.context.contradiction(what, &was, &given));
                }
                recorded
            }
            None => {
                let trial = TrialRecord {
                    experiment: id.clone(),
                    ordinal,
                    seed,
                    budget,
                    purpose,
                    era,
                    would_stop: None,
                    device: device.map(str::to_owned),
                    artifact_sha256: artifact_sha256.to_owned(),
                    folder: Layout::trial_folder(id, ordinal),
                    started_at,
                    trained: None,
                    ended_at: None,
                    evaluation: None,
                    certificate: None,
                    evaluated_at: None,
                };
                put::trial(&mut transaction, &self.context, &trial).await?;
                experiment.state = experiment.state.max(ExperimentState::Training);
                put::experiment(&mut transaction, &self.context, &experiment).await?;
                trial
            }
        };
        self.commit(transaction).await?;
        self.mirror_trial(trial).await?;
        self.mirror_experiment(experiment).await
    }

    /// Records how a trial ended. Its seed and budget must be those it began with.
    pub async fn end_trial(&self, id: &ExperimentId, ordinal: u32, trained: &Trained) -> Result<()> {
        self.trial_ended_at(id, ordinal, trained, now()).await
    }

    /// As [`Self::end_trial`], of one that ended at `ended_at`, before it was certain that it is asked for.
    pub async fn trial_ended_at(
        &self,
        id: &ExperimentId,
        ordinal: u32,
        trained: &Trained,
        ended_at: Timestamp,
    ) -> Result<()> {
        self.change_trial(id, ordinal, |trial, context| {
            if (trained.seed, trained.budget) != (trial.seed, trial.budget) {
                let what = format!("the seed or budget of trial {ordinal} of experiment {id}");
                return Err(context.contradiction(what, &(trial.seed, trial.budget), trained));
            }
            let what = || format!("the end of trial {ordinal} of experiment {id}");
            if set_once(context, what, &mut trial.trained, trained)? {
                trial.ended_at = Some(ended_at);
            }
            Ok(None)
        })
        .await
    }

    /// Records that a trial which is left to finish would have been stopped early at `look`. The first such look stays.
    pub async fn record_would_stop(&self, id: &ExperimentId, ordinal: u32, look: u32) -> Result<()> {
        self.change_trial(id, ordinal, |trial, _| {
            trial.would_stop = trial.would_stop.or(Some(look));
            Ok(None)
        })
        .await
    }

    /// Records what the evaluator said of a trial that ended, and its certificate where it gave one.
    pub async fn record_evaluation(
        &self,
        id: &ExperimentId,
        ordinal: u32,
        evaluation: impl Into<Evaluation>,
        certificate: Option<Certificate>,
    ) -> Result<()> {
        let evaluation = evaluation.into();
        self.change_trial(id, ordinal, |trial, context| {
            if trial.trained.is_none() {
                return Err(context.unknown(format!("the end of trial {ordinal} of experiment {id}")));
            }
            let what = || format!("the evaluation of trial {ordinal} of experiment {id}");
            if set_once(context, what, &mut trial.evaluation, &evaluation)? {
                trial.certificate = certificate;
                trial.evaluated_at = Some(now());
            } else if !same_certificate(trial.certificate.as_ref(), certificate.as_ref()) {
                return Err(context.contradiction(what(), &trial.certificate, &certificate));
            }
            Ok(Some(ExperimentState::Measured))
        })
        .await
    }

    /// Reads a trial, changes it and writes it back in one transaction; the experiment moves on to the state that `change`
    /// names.
    async fn change_trial(
        &self,
        id: &ExperimentId,
        ordinal: u32,
        change: impl FnOnce(&mut TrialRecord, &Context) -> Result<Option<ExperimentState>>,
    ) -> Result<()> {
        let _turn = self.turn.lock().await;
        let mut transaction = self.begin().await?;
        let mut trial = select::trials(&mut transaction, &self.context, &id.night, Some(id.number), Some(ordinal))
            .await?
            .pop()
            .ok_or_else(|| self.context.unknown(format!("trial {ordinal} of experiment {id}")))?;
        let state = change(&mut trial, &self.context)?;
        put::trial(&mut transaction, &self.context, &trial).await?;
        let mut experiment = select::experiment(&mut transaction, &self.context, id).await?;
        let moved_on = state.is_some_and(|state| state > experiment.state);
        if let Some(state) = state.filter(|_| moved_on) {
            experiment.state = state;
            put::experiment(&mut transaction, &self.context, &experiment).await?;
        }
        self.commit(transaction).await?;
        self.mirror_trial(trial).await?;
        if moved_on { self.mirror_experiment(experiment).await } else { Ok(()) }
    }
}

/// Compares as the records do: a NaN of a rejected trial is the same NaN again.
fn same_certificate(recorded: Option<&Certificate>, other: Option<&Certificate>) -> bool {
    serde_json::to_value(recorded).ok() == serde_json::to_value(other).ok()
}
