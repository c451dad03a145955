//! Writing facts down. Every operation is one `BEGIN IMMEDIATE` transaction; recording the same fact again does nothing, a
//! contradicting one is an error and changes nothing.

use std::ops::Deref;
use std::path::Path;

use jiff::{Timestamp, Unit};
use protocol::Budget;
use serde_json::Value;
use sqlx::{Sqlite, SqlitePool, Transaction};
use tokio::sync::Mutex;

use super::error::{Context, StoreError};
use super::reader::Reader;
use super::{mirror, open, put, select};
use crate::files;
use crate::flow::{CommitId, Decision, ExperimentId, NightId, Proposal, Trained};
use crate::layout::Layout;
use crate::records::{
    ArtifactRecord, AttemptKind, AttemptOutcome, AttemptRecord, CandidateRecord, ChampionMove, EffectRecord,
    Evaluation, EventRecord, ExperimentRecord, ExperimentState, FILE_VERSION, Level, NightEnd, NightEnding, NightFile,
    NightRecord, SkipRecord, TrialRecord,
};

type Result<T> = std::result::Result<T, StoreError>;

/// What beginning an effect found in the journal.
#[derive(Debug, Clone, PartialEq)]
pub enum Begun {
    /// It is new: perform it.
    First,
    /// It was begun before and not ended: it may have been performed in part.
    Again(EffectRecord),
    /// It was ended before, with this outcome: nothing to perform.
    Done(Value),
}

/// The records, for the one process that writes them. It can do all that a [`Reader`] can.
#[derive(Debug)]
pub struct Store {
    writer: SqlitePool,
    reader: Reader,
    context: Context,
    files: Option<Layout>,
    /// Keeps the files in the order of the rows.
    turn: Mutex<()>,
}

impl Deref for Store {
    type Target = Reader;

    fn deref(&self) -> &Reader {
        &self.reader
    }
}

/// The present, to the millisecond: enough for people, and the same after a way through text.
fn now() -> Timestamp {
    let now = Timestamp::now();
    now.round(Unit::Millisecond).unwrap_or(now)
}

impl Store {
    /// Opens or creates a database without writing any JSON files beside it.
    pub async fn open(path: &Path) -> Result<Self> {
        Self::open_with(path, None).await
    }

    /// Opens or creates a repository's database; every fact is written into the night's JSON files as well.
    pub async fn open_in(layout: &Layout) -> Result<Self> {
        let ignore = layout.state().join(".gitignore");
        if !ignore.exists() {
            files::write_atomically(&ignore, b"*\n")?;
        }
        Self::open_with(&layout.database(), Some(layout.clone())).await
    }

    async fn open_with(path: &Path, files: Option<Layout>) -> Result<Self> {
        let writer = open::open_writer(path).await?;
        let reader = Reader::open(path).await?;
        Ok(Self { writer, reader, context: Context::new(path), files, turn: Mutex::new(()) })
    }

    /// Closes all connections; the write-ahead log is folded into the database.
    pub async fn close(self) {
        self.reader.close().await;
        self.writer.close().await;
    }

