//! Performing [`Effect::Settle`](super::messages::Effect): a decision and what follows from it, which is the champion's branch, the
//! note, and which checkpoints stay.

use std::sync::Arc;

use serde_json::json;

use super::context::Context;
use super::enlist::{branch_name, create_branch, record_attempts};
use super::messages::{Event, Settled};
use super::perform::{Fault, blocking, fault, now, warn};
use super::retreat;
use crate::flow::{Artifact, Candidate, CommitId, Decision, ExperimentId, Proposal, Purpose, Verdict};
use crate::records::{ArtifactRecord, CandidateRecord, ClaimRecord, ExperimentRecord, TrialRecord, WithdrawalRecord};

/// Records a decision and what follows from it: the champion's branch, the note.
pub(super) async fn settle(context: Arc<Context>, settled: Settled, champion: CommitId) -> Result<Event, Fault> {
    let id = context.id(settled.number);
    let store = &context.store;
    let recording = fault("cannot record the decision");
    if store.experiment(&id).await.map_err(|error| recording(&error))?.is_none() {
        // It never got as far as a trial.
        let Some(proposal) = &settled.proposal else { return Err("the night's start has no record".to_owned()) };
        let parent = settled.candidate.as_ref().map_or_else(|| champion.clone(), |c| c.parent.clone());
        let facts = settled.candidate.as_ref().and_then(|candidate| context.patch(&candidate.commit));
        let digest = facts.as_ref().map_or_else(|| unapplied_digest(proposal), |facts| facts.digest.clone());
        store.record_experiment(&id, proposal, &digest, &parent).await.map_err(|error| recording(&error))?;
        let build_seconds = settled.untried.as_ref().map_or(0.0, |artifact| artifact.build_seconds);
        record_attempts(&context, &id, &settled.attempts, build_seconds).await?;
        if let (Some(candidate), Some(facts)) = (&settled.candidate, facts) {
            let record = CandidateRecord {
                commit: candidate.commit.clone(),
                parent: candidate.parent.clone(),
                branch: branch_name(&context, settled.number, proposal),
                lines_added: facts.lines_added,
                lines_removed: facts.lines_removed,
            };
            store.record_candidate(&id, &record).await.map_err(|error| recording(&error))?;
            create_branch(&context, settled.number, &proposal.title, candidate.commit.clone()).await?;
        }
        if let Some(Artifact { sha256, build_seconds, .. }) = settled.untried.clone() {
            let artifact = ArtifactRecord { sha256, build_seconds };
            store.record_artifact(&id, &artifact).await.map_err(|error| recording(&error))?;
        }
    }
    store.record_decision(&id, &settled.decision).await.map_err(|error| recording(&error))?;
    if let Some(candidate) = &settled.candidate {
        if settled.decision.verdict == Verdict::Kept {
            crown(&context, settled.number, candidate).await?;
        } else {
            drop_checkpoints(&context, &id).await?;
        }
        if settled.number > 0 {
            annotate(&context, &id).await?;
        }
    }
    Ok(Event::Settled { number: settled.number })
}

/// A night of checkpoints fills a disk. Those of experiments that were not kept are removed: their hashes are recorded, and
/// `nocturne replay` makes them again.
pub(super) async fn drop_checkpoints(context: &Arc<Context>, id: &ExperimentId) -> Result<(), Fault> {
    keep_checkpoint(context, id, |_| None).await
}

/// Of an experiment that has had several trials, only the last verified one's checkpoint is kept.
pub(super) async fn keep_last_checkpoint(context: &Arc<Context>, id: &ExperimentId) -> Result<(), Fault> {
    keep_checkpoint(context, id, |trials| trials.iter().rfind(|trial| trial.val_bpb().is_some())).await
}

