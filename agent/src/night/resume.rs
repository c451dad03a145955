//! Going on with a night that was cut off: mends what a crash can leave between two steps, and finds where to go on.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::context::Context;
use super::journal::OfTrial;
use super::machine::failure;
use super::messages::{Came, Lines, Measured, PastDecision, PastTrial, Standing, Start, Unsettled, Without};
use super::perform::{Fault, blocking, fault, warn};
use super::{earlier, enlist, evaluate, journal, retreat, settle, trial};
use crate::flow::{Artifact, Candidate, Decision, ExperimentId, NightId, Purpose, TrialEnd, Verdict};
use crate::propose::{self, LEAVE_ONE_OUT, ablation};
use crate::records::{COMPARABLE_FACTS, EffectRecord, Evaluation, ExperimentRecord, TrialRecord};
use crate::stats;
use crate::stats::race::RULE;
use crate::store::Store;
use crate::verify::EVALUATOR;

/// Where a new night begins.
///
/// # Errors
/// What failed, in words.
pub async fn at_the_start(context: &Arc<Context>) -> Result<Start, Fault> {
    let mut start = new_start(context);
    earlier::take_over(context, &mut start).await?;
    Ok(start)
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

/// Whether what a night goes on with is what it began with; says what is not. Records of an older version lack some facts.
///
/// # Errors
/// When a fact without which figures do not compare is another now.
pub fn same_machine(then: &BTreeMap<String, String>, now: &BTreeMap<String, String>) -> Result<(), Fault> {
    for fact in COMPARABLE_FACTS {
        let (Some(then), now) = (then.get(fact), now.get(fact)) else { continue };
        if Some(then) != now {
            let now = now.map_or("gone", String::as_str);
            return Err(format!(
                "it began with {fact} = {then}, which is {now} now, so that its figures and new ones would not compare; bring that \
                 back, or begin a new night with --fresh"
            ));
        }
    }
    Ok(())
}

/// Whether the verdicts that a night already has were given as those to come will be; says why not.
///
/// # Errors
/// When an experiment of the night was decided under another version of the rule, or the records cannot be read.
pub async fn same_rule(store: &Store, night: &NightId) -> Result<(), Fault> {
    let experiments = store.experiments(night).await;
    let experiments = experiments.map_err(|error| format!("cannot read the night's records: {error}"))?;
    match under_another_rule(experiments.iter().filter_map(|experiment| experiment.decision.as_ref())) {
        None => Ok(()),
        Some(other) => Err(format!(
            "it has decisions under the rule {other}, and this version decides by {RULE}; verdicts of two rules are not one night's: \
             begin a new night with --fresh"
        )),
    }
}

/// The first rule that is not the one by which nights are decided now.
fn under_another_rule<'a>(mut decisions: impl Iterator<Item = &'a Decision>) -> Option<&'a str> {
    decisions.find(|decision| decision.rule != RULE).map(|decision| decision.rule.as_str())
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
    remove_left_locks(context).await?;
    let experiments = store.experiments(night).await.map_err(reading)?;
    let effects = store.effects(night).await.map_err(reading)?;
    end_cut_off_trials(context).await?;
    let trials = store.night_trials(night).await.map_err(reading)?;

    let order = journal::Order::of(&effects);
    let mut start = new_start(context);
    start.turn = journal::next_turn(&effects);
    start.claimed = store.claim(night).await.map_err(reading)?.is_some();
    start.ending = journal::ending(&effects);
    let mut last_kept = None;
    for experiment in &experiments {
        let id = &experiment.id;
        let number = id.number;
        start.next_number = start.next_number.max(number + 1);
        let Ok(without) = without(experiment, &experiments) else {
            leave(context, experiment).await?;
            continue;
        };
        let counted = u32::from(number > 0 && without.is_none());
        let of: Vec<&TrialRecord> = trials.iter().filter(|trial| trial.experiment == *id).collect();
        let Some(candidate) = candidate(experiment) else {
            // Cut off before its commit was recorded, or given up without one. The start is simply measured anew.
            if number > 0 {
                start.settled += counted;
                leave(context, experiment).await?;
            }
            continue;
        };
        if number > 0 {
            enlist::create_branch(context, number, &experiment.proposal.title, candidate.commit.clone()).await?;
        }
        let standing = standing(context, experiment, &of, candidate.clone());
        if number == 0 {
            start.baseline = standing.clone();
        }
        match &experiment.decision {
            Some(decision) => {
                if decision.verdict == Verdict::Kept {
                    settle::keep_last_checkpoint(context, id).await?;
                    last_kept = Some((number, candidate));
                } else {
                    settle::drop_checkpoints(context, id).await?;
                }
                if number == 0 {
                    start.baseline_settled |= decision.verdict == Verdict::Kept;
                    continue;
                }
                start.settled += counted;
                settle::annotate(context, id).await?;
                let after = trials.iter().filter(|trial| began_before(trial, experiment, &order)).count();
                start.decisions.push(PastDecision { standing, without, decision: decision.clone(), after });
            }
            None if number == 0 => {}
            None if start.unsettled.is_some() => {
                // One was being tested; this one had been given up and its verdict was not written any more.
                start.settled += counted;
                leave(context, experiment).await?;
            }
            None => {
                let story = journal::story(&effects, number);
                start.unsettled = Some(Unsettled { standing, without, story });
            }
        }
    }
    start.decisions.sort_by_key(|decision| decision.after);
    start.tested_without =
        tested_without(&experiments, start.unsettled.as_ref().map(|unsettled| unsettled.standing.number));
    start.tested_without.extend(journal::cannot_leave_out(&effects));
    // Those before it were crowned before it was proposed.
    let withdrawal = store.withdrawal(night).await.map_err(reading)?;
    if let Some((number, candidate)) = &last_kept
        && withdrawal.is_none_or(|withdrawal| withdrawal.spares(*number))
    {
        settle::crown(context, *number, candidate).await?;
    }
    retreat::retreat(context).await?;
    let builds = experiments.iter().filter(|experiment| experiment.id.number > 0);
    let builds = builds.filter_map(|experiment| Some(experiment.artifact.as_ref()?.build_seconds));
    start.longest_build = builds.fold(0.0, f64::max);
    start.trials = past_trials(context, &trials, &effects, &order, &start).await?;
    earlier::take_over(context, &mut start).await?;
    Ok(start)
}

