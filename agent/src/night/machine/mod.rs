//! The state machine of a night. No IO, no clock, no randomness: [`Machine::step`] takes an event and the time, and says
//! what to do.
//!
//! Two lanes run side by side. The *making* lane turns a proposal into a built candidate; the *testing* lane runs one trial at
//! a time. While one experiment is tested, the next is made, and tried for a few steps. When a test ends with a new champion, a candidate made from the old
//! one is made again from the new one before it is tested, so that every experiment is one change away from the champion it is
//! compared with.
//!
//! The testing lane plans one trial after the other and never more than one ahead: what is planned follows from what has been
//! measured alone, so that a trial which a fault of the machine spoilt is simply planned again, under the same seed, and a night
//! that is gone on with plans what it would have planned. The parts:
//!
//! - `making` from proposals to executables;
//! - `testing` one trial (`trial`), from its beginning to what came of it;
//! - `contest` an experiment's trials, one after the other, until it is settled, and `settling` how that is done;
//! - `reign` the champion's own runs: under the seeds that candidates need, and again, to watch for drift;
//! - `morning` what follows when the search has ended: the claim, then the champion without each kept experiment;
//! - `foresight` what it will most likely ask for when the trial that is being evaluated is judged;
//! - `knowledge` what the night has learnt of noise, effects, curves and durations;
//! - `restore` the state of a night that is gone on with, for which `replay` takes in again what it had done.

mod contest;
mod foresight;
mod knowledge;
mod making;
mod morning;
mod reign;
mod replay;
mod restore;
mod settling;
mod testing;
mod trial;

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};

use contest::Contest;
pub use foresight::Foreseen;
use knowledge::Knowledge;
pub(in crate::night) use making::CANNOT_LEAVE_OUT;
use making::Making;
use morning::Morning;
use reign::Reign;
use testing::Testing;
pub(in crate::night) use trial::failure;
use trial::{Executable, Trial};

use super::messages::{Champion, Effect, Ending, Event, Limits};
use crate::flow::NightId;
use crate::stats::Rules;
use crate::stats::decide::Known;
use crate::stats::mixture::Mixture;
use crate::stats::noise::Noise;
use crate::stats::reference::Reference;

/// What the night is at.
#[derive(Debug, Clone)]
enum Phase {
    /// Looking for something better.
    Search,
    /// Confirming what was found.
    Morning(Box<Morning>),
}

/// The state of a night.
#[derive(Debug, Clone)]
pub struct Machine {
    limits: Limits,
    rules: Rules,
    /// The night's random number, from which the sample of trials follows that are not stopped early.
    lot: u64,
    /// Its name, by which its own experiments are told from those of earlier nights; `None`: all that are named are its own.
    night: Option<NightId>,
    /// The night's start.
    baseline: Executable,
    baseline_settled: bool,
    /// The champion's executable, where it is not the night's start.
    crowned: Option<Executable>,
    champion: Champion,
    reign: Reign,
    /// Numbers of the kept experiments, in order.
    kept: Vec<u32>,
    /// How many ideas each of them puts together; 0 or 1 for what is no combination.
    combined: HashMap<u32, u32>,
    /// Seeds under which anything ran in the search: what was kept was chosen by them.
    searched: BTreeSet<u32>,
    /// Stretches of the night between which the machine changed.
    era: u32,
    /// Trials since the champion last ran; one that was stopped early counts by the part that ran.
    since_drift_watch: f64,
    knowledge: Knowledge,
    /// What everything that ran in this era tells of the champion's level.
    reference: Reference,
    /// What is believed of this night's experiments that are settled and were not kept, by number: for trying them again.
    hopes: HashMap<u32, Mixture>,
    /// What the kept experiments are expected to be worth together, bits per byte, positive.
    expected_gain: f64,
    /// The last trial's ordinal, per experiment that may have another.
    ordinals: HashMap<u32, u32>,
    next_number: u32,
    turn: u64,
    settled: u32,
    fruitless: u32,
    faults: u32,
    left_alone: u32,
    making_faults: u32,
    making: Making,
    testing: Testing,
    contest: Option<Box<Contest>>,
    phase: Phase,
    /// How the night is to end because something that it builds on turned out to break a rule.
    unmasked: Option<Ending>,
    /// Which experiment that was, in words; 0 for the night's start.
    cheat: Option<(u32, String)>,
    /// What an earlier part of the night left to be done first.
    left_over: Option<LeftOver>,
    stopping: bool,
    finished: bool,
}

