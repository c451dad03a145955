//! What a night is doing, by its journal of effects: one that has begun and not ended is under way. Pure.

use std::collections::{BTreeMap, VecDeque};

use jiff::Timestamp;

use super::curve::Run;
use crate::flow::Purpose;
use crate::records::{EffectRecord, EventRecord, TrialRecord};
use crate::store::Glance;

/// What is under way.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Doing {
    /// The experiment under test, or the morning's claim.
    pub testing: Option<Testing>,
    /// What is made meanwhile.
    pub making: Option<Making>,
}

/// How far a test is.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// The machine is not fit for a run: why.
    Waiting(String),
    /// The trainer loads, or its run has not begun.
    Starting,
    /// The run is on record: it loads or trains; its curve says which.
    Training,
    /// The evaluator is at it.
    Verifying,
}

/// A run under test.
#[derive(Debug, Clone, PartialEq)]
pub struct Testing {
    /// The experiment's number.
    pub number: u32,
    /// Counted from 1 within it.
    pub trial: u32,
    /// What the run is for.
    pub purpose: Purpose,
    /// How far it is.
    pub step: Step,
    /// Since when.
    pub since: Timestamp,
}

impl Testing {
    /// The run, once it is on record.
    pub fn run(&self, glance: &Glance) -> Option<Run> {
        glance.trials.iter().find(|trial| self.is_of(trial)).map(Run::from)
    }

    fn is_of(&self, trial: &TrialRecord) -> bool {
        (trial.experiment.number, trial.ordinal) == (self.number, self.trial)
    }
}

/// A candidate on its way.
#[derive(Debug, Clone, PartialEq)]
pub struct Making {
    /// The number that it will have.
    pub number: u32,
    /// `proposing`, `repairing`, `committing` or `building`.
    pub what: &'static str,
    /// What the proposer calls the idea, once there is one.
    pub key: Option<String>,
    /// Since when.
    pub since: Timestamp,
}

/// A night that was cut off leaves effects without an end. Those of this part of the night have the newest effect's first number: keys are
/// `<part>.<count>/<what>`.
pub(super) fn only_of_this_part(effects: &mut BTreeMap<u32, EffectRecord>, newest: &EffectRecord) {
    let part = part(&newest.key).map(str::to_owned);
    effects.retain(|_, effect| super::doing::part(&effect.key) == part.as_deref());
}

fn part(key: &str) -> Option<&str> {
    key.split_once('.').map(|(part, _)| part)
}

/// What is under way by the effects without an end.
pub(super) fn of(open: &BTreeMap<u32, EffectRecord>, glance: &Glance, events: &VecDeque<EventRecord>) -> Doing {
    let mut doing = Doing::default();
    for effect in open.values() {
        let mut names = effect.key.rsplit('/');
        let (last, number) = (names.next().unwrap_or_default(), names.next().and_then(|number| number.parse().ok()));
        let what = match effect.kind.as_str() {
            "train" | "evaluate" => {
                if let (Some(number), Ok(trial)) = (number, last.parse()) {
                    doing.testing = Some(testing(effect, (number, trial), glance, events));
                }
                continue;
            }
            "propose" => "proposing",
            "repair" => "repairing",
            "commit" => "committing",
            "build" => "building",
            _ => continue,
        };
        if let Some(number) = number {
            let key = effect.payload["key"].as_str().map(str::to_owned);
            doing.making = Some(Making { number, what, key, since: effect.begun_at });
        }
    }
    doing
}

fn testing(
    effect: &EffectRecord,
    (number, trial): (u32, u32),
    glance: &Glance,
    events: &VecDeque<EventRecord>,
) -> Testing {
    let purpose = effect.payload["purpose"].as_str().and_then(|word| word.parse().ok()).unwrap_or(Purpose::Search);
    let begun = |since, step| Testing { number, trial, purpose, step, since };
    if effect.kind == "evaluate" {
        return begun(effect.begun_at, Step::Verifying);
    }
    let on_record =
        |it: &&TrialRecord| (it.experiment.number, it.ordinal) == (number, trial) && it.started_at >= effect.begun_at;
    if let Some(run) = glance.trials.iter().find(on_record) {
        return begun(run.started_at, Step::Training);
    }
    let unfit = events.iter().rfind(|event| event.stage == "conditions" && event.at >= effect.begun_at);
    match unfit {
        Some(event) => begun(event.at, Step::Waiting(event.text.clone())),
        None => begun(effect.begun_at, Step::Starting),
    }
}