fn new_start(context: &Context) -> Start {
    let night = &context.night;
    Start { night: Some(night.id.clone()), ..Start::new(night.start_commit.clone(), night.proposer_seed) }
}

/// Whether a trial had begun when an experiment was decided on.
fn began_before(trial: &TrialRecord, experiment: &ExperimentRecord, order: &journal::Order) -> bool {
    let of = (order.trial(trial.experiment.number, trial.ordinal), order.settled(experiment.id.number));
    if let (Some(began), Some(settled)) = of {
        return began < settled;
    }
    experiment.decided_at.is_none_or(|decided| trial.started_at <= decided)
}

/// A kill while a branch was written left its lock.
async fn remove_left_locks(context: &Arc<Context>) -> Result<(), Fault> {
    let opener = Arc::clone(context);
    let removed = blocking("looking for locks", move || {
        let repo = opener.repo().map_err(|error| fault("cannot open the repository")(&error))?;
        repo.remove_left_locks(&opener.campaign.name, &opener.night.id).map_err(|error| fault("cannot go on")(&error))
    })
    .await?;
    for lock in removed {
        warn(context, "git", &format!("removed {}, which was left when the night was killed", lock.display())).await?;
    }
    Ok(())
}

/// A trial that the crash cut off ended there.
async fn end_cut_off_trials(context: &Context) -> Result<(), Fault> {
    let (store, night) = (&context.store, &context.night.id);
    let recording = |error: crate::store::StoreError| format!("cannot record that a trial was cut off: {error}");
    for trial in store.night_trials(night).await.map_err(recording)? {
        if trial.trained.is_none() {
            let cut_off = trial::unmeasured(TrialEnd::Stopped, trial.seed, trial.budget);
            store.end_trial(&trial.experiment, trial.ordinal, &cut_off).await.map_err(recording)?;
        }
    }
    Ok(())
}

/// An experiment leaves something out of the champion, and its record does not tell what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Unreadable;

/// What an experiment leaves out of the champion, if it is one of the morning's. One that is, and cannot be read, must not be taken for an
/// ordinary one: that could be kept.
fn without(experiment: &ExperimentRecord, all: &[ExperimentRecord]) -> Result<Option<Without>, Unreadable> {
    if experiment.proposal.author.proposer != LEAVE_ONE_OUT {
        return Ok(None);
    }
    left_out(experiment, all).map(Some).ok_or(Unreadable)
}

/// A kept one, or an idea of a kept combination.
fn left_out(experiment: &ExperimentRecord, all: &[ExperimentRecord]) -> Option<Without> {
    let proposal = &experiment.proposal;
    let Some((kept, idea)) = proposal.key.split_once(ablation::WITHOUT) else {
        return Some(proposal.key.parse::<ExperimentId>().ok()?.number.into());
    };
    let (kept, idea): (ExperimentId, ExperimentId) = (kept.parse().ok()?, idea.parse().ok()?);
    let ideas = propose::tried_again(&all.iter().find(|one| one.id == kept)?.proposal);
    let place = ideas.iter().position(|one| *one == idea)?;
    Some(Without { kept: kept.number, idea: u32::try_from(place + 1).ok() })
}

