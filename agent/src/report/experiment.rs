//! One experiment as its trials tell it: each with its seed's index, what it was for, and its champion's run under the same seed.

use serde::Serialize;

use super::{NightRecords, mean};
use crate::flow::{Purpose, Verdict};
use crate::propose::LEAVE_ONE_OUT;
use crate::records::{Evaluation, ExperimentRecord, TrialRecord};

/// What was found of an experiment, with what its proposer had said. Differences are in bits per byte, negative is better.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExperimentAccount {
    /// Number of the champion that it is compared with.
    pub champion: u32,
    /// Mean over its verified trials on the search text.
    pub val_bpb: Option<f64>,
    /// How many trials that is a mean of.
    pub runs: u32,
    /// Where it stands when equal seeds are compared; see [`NightRecords::level`].
    pub level: Option<f64>,
    /// Whether what was found of it still stands: `false` where it, or what it was compared with, broke a rule later.
    pub stands: bool,
    /// What its proposer predicted.
    pub predicted: Option<f64>,
    /// How probable its proposer called an improvement.
    pub confidence: Option<f64>,
    /// The measured difference from its champion.
    pub difference: Option<f64>,
    /// Its 95 % interval.
    pub interval: Option<(f64, f64)>,
    /// The difference to be expected when it is measured again; nothing of what does not stand.
    pub expected: Option<f64>,
    /// How probable an improvement is after all that was seen.
    pub probability: Option<f64>,
    /// What was seen and done after each trial, one line each.
    pub story: Vec<String>,
    /// All its trials in order.
    pub trials: Vec<TrialAccount>,
    /// Whether the night's trials ran on more than one device.
    pub several_devices: bool,
}

/// One trial. Its seed is named by its index in the night's list: the seeds are secret while the night runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TrialAccount {
    /// Counted from 1 within the experiment.
    pub ordinal: u32,
    /// Index of its seed; `None` for a seed that is not in the night's list.
    pub seed: Option<u32>,
    /// What it was for.
    pub purpose: Purpose,
    /// The stretch of the night without a change of the machine.
    pub era: u32,
    /// How its training ended; `None` while it runs, or where it was cut off.
    pub end: Option<&'static str>,
    /// Bits per byte, where the evaluator vouches for them.
    pub val_bpb: Option<f64>,
    /// The check by which the evaluator rejected it.
    pub rejected: Option<String>,
    /// Bits per byte of what it is paired with, under the same seed: its champion; in the morning the night's start.
    pub paired_with: Option<f64>,
    /// The difference of the two.
    pub difference: Option<f64>,
    /// The look at its curve at which it would have been stopped early, had it not been left to finish as a sample.
    pub would_stop: Option<u32>,
    /// The device that it ran on, where that is on record.
    pub device: Option<String>,
    /// The device of what it is paired with, where that is another.
    pub pair_device: Option<String>,
}

impl NightRecords {
    /// What was found of an experiment; `None` where there is no such experiment.
    pub fn account_of(&self, number: u32) -> Option<ExperimentAccount> {
        let experiment = self.experiments.iter().find(|experiment| experiment.id.number == number)?;
        let decision = experiment.decision.as_ref();
        let evidence = decision.and_then(|decision| decision.evidence.as_deref());
        let stands = self.stands(number);
        let found = evidence.filter(|evidence| stands && evidence.vouched());
        let champion = self.number_of(&experiment.champion);
        let trials = self.trials.iter().filter(|trial| trial.experiment.number == number);
        Some(ExperimentAccount {
            champion,
            val_bpb: self.val_bpb(number),
            runs: u32::try_from(self.runs(number).len()).unwrap_or(u32::MAX),
            level: self.level(number),
            stands,
            predicted: experiment.proposal.predicted_effect,
            confidence: experiment.proposal.confidence,
            difference: decision.and_then(|decision| decision.difference),
            interval: decision.and_then(|decision| decision.interval),
            expected: found.map(|evidence| evidence.expected),
            probability: found.map(|evidence| evidence.probability),
            story: match evidence {
                Some(evidence) => evidence.story.clone(),
                None => self.concluded.iter().filter(|(of, _)| *of == number).map(|(_, line)| line.clone()).collect(),
            },
            trials: trials.map(|trial| self.trial_account(trial, champion)).collect(),
            several_devices: self.devices().len() > 1,
        })
    }

    /// The index of a trial's seed in the night's list.
    pub fn seed_index(&self, trial: &TrialRecord) -> Option<u32> {
        let place = self.night.seeds.iter().position(|seed| *seed == trial.seed)?;
        u32::try_from(place).ok()
    }

