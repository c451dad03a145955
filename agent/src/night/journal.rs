//! What the journal of a night says to one that goes on: turns that were used, what was concluded, what looks at curves showed, faults,
//! and why the search had ended. Pure; what the rows of experiments and trials say stands in [`super::resume`].

use std::collections::{BTreeMap, HashMap};

use super::machine::CANNOT_LEAVE_OUT;
use super::messages::{Ending, Without};
use crate::records::{EffectRecord, NightEnding};

/// What was concluded after a trial that did not settle its experiment.
pub(super) const CONCLUDE: &str = "conclude";

/// A look at the curve of a trial, which has its number and what it showed.
pub(super) const LOOK: &str = "look";

/// The machine was seen to have changed for good while a trial ran.
pub(super) const CHANGED: &str = "changed";

/// The search has ended.
pub(super) const MORNING: &str = "morning";

/// The outcome of an effect that a fault of the machine spoilt.
pub(super) const TRIAL_FAULT: &str = "trial fault";

/// Turns are counted in the journal's keys; one that was begun is used up.
pub(super) fn next_turn(effects: &[EffectRecord]) -> u64 {
    effects
        .iter()
        .filter(|effect| effect.kind == "propose" || effect.kind == "repair")
        .filter_map(|effect| effect.key.rsplit('/').next()?.parse::<u64>().ok())
        .max()
        .map_or(0, |last| last + 1)
}

/// What was concluded after each trial of an experiment; of two conclusions after the same trial, one of which a crash came after, the
/// last counts.
pub(super) fn story(effects: &[EffectRecord], number: u32) -> Vec<String> {
    let mut story = BTreeMap::new();
    for effect in effects.iter().filter(|effect| effect.kind == CONCLUDE) {
        if effect.payload["number"] == number
            && let (Some(trial), Some(words)) = (effect.payload["trial"].as_u64(), effect.payload["words"].as_str())
        {
            story.insert(trial, words.to_owned());
        }
    }
    story.into_values().collect()
}

/// What it was found of that the champion cannot be tested without it.
pub(super) fn cannot_leave_out(effects: &[EffectRecord]) -> Vec<Without> {
    let found = |effect: &EffectRecord| {
        let words = effect.payload["words"].as_str().filter(|_| effect.kind == CONCLUDE)?;
        let what = words.strip_prefix(CANNOT_LEAVE_OUT)?;
        let kept = u32::try_from(effect.payload["number"].as_u64()?).ok()?;
        let idea = what.trim_start().strip_prefix("idea ").and_then(|rest| rest.split(' ').next()?.parse().ok());
        Some(Without { kept, idea })
    };
    effects.iter().filter_map(found).collect()
}

/// Why the search had ended; `None` while it had not.
pub(super) fn ending(effects: &[EffectRecord]) -> Option<Ending> {
    let noted = effects.iter().rfind(|effect| effect.kind == MORNING)?;
    match noted.payload["ending"].as_str()?.parse().ok()? {
        NightEnding::ExperimentsDone => Some(Ending::ExperimentsDone),
        NightEnding::Deadline => Some(Ending::Deadline),
        NightEnding::NothingLeft => Some(Ending::NothingLeft),
        NightEnding::Stopped | NightEnding::Abandoned | NightEnding::Failed => None,
    }
}

/// In which order trials began and experiments were decided. The journal counts, and no clock that goes back disturbs that.
#[derive(Debug, Default)]
pub(super) struct Order {
    trials: HashMap<(u32, u32), u32>,
    settled: HashMap<u32, u32>,
}

impl Order {
    pub fn of(effects: &[EffectRecord]) -> Self {
        let mut order = Self::default();
        for effect in effects {
            match (effect.kind.as_str(), named(&effect.key)) {
                // Of those under one number the last is the one that is on record.
                ("train", Some(of)) => drop(order.trials.insert(of, effect.ordinal)),
                ("settle", _) => {
                    let number = effect.key.rsplit('/').next().and_then(|number| number.parse().ok());
                    order.settled.extend(number.map(|number: u32| (number, effect.ordinal)));
                }
                _ => {}
            }
        }
        order
    }

    /// When a trial began; `None` where the journal has no word of it.
    pub fn trial(&self, number: u32, ordinal: u32) -> Option<u32> {
        self.trials.get(&(number, ordinal)).copied()
    }

    /// When an experiment was decided on; `None` where the journal has no word of it.
    pub fn settled(&self, number: u32) -> Option<u32> {
        self.settled.get(&number).copied()
    }
}

/// What the journal says of single trials.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Trials(HashMap<(u32, u32), OfTrial>);

/// What it says of one.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct OfTrial {
    /// What looks at its curve showed, in order.
    pub looks: Vec<(usize, f64)>,
    /// That the machine had changed for good, in words.
    pub changed: Option<String>,
    /// The fault of the machine that spoilt it, where that is not on its own record.
    pub fault: Option<String>,
}

