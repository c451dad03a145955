//! Going on with a night that was cut off: mends what a crash can leave between two steps, and finds where to go on.

use std::sync::Arc;

use super::context::Context;
use super::messages::{Champion, Start, Unsettled};
use super::perform::Fault;
use super::{enlist, settle, trial};
use crate::flow::{Artifact, Candidate, NightId, TrialEnd, Verdict};
use crate::records::{Evaluation, ExperimentRecord, TrialRecord};
use crate::stats;
use crate::store::Store;
use crate::verify::EVALUATOR;

/// Where a new night begins.
pub fn at_the_start(context: &Context) -> Start {
    Start {
        champion: Champion { number: 0, commit: context.night.start_commit.clone(), val_bpb: None },
        next_number: 1,
        turn: 0,
        settled: 0,
        unsettled: None,
    }
}

/// Whether the figures that a night already has were measured as those to come will be; says why not.
///
/// # Errors
/// When a trial of the night was evaluated by another evaluator, or the records cannot be read.
pub async fn same_evaluator(store: &Store, night: &NightId) -> Result<(), Fault> {
    let reading = |error: crate::store::StoreError| format!("cannot read the night's records: {error}");
    for experiment in store.experiments(night).await.map_err(reading)? {
        for trial in store.trials(&experiment.id).await.map_err(reading)? {
            if let Some(Evaluation::Verified(verified)) = trial.evaluation
                && verified.evaluator != EVALUATOR
            {
                return Err(format!(
                    "it has figures of the evaluator {}, which cannot be compared with those of {EVALUATOR}; begin a new night \
                     with --fresh",
                    verified.evaluator
                ));
            }
        }
    }
    Ok(())
}

/// Where a night that was cut off goes on. Branches, champion and notes are first brought to what the records say: a row is
/// written before its branch, a decision before the champion moves.
///
/// # Errors
/// What failed, in words.
pub async fn where_it_was(context: &Arc<Context>) -> Result<Start, Fault> {
    let store = &context.store;
    let night = &context.night.id;
    let reading = |error: crate::store::StoreError| format!("cannot read the night's records: {error}");
    store.refresh_files(night).await.map_err(reading)?;
    let experiments = store.experiments(night).await.map_err(reading)?;
    let effects = store.effects(night).await.map_err(reading)?;
    // Turns are counted in the journal's keys; one that was begun is used up.
    let turn = effects
        .iter()
        .filter(|effect| effect.kind == "propose" || effect.kind == "repair")
        .filter_map(|effect| effect.key.rsplit('/').next()?.parse::<u64>().ok())
        .max()
        .map_or(0, |last| last + 1);

    let mut start = at_the_start(context);
    start.turn = turn;
    let mut last_kept = None;
    for experiment in &experiments {
        let id = &experiment.id;
        let number = id.number;
        start.next_number = start.next_number.max(number + 1);
        let trials = store.trials(id).await.map_err(reading)?;
        for trial in trials.iter().filter(|trial| trial.trained.is_none()) {
            let cut_off = trial::unmeasured(TrialEnd::Stopped, trial.seed, trial.budget);
            store.end_trial(id, trial.ordinal, &cut_off).await.map_err(reading)?;
        }
        let Some(candidate) = candidate(experiment) else {
            // Cut off before its commit was recorded, or given up without one. The start is simply measured anew.
            if number > 0 {
                start.settled += 1;
                leave(context, experiment).await?;
            }
            continue;
        };
        if number > 0 {
            enlist::create_branch(context, number, &experiment.proposal.title, candidate.commit.clone()).await?;
        }
        let val_bpb = trials.iter().rev().find_map(TrialRecord::val_bpb);
        if let Some(decision) = &experiment.decision {
            if number > 0 {
                start.settled += 1;
                settle::annotate(context, candidate.commit.clone(), decision, val_bpb).await?;
            }
            if decision.verdict != Verdict::Kept {
                settle::drop_checkpoints(context, &experiment.id).await?;
            } else {
                start.champion = Champion { number, commit: candidate.commit.clone(), val_bpb };
                last_kept = Some((number, candidate));
            }
        } else if start.unsettled.is_some() {
            // One was being tested; this one had been given up and its verdict was not written any more.
            start.settled += 1;
            leave(context, experiment).await?;
        } else {
            start.unsettled = Some(Unsettled {
                number,
                proposal: (number > 0).then(|| experiment.proposal.clone()),
                trained: waits_for_evaluation(context, experiment, trials.last()),
                candidate,
                trials: u32::try_from(trials.len()).unwrap_or(u32::MAX),
            });
        }
    }
    // Those before it were crowned before it was proposed.
    if let Some((number, candidate)) = last_kept {
        settle::crown(context, number, &candidate).await?;
    }
    Ok(start)
}

/// Gives an experiment that the crash left without a verdict one that says so.
async fn leave(context: &Context, experiment: &ExperimentRecord) -> Result<(), Fault> {
    if experiment.decision.is_some() {
        return Ok(());
    }
    let decision = stats::untested(Verdict::Inconclusive, "the night was cut off before it was tested".to_owned());
    let recorded = context.store.record_decision(&experiment.id, &decision).await;
    recorded.map_err(|error| format!("cannot record that {} was cut off: {error}", experiment.id))
}

/// The executable of an experiment whose last trial finished, if everything is there to evaluate it.
fn waits_for_evaluation(
    context: &Context,
    experiment: &ExperimentRecord,
    last: Option<&TrialRecord>,
) -> Option<Artifact> {
    let (id, trial) = (&experiment.id, last?);
    let finished = trial.trained.as_ref().is_some_and(|trained| trained.end == TrialEnd::Finished);
    let path = context.layout.trainer(id);
    let there = finished && path.exists() && context.layout.checkpoint(id, trial.ordinal).exists();
    let build_seconds = experiment.artifact.as_ref().map_or(0.0, |artifact| artifact.build_seconds);
    there.then(|| Artifact { path, sha256: trial.artifact_sha256.clone(), build_seconds })
}

fn candidate(experiment: &ExperimentRecord) -> Option<Candidate> {
    let record = experiment.candidate.as_ref()?;
    Some(Candidate { commit: record.commit.clone(), parent: record.parent.clone() })
}