    fn trial_account(&self, trial: &TrialRecord, champion: u32) -> TrialAccount {
        let reference = match trial.purpose {
            Purpose::Search => champion,
            Purpose::Morning => 0,
        };
        let is_pair = |other: &&TrialRecord| {
            let same = (other.seed, other.era, other.purpose) == (trial.seed, trial.era, trial.purpose);
            same && other.experiment.number == reference && reference != trial.experiment.number
        };
        let val_bpb = trial.val_bpb();
        // A champion repeats a seed to watch for drift; all its runs under the seed count alike.
        let paired_with = mean(self.trials.iter().filter(is_pair).filter_map(|other| other.val_bpb()));
        let device = trial.device.clone();
        let pairs: Vec<&Option<String>> = self
            .trials
            .iter()
            .filter(is_pair)
            .filter(|other| other.val_bpb().is_some())
            .map(|other| &other.device)
            .collect();
        let together = pairs.iter().any(|other| **other == device);
        let pair_device = pairs.into_iter().find_map(Clone::clone).filter(|_| device.is_some() && !together);
        TrialAccount {
            ordinal: trial.ordinal,
            seed: self.seed_index(trial),
            purpose: trial.purpose,
            era: trial.era,
            end: trial.trained.as_ref().map(|trained| trained.end.name()),
            val_bpb,
            rejected: match &trial.evaluation {
                Some(Evaluation::Rejected(rejected)) => Some(rejected.check.clone()),
                _ => None,
            },
            paired_with,
            difference: val_bpb.zip(paired_with).map(|(own, other)| own - other),
            would_stop: trial.would_stop,
            device,
            pair_device,
        }
    }
}

/// Whether an experiment takes a kept change back out, in the morning: it measures, and is no idea.
pub(super) fn leaves_one_out(experiment: &ExperimentRecord) -> bool {
    experiment.proposal.author.proposer == LEAVE_ONE_OUT
}

/// Whether an experiment was settled with this verdict.
pub(super) fn came_to(experiment: &ExperimentRecord, verdict: Verdict) -> bool {
    experiment.decision.as_ref().is_some_and(|decision| decision.verdict == verdict)
}

#[cfg(test)]
mod tests {
    use crate::flow::Purpose;
    use crate::report::fixture;

    #[test]
    fn the_metric_is_a_mean_over_search_trials_and_pairs_are_of_one_seed() {
        let records = fixture::night();
        let first = records.account_of(1).unwrap();
        assert!((first.val_bpb.unwrap() - (1.835 + 1.838 + 1.834) / 3.0).abs() < 1e-12, "{first:?}");
        assert_eq!(first.runs, 3);
        let pairs: Vec<(Option<u32>, Option<f64>)> =
            first.trials.iter().map(|trial| (trial.seed, trial.paired_with)).collect();
        // Nothing of the start was run under seed 3; in the morning the pair is the start's morning run.
        let expected = [
            (Some(0), Some(1.840)),
            (Some(1), Some(1.842)),
            (Some(3), None),
            (Some(6), Some(1.900)),
            (Some(7), Some(1.902)),
        ];
        assert_eq!(pairs, expected);
        assert!((first.trials[0].difference.unwrap() + 0.005).abs() < 1e-12);
        assert_eq!(first.trials[3].purpose, Purpose::Morning);
        // Places compare, though 1 ran under other seeds than the start: 1.840 - 0.004, and 2 is measured against 1.
        assert!((first.level.unwrap() - 1.836).abs() < 1e-12);
        assert!((records.level(2).unwrap() - 1.845).abs() < 1e-12);
        assert!(records.account_of(9).is_none());
    }

    #[test]
    fn a_pair_of_two_devices_is_told() {
        let mut records = fixture::night();
        let told = |records: &crate::report::NightRecords| {
            let first = &records.account_of(1).unwrap().trials[0];
            (first.device.clone(), first.pair_device.clone())
        };
        assert_eq!(told(&records), (None, None));
        let on = |device: &str| Some(device.to_owned());
        records.trials.iter_mut().for_each(|trial| trial.device = on("cpu:0"));
        assert_eq!(told(&records), (on("cpu:0"), None));
        let own = records.trials.iter().position(|trial| (trial.experiment.number, trial.ordinal) == (1, 1)).unwrap();
        records.trials[own].device = on("cpu:1");
        assert_eq!(told(&records), (on("cpu:1"), on("cpu:0")));
    }

    #[test]
    fn runs_of_an_older_era_do_not_count() {
        let mut records = fixture::night();
        records.trials[2].era = 1;
        assert_eq!(records.val_bpb(0), Some(1.838));
        assert_eq!(records.runs(0).len(), 1);
        // The run of the older era is no pair for one of the newer.
        records.trials[5].era = 1;
        assert_eq!(records.account_of(1).unwrap().trials[0].paired_with, None);
    }
}