/// What has been left out, or begun to be: not tried again, whatever became of it, for the same
/// edits are recorded once in a night. What is being tested still is not among them.
fn tested_without(experiments: &[ExperimentRecord], unsettled: Option<u32>) -> Vec<Without> {
    let settled = experiments.iter().filter(|experiment| Some(experiment.id.number) != unsettled);
    settled.filter_map(|experiment| without(experiment, experiments).ok().flatten()).collect()
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
    trials: &[&TrialRecord],
    candidate: Candidate,
) -> Standing {
    let id = &experiment.id;
    let path = context.layout.trainer(id);
    let built = experiment.artifact.as_ref();
    let sha256 = trials.last().map(|last| &last.artifact_sha256).or(built.map(|built| &built.sha256));
    let artifact = sha256.filter(|_| path.exists()).map(|sha256| Artifact {
        path: path.clone(),
        sha256: sha256.clone(),
        build_seconds: built.map_or(0.0, |built| built.build_seconds),
    });
    let lines =
        experiment.candidate.as_ref().map(|record| Lines { added: record.lines_added, removed: record.lines_removed });
    let proposal = (id.number > 0).then(|| experiment.proposal.clone());
    Standing { number: id.number, proposal, candidate, lines: lines.unwrap_or_default(), artifact }
}

/// Trials in the order in which they began: by the journal, or by the clock where the journal lacks one of them.
fn in_order<'a>(trials: &'a [TrialRecord], order: &journal::Order) -> Vec<&'a TrialRecord> {
    let mut sorted: Vec<&TrialRecord> = trials.iter().collect();
    let journalled = |trial: &TrialRecord| order.trial(trial.experiment.number, trial.ordinal);
    if trials.iter().all(|trial| journalled(trial).is_some()) {
        sorted.sort_by_key(|trial| journalled(trial));
        return sorted;
    }
    sorted.sort_by_key(|trial| (trial.started_at, trial.experiment.number, trial.ordinal));
    sorted
}

/// All trials in the order in which they began.
async fn past_trials(
    context: &Arc<Context>,
    trials: &[TrialRecord],
    effects: &[EffectRecord],
    order: &journal::Order,
    start: &Start,
) -> Result<Vec<PastTrial>, Fault> {
    let in_order = in_order(trials, order);
    let journal = journal::Trials::of(effects);
    let mut past = Vec::with_capacity(in_order.len());
    for (place, trial) in in_order.iter().enumerate() {
        let number = trial.experiment.number;
        // A claim that is made needs its documents no more, and the sealed text stays closed. In the search those of every trial say how
        // sure what was found of it is.
        let documents = trial.purpose == Purpose::Search || !start.claimed;
        let newest = place + 1 == in_order.len();
        let OfTrial { looks, changed, fault } = journal.trial(number, trial.ordinal);
        past.push(PastTrial {
            number,
            ordinal: trial.ordinal,
            seed: context.seed_index(trial.seed).ok_or_else(|| {
                format!("the seed of trial {} of {} is not the night's", trial.ordinal, trial.experiment)
            })?,
            purpose: trial.purpose,
            era: trial.era,
            steps: trial.trained.as_ref().map_or(0, |trained| trained.steps),
            seconds: trial.trained.as_ref().map(|trained| trained.start_seconds + trained.training_seconds),
            looks,
            changed,
            came: came(context, trial, fault, documents, newest).await?,
        });
    }
    Ok(past)
}

/// How a trial came out. Only the newest of all can be waiting for its evaluation: what came after another tells that it was given up.
async fn came(
    context: &Arc<Context>,
    trial: &TrialRecord,
    fault: Option<String>,
    documents: bool,
    newest: bool,
) -> Result<Came, Fault> {
    match &trial.evaluation {
        Some(Evaluation::Verified(verified)) if documents => {
            return Ok(Came::Verified(evaluate::measured(context, trial, verified.clone()).await?));
        }
        Some(Evaluation::Verified(verified)) => {
            return Ok(Came::Verified(Measured { verified: verified.clone(), documents: Arc::new([]) }));
        }
        Some(Evaluation::Rejected(rejected)) => {
            let decision = stats::rejected(rejected);
            return Ok(Came::Failed { verdict: decision.verdict, words: decision.reason });
        }
        None => {}
    }
    let Some(trained) = &trial.trained else { return Ok(Came::Nothing) };
    let (id, layout) = (&trial.experiment, &context.layout);
    if let Some(why) = fault {
        return Ok(Came::Spoilt(why));
    }
    Ok(match &trained.end {
        TrialEnd::Finished
            if newest && layout.trainer(id).exists() && layout.checkpoint(id, trial.ordinal).exists() =>
        {
            Came::Waits
        }
        TrialEnd::MachineFault { message } => Came::Spoilt(message.clone()),
        TrialEnd::Finished | TrialEnd::Stopped => Came::Nothing,
        TrialEnd::StoppedEarly { message } => Came::StoppedEarly(message.clone()),
        TrialEnd::TimedOut | TrialEnd::NotFinite | TrialEnd::OutOfMemory { .. } | TrialEnd::Crashed { .. } => {
            Came::Failed { verdict: Verdict::Crashed, words: failure(&trained.end) }
        }
    })
}

fn candidate(experiment: &ExperimentRecord) -> Option<Candidate> {
    let record = experiment.candidate.as_ref()?;
    Some(Candidate { commit: record.commit.clone(), parent: record.parent.clone() })
}

#[cfg(test)]
#[path = "resume_tests.rs"]
mod tests;