/// What an earlier part of the night left to be done.
#[derive(Debug, Clone)]
enum LeftOver {
    /// Its last trial waits for its evaluation.
    Evaluation(Box<Trial>),
    /// What followed from its last trial.
    Told(Vec<Effect>),
}

impl Machine {
    /// The best commit so far.
    pub fn champion(&self) -> &Champion {
        &self.champion
    }

    /// What is known of the noise.
    pub fn noise(&self) -> &Noise {
        &self.knowledge.noise
    }

    /// Why the search has ended, once it has.
    pub fn search_ended(&self) -> Option<&Ending> {
        match &self.phase {
            Phase::Search => None,
            Phase::Morning(morning) => Some(&morning.ending),
        }
    }

    /// What the night builds on that turned out to break a rule: from this experiment on nothing that was kept holds, nor does a claim.
    /// 0 is the night's start.
    pub fn cheat(&self) -> Option<(u32, &str)> {
        self.cheat.as_ref().map(|(number, words)| (*number, words.as_str()))
    }

    /// Numbers of the experiments kept so far, in order.
    pub fn kept(&self) -> &[u32] {
        &self.kept
    }

    /// All that a decision rests on.
    fn known(&self) -> Known<'_> {
        self.knowledge.known(&self.rules, &self.reference)
    }

    /// Whether [`Effect::Finish`] was asked for.
    pub fn is_finished(&self) -> bool {
        self.finished
    }

    /// Takes an event at `now` seconds after the night's beginning and says what to do. Events that no effect asked for
    /// (answers that come after the end) are ignored.
    pub fn step(&mut self, event: Event, now: f64) -> Vec<Effect> {
        let mut effects = Vec::new();
        if self.finished {
            return effects;
        }
        match event {
            Event::Begin => self.begin(&mut effects),
            Event::Proposed(proposal) => self.proposed(proposal.map(|p| *p), &mut effects),
            Event::Committed { candidate, lines } => self.committed(candidate, lines, &mut effects),
            Event::Refused(refusal) => self.refused(refusal, &mut effects),
            Event::Built { number, result } => self.built(number, result, &mut effects),
            Event::SmokeTested { number, commit, failed } => self.smoke_tested(number, &commit, failed, &mut effects),
            Event::Look { number, trial, look, curve_difference } => {
                self.looked(number, trial, look, curve_difference, &mut effects);
            }
            Event::Changed(why) => self.changed(&why, &mut effects),
            Event::Trained(trained) => self.trained(&trained, &mut effects),
            Event::Evaluated(result) => self.evaluated(result, &mut effects),
            Event::Settled { number } => self.settled(number),
            Event::Claimed => self.claim_recorded(),
            Event::TrialFault(what) => self.trial_fault(&what, &mut effects),
            Event::NotBegun(_) => self.not_begun(),
            Event::MakingFault { number, what } => self.making_fault(number, &what, &mut effects),
            Event::Tick => {}
            Event::Fault(what) => self.finish(Ending::MachineFaults(what), &mut effects),
            Event::Stop { at_once: true } => self.finish(Ending::Stopped, &mut effects),
            Event::Stop { at_once: false } => self.stopping = true,
        }
        self.advance(now, &mut effects);
        effects
    }

    /// Starts whatever can be started.
    fn advance(&mut self, now: f64, effects: &mut Vec<Effect>) {
        if self.finished {
            return;
        }
        self.remake_if_outdated(effects);
        if matches!(self.testing, Testing::Idle) {
            self.test_next(now, effects);
        }
        if !self.finished {
            self.make_next(now, effects);
        }
    }

    /// Begins the next trial, or settles, or ends.
    fn test_next(&mut self, now: f64, effects: &mut Vec<Effect>) {
        if self.contest.is_some() {
            self.go_on_with_contest(now, effects);
            // What was never begun is dropped, and something else is next.
            if self.contest.is_some() || !matches!(self.testing, Testing::Idle) {
                return;
            }
        }
        if let Some(ending) = self.unmasked.take() {
            return self.finish(ending, effects);
        }
        if self.stopping {
            return self.finish(Ending::Stopped, effects);
        }
        match self.phase {
            Phase::Search => self.search_next(now, effects),
            Phase::Morning(_) => self.morning_next(now, effects),
        }
    }

    fn search_next(&mut self, now: f64, effects: &mut Vec<Effect>) {
        if !self.baseline_settled {
            if self.limits.seconds.is_some_and(|most| now >= most) {
                return self.finish(Ending::Deadline, effects);
            }
            return self.measure_baseline(effects);
        }
        if let Some(ending) = self.limit_reached(now) {
            return self.wind_up(ending, now, effects);
        }
        if matches!(self.making, Making::Resting) {
            return self.wind_up(Ending::NothingLeft, now, effects);
        }
        if self.watch_champion(effects) {
            return;
        }
        if let Some(launch) = self.making.take_ready() {
            self.next_number += 1;
            self.contest = Some(Box::new(self.new_contest(launch)));
            self.test_next(now, effects);
        }
    }

    /// Seconds that a trial is expected to take at most.
    fn expected_seconds(&self) -> f64 {
        self.knowledge.longest_trial.unwrap_or(self.limits.expected_trial_seconds)
    }

    /// Seconds that so many trials are expected to take at most. In the search the first may have to wait for a build that is under way.
    fn seconds_for(&self, trials: u32) -> f64 {
        let build = match self.phase {
            Phase::Search => self.knowledge.longest_build,
            Phase::Morning(_) => 0.0,
        };
        f64::from(trials) * self.expected_seconds() + build
    }

    /// Whether so many trials are expected to end before the time that the night, or its search, has.
    fn time_for(&self, trials: u32, now: f64) -> bool {
        let end = now + self.seconds_for(trials);
        self.limits.seconds.is_none_or(|most| end <= most - self.reserve(most))
    }

    /// Seconds for which a trial that is about to begin may wait for the machine: after that it would not end before the time that the
    /// night, or its search, has. `None` for a night without a deadline.
    pub fn may_wait(&self, now: f64) -> Option<f64> {
        let most = self.limits.seconds?;
        // Nothing else can be done before the night's start is measured.
        let end = if self.baseline_settled {
            most - self.reserve(most) - self.seconds_for(self.trials_that_hang_together())
        } else {
            most
        };
        Some((end - now).max(0.0))
    }

    /// How many trials tell something only if all of them end in time, beginning with the one in flight: both of a morning's pair, for
    /// sealed text that half a pair has looked at is spent for nothing.
    fn trials_that_hang_together(&self) -> u32 {
        match (&self.testing, &self.phase) {
            (Testing::Training(trial), Phase::Morning(morning)) => 1 + morning.still_to_pair(trial.role, trial.seed),
            _ => 1,
        }
    }

    fn limit_reached(&self, now: f64) -> Option<Ending> {
        if self.limits.experiments.is_some_and(|most| self.settled >= most) {
            return Some(Ending::ExperimentsDone);
        }
        (!self.time_for(1, now)).then_some(Ending::Deadline)
    }

    fn take_turn(&mut self) -> u64 {
        let turn = self.turn;
        self.turn += 1;
        turn
    }

    fn finish(&mut self, ending: Ending, effects: &mut Vec<Effect>) {
        self.finished = true;
        effects.push(Effect::Finish(ending));
    }
}
