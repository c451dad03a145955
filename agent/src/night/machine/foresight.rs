//! What the night will most likely ask for once the trial that is being evaluated is judged, so that it can be begun before.
//!
//! A copy of the machine is handed the results that the trial may well have, one after the other, and asked what it would do. What most of
//! them lead to is worth beginning. Nothing of that is learnt: the copies are dropped, the machine itself hears only what the evaluator
//! vouches for, and what was begun counts only if it then asks for exactly that. So a night decides the same whether anything was foreseen
//! or not, and foresight may be wrong at no other price than the time.

use std::sync::Arc;

use super::Machine;
use super::testing::Testing;
use super::trial::{Role, Shown, Trial};
use crate::flow::Purpose;
use crate::night::messages::{Effect, Launch};

/// Results that are tried, in standard deviations from what is expected, equally far apart in probability under a normal distribution
/// (its deciles 1, 3, 5, 7 and 9).
const LIKELY: [f64; 5] = [-1.282, -0.524, 0.0, 0.524, 1.282];

/// How many of them have to lead to the same trial.
const ENOUGH: usize = 3;

/// Decisions that may lie between a result and the next trial: the experiment's own and one of the making lane.
const MOST_DECISIONS: usize = 2;

/// A trial that will probably be asked for.
#[derive(Debug, Clone)]
pub struct Foreseen {
    /// What to train.
    pub launch: Arc<Launch>,
    /// Counted from 1 within the experiment.
    pub trial: u32,
    /// Index in the night's list of seeds.
    pub seed: u32,
    /// What it is for.
    pub purpose: Purpose,
    /// The era in which it would begin.
    pub era: u32,
    /// Number of the champion that it would be compared with.
    pub champion: u32,
}

impl Foreseen {
    /// Whether both are the same run of the same commit.
    pub fn is(&self, other: &Self) -> bool {
        let named = |it: &Self| (it.launch.number, it.trial, it.seed, it.purpose, it.era, it.champion);
        named(self) == named(other) && self.launch.candidate.commit == other.launch.candidate.commit
    }
}

impl Machine {
    /// Whether a trial is being evaluated.
    pub fn is_evaluating(&self) -> bool {
        matches!(self.testing, Testing::Evaluating(_))
    }

    /// The trial that will probably follow the one that is being evaluated; `None` where nothing is evaluated, nothing can be told, or no
    /// trial would follow.
    pub fn foresee(&self, now: f64) -> Option<Foreseen> {
        let Testing::Evaluating(trial) = &self.testing else { return None };
        let (expected, spread) = self.expected_of(trial);
        let mut found: Vec<(Foreseen, usize)> = Vec::new();
        for deviations in LIKELY {
            let Some(next) = self.clone().next_after(expected + deviations * spread, now) else { continue };
            match found.iter_mut().find(|(known, _)| known.is(&next)) {
                Some((_, times)) => *times += 1,
                None => found.push((next, 1)),
            }
        }
        found.into_iter().find(|(_, times)| *times >= ENOUGH).map(|(next, _)| next)
    }

    /// What the trial is expected to measure and the sd about that, bits per byte.
    fn expected_of(&self, trial: &Trial) -> (f64, f64) {
        let spread = self.knowledge.noise.pair_sd();
        let theirs = self.reign.runs.iter().find(|run| run.seed == trial.seed).map(|run| run.val_bpb);
        // Of the night's first trial nothing is known, and nothing that follows depends on it.
        let level = theirs.or(self.champion.val_bpb).unwrap_or(1.0);
        match trial.role {
            Role::Candidate => match self.forecast_of(trial) {
                Some((ahead, error)) => (level + ahead, error),
                None => (level, spread),
            },
            Role::Champion | Role::DriftWatch | Role::Morning(_) => (level, spread),
        }
    }

    /// Gives the machine the result, and what it asks for until it asks for a trial.
    fn next_after(mut self, val_bpb: f64, now: f64) -> Option<Foreseen> {
        let mut effects = Vec::new();
        let Testing::Evaluating(trial) = std::mem::replace(&mut self.testing, Testing::Idle) else { return None };
        self.faults = 0;
        self.since_drift_watch += 1.0;
        self.ran(trial, Shown { val_bpb, documents: Arc::new([]) }, &mut effects);
        for _ in 0..=MOST_DECISIONS {
            self.advance(now, &mut effects);
            let mut decided = Vec::new();
            for effect in effects.drain(..) {
                match effect {
                    Effect::Train { launch, trial, seed, purpose, era } => {
                        let champion = self.champion.number;
                        return Some(Foreseen { launch, trial, seed, purpose, era, champion });
                    }
                    Effect::Settle { settled } => decided.push(settled.number),
                    Effect::Finish(_) => return None,
                    _ => {}
                }
            }
            if decided.is_empty() {
                return None;
            }
            decided.into_iter().for_each(|number| self.settled(number));
        }
        None
    }
}
