//! From a night's records to stretches of time, each with its stage.

use std::collections::HashMap;

use jiff::Timestamp;

use super::{Stretch, TimeStage, milliseconds};
use crate::flow::{Purpose, Trained, TrialEnd};
use crate::records::{EffectTimes, OpeningStage, TrialRecord};
use crate::report::NightRecords;

/// A night's records, its trials by their numbers.
pub(super) struct Sources<'a> {
    records: &'a NightRecords,
    trials: HashMap<(u32, u32), &'a TrialRecord>,
    /// When the machine was found unfit for a trial, in order.
    unfit: Vec<Timestamp>,
}

impl<'a> Sources<'a> {
    pub fn of(records: &'a NightRecords) -> Self {
        let trials = records.trials.iter();
        let mut unfit: Vec<Timestamp> = records.waits.iter().map(|(at, _)| *at).collect();
        unfit.sort_unstable();
        Self { records, trials: trials.map(|trial| ((trial.experiment.number, trial.ordinal), trial)).collect(), unfit }
    }

    /// How its trials trained, as far as they have ended.
    pub fn trained(&self) -> impl Iterator<Item = &'a Trained> {
        self.records.trials.iter().filter_map(|trial| trial.trained.as_ref())
    }

    /// Effects of the journal.
    pub fn of_kind(&self, kind: &'static str) -> impl Iterator<Item = &'a EffectTimes> {
        self.records.journal.iter().filter(move |effect| effect.kind == kind)
    }

    /// From the command, or the night's record, to the newest thing on record.
    pub fn first_and_last(&self) -> (Timestamp, Timestamp) {
        let (night, journal) = (&self.records.night, &self.records.journal);
        let opened = journal.iter().flat_map(|effect| &effect.opening).map(|part| part.from).min();
        let begin = opened.map_or(night.started_at, |opened| opened.min(night.started_at));
        let effects = journal.iter().flat_map(|effect| [Some(effect.begun_at), effect.ended_at]);
        let trials = self.records.trials.iter();
        let trials = trials.flat_map(|trial| [Some(trial.started_at), trial.ended_at, trial.evaluated_at]);
        let end = effects.chain(trials).chain([night.end.as_ref().map(|end| end.at)]).flatten().max();
        (begin, end.unwrap_or(begin).max(begin))
    }

    /// All that is on record with a time.
    pub fn stretches(&self, end: Timestamp) -> Vec<Stretch> {
        let mut all: Vec<Stretch> = Vec::new();
        let mut add = |stage, from: i64, to: i64| all.push(Stretch { stage, from, to });
        for (from, to) in &self.records.cuts {
            add(TimeStage::CutOff, from.as_millisecond(), to.as_millisecond());
        }
        for effect in &self.records.journal {
            for part in &effect.opening {
                let from = part.from.as_millisecond();
                add(stage_of(part.stage), from, from + milliseconds(part.seconds));
            }
            self.stretches_of_effect(effect, end, &mut add);
        }
        for trial in &self.records.trials {
            self.stretches_of_trial(trial, end, &mut add);
        }
        all
    }

    fn stretches_of_effect(&self, effect: &EffectTimes, end: Timestamp, add: &mut impl FnMut(TimeStage, i64, i64)) {
        let ended = effect.ended_at.unwrap_or_else(|| self.given_up(effect.begun_at, end));
        let (from, to) = (effect.begun_at.as_millisecond(), ended.as_millisecond());
        // Waiting for a turn is no building: what it really took is on record beside.
        let worked = effect.seconds.map_or(from, |seconds| from.max(to - milliseconds(seconds)));
        match effect.kind.as_str() {
            "propose" | "repair" => add(TimeStage::Proposing, from, to),
            "commit" => add(TimeStage::Checking, from, to),
            "build" if effect.built() == Some(0) => add(TimeStage::BuildingStart, worked, to),
            "build" => add(TimeStage::Building, worked, to),
            "smoke" => add(TimeStage::SmokeTest, worked, to),
            "train" => {
                let begun = self.began_in(effect).map_or(ended, |trial| trial.started_at);
                add(TimeStage::Preparing, from, begun.as_millisecond());
                if let Some(unfit) = self.unfit_in(effect.begun_at, begun) {
                    add(TimeStage::Disturbed, unfit.as_millisecond(), begun.as_millisecond());
                }
            }
            "evaluate" => {
                let audit = self.audited_in(effect).map_or(0, milliseconds);
                let audited = from.max(to - audit);
                add(TimeStage::Claim, from, audited);
                add(TimeStage::Audit, audited, to);
            }
            "settle" | "claim" | "withdraw" => add(TimeStage::Deciding, from, to),
            "report" => add(TimeStage::Report, from, to),
            _ => {}
        }
    }

    fn stretches_of_trial(&self, trial: &TrialRecord, end: Timestamp, add: &mut impl FnMut(TimeStage, i64, i64)) {
        let from = trial.started_at.as_millisecond();
        let trains = match trial.purpose {
            Purpose::Search => TimeStage::Training,
            Purpose::Morning => TimeStage::Morning,
        };
        let (Some(ended), Some(trained)) = (trial.ended_at, &trial.trained) else {
            let until = self.given_up(trial.started_at, end);
            // In a night that goes on the newest trial trains; in one that has ended it never came to anything.
            let goes_on = until == end && self.records.night.end.is_none();
            return add(if goes_on { trains } else { TimeStage::Lost }, from, until.as_millisecond());
        };
        let to = ended.as_millisecond();
        if matches!(trained.end, TrialEnd::MachineFault { .. } | TrialEnd::Stopped) {
            return add(TimeStage::Lost, from, to);
        }
        let go = to.min(from + milliseconds(trained.start_seconds));
        let last = to.min(go + milliseconds(trained.training_seconds));
        add(TimeStage::Starting, from, go);
        add(trains, go, last);
        add(TimeStage::Ending, last, to);
    }

    /// When trials that count trained on a device. There is one at a time on it.
    pub fn trained_on(&self, device: &str, end: Timestamp) -> impl Iterator<Item = Stretch> {
        let mut all: Vec<Stretch> = Vec::new();
        for trial in self.records.trials.iter().filter(|trial| trial.device.as_deref() == Some(device)) {
            self.stretches_of_trial(trial, end, &mut |stage, from, to| all.push(Stretch { stage, from, to }));
        }
        all.into_iter().filter(|stretch| stretch.stage.trains())
    }

    /// When something without an end on record was given up: when the night was cut off next, or ended.
    fn given_up(&self, begun: Timestamp, end: Timestamp) -> Timestamp {
        let cut = self.records.cuts.iter().map(|(from, _)| *from).filter(|from| *from >= begun).min();
        cut.unwrap_or(end)
    }

    /// The trial that an effect of the journal began.
    pub fn began_in(&self, effect: &EffectTimes) -> Option<&'a TrialRecord> {
        let until = effect.ended_at.unwrap_or(Timestamp::MAX);
        let found = self.trials.get(&effect.trial()?).copied();
        found.filter(|trial| (effect.begun_at..=until).contains(&trial.started_at))
    }

    /// When the machine was first found unfit between two times.
    pub fn unfit_in(&self, from: Timestamp, to: Timestamp) -> Option<Timestamp> {
        let first = self.unfit.partition_point(|at| *at < from);
        self.unfit.get(first).copied().filter(|at| *at < to)
    }

    /// Seconds of the audit in an evaluation of the journal, where they are on record.
    fn audited_in(&self, effect: &EffectTimes) -> Option<f64> {
        let certificate = self.trials.get(&effect.trial()?)?.certificate.as_ref()?;
        Some((certificate.seconds - certificate.claim_seconds?).max(0.0))
    }
}

fn stage_of(stage: OpeningStage) -> TimeStage {
    match stage {
        OpeningStage::SettingUp => TimeStage::SettingUp,
        OpeningStage::Data => TimeStage::Data,
        OpeningStage::Building => TimeStage::BuildingStart,
        OpeningStage::RedTeam => TimeStage::RedTeam,
    }
}
