//! What the tuner has learnt from its steps: for each number of the recipe and each direction, what a step is expected to gain,
//! what it costs, and how often steps help at all.
//!
//! A try is read as a slope: what a step gained, another one the same way is expected to gain; what it lost, a step the other way
//! is expected to win back by half, until that way has been tried itself. Where several numbers moved at once, each answers for
//! its share.

use super::bandit::{self, Arm, Record};
use super::steps::Direction;
use super::tried::outcome;
use super::tuner::NAME;
use crate::flow::{Brief, PastExperiment, Verdict};

/// Bits per byte that a step of an untried number is expected to gain, as firmly as after [`PRIOR_TRIES`] tries.
const PRIOR_GAIN: f64 = 0.001;
const PRIOR_TRIES: f64 = 2.0;

/// What a step that did not even train is counted as, bits per byte.
const CRASH_GAIN: f64 = -0.01;

/// A step of an untried number is taken to help once in four times, as firmly as after four tries.
const PRIOR_HELPED: f64 = 0.25;
const PRIOR_HELPED_TRIES: f64 = 4.0;

/// That steps of a number take the usual time is believed as firmly as after four tries.
const PRIOR_TIME_TRIES: f64 = 4.0;

/// Joins the numbers' names in the key of a step of several.
pub(super) const AND: char = '&';

/// The name of one number's step for the history.
pub(super) fn key(brief: &Brief, name: &str, from: f64, to: f64) -> String {
    format!("{}/{name}/{from}/{to}", brief.scale)
}

/// A step of one number, in the history.
pub(super) struct Step<'a> {
    pub past: &'a PastExperiment,
    pub name: String,
    pub from: f64,
    pub to: f64,
    /// How much of what happened this number answers for: all of it, or half where two moved.
    share: f64,
    /// In usual experiments.
    time: f64,
}

impl Step<'_> {
    pub fn direction(&self) -> Direction {
        if self.to > self.from { Direction::Up } else { Direction::Down }
    }

    /// In words: `experiment 2026-03-08-k4/7 took it from 0.04 to 0.06: kept (-0.0031 bits per byte)`.
    pub fn told(&self) -> String {
        let difference = self.past.difference.map_or(String::new(), |d| format!(" ({d:+.4} bits per byte)"));
        let (id, outcome) = (&self.past.id, outcome(self.past));
        let others = if self.share < 1.0 { ", among others," } else { "" };
        format!("experiment {id} took it{others} from {} to {}: {outcome}{difference}", self.from, self.to)
    }
}

/// All steps of the history.
pub(super) struct Slopes<'a> {
    steps: Vec<Step<'a>>,
}

impl<'a> Slopes<'a> {
    /// At the brief's scale.
    pub fn of(brief: &Brief, record: &Record<'a>) -> Self {
        let mut steps = Vec::new();
        for (past, time) in record.times().filter(|(past, _)| past.proposal.author.proposer == NAME) {
            let parts: Vec<&str> = past.proposal.key.split(AND).collect();
            let share = 1.0 / parts.len() as f64;
            let read = |part: &&str| {
                let mut words = part.split('/');
                let scale = words.next()?;
                let (name, from, to) = (words.next()?, words.next()?.parse().ok()?, words.next()?.parse().ok()?);
                (scale == brief.scale.name()).then(|| Step { past, name: name.to_owned(), from, to, share, time })
            };
            steps.extend(parts.iter().filter_map(read));
        }
        Self { steps }
    }

    /// Those of one number, in order.
    pub fn of_number<'s>(&'s self, name: &'s str) -> impl DoubleEndedIterator<Item = &'s Step<'a>> {
        self.steps.iter().filter(move |step| step.name == name)
    }

    /// Whether a number has been at this value.
    pub fn tried(&self, name: &str, value: f64) -> bool {
        let near = |other: f64| (other - value).abs() <= 1e-9 * value.abs();
        self.of_number(name).any(|step| near(step.to) || near(step.from))
    }

    /// What a step of this number in this direction is expected to gain.
    pub fn belief(&self, name: &str, direction: Direction) -> Arm {
        let mut arm = Arm::new(PRIOR_GAIN, PRIOR_TRIES);
        let untried = !self.of_number(name).any(|step| step.direction() == direction);
        for step in self.of_number(name) {
            let same = step.direction() == direction;
            let mut observe = |gain: f64, tries: f64| arm.observe(gain * tries, tries);
            let measured =
                matches!(step.past.verdict, Some(Verdict::Kept | Verdict::Discarded | Verdict::Inconclusive));
            match (step.past.verdict, bandit::expected(step.past).filter(|_| measured)) {
                // Still running: neither direction is urgent.
                (None, _) => observe(0.0, step.share),
                (Some(_), Some(difference)) if same => observe(-difference * step.share, step.share),
                (Some(_), Some(difference)) if untried => observe(difference * step.share, 0.5 * step.share),
                (Some(_), Some(_)) => {}
                // Nothing was learnt of it, so that it is no crash either.
                (Some(_), None) if bandit::tells_nothing(step.past) => {}
                (Some(_), None) if same => observe(CRASH_GAIN, step.share),
                (Some(_), None) => {}
            }
        }
        arm
    }

    /// The time that a step of this number is expected to take, in usual experiments.
    pub fn time(&self, name: &str) -> f64 {
        let mut time = Arm::new(1.0, PRIOR_TIME_TRIES);
        self.of_number(name).for_each(|step| time.observe(step.time, 1.0));
        time.mean()
    }

    /// How probable it is that a step helps: as often as the tuner's steps did so far, corrected by this number's own in this
    /// direction.
    pub fn confidence(&self, name: &str, direction: Direction) -> f64 {
        let helped = |prior: f64, steps: &mut dyn Iterator<Item = &Step<'a>>| {
            let mut arm = Arm::new(prior, PRIOR_HELPED_TRIES);
            for step in steps {
                if let Some(improved) = bandit::improved(step.past) {
                    arm.observe(improved * step.share, step.share);
                }
            }
            arm.mean()
        };
        let all = helped(PRIOR_HELPED, &mut self.steps.iter());
        helped(all, &mut self.of_number(name).filter(|step| step.direction() == direction))
    }
}