async fn keep_checkpoint(
    context: &Arc<Context>,
    id: &ExperimentId,
    which: impl Fn(&[TrialRecord]) -> Option<&TrialRecord>,
) -> Result<(), Fault> {
    let trials = context.store.trials(id).await.map_err(|error| fault("cannot read the trials")(&error))?;
    let kept = which(&trials).map(|trial| trial.ordinal);
    for trial in trials.iter().filter(|trial| Some(trial.ordinal) != kept) {
        let path = context.layout.checkpoint(id, trial.ordinal);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(format!("cannot remove {}: {error}", path.display()));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Stands for the digest of edits that never applied; hashes what was proposed, so that no two are taken for one.
fn unapplied_digest(proposal: &Proposal) -> String {
    let words = json!({ "unapplied": proposal.edits, "key": proposal.key }).to_string();
    crate::hash::sha256(words.as_bytes())
}

/// Moves the champion's branch and records the move. A branch that cannot be moved now (somebody has it checked out) is
/// caught up with at the next move, or where the night is resumed.
pub(super) async fn crown(context: &Arc<Context>, number: u32, candidate: &Candidate) -> Result<(), Fault> {
    let (mover, to) = (Arc::clone(context), candidate.commit.clone());
    let moved = blocking("moving the champion", move || {
        let (campaign, night) = (&mover.campaign.name, &mover.night.id);
        let repo = mover.repo().map_err(|error| fault("cannot open the repository")(&error))?;
        let from =
            repo.champion(campaign, night).map_err(|error| fault("cannot read the champion's branch")(&error))?;
        repo.advance_champion(campaign, night, from.as_ref(), &to)
            .map_err(|error| fault("cannot move the champion's branch")(&error))
            .map(drop)
    })
    .await;
    if let Err(why) = moved {
        warn(context, "git", &why).await?;
    }
    context
        .store
        .move_champion(&context.id(number), &candidate.commit)
        .await
        .map_err(|error| fault("cannot record the new champion")(&error))
}

/// Takes back what was kept from an experiment on, because it broke a rule: so says the record, the claim with it, and the champion's
/// branch goes back to the last champion that stands. May be done again.
pub(super) async fn withdraw(context: &Arc<Context>, number: u32, words: &str) -> Result<(), Fault> {
    let recording = fault("cannot record what is taken back");
    let store = &context.store;
    let night = &context.night.id;
    let withdrawal = store.withdrawal(night).await.map_err(|error| recording(&error))?;
    if withdrawal.is_none() {
        store.withdraw(night, number, words).await.map_err(|error| recording(&error))?;
    }
    retreat::retreat(context).await?;
    for champion in store.champion_moves(night).await.map_err(|error| recording(&error))? {
        if champion.experiment >= number.max(1) {
            annotate(context, &context.id(champion.experiment)).await?;
        }
    }
    Ok(())
}

/// Writes the git note of a settled experiment: its decision and, where it is what the morning's claim is about, the claim. It
/// repeats what the database holds, so a night goes on without it.
pub(super) async fn annotate(context: &Arc<Context>, id: &ExperimentId) -> Result<(), Fault> {
    let reading = fault("cannot read what a note is to say");
    let experiment = context.store.experiment(id).await.map_err(|error| reading(&error))?;
    let Some(ExperimentRecord { candidate: Some(candidate), decision: Some(decision), decided_at, .. }) = experiment
    else {
        return Ok(());
    };
    let trials = context.store.trials(id).await.map_err(|error| reading(&error))?;
    let claim = context.store.claim(&id.night).await.map_err(|error| reading(&error))?;
    let claim = claim.filter(|claim| claim.champion == candidate.commit);
    let withdrawal = context.store.withdrawal(&id.night).await.map_err(|error| reading(&error))?;
    let withdrawal = withdrawal.filter(|withdrawal| !withdrawal.spares(id.number));
    let text = note(&decision, decided_by(&trials, decided_at), claim.as_ref(), withdrawal.as_ref());
    let (annotator, commit) = (Arc::clone(context), candidate.commit);
    let noted = blocking("writing the note", move || {
        annotator
            .repo()
            .and_then(|repo| repo.add_note(&commit, &text, now()))
            .map_err(|error| fault("cannot write the git note")(&error))
            .map(drop)
    })
    .await;
    match noted {
        Ok(()) => Ok(()),
        Err(why) => warn(context, "git", &why).await,
    }
}

/// Mean bits per byte of the search trials that a decision rests on; a champion has more of them later.
fn decided_by(trials: &[TrialRecord], decided_at: Option<jiff::Timestamp>) -> Option<f64> {
    let rests_on = |trial: &&TrialRecord| {
        trial.purpose == Purpose::Search && decided_at.is_none_or(|decided| trial.started_at <= decided)
    };
    let figures: Vec<f64> = trials.iter().filter(rests_on).filter_map(TrialRecord::val_bpb).collect();
    (!figures.is_empty()).then(|| figures.iter().sum::<f64>() / figures.len() as f64)
}

/// The text of an experiment's git note: trailers, so that `git log --notes=nocturne` and scripts can read them.
fn note(
    decision: &Decision,
    val_bpb: Option<f64>,
    claim: Option<&ClaimRecord>,
    withdrawal: Option<&WithdrawalRecord>,
) -> String {
    let mut text = format!("Verdict: {}\n", decision.verdict);
    if let Some(val_bpb) = val_bpb {
        text.push_str(&format!("Val-Bpb: {val_bpb:.6}\n"));
    }
    if let Some(difference) = decision.difference {
        text.push_str(&format!("Difference: {difference:+.6}\n"));
    }
    if let Some((low, high)) = decision.interval {
        text.push_str(&format!("Interval: {low:+.6} {high:+.6}\n"));
    }
    if decision.trials > 0 {
        text.push_str(&format!("Trials: {}\n", decision.trials));
    }
    text.push_str(&format!("Rule: {}\nReason: {}\n", decision.rule, decision.reason.replace('\n', " ")));
    if let Some(claim) = claim {
        let word = match (withdrawal, claim.holds) {
            (Some(_), _) => "withdrawn",
            (None, true) => "holds",
            (None, false) => "does not hold",
        };
        text.push_str(&format!("Morning-Claim: {word}: {}\n", claim.words.replace('\n', " ")));
    }
    if let Some(withdrawal) = withdrawal {
        text.push_str(&format!("Withdrawn: {}\n", withdrawal.words.replace('\n', " ")));
    }
    text
}
