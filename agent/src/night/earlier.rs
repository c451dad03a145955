//! What a night takes over from earlier ones before it begins, and again when it goes on: what experiments were found to do, how noisy
//! runs are, and what curves said of trials before they ended. Nights count where they are comparable: same campaign, machine, budget.

use std::collections::HashMap;
use std::sync::Arc;

use super::context::Context;
use super::messages::{EARLIER_NIGHTS, Finding, PastLook, Start};
use super::perform::{Fault, blocking, fault};
use crate::flow::{CommitId, NightId, Purpose};
use crate::records::{EarlierRun, ExperimentRecord, TrialRecord, WithdrawalRecord};
use crate::run::Curve;
use crate::stats::curve;
use crate::stats::early::LOOKS;
use crate::stats::noise::Observation;

/// Trials whose curves are read; more would tell little more, and a night is to begin soon.
const MOST_CURVES: usize = 100;

/// Fills in what earlier nights taught.
pub(super) async fn take_over(context: &Arc<Context>, start: &mut Start) -> Result<(), Fault> {
    let (store, night) = (&context.store, &context.night.id);
    let budget = context.campaign.budget();
    let reading = fault("cannot read what earlier nights found");
    let runs = store.earlier_runs(night, budget).await.map_err(|error| reading(&error))?;
    let estimates = store.earlier_estimates(night, budget).await.map_err(|error| reading(&error))?;
    start.observations = observations(&runs);
    start.findings = estimates
        .iter()
        .map(|found| Finding { estimate: found.difference, standard_error: found.standard_error })
        .filter(|found| found.standard_error > 0.0)
        .collect();
    let mut nights: Vec<NightId> = runs.into_iter().map(|run| run.night).collect();
    nights.dedup();
    let champion = start.baseline.candidate.commit.clone();
    let mut pairs = Vec::new();
    // The newest first, so that they are the ones whose curves are read.
    for night in nights.iter().rev() {
        let experiments = store.experiments(night).await.map_err(|error| reading(&error))?;
        let trials = store.night_trials(night).await.map_err(|error| reading(&error))?;
        let withdrawal = store.withdrawal(night).await.map_err(|error| reading(&error))?;
        pairs.extend(compared(&experiments, &trials, withdrawal.as_ref(), &champion).into_iter().rev());
        if pairs.len() >= MOST_CURVES {
            break;
        }
    }
    pairs.truncate(MOST_CURVES);
    pairs.retain(|(trial, champion)| trial.budget == budget && champion.budget == budget);
    let reader = Arc::clone(context);
    start.looks = blocking("reading curves", move || Ok(looks(&reader, &pairs))).await?;
    Ok(())
}

/// Runs as the estimate of noise takes them. Those of two nights, or of two eras of one, are not compared.
fn observations(runs: &[EarlierRun]) -> Vec<Observation> {
    let mut numbered: HashMap<(&NightId, u32), u64> = HashMap::new();
    runs.iter()
        .map(|run| {
            let next = EARLIER_NIGHTS + numbered.len() as u64;
            let night = *numbered.entry((&run.night, run.era)).or_insert(next);
            Observation { group: run.number.into(), against: None, night, seed: run.seed, val_bpb: run.val_bpb }
        })
        .collect()
}

/// A night's verified search trials against this champion, each with its run under the same seed in the same era, in order. Trials
/// against others say nothing: what a champion's curve shows is its own word. Nor do those of what was taken back.
fn compared(
    experiments: &[ExperimentRecord],
    trials: &[TrialRecord],
    withdrawal: Option<&WithdrawalRecord>,
    reference: &CommitId,
) -> Vec<(TrialRecord, TrialRecord)> {
    let commits: HashMap<&CommitId, u32> = experiments
        .iter()
        .filter_map(|experiment| Some((&experiment.candidate.as_ref()?.commit, experiment.id.number)))
        .collect();
    let measured = |trial: &&TrialRecord| {
        let trusted = withdrawal.is_none_or(|withdrawal| withdrawal.trusts(trial.experiment.number));
        trusted && trial.purpose == Purpose::Search && trial.val_bpb().is_some()
    };
    let pair = |trial: &TrialRecord| {
        let number = trial.experiment.number;
        let experiment = experiments.iter().find(|experiment| experiment.id.number == number && number > 0)?;
        let parent = &experiment.candidate.as_ref().filter(|candidate| candidate.parent == *reference)?.parent;
        let champion = *commits.get(parent)?;
        let same = |other: &&TrialRecord| {
            (other.experiment.number, other.seed, other.era) == (champion, trial.seed, trial.era)
        };
        let found = trials.iter().filter(measured).rfind(same)?;
        Some((trial.clone(), found.clone()))
    };
    trials.iter().filter(measured).filter_map(pair).collect()
}

