//! Going on with a night that was cut off: mends what a crash can leave between two steps, and finds where to go on.

use std::sync::Arc;

use super::context::Context;
use super::messages::{Came, Lines, Measured, PastTrial, Standing, Start, Unsettled};
use super::perform::Fault;
use super::{enlist, settle, trial};
use crate::flow::{Artifact, Candidate, ExperimentId, NightId, Purpose, TrialEnd, Verdict};
use crate::records::{Evaluation, ExperimentRecord, TrialRecord};
use crate::stats;
use crate::store::Store;
use crate::verify::EVALUATOR;

/// Where a new night begins.
pub fn at_the_start(context: &Context) -> Start {
    Start::new(context.night.start_commit.clone(), context.night.proposer_seed)
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
        start.trials.extend(trials.iter().map(|trial| past(context, id, trial)));
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
                start.baseline_settled |= number == 0;
                if number > 0 {
                    start.kept.push(number);
                    start.champion = Some(standing(context, experiment, &trials, candidate.clone()));
                }
                last_kept = Some((number, candidate));
            }
        } else if number == 0 {
            start.baseline = standing(context, experiment, &trials, candidate);
        } else if start.unsettled.is_some() {
            // One was being tested; this one had been given up and its verdict was not written any more.
            start.settled += 1;
            leave(context, experiment).await?;
        } else {
            start.unsettled = Some(Unsettled {
                standing: standing(context, experiment, &trials, candidate),
                without: None,
                story: Vec::new(),
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

fn standing(
    context: &Context,
    experiment: &ExperimentRecord,
    trials: &[TrialRecord],
    candidate: Candidate,
) -> Standing {
    let id = &experiment.id;
    let path = context.layout.trainer(id);
    let artifact = trials.last().filter(|_| path.exists()).map(|last| Artifact {
        path,
        sha256: last.artifact_sha256.clone(),
        build_seconds: experiment.artifact.as_ref().map_or(0.0, |artifact| artifact.build_seconds),
    });
    let lines =
        experiment.candidate.as_ref().map(|record| Lines { added: record.lines_added, removed: record.lines_removed });
    let proposal = (id.number > 0).then(|| experiment.proposal.clone());
    Standing { number: id.number, proposal, candidate, lines: lines.unwrap_or_default(), artifact }
}

fn past(context: &Context, id: &ExperimentId, trial: &TrialRecord) -> PastTrial {
    let finished = trial.trained.as_ref().filter(|trained| trained.end == TrialEnd::Finished);
    let came = match &trial.evaluation {
        Some(Evaluation::Verified(verified)) => {
            Came::Verified(Measured { verified: verified.clone(), documents: Arc::new([]) })
        }
        Some(Evaluation::Rejected(rejected)) => {
            let decision = stats::rejected(rejected);
            Came::Failed { verdict: decision.verdict, words: decision.reason }
        }
        // Its executable and checkpoint may have gone since.
        None if finished.is_some() && context.layout.checkpoint(id, trial.ordinal).exists() => Came::Waits,
        None => Came::Nothing,
    };
    PastTrial {
        number: id.number,
        ordinal: trial.ordinal,
        seed: context.night.seeds.iter().position(|seed| *seed == trial.seed).map_or(0, |index| index as u32),
        purpose: Purpose::Search,
        era: 0,
        steps: trial.trained.as_ref().map_or(0, |trained| trained.steps),
        seconds: None,
        came,
    }
}

fn candidate(experiment: &ExperimentRecord) -> Option<Candidate> {
    let record = experiment.candidate.as_ref()?;
    Some(Candidate { commit: record.commit.clone(), parent: record.parent.clone() })
}
