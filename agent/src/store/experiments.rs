//! Writing down an experiment: proposal, candidate, executable, attempts, decision.

use super::error::{Context, StoreError};
use super::queue::result_of;
use super::writer::{Store, now, set_once};
use super::{put, select};
use crate::flow::{CommitId, Decision, ExperimentId, Proposal};
use crate::records::{
    ArtifactRecord, AttemptKind, AttemptOutcome, AttemptRecord, CandidateRecord, ExperimentRecord, ExperimentState,
    QueueState,
};

type Result<T> = std::result::Result<T, StoreError>;

impl Store {
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

    /// Records an experiment that is about to be tested, its attempts, commit and executable with it: a crash leaves all of it or nothing.
    /// One that is there already is not changed, and must be of the same proposal and commit.
    pub async fn enlist(&self, experiment: &ExperimentRecord) -> Result<()> {
        let _turn = self.turn.lock().await;
        let mut transaction = self.begin().await?;
        let id = &experiment.id;
        match select::experiments(&mut transaction, &self.context, &id.night, Some(id.number)).await?.pop() {
            None => {
                put::experiment(&mut transaction, &self.context, experiment).await?;
                for attempt in &experiment.attempts {
                    put::attempt(&mut transaction, &self.context, id, attempt).await?;
                }
            }
            Some(same) if same.proposal == experiment.proposal && same.candidate == experiment.candidate => {}
            Some(recorded) => {
                return Err(self.context.contradiction(format!("experiment {id}"), &recorded, experiment));
            }
        }
        let experiment = select::experiment(&mut transaction, &self.context, id).await?;
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

    /// Records a decision. Where the experiment came of the person's queue, the entry is settled with it.
    pub async fn record_decision(&self, id: &ExperimentId, decision: &Decision) -> Result<()> {
        let _turn = self.turn.lock().await;
        let mut transaction = self.begin().await?;
        let mut experiment = select::experiment(&mut transaction, &self.context, id).await?;
        let what = || format!("the decision on experiment {id}");
        if set_once(&self.context, what, &mut experiment.decision, decision)? {
            experiment.state = ExperimentState::Decided;
            experiment.decided_at = Some(now());
            put::experiment(&mut transaction, &self.context, &experiment).await?;
            let (key, result) = (&experiment.proposal.key, result_of(decision));
            self.settle_by_key(&mut transaction, (&id.night, Some(id.number)), key, QueueState::Done, &result).await?;
        }
        self.commit(transaction).await?;
        self.mirror_experiment(experiment).await
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
}
