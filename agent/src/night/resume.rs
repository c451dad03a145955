//! Going on with a night that was cut off: mends what a crash can leave between two steps, and finds where to go on.

use std::sync::Arc;

use super::context::Context;
use super::machine::{Champion, Start, Unsettled};
use super::perform::{self, Fault};
use crate::flow::{Candidate, TrialEnd, Verdict};
use crate::records::{ExperimentRecord, TrialRecord};

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
        let number = experiment.id.number;
        start.next_number = start.next_number.max(number + 1);
        let Some(candidate) = candidate(experiment) else { continue };
        if number > 0 {
            let title = &experiment.proposal.title;
            perform::create_branch(context, number, title, candidate.commit.clone()).await?;
        }
        let trials = store.trials(&experiment.id).await.map_err(reading)?;
        for trial in trials.iter().filter(|trial| trial.trained.is_none()) {
            let cut_off = perform::unmeasured(TrialEnd::Stopped, trial.seed, trial.budget);
            store.end_trial(&experiment.id, trial.ordinal, &cut_off).await.map_err(reading)?;
        }
        match &experiment.decision {
            Some(decision) => {
                if number > 0 {
                    start.settled += 1;
                }
                if decision.verdict == Verdict::Kept {
                    let val_bpb = trials.iter().rev().find_map(TrialRecord::val_bpb);
                    start.champion = Champion { number, commit: candidate.commit.clone(), val_bpb };
                    last_kept = Some((number, candidate));
                }
            }
            None => {
                start.unsettled = Some(Unsettled {
                    number,
                    proposal: (number > 0).then(|| experiment.proposal.clone()),
                    candidate,
                    trials: u32::try_from(trials.len()).unwrap_or(u32::MAX),
                });
            }
        }
    }
    // Those before it were crowned before it was proposed.
    if let Some((number, candidate)) = last_kept {
        perform::crown(context, number, &candidate).await?;
    }
    // Experiments that never had a commit count as well.
    start.settled += experiments.iter().filter(|e| e.candidate.is_none() && e.decision.is_some()).count() as u32;
    Ok(start)
}

fn candidate(experiment: &ExperimentRecord) -> Option<Candidate> {
    let record = experiment.candidate.as_ref()?;
    Some(Candidate { commit: record.commit.clone(), parent: record.parent.clone() })
}
