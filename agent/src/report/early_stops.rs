//! What ending hopeless trials early saved, and how often it would have been wrong.

use std::collections::BTreeSet;

use protocol::Budget;
use serde::Serialize;

use super::NightRecords;
use super::experiment::{came_to, leaves_one_out};
use crate::flow::{Purpose, Trained, TrialEnd, Verdict};
use crate::stats::early::{Early, FalseStops};

/// What ending hopeless trials early saved, and how often it would have been wrong.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EarlyStops {
    /// Trials that were stopped.
    pub stopped: u32,
    /// Seconds of training that they would have taken on top.
    pub seconds_saved: f64,
    /// Share of the training time that trials of experiments which came to nothing would have taken without it.
    pub share_saved: Option<f64>,
    /// Of the experiments with a trial that would have been stopped and was left to finish as a sample: how many, and how many of them were
    /// kept in the end.
    pub false_stops: Option<FalseStops>,
}

impl EarlyStops {
    /// Works it out; `None` where no trial was stopped, nor would have been.
    pub(super) fn of(records: &NightRecords) -> Option<EarlyStops> {
        let verdict = |number: u32, verdict: Verdict| {
            records.experiments.iter().any(|experiment| experiment.id.number == number && came_to(experiment, verdict))
        };
        let measures = |number: u32| {
            records.experiments.iter().any(|experiment| experiment.id.number == number && leaves_one_out(experiment))
        };
        let mut counted = Early::new();
        let mut spared = BTreeSet::new();
        let (mut stopped, mut saved, mut spent) = (0, 0.0, 0.0);
        for trial in records.trials.iter().filter(|trial| trial.purpose == Purpose::Search) {
            let number = trial.experiment.number;
            if trial.would_stop.is_some() && trial.val_bpb().is_some() && spared.insert(number) {
                counted.count_spared(verdict(number, Verdict::Kept));
            }
            let Some(trained) = &trial.trained else { continue };
            if matches!(trained.end, TrialEnd::StoppedEarly { .. }) {
                stopped += 1;
                saved += left(trained);
            }
            if number > 0 && verdict(number, Verdict::Discarded) && !measures(number) {
                spent += trained.training_seconds;
            }
        }
        let false_stops = counted.false_stops();
        (stopped > 0 || false_stops.is_some()).then(|| EarlyStops {
            stopped,
            seconds_saved: saved,
            share_saved: (saved + spent > 0.0).then(|| saved / (saved + spent)),
            false_stops,
        })
    }
}

/// Seconds of training that a trial had left of its budget.
fn left(trained: &Trained) -> f64 {
    let seconds = match trained.budget {
        Budget::Seconds(seconds) => seconds - trained.training_seconds,
        Budget::Tokens(tokens) if trained.tokens > 0 => {
            trained.training_seconds * (tokens as f64 / trained.tokens as f64 - 1.0)
        }
        Budget::Tokens(_) => 0.0,
    };
    seconds.max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::TrialRecord;
    use crate::report::fixture;

    #[test]
    fn early_stops_are_counted_with_what_they_would_have_missed() {
        let mut records = fixture::night();
        let early = EarlyStops::of(&records).unwrap();
        assert_eq!((early.stopped, early.seconds_saved), (1, 12.0));
        // Saved 12 s; trials of discarded ideas (2, 3 and 4) took 20 + 8 + 20.
        assert_eq!(early.share_saved, Some(0.2));
        let sample = early.false_stops.unwrap();
        assert_eq!((sample.spared, sample.wrong), (1, 0));
        let again = TrialRecord { ordinal: 2, would_stop: None, ..records.trials[12].clone() };
        let number = again.experiment.number;
        records.trials.push(again);
        let sample = EarlyStops::of(&records).unwrap().false_stops.unwrap();
        assert_eq!((sample.spared, sample.wrong), (1, 0), "another trial is no keep");
        let experiment = records.experiments.iter_mut().find(|experiment| experiment.id.number == number).unwrap();
        experiment.decision.as_mut().unwrap().verdict = Verdict::Kept;
        let sample = EarlyStops::of(&records).unwrap().false_stops.unwrap();
        assert_eq!((sample.spared, sample.wrong), (1, 1), "it would have been kept");
        records.trials.retain(|trial| trial.would_stop.is_none() && trial.experiment.number != 3);
        assert_eq!(EarlyStops::of(&records), None);
    }

    #[test]
    fn tokens_that_were_left_are_worth_their_time() {
        let mut trained = fixture::night().trials.remove(0).trained.unwrap();
        (trained.budget, trained.tokens, trained.training_seconds) = (Budget::Tokens(1_000), 250, 10.0);
        assert_eq!(left(&trained), 30.0);
        trained.tokens = 0;
        assert_eq!(left(&trained), 0.0);
    }
}