    /// IMMEDIATE, because a transaction that reads first and writes later fails at once when another process wrote in
    /// between, whatever the busy timeout says.
    async fn begin(&self) -> Result<Transaction<'static, Sqlite>> {
        self.writer.begin_with("BEGIN IMMEDIATE").await.map_err(self.context.sql("begin to write"))
    }

    async fn commit(&self, transaction: Transaction<'static, Sqlite>) -> Result<()> {
        transaction.commit().await.map_err(self.context.sql("commit"))
    }

    async fn night_in(&self, transaction: &mut Transaction<'static, Sqlite>, id: &NightId) -> Result<NightRecord> {
        select::nights(transaction, &self.context, None, Some(id))
            .await?
            .pop()
            .ok_or_else(|| self.context.unknown(format!("night {id}")))
    }

    async fn mirror_night(&self, id: &NightId) -> Result<()> {
        let Some(layout) = &self.files else { return Ok(()) };
        let night = self.reader.night(id).await?.ok_or_else(|| self.context.unknown(format!("night {id}")))?;
        let champions = self.reader.champion_moves(id).await?;
        let skips = self.reader.skips(id).await?;
        mirror::night(layout, NightFile { version: FILE_VERSION, night, champions, skips }).await
    }

    async fn mirror_experiment(&self, experiment: ExperimentRecord) -> Result<()> {
        match &self.files {
            Some(layout) => mirror::experiment(layout, experiment).await,
            None => Ok(()),
        }
    }

    async fn mirror_trial(&self, trial: TrialRecord) -> Result<()> {
        match &self.files {
            Some(layout) => mirror::trial(layout, trial).await,
            None => Ok(()),
        }
    }

    /// Writes all JSON files of a night anew. Call it before a night that was cut off goes on: the crash may have come between
    /// a row and its file.
    pub async fn refresh_files(&self, night: &NightId) -> Result<()> {
        let _turn = self.turn.lock().await;
        let Some(layout) = &self.files else { return Ok(()) };
        for experiment in self.reader.experiments(night).await? {
            mirror::experiment(layout, experiment).await?;
        }
        for trial in self.reader.night_trials(night).await? {
            mirror::trial(layout, trial).await?;
        }
        mirror::lines(layout, night, self.reader.effects(night).await?, self.reader.events(night).await?).await?;
        self.mirror_night(night).await
    }

    /// Records that a night begins. `night.end` must be `None`.
    pub async fn begin_night(&self, night: &NightRecord) -> Result<()> {
        let _turn = self.turn.lock().await;
        let mut transaction = self.begin().await?;
        match select::nights(&mut transaction, &self.context, None, Some(&night.id)).await?.pop() {
            None => put::night(&mut transaction, &self.context, night).await?,
            Some(recorded) if recorded == *night => {}
            Some(recorded) => {
                return Err(self.context.contradiction(format!("night {}", night.id), &recorded, night));
            }
        }
        self.commit(transaction).await?;
        self.mirror_night(&night.id).await
    }

    /// Records that a night ended.
    pub async fn end_night(&self, id: &NightId, how: NightEnding, detail: &str) -> Result<()> {
        let _turn = self.turn.lock().await;
        let mut transaction = self.begin().await?;
        let mut night = self.night_in(&mut transaction, id).await?;
        match &night.end {
            None => {
                night.end = Some(NightEnd { at: now(), how, detail: detail.to_owned() });
                put::night(&mut transaction, &self.context, &night).await?;
            }
            Some(end) if end.how == how && end.detail == detail => {}
            Some(end) => {
                return Err(self.context.contradiction(format!("the end of night {id}"), end, &(how, detail)));
            }
        }
        self.commit(transaction).await?;
        self.mirror_night(id).await
    }

    /// Records a proposal as experiment `id` against `champion`. The digest of its edits must be new in the night.
    pub async fn record_experiment(
        &self,
        id: &ExperimentId,
        proposal: &Proposal,
        patch_digest: &str,
        champion: &CommitId,
    ) -> Result<()> {
        let _turn = self.turn.lock().await;
        let mut transaction = self.begin().await?;
        let found = select::experiments(&mut transaction, &self.context, &id.night, Some(id.number)).await?.pop();
        let experiment = match found {
            Some(recorded) => {
                let same = recorded.proposal == *proposal
                    && recorded.patch_digest == patch_digest
                    && recorded.champion == *champion;
                if !same {
                    let given = (proposal, patch_digest, champion);
                    return Err(self.context.contradiction(format!("experiment {id}"), &recorded, &given));
                }
                recorded
            }
            None => {
                let experiment = ExperimentRecord {
                    id: id.clone(),
                    proposal: proposal.clone(),
                    patch_digest: patch_digest.to_owned(),
                    champion: champion.clone(),
                    state: ExperimentState::Proposed,
                    candidate: None,
                    artifact: None,
                    attempts: Vec::new(),
                    decision: None,
                    proposed_at: now(),
                    decided_at: None,
                };
                put::experiment(&mut transaction, &self.context, &experiment).await?;
                experiment
            }
        };
        self.commit(transaction).await?;
        self.mirror_experiment(experiment).await
    }

    /// Replaces the proposal of an experiment that has not been trained, after a repair or because the champion moved. Its
    /// candidate and executable are those of the old edits and are forgotten; its attempts stay.
    pub async fn revise_experiment(
        &self,
        id: &ExperimentId,
        proposal: &Proposal,
        patch_digest: &str,
        champion: &CommitId,
    ) -> Result<()> {
        self.change_experiment(id, |experiment, context| {
            let same = experiment.proposal == *proposal
                && experiment.patch_digest == patch_digest
                && experiment.champion == *champion;
            if same {
                return Ok(());
            }
            if experiment.state >= ExperimentState::Training {
                let what = format!("experiment {id}, which has been trained,");
                return Err(context.contradiction(what, experiment, &(proposal, patch_digest, champion)));
            }
            experiment.proposal = proposal.clone();
            experiment.patch_digest = patch_digest.to_owned();
            experiment.champion = champion.clone();
            experiment.candidate = None;
            experiment.artifact = None;
            experiment.state = ExperimentState::Proposed;
            Ok(())
        })
        .await
    }

    /// Records an experiment's commit and branch.
    pub async fn record_candidate(&self, id: &ExperimentId, candidate: &CandidateRecord) -> Result<()> {
        self.change_experiment(id, |experiment, context| {
            let what = || format!("the candidate of experiment {id}");
            set_once(context, what, &mut experiment.candidate, candidate)?;
            experiment.state = experiment.state.max(ExperimentState::Committed);
            Ok(())
        })
        .await
    }

    /// Records an experiment's executable.
    pub async fn record_artifact(&self, id: &ExperimentId, artifact: &ArtifactRecord) -> Result<()> {
        self.change_experiment(id, |experiment, context| {
            let what = || format!("the executable of experiment {id}");
            set_once(context, what, &mut experiment.artifact, artifact)?;
            experiment.state = experiment.state.max(ExperimentState::Built);
            Ok(())
        })
        .await
    }

    /// Records one round of fitting edits or building. When it took place and how long it took does not make it another round.
    pub async fn record_attempt(&self, id: &ExperimentId, attempt: &AttemptRecord) -> Result<()> {
        let _turn = self.turn.lock().await;
        let mut transaction = self.begin().await?;
        let mut experiment = select::experiment(&mut transaction, &self.context, id).await?;
        match experiment.attempts.iter().find(|recorded| recorded.ordinal == attempt.ordinal) {
            None => {
                put::attempt(&mut transaction, &self.context, id, attempt).await?;
                if attempt.kind == AttemptKind::Build && attempt.outcome == AttemptOutcome::Succeeded {
                    experiment.state = experiment.state.max(ExperimentState::Built);
                    put::experiment(&mut transaction, &self.context, &experiment).await?;
                }
            }
            Some(recorded) => {
                let again = AttemptRecord { at: recorded.at, seconds: recorded.seconds, ..attempt.clone() };
                if *recorded != again {
                    let what = format!("attempt {} of experiment {id}", attempt.ordinal);
                    return Err(self.context.contradiction(what, recorded, attempt));
                }
            }
        }
        let experiment = select::experiment(&mut transaction, &self.context, id).await?;
        self.commit(transaction).await?;
        self.mirror_experiment(experiment).await
    }

    /// Records a decision.
    pub async fn record_decision(&self, id: &ExperimentId, decision: &Decision) -> Result<()> {
        self.change_experiment(id, |experiment, context| {
            let what = || format!("the decision on experiment {id}");
            if set_once(context, what, &mut experiment.decision, decision)? {
                experiment.state = ExperimentState::Decided;
                experiment.decided_at = Some(now());
            }
            Ok(())
        })
        .await
    }

    /// Reads an experiment, changes it and writes it back in one transaction.
    async fn change_experiment(
        &self,
        id: &ExperimentId,
        change: impl FnOnce(&mut ExperimentRecord, &Context) -> Result<()>,
    ) -> Result<()> {
        let _turn = self.turn.lock().await;
        let mut transaction = self.begin().await?;
        let mut experiment = select::experiment(&mut transaction, &self.context, id).await?;
        change(&mut experiment, &self.context)?;
        put::experiment(&mut transaction, &self.context, &experiment).await?;
        self.commit(transaction).await?;
        self.mirror_experiment(experiment).await
    }

    /// Records that a trial begins; `ordinal` counts from 1 within the experiment.
    pub async fn begin_trial(
        &self,
        id: &ExperimentId,
        ordinal: u32,
        seed: u64,
        budget: Budget,
        artifact_sha256: &str,
    ) -> Result<()> {
        let _turn = self.turn.lock().await;
        let mut transaction = self.begin().await?;
        let mut experiment = select::experiment(&mut transaction, &self.context, id).await?;
        let found = select::trials(&mut transaction, &self.context, &id.night, Some(id.number), Some(ordinal)).await?;
        let trial = match found.into_iter().next() {
            Some(recorded) => {
                let same =
                    recorded.seed == seed && recorded.budget == budget && recorded.artifact_sha256 == artifact_sha256;
                if !same {
                    let what = format!("trial {ordinal} of experiment {id}");
                    return Err(self.context.contradiction(what, &recorded, &(seed, budget, artifact_sha256)));
                }
                recorded
            }
            None => {
                let trial = TrialRecord {
                    experiment: id.clone(),
                    ordinal,
                    seed,
                    budget,
                    artifact_sha256: artifact_sha256.to_owned(),
                    folder: Layout::trial_folder(id, ordinal),
                    started_at: now(),
                    trained: None,
                    ended_at: None,
                    evaluation: None,
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
        self.change_trial(id, ordinal, |trial, context| {
            if (trained.seed, trained.budget) != (trial.seed, trial.budget) {
                let what = format!("the seed or budget of trial {ordinal} of experiment {id}");
                return Err(context.contradiction(what, &(trial.seed, trial.budget), trained));
            }
            let what = || format!("the end of trial {ordinal} of experiment {id}");
            if set_once(context, what, &mut trial.trained, trained)? {
                trial.ended_at = Some(now());
            }
            Ok(None)
        })
        .await
    }

    /// Records what the evaluator said of a trial that ended.
    pub async fn record_evaluation(
        &self,
        id: &ExperimentId,
        ordinal: u32,
        evaluation: impl Into<Evaluation>,
    ) -> Result<()> {
        let evaluation = evaluation.into();
        self.change_trial(id, ordinal, |trial, context| {
            if trial.trained.is_none() {
                return Err(context.unknown(format!("the end of trial {ordinal} of experiment {id}")));
            }
            let what = || format!("the evaluation of trial {ordinal} of experiment {id}");
            if set_once(context, what, &mut trial.evaluation, &evaluation)? {
                trial.evaluated_at = Some(now());
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

    /// Records that an experiment's commit is the champion from now on. An experiment becomes champion at most once.
    pub async fn move_champion(&self, id: &ExperimentId, commit: &CommitId) -> Result<()> {
        let _turn = self.turn.lock().await;
        let mut transaction = self.begin().await?;
        let moves = select::champion_moves(&mut transaction, &self.context, &id.night).await?;
        match moves.iter().find(|recorded| recorded.experiment == id.number) {
            None => {
                let ordinal = moves.last().map_or(0, |last| last.ordinal) + 1;
                let champion = ChampionMove { ordinal, experiment: id.number, commit: commit.clone(), at: now() };
                put::champion_move(&mut transaction, &self.context, &id.night, &champion).await?;
            }
            Some(recorded) if recorded.commit == *commit => {}
            Some(recorded) => {
                let what = format!("the champion of experiment {id}");
                return Err(self.context.contradiction(what, recorded, commit));
            }
        }
        self.commit(transaction).await?;
        self.mirror_night(&id.night).await
    }

    /// Records that a proposal was not tried against `champion`.
    pub async fn record_skip(
        &self,
        night: &NightId,
        proposer: &str,
        key: &str,
        champion: &CommitId,
        reason: &str,
    ) -> Result<()> {
        let _turn = self.turn.lock().await;
        let mut transaction = self.begin().await?;
        let skips = select::skips(&mut transaction, &self.context, night).await?;
        let recorded = skips.iter().any(|skip| {
            skip.proposer == proposer && skip.key == key && skip.champion == *champion && skip.reason == reason
        });
        if !recorded {
            let skip = SkipRecord {
                ordinal: skips.last().map_or(0, |last| last.ordinal) + 1,
                proposer: proposer.to_owned(),
                key: key.to_owned(),
                champion: champion.clone(),
                reason: reason.to_owned(),
                at: now(),
            };
            put::skip(&mut transaction, &self.context, night, &skip).await?;
        }
        self.commit(transaction).await?;
        self.mirror_night(night).await
    }

    /// Records something worth telling. Events are not facts: telling one twice records it twice.
    pub async fn event(&self, night: &NightId, level: Level, stage: &str, text: &str) -> Result<()> {
        let _turn = self.turn.lock().await;
        let mut transaction = self.begin().await?;
        let event = EventRecord {
            ordinal: select::last_event(&mut transaction, &self.context, night).await? + 1,
            at: now(),
            level,
            stage: stage.to_owned(),
            text: text.to_owned(),
        };
        put::event(&mut transaction, &self.context, night, &event).await?;
        self.commit(transaction).await?;
        match &self.files {
            Some(layout) => mirror::event(layout, night, event).await,
            None => Ok(()),
        }
    }

    /// Writes down that an effect is about to be performed. The same key must always name the same kind and payload.
    pub async fn begin_effect(&self, night: &NightId, key: &str, kind: &str, payload: &Value) -> Result<Begun> {
        let _turn = self.turn.lock().await;
        let mut transaction = self.begin().await?;
        if let Some(recorded) = select::effects(&mut transaction, &self.context, night, Some(key)).await?.pop() {
            if recorded.kind != kind || recorded.payload != *payload {
                let what = format!("effect {key} of night {night}");
                return Err(self.context.contradiction(what, &recorded, &(kind, payload)));
            }
            return Ok(match recorded.outcome {
                Some(outcome) => Begun::Done(outcome),
                None => Begun::Again(recorded),
            });
        }
        let effect = EffectRecord {
            ordinal: select::last_effect(&mut transaction, &self.context, night).await? + 1,
            key: key.to_owned(),
            kind: kind.to_owned(),
            payload: payload.clone(),
            begun_at: now(),
            ended_at: None,
            outcome: None,
        };
        put::effect(&mut transaction, &self.context, night, &effect).await?;
        self.commit(transaction).await?;
        self.mirror_effect(night, effect).await?;
        Ok(Begun::First)
    }

    /// Writes down that an effect was performed.
    pub async fn end_effect(&self, night: &NightId, key: &str, outcome: &Value) -> Result<()> {
        let _turn = self.turn.lock().await;
        let mut transaction = self.begin().await?;
        let mut effect = select::effects(&mut transaction, &self.context, night, Some(key))
            .await?
            .pop()
            .ok_or_else(|| self.context.unknown(format!("effect {key} of night {night}")))?;
        let what = || format!("the outcome of effect {key} of night {night}");
        if !set_once(&self.context, what, &mut effect.outcome, outcome)? {
            return Ok(());
        }
        effect.ended_at = Some(now());
        put::effect(&mut transaction, &self.context, night, &effect).await?;
        self.commit(transaction).await?;
        self.mirror_effect(night, effect).await
    }

    async fn mirror_effect(&self, night: &NightId, effect: EffectRecord) -> Result<()> {
        match &self.files {
            Some(layout) => mirror::effect(layout, night, effect).await,
            None => Ok(()),
        }
    }
}

/// Fills an empty slot (`true`), accepts the same fact again (`false`), refuses another one.
fn set_once<T: Clone + PartialEq + std::fmt::Debug>(
    context: &Context,
    what: impl FnOnce() -> String,
    slot: &mut Option<T>,
    fact: &T,
) -> Result<bool> {
    match slot {
        None => {
            *slot = Some(fact.clone());
            Ok(true)
        }
        Some(recorded) if recorded == fact => Ok(false),
        Some(recorded) => Err(context.contradiction(what(), recorded, fact)),
    }
}
