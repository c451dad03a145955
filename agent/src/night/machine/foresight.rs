//! What the night will most likely ask for once the trial in flight is judged, so that it can be begun before.
//!
//! A copy of the machine is handed the results that the trial may well have, one after the other, and asked what it would do. What most of
//! them lead to is worth beginning. Where there are devices for more, each copy goes on from there: it is handed a result of the trial
//! that it asked for, and so on, down a path. Nothing of that is learnt: the copies are dropped, the machine itself hears only what the evaluator
//! vouches for, and what was begun counts only if it then asks for exactly that. So a night decides the same whether anything was foreseen
//! or not, and foresight may be wrong at no other price than the time.

use std::sync::Arc;

use super::testing::Testing;
use super::trial::{Role, Shown, Trial};
use super::{Machine, Phase};
use crate::flow::Purpose;
use crate::night::messages::{Effect, Launch};

/// Results that are tried, in standard deviations from what is expected, equally far apart in probability under a normal distribution
/// (its deciles 1, 3, 5, 7 and 9).
const LIKELY: [f64; 5] = [-1.282, -0.524, 0.0, 0.524, 1.282];

/// How many of the paths have to lead to the same trial for it to be begun.
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
    /// Whether the files of both lie in one folder.
    pub fn in_the_folder_of(&self, other: &Self) -> bool {
        (self.launch.number, self.trial) == (other.launch.number, other.trial)
    }

    /// Whether both are the same run of the same commit.
    pub fn is(&self, other: &Self) -> bool {
        let named = |it: &Self| (it.launch.number, it.trial, it.seed, it.purpose, it.era, it.champion);
        named(self) == named(other) && self.launch.candidate.commit == other.launch.candidate.commit
    }
}

/// What a night may ask for after the trial in flight.
#[derive(Debug, Clone, Default)]
pub struct Outlook {
    /// What it will probably ask for, the nearest first.
    pub likely: Vec<Foreseen>,
    /// All that it may well ask for, that included.
    pub possible: Vec<Foreseen>,
}

/// One trial on the paths.
struct OnPaths {
    what: Foreseen,
    /// How many paths lead to it.
    times: usize,
    /// Their lengths up to it, added up.
    steps: usize,
}

impl Machine {
    /// Whether a trial is being trained.
    pub fn is_training(&self) -> bool {
        matches!(self.testing, Testing::Training(_))
    }

    /// Whether a trial is being evaluated.
    pub fn is_evaluating(&self) -> bool {
        matches!(self.testing, Testing::Evaluating(_))
    }

    /// The trial that will probably follow the one in flight; `None` where there is none in flight, nothing can be told, or no trial would
    /// follow.
    pub fn foresee(&self, now: f64) -> Option<Foreseen> {
        self.outlook(now, 1).likely.into_iter().next()
    }

    /// The trials that may follow the one in flight, up to so many on each path.
    pub fn outlook(&self, now: f64, most: usize) -> Outlook {
        let mut found: Vec<OnPaths> = Vec::new();
        for first in 0..LIKELY.len() {
            let (mut copy, mut at) = (self.clone(), now);
            for step in 0..most {
                // A result of another decile at each step, so that the paths differ at every one of them as much as at the first.
                let deviations = LIKELY[(first * (1 + step % (LIKELY.len() - 1)) + step) % LIKELY.len()];
                if copy.is_training() {
                    at += copy.expected_seconds();
                }
                let Some(next) = copy.next_after(deviations, at) else { break };
                match found.iter_mut().find(|known| known.what.is(&next)) {
                    Some(known) => (known.times, known.steps) = (known.times + 1, known.steps + step),
                    None => found.push(OnPaths { what: next, times: 1, steps: step }),
                }
            }
        }
        // Stable: of two that are as near, the one on the path that came first.
        found.sort_by(|one, other| (one.steps * other.times).cmp(&(other.steps * one.times)));
        let likely = found.iter().filter(|known| known.times >= ENOUGH).map(|known| known.what.clone()).collect();
        Outlook { likely, possible: found.into_iter().map(|known| known.what).collect() }
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

    /// Gives a copy of the machine a result of the trial in flight, so many standard deviations from what is expected, and follows it until
    /// it asks for a trial, which is then in flight.
    fn next_after(&mut self, deviations: f64, now: f64) -> Option<Foreseen> {
        let mut effects = Vec::new();
        let trial = match std::mem::replace(&mut self.testing, Testing::Idle) {
            Testing::Evaluating(trial) => trial,
            Testing::Training(trial) => self.as_if_trained(trial),
            _ => return None,
        };
        let (expected, spread) = self.expected_of(&trial);
        self.faults = 0;
        self.since_drift_watch += 1.0;
        let val_bpb = expected + deviations * spread;
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

    /// The trial as it is once it has trained: as many steps as the champion's runs had, so that the machine does not look changed.
    fn as_if_trained(&mut self, mut trial: Trial) -> Trial {
        if matches!(self.phase, Phase::Search) {
            self.searched.insert(trial.seed);
        }
        trial.steps = self.reign.steps.last().copied().unwrap_or(trial.steps);
        trial
    }
}