impl Trials {
    pub fn of(effects: &[EffectRecord]) -> Self {
        let mut trials = Self::default();
        for effect in effects {
            // One that never began leaves its number to the next.
            if let Some(of) = named(&effect.key).filter(|_| effect.kind == "train") {
                trials.0.remove(&of);
            }
            let numbers = (effect.payload["number"].as_u64(), effect.payload["trial"].as_u64());
            let fault = effect.outcome.as_ref().filter(|outcome| outcome["event"] == TRIAL_FAULT);
            if let (Some(outcome), Some(of)) = (fault, named(&effect.key)) {
                let why = outcome["why"].as_str().unwrap_or("a fault of the machine");
                trials.0.entry(of).or_default().fault = Some(why.to_owned());
            }
            let (Some(number), Some(trial)) = numbers else { continue };
            let (Ok(number), Ok(trial)) = (u32::try_from(number), u32::try_from(trial)) else { continue };
            let look = effect.payload["look"].as_u64().and_then(|look| usize::try_from(look).ok());
            match (effect.kind.as_str(), look, effect.payload["difference"].as_f64()) {
                (LOOK, Some(look), Some(difference)) => {
                    trials.0.entry((number, trial)).or_default().looks.push((look, difference));
                }
                (CHANGED, ..) => {
                    let words = effect.payload["words"].as_str().unwrap_or_default().to_owned();
                    trials.0.entry((number, trial)).or_default().changed = Some(words);
                }
                _ => {}
            }
        }
        trials
    }

    pub fn trial(&self, number: u32, ordinal: u32) -> OfTrial {
        self.0.get(&(number, ordinal)).cloned().unwrap_or_default()
    }
}

/// Experiment and trial of a key like `2.13/evaluate/4/1`.
fn named(key: &str) -> Option<(u32, u32)> {
    let mut parts = key.rsplit('/');
    let (ordinal, number) = (parts.next()?, parts.next()?);
    matches!(parts.next()?, "train" | "evaluate").then_some((number.parse().ok()?, ordinal.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn effect(ordinal: u32, key: &str, kind: &str, payload: Value) -> EffectRecord {
        let begun_at = jiff::Timestamp::UNIX_EPOCH;
        EffectRecord {
            ordinal,
            key: key.to_owned(),
            kind: kind.to_owned(),
            payload,
            begun_at,
            ended_at: None,
            outcome: None,
        }
    }

    fn concluded(ordinal: u32, number: u32, trial: u32, words: &str) -> EffectRecord {
        effect(ordinal, "x", CONCLUDE, json!({ "number": number, "trial": trial, "words": words }))
    }

    #[test]
    fn a_story_has_one_line_a_trial_whenever_it_was_cut_off() {
        let effects = [
            concluded(1, 3, 1, "promising"),
            concluded(2, 4, 1, "of another"),
            effect(3, "0.3/train/3/2", "train", json!({ "number": 3, "trial": 2, "words": "no conclusion" })),
            // Cut off before the next trial began: concluded again when the night went on.
            concluded(4, 3, 1, "promising still"),
            concluded(5, 3, 2, "more so"),
        ];
        assert_eq!(story(&effects, 3), ["promising still", "more so"]);
        assert_eq!(story(&effects, 5), Vec::<String>::new());
    }

    #[test]
    fn a_turn_that_was_begun_is_used_up() {
        let effects = [
            effect(1, "0.1/propose/1/4", "propose", json!({})),
            effect(2, "0.2/repair/1/5", "repair", json!({})),
            effect(3, "0.3/train/1/9", "train", json!({})),
        ];
        assert_eq!((next_turn(&effects), next_turn(&[])), (6, 0));
    }

    #[test]
    fn looks_changes_and_faults_are_told_of_their_trials() {
        let look = |trial: u32, look: u32, difference: f64| {
            let payload = json!({ "number": 3, "trial": trial, "look": look, "difference": difference });
            effect(1, "0.1/look/3/1/0", LOOK, payload)
        };
        let spoilt = EffectRecord {
            outcome: Some(json!({ "event": TRIAL_FAULT, "why": "the device is gone" })),
            ..effect(4, "0.4/evaluate/3/2", "evaluate", json!({ "purpose": "search" }))
        };
        let never_began = EffectRecord {
            outcome: Some(json!({ "event": TRIAL_FAULT, "why": "its executable is gone" })),
            ..effect(1, "0.0/train/3/1", "train", json!({ "seed": 2 }))
        };
        let told = Trials::of(&[
            never_began,
            effect(1, "0.1/train/3/1", "train", json!({ "seed": 2 })),
            look(1, 0, 0.1),
            look(1, 2, -0.3),
            look(2, 1, 0.25),
            effect(3, "0.3/changed/3/2", CHANGED, json!({ "number": 3, "trial": 2, "words": "it is hot" })),
            spoilt,
        ]);
        assert_eq!(told.trial(3, 1), OfTrial { looks: vec![(0, 0.1), (2, -0.3)], ..OfTrial::default() });
        let second = OfTrial {
            looks: vec![(1, 0.25)],
            changed: Some("it is hot".to_owned()),
            fault: Some("the device is gone".to_owned()),
        };
        assert_eq!((told.trial(3, 2), told.trial(4, 1)), (second, OfTrial::default()));
    }

    #[test]
    fn how_far_the_morning_had_come_is_told() {
        let noted = |word: &str| effect(1, "0.1/morning", MORNING, json!({ "ending": word }));
        for (word, expected) in [
            ("nothing-left", Some(Ending::NothingLeft)),
            ("deadline", Some(Ending::Deadline)),
            ("experiments-done", Some(Ending::ExperimentsDone)),
            ("failed", None),
            ("nonsense", None),
        ] {
            assert_eq!(ending(&[noted(word)]), expected, "{word}");
        }
        assert_eq!(ending(&[]), None);
        let found = [Without::from(3), Without { kept: 5, idea: Some(2) }];
        let words = found.map(|of| format!("{CANNOT_LEAVE_OUT} {of}: later experiments build on it"));
        let effects = [concluded(1, 3, 1, &words[0]), concluded(2, 4, 1, "promising"), concluded(3, 5, 1, &words[1])];
        assert_eq!(cannot_leave_out(&effects), found);
    }
}
