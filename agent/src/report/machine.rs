//! What a night's machine did when, and how its champions' runs varied, as view models. Pure.

use dashboards::{BookedView, GapView, MachineView, RunView, SpanView, Stage};
use jiff::Timestamp;

use super::{Booked, NightRecords, seconds_between};
use crate::flow::{Purpose, TrialEnd};
use crate::records::EffectTimes;

/// Stretches without training that are told.
const MOST_GAPS: usize = 6;
/// A shorter one is what lies between two trials anyway, minutes.
const LEAST_GAP: f64 = 0.5;
/// What a stretch is called in which the night was cut off.
const CUT_OFF: &str = "the night was cut off";

/// A stretch from a minute to a minute.
type Stretch = (f64, f64);

impl NightRecords {
    /// What the machine did, as far as it is on record: asking for ideas, fitting and building, training, evaluating, waiting until
    /// a trial could begin, and trials that a fault of the machine ended. What was cut off in between has no end and is left out, and
    /// no span reaches over a time in which the night was cut off.
    pub fn spans(&self) -> Vec<SpanView> {
        let cuts = self.cut_minutes();
        let mut spans = Vec::new();
        let mut add = |stage, begin: f64, end: f64, label: &str| {
            for (begin, end) in without(&cuts, (begin, end)) {
                spans.push(SpanView { stage, begin_minutes: begin, end_minutes: end, label: label.to_owned() });
            }
        };
        for call in self.calls.iter().filter(|call| !call.reply.is_under_way()) {
            let end = self.minutes(call.at);
            add(Stage::Proposing, end - call.seconds / 60.0, end, &format!("{} for #{}", call.model, call.number));
        }
        // Of the journal, not of the experiments' attempts: those are written down when a trial begins, which may be much later.
        for effect in self.journal.iter().filter(|effect| effect.kind == "build") {
            let (Some(ended_at), Some(number)) = (effect.ended_at, effect.built()) else { continue };
            let (begun, end) = (self.minutes(effect.begun_at), self.minutes(ended_at));
            // Without the wait for its turn.
            let begin = effect.seconds.map_or(begun, |seconds| begun.max(end - seconds / 60.0));
            add(Stage::Building, begin, end, &self.label(number));
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

    /// What all that comes to.
    pub fn machine(&self) -> MachineView {
        let is_lost = |trial: &&crate::records::TrialRecord| {
            trial.trained.as_ref().is_some_and(|trained| matches!(trained.end, TrialEnd::MachineFault { .. }))
        };
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        MachineView {
            cut_offs: count(self.cuts.len()),
            changes: self.trials.iter().map(|trial| trial.era).max().unwrap_or(0),
            lost_trials: count(self.trials.iter().filter(is_lost).count()),
            booked: self.time_account().stages.into_iter().map(booked).collect(),
            gaps: gaps(&self.spans(), &self.cut_minutes(), self.seconds_of_clock() / 60.0),
        }
    }

    fn cut_minutes(&self) -> Vec<Stretch> {
        self.cuts.iter().map(|(from, to)| (self.minutes(*from), self.minutes(*to))).collect()
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

fn booked(of: Booked) -> BookedView {
    let Booked { stage, seconds, share, beside_training } = of;
    BookedView { what: stage.words().to_owned(), seconds, share, beside_training }
}

/// When a night was cut off, and when it went on: from the last thing on record before, to the first effect of the process that went on.
/// `journal` has the effects in order; each's key begins with a number that every process has its own of. `others` are
/// instants of other records.
pub(super) fn cuts(
    journal: &[EffectTimes],
    others: impl Iterator<Item = Timestamp> + Clone,
) -> Vec<(Timestamp, Timestamp)> {
    let part = |key: &str| key.split_once('.').and_then(|(part, _)| part.parse::<u64>().ok());
    let mut cuts = Vec::new();
    let mut last: Option<(u64, Timestamp)> = None;
    for EffectTimes { key, begun_at: begun, ended_at: ended, .. } in journal {
        // What belongs to the night as a whole, as the night that it replays, has a key without a process.
        let Some(own) = part(key) else { continue };
        if let Some((before, at)) = &last
            && *before != own
        {
            let known = others.clone().filter(|other| other < begun).fold(*at, Timestamp::max);
            cuts.extend(Some((known, *begun)).filter(|(from, to)| from < to));
        }
        let newest = ended.unwrap_or(*begun).max(*begun);
        last = Some((own, last.map_or(newest, |(_, at)| at.max(newest))));
    }
    cuts
}

/// A stretch without those that are cut out of it.
fn without(cuts: &[Stretch], (begin, end): Stretch) -> Vec<Stretch> {
    let mut pieces = vec![(begin, end)];
    for (from, to) in cuts {
        pieces = pieces
            .into_iter()
            .flat_map(|(begin, end)| match *from < end && begin < *to {
                true => vec![(begin, end.min(*from)), (begin.max(*to), end)],
                false => vec![(begin, end)],
            })
            .filter(|(begin, end)| begin < end || (begin == end && cuts.is_empty()))
            .collect();
    }
    pieces
}

/// The longest stretches in which no trial trained, and what was done in most of each.
fn gaps(spans: &[SpanView], cuts: &[Stretch], end: f64) -> Vec<GapView> {
    let mut training: Vec<Stretch> = spans
        .iter()
        .filter(|span| span.stage == Stage::Training)
        .map(|span| (span.begin_minutes, span.end_minutes))
        .collect();
    training.sort_by(|one, other| one.0.total_cmp(&other.0));
    let mut at = 0.0f64;
    let mut gaps = Vec::new();
    for (begin, until) in training.into_iter().chain([(end, end)]) {
        if begin - at >= LEAST_GAP {
            gaps.push(GapView { begin_minutes: at, end_minutes: begin, what: what(spans, cuts, (at, begin)) });
        }
        at = at.max(until);
    }
    gaps.sort_by(|one, other| {
        let length = |gap: &GapView| gap.end_minutes - gap.begin_minutes;
        length(other).total_cmp(&length(one)).then(one.begin_minutes.total_cmp(&other.begin_minutes))
    });
    gaps.truncate(MOST_GAPS);
    gaps
}

/// What a stretch was mostly spent with: a stage, and what of it lasted longest; empty where nothing is on record.
fn what(spans: &[SpanView], cuts: &[Stretch], (begin, end): Stretch) -> String {
    let overlap = |from: f64, to: f64| (to.min(end) - from.max(begin)).max(0.0);
    let cut: f64 = cuts.iter().map(|(from, to)| overlap(*from, *to)).sum();
    let share = |stage: Stage| -> f64 {
        let of_it = spans.iter().filter(|span| span.stage == stage);
        of_it.map(|span| overlap(span.begin_minutes, span.end_minutes)).sum()
    };
    let most = Stage::ALL
        .into_iter()
        .map(|stage| (stage, share(stage)))
        .filter(|(_, share)| *share > 0.0)
        .reduce(|best, next| if next.1 > best.1 { next } else { best });
    match most {
        Some((_, share)) if cut > share => CUT_OFF.to_owned(),
        None if cut > 0.0 => CUT_OFF.to_owned(),
        None => String::new(),
        Some((stage, _)) => {
            let of_it = spans.iter().filter(|span| span.stage == stage);
            let longest = of_it.max_by(|one, other| {
                let length = |span: &SpanView| overlap(span.begin_minutes, span.end_minutes);
                length(one).total_cmp(&length(other))
            });
            longest.map_or_else(String::new, |span| format!("{}, {}", stage.name(), span.label))
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
        let build = fixture::effect("0.2/build/1/abc", at(1), Some(at(4)));
        records.journal = vec![EffectTimes { seconds: Some(120.0), ..build }];
        let spans = records.spans();
        let found: Vec<(Stage, f64, f64)> =
            spans.iter().map(|span| (span.stage, span.begin_minutes, span.end_minutes)).collect();
        assert_eq!(
            found,
            [
                (Stage::Building, 2.0, 4.0),
                (Stage::Training, 0.0, 5.0),
                (Stage::Evaluating, 5.0, 6.0),
                (Stage::Fault, 10.0, 15.0),
                (Stage::Waiting, 7.0, 10.0),
            ]
        );
        assert_eq!(spans[0].label, "#1 Halve the batch");
        assert_eq!(spans[3].label, "start of the night: the device is lost");
    }

    #[test]
    fn only_champions_runs_on_the_search_text_tell_of_drift() {
        let runs = fixture::night().champion_runs();
        let found: Vec<(u32, Option<u32>)> = runs.iter().map(|run| (run.experiment, run.seed)).collect();
        assert_eq!(found, [(0, Some(0)), (0, Some(1)), (0, Some(2)), (1, Some(0)), (1, Some(1)), (1, Some(3))]);
    }

    #[test]
    fn a_night_that_was_cut_off_counts_no_time_in_between() {
        let effect = |key: &str, begun, ended: Option<i64>| fixture::effect(key, at(begun), ended.map(at));
        let journal = [
            effect("0.1/train/0/1", 0, Some(5)),
            effect("0.2/evaluate/0/1", 5, None),
            effect("2.1/evaluate/0/1", 60, Some(61)),
            effect("2.2/train/0/2", 61, None),
            effect("4.1/train/0/3", 90, Some(95)),
        ];
        let others = [at(7), at(200)];
        let found = cuts(&journal, others.into_iter());
        assert_eq!(found, [(at(7), at(60)), (at(61), at(90))]);
        assert_eq!(cuts(&journal[..2], others.into_iter()), []);
        let replayed = [vec![effect("replay", 0, Some(0))], journal[..2].to_vec()].concat();
        assert_eq!(cuts(&replayed, others.into_iter()), []);

        let mut records = fixture::night();
        records.trials.truncate(2);
        for (i, (begin, end, evaluated)) in [(0, 5, Some(61)), (61, 90, None)].into_iter().enumerate() {
            let trial = &mut records.trials[i];
            (trial.started_at, trial.ended_at, trial.evaluated_at) = (at(begin), Some(at(end)), evaluated.map(at));
        }
        records.waits = vec![(at(6), "somebody".to_owned())];
        records.cuts = found;
        let spans = records.spans();
        let told: Vec<(Stage, f64, f64)> =
            spans.iter().map(|span| (span.stage, span.begin_minutes, span.end_minutes)).collect();
        assert_eq!(
            told,
            [
                (Stage::Training, 0.0, 5.0),
                (Stage::Evaluating, 5.0, 7.0),
                (Stage::Evaluating, 60.0, 61.0),
                (Stage::Waiting, 6.0, 7.0),
                (Stage::Waiting, 60.0, 61.0),
            ]
        );
        // 90 minutes by the clock, 53 and 29 of them cut off; what a fault of the machine ended trained for nothing.
        assert_eq!(records.seconds(), 60.0 * (90.0 - 53.0 - 29.0));
        let before = records.training_seconds();
        if let Some(trained) = &mut records.trials[1].trained {
            trained.end = TrialEnd::MachineFault { message: "lost".to_owned() };
        }
        assert!(records.training_seconds() < before);
        let machine = records.machine();
        assert_eq!((machine.cut_offs, machine.gaps.len()), (2, 1));
        assert_eq!((machine.gaps[0].begin_minutes, machine.gaps[0].what.as_str()), (5.0, CUT_OFF));
    }

    #[test]
    fn the_longest_stretches_without_training_say_what_was_done() {
        let span = |stage, begin_minutes, end_minutes, label: &str| SpanView {
            stage,
            begin_minutes,
            end_minutes,
            label: label.to_owned(),
        };
        let spans = [
            span(Stage::Building, 0.0, 2.0, "start"),
            span(Stage::Training, 2.0, 10.0, "#1"),
            span(Stage::Training, 9.0, 12.0, "#2"),
            span(Stage::Evaluating, 12.0, 12.2, "#2"),
            span(Stage::Training, 12.2, 20.0, "#3"),
            span(Stage::Proposing, 20.0, 21.0, "large for #4"),
            span(Stage::Waiting, 21.0, 29.0, "somebody uses the machine"),
            span(Stage::Training, 30.0, 31.0, "#4"),
        ];
        let told: Vec<(f64, f64, String)> =
            gaps(&spans, &[], 40.0).into_iter().map(|gap| (gap.begin_minutes, gap.end_minutes, gap.what)).collect();
        let expected = [
            (20.0, 30.0, "waiting, somebody uses the machine".to_owned()),
            (31.0, 40.0, String::new()),
            (0.0, 2.0, "building, start".to_owned()),
        ];
        assert_eq!(told, expected);
    }
}
