//! What a night's machine did when, and how its champions' runs varied, as view models. Pure.

use dashboards::{RunView, SpanView, Stage};
use jiff::Timestamp;

use super::{NightRecords, seconds_between};
use crate::flow::{Purpose, TrialEnd};
use crate::records::AttemptKind;

impl NightRecords {
    /// What the machine did, as far as it is on record: asking for ideas, fitting and building, training, evaluating, waiting until
    /// a trial could begin, and trials that a fault of the machine ended. What was cut off in between has no end and is left out.
    pub fn spans(&self) -> Vec<SpanView> {
        let mut spans = Vec::new();
        let mut add = |stage, begin: f64, end: f64, label: &str| {
            spans.push(SpanView { stage, begin_minutes: begin, end_minutes: end, label: label.to_owned() });
        };
        for call in self.calls.iter().filter(|call| !call.reply.is_under_way()) {
            let end = self.minutes(call.at);
            add(Stage::Proposing, end - call.seconds / 60.0, end, &format!("{} for #{}", call.model, call.number));
        }
        for experiment in &self.experiments {
            for attempt in &experiment.attempts {
                let stage = match attempt.kind {
                    AttemptKind::Edit => Stage::Proposing,
                    AttemptKind::Build => Stage::Building,
                };
                let end = self.minutes(attempt.at);
                add(stage, end - attempt.seconds / 60.0, end, &self.label(experiment.id.number));
            }
        }
        for trial in &self.trials {
            let Some(ended_at) = trial.ended_at else { continue };
            let (begin, end) = (self.minutes(trial.started_at), self.minutes(ended_at));
            let label = self.label(trial.experiment.number);
            match trial.trained.as_ref().map(|trained| &trained.end) {
                Some(TrialEnd::MachineFault { message }) => {
                    add(Stage::Fault, begin, end, &format!("{label}: {message}"))
                }
                _ => add(Stage::Training, begin, end, &label),
            }
            if let Some(evaluated_at) = trial.evaluated_at {
                add(Stage::Evaluating, end, self.minutes(evaluated_at), &label);
            }
        }
        for (at, why) in &self.waits {
            let after = self.trials.iter().map(|trial| trial.started_at).filter(|started_at| started_at >= at).min();
            if let Some(after) = after {
                add(Stage::Waiting, self.minutes(*at), self.minutes(after), why);
            }
        }
        spans
    }

    /// The runs of the night's start and of every champion on the search text.
    pub fn champion_runs(&self) -> Vec<RunView> {
        let is_champion = |number: u32| self.champions.iter().any(|champion| champion.experiment == number);
        self.trials
            .iter()
            .filter(|trial| trial.purpose == Purpose::Search && is_champion(trial.experiment.number))
            .filter_map(|trial| {
                Some(RunView {
                    experiment: trial.experiment.number,
                    minutes: self.minutes(trial.started_at),
                    value: trial.val_bpb()?,
                    seed: self.seed_index(trial),
                    era: trial.era,
                })
            })
            .collect()
    }

    fn minutes(&self, at: Timestamp) -> f64 {
        seconds_between(self.night.started_at, at) / 60.0
    }

    fn label(&self, number: u32) -> String {
        match self.experiments.iter().find(|experiment| experiment.id.number == number) {
            Some(experiment) if number > 0 => format!("#{number} {}", experiment.proposal.title),
            _ => "start of the night".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(60 * minute).unwrap()
    }

    #[test]
    fn trials_waits_and_faults_have_their_spans() {
        let mut records = fixture::night();
        records.trials.truncate(3);
        for (i, trial) in (0i64..).zip(&mut records.trials) {
            (trial.started_at, trial.ended_at) = (at(10 * i), Some(at(10 * i + 5)));
            trial.evaluated_at = (i != 1).then(|| at(10 * i + 6));
        }
        if let Some(trained) = &mut records.trials[1].trained {
            trained.end = TrialEnd::MachineFault { message: "the device is lost".to_owned() };
        }
        records.trials[2].ended_at = None;
        records.waits = vec![(at(7), "somebody uses the machine".to_owned()), (at(50), "again".to_owned())];
        let spans = records.spans();
        let found: Vec<(Stage, f64, f64)> =
            spans.iter().map(|span| (span.stage, span.begin_minutes, span.end_minutes)).collect();
        assert_eq!(
            found,
            [
                (Stage::Training, 0.0, 5.0),
                (Stage::Evaluating, 5.0, 6.0),
                (Stage::Fault, 10.0, 15.0),
                (Stage::Waiting, 7.0, 10.0),
            ]
        );
        assert_eq!(spans[2].label, "start of the night: the device is lost");
    }

    #[test]
    fn only_champions_runs_on_the_search_text_tell_of_drift() {
        let runs = fixture::night().champion_runs();
        let found: Vec<(u32, Option<u32>)> = runs.iter().map(|run| (run.experiment, run.seed)).collect();
        assert_eq!(found, [(0, Some(0)), (0, Some(1)), (0, Some(2)), (1, Some(0)), (1, Some(1)), (1, Some(3))]);
    }
}