/// What the looks at these trials were worth. A curve that cannot be read any more tells nothing.
fn looks(context: &Context, pairs: &[(TrialRecord, TrialRecord)]) -> Vec<PastLook> {
    let mut curves: HashMap<(NightId, u32, u32), Vec<(f64, f64)>> = HashMap::new();
    let mut seen = Vec::new();
    let mut points = |trial: &TrialRecord| {
        let key = (trial.experiment.night.clone(), trial.experiment.number, trial.ordinal);
        let read = || {
            let path = context.layout.curve(&trial.experiment, trial.ordinal);
            Curve::read(&path, trial.budget).map(|curve| curve.points()).unwrap_or_default()
        };
        curves.entry(key).or_insert_with(read).clone()
    };
    for (trial, champion) in pairs {
        let (Some(end), Some(champions_end)) = (trial.val_bpb(), champion.val_bpb()) else { continue };
        let (own, champions) = (points(trial), points(champion));
        let at = |(look, at): (usize, &f64)| {
            let curve_difference = curve::difference(&own, &champions, *at)?;
            Some(PastLook { look, curve_difference, final_difference: end - champions_end })
        };
        seen.extend(LOOKS.iter().enumerate().filter_map(at));
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::{ExperimentId, TrialEnd};
    use crate::records::{CandidateRecord, Evaluation, ExperimentState, baseline_proposal};

    #[test]
    fn nights_and_eras_are_numbered_apart() {
        let run =
            |night: &str, era, number| EarlierRun { night: night.parse().unwrap(), number, era, seed: 3, val_bpb: 1.0 };
        let found = observations(&[run("a", 0, 0), run("a", 0, 2), run("a", 1, 0), run("b", 0, 0), run("a", 0, 1)]);
        let nights: Vec<u64> = found.iter().map(|observation| observation.night - EARLIER_NIGHTS).collect();
        assert_eq!(nights, [0, 0, 1, 2, 0]);
        assert_eq!(found[1].group, 2);
    }

    #[test]
    fn only_trials_against_the_present_champion_tell_what_curves_promise() {
        let commit = |n: u32| -> CommitId { format!("{n:040x}").parse().unwrap() };
        let experiment = |number: u32, parent: u32| ExperimentRecord {
            id: ExperimentId { night: "n".parse().unwrap(), number },
            proposal: baseline_proposal(),
            patch_digest: number.to_string(),
            champion: commit(parent),
            state: ExperimentState::Decided,
            candidate: Some(CandidateRecord {
                commit: commit(number),
                parent: commit(parent),
                branch: String::new(),
                lines_added: 0,
                lines_removed: 0,
            }),
            artifact: None,
            attempts: Vec::new(),
            decision: None,
            proposed_at: jiff::Timestamp::UNIX_EPOCH,
            decided_at: None,
        };
        let experiments = [experiment(0, 0), experiment(1, 0), experiment(2, 1), experiment(3, 1)];
        let verified = || Some(Evaluation::Verified(crate::fixture::verified(1.8, 0.0)));
        let trials: Vec<TrialRecord> =
            (0..4).map(|number| crate::fixture::trial(number, TrialEnd::Finished, verified())).collect();
        let numbers = |withdrawal: Option<&WithdrawalRecord>, champion: u32| -> Vec<(u32, u32)> {
            let pairs = compared(&experiments, &trials, withdrawal, &commit(champion));
            pairs.iter().map(|(own, other)| (own.experiment.number, other.experiment.number)).collect()
        };
        for (champion, against) in [(0, vec![(1, 0)]), (1, vec![(2, 1), (3, 1)]), (3, vec![])] {
            assert_eq!(numbers(None, champion), against);
        }
        for (withdrawn, champion, against) in
            [(3, 1, vec![(2, 1)]), (2, 1, vec![]), (2, 0, vec![(1, 0)]), (0, 0, vec![])]
        {
            let words = "it cheats".to_owned();
            let withdrawal = WithdrawalRecord { experiment: withdrawn, words, at: jiff::Timestamp::UNIX_EPOCH };
            assert_eq!(numbers(Some(&withdrawal), champion), against, "{withdrawn} withdrawn");
        }
    }
}
