//! The state machine of a night. No IO, no clock, no randomness: [`Machine::step`] takes an event and the time, and says
//! what to do.
//!
//! Two lanes run side by side. The *making* lane turns a proposal into a built candidate; the *testing* lane trains and
//! evaluates one candidate at a time. While one experiment is tested, the next is made. When a test ends with a new
//! champion, a candidate made from the old one is made again from the new one before it is tested, so that every
//! experiment is one change away from the champion it is compared with.

use std::sync::Arc;

use super::messages::{
    Attempt, Came, Champion, Effect, Ending, Event, Launch, Limits, Lines, Measured, Refusal, Setback, Settled, Start,
    Unsettled,
};
use crate::flow::{
    Artifact, BuildFailure, Candidate, CommitId, Decision, Proposal, Purpose, Rejected, Trained, TrialEnd, Verdict,
};
use crate::stats;

/// Trials in a row that may end in a fault of the machine before the experiment is left alone.
const FAULTS_BEFORE_LEAVING_IT: u32 = 3;

/// Experiments in a row that may be left alone for that reason before the night gives up. One alone may be to blame itself,
/// whatever it looks like from outside.
const LEFT_ALONE_BEFORE_GIVING_UP: u32 = 2;

/// Faults in a row in making candidates before the night gives up.
const MAKING_FAULTS_BEFORE_GIVING_UP: u32 = 3;

/// Proposals in a row that may come to nothing before the making lane rests until the champion moves.
const FRUITLESS_PROPOSALS_BEFORE_RESTING: u32 = 200;

#[derive(Debug, Clone, PartialEq)]
enum Making {
    /// Nothing under way.
    Idle,
    /// A proposer is thinking, with `parent` as the champion it was shown.
    Proposing { parent: CommitId, attempts: Vec<Attempt> },
    /// Edits are being checked and committed. `moved`: they were written for a champion that has been replaced since.
    Committing { proposal: Proposal, attempts: Vec<Attempt>, moved: bool },
    /// The compiler is at work.
    Building { proposal: Proposal, candidate: Candidate, lines: Lines, attempts: Vec<Attempt> },
    /// Built, waits for the testing lane.
    Ready(Arc<Launch>),
    /// Given up under this number, which is used up; being recorded.
    Settling(u32),
    /// No proposer has anything left for this champion.
    Resting,
}

#[derive(Debug, Clone, PartialEq)]
enum Testing {
    Idle,
    /// An experiment of an interrupted night, or the night's start, is being built.
    Rebuilding {
        number: u32,
        proposal: Option<Proposal>,
        candidate: Candidate,
        lines: Lines,
    },
    Training {
        launch: Arc<Launch>,
        trial: u32,
    },
    Evaluating {
        launch: Arc<Launch>,
        trial: u32,
    },
    Settling {
        decision: Decision,
        number: u32,
        commit: CommitId,
        val_bpb: Option<f64>,
    },
}

/// An experiment that an interrupted night had begun and not settled.
#[derive(Debug, Clone, PartialEq)]
struct First {
    number: u32,
    proposal: Option<Proposal>,
    candidate: Candidate,
    lines: Lines,
    trials: u32,
    trained: Option<Artifact>,
}

/// The state of a night.
#[derive(Debug, Clone, PartialEq)]
pub struct Machine {
    limits: Limits,
    champion: Champion,
    next_number: u32,
    turn: u64,
    settled: u32,
    fruitless: u32,
    faults: u32,
    left_alone: u32,
    making_faults: u32,
    trials_before: u32,
    making: Making,
    testing: Testing,
    /// When the trial in flight began; `None` for one that an earlier part of the night had trained.
    trial_began: Option<f64>,
    longest_trial: Option<f64>,
    stopping: bool,
    finished: bool,
    first: Option<First>,
}

impl Machine {
    /// A night about to begin or to go on.
    pub fn new(limits: Limits, start: Start) -> Self {
        let standing = start.champion.as_ref().unwrap_or(&start.baseline);
        let mut measured = start.trials_of(standing.number).filter_map(|trial| match &trial.came {
            Came::Verified(measured) => Some(measured.verified.val_bpb),
            _ => None,
        });
        let champion = Champion {
            number: standing.number,
            commit: standing.candidate.commit.clone(),
            val_bpb: measured.next_back().filter(|_| start.baseline_settled),
        };
        let unsettled = start.unsettled.as_ref().map(|Unsettled { standing, .. }| standing);
        let first = unsettled.or((!start.baseline_settled).then_some(&start.baseline)).map(|standing| First {
            number: standing.number,
            proposal: standing.proposal.clone(),
            candidate: standing.candidate.clone(),
            lines: standing.lines,
            trials: start.trials_of(standing.number).map(|trial| trial.ordinal).max().unwrap_or(0),
            trained: standing.artifact.clone().filter(|_| {
                start.trials_of(standing.number).next_back().is_some_and(|trial| trial.came == Came::Waits)
            }),
        });
        Self {
            limits,
            champion,
            next_number: start.next_number,
            turn: start.turn,
            settled: start.settled,
            fruitless: 0,
            faults: 0,
            left_alone: 0,
            making_faults: 0,
            trials_before: 0,
            making: Making::Idle,
            testing: Testing::Idle,
            trial_began: None,
            longest_trial: None,
            stopping: false,
            finished: false,
            first,
        }
    }

    /// The best commit so far.
    pub fn champion(&self) -> &Champion {
        &self.champion
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
            Event::Built { number, result } => self.built(number, result, now, &mut effects),
            Event::Trained(trained) => self.trained(&trained, now, &mut effects),
            Event::Evaluated(result) => self.evaluated(result, now, &mut effects),
            Event::Settled { number } => self.settled(number),
            Event::TrialFault(what) => self.trial_fault(&what, now, &mut effects),
            Event::MakingFault { number, what } => self.making_fault(number, &what, &mut effects),
            Event::Tick | Event::Look { .. } | Event::Claimed => {}
            Event::Fault(what) => self.finish(Ending::MachineFaults(what), &mut effects),
            Event::Stop { at_once: true } => self.finish(Ending::Stopped, &mut effects),
            Event::Stop { at_once: false } => self.stopping = true,
        }
        self.advance(now, &mut effects);
        effects
    }

    fn begin(&mut self, effects: &mut Vec<Effect>) {
        if let Some(First { number, proposal, candidate, lines, trials, trained: Some(artifact) }) = self.first.clone()
        {
            let launch =
                Arc::new(Launch { number, proposal, candidate, lines, artifact, attempts: Vec::new(), without: None });
            effects.push(Effect::Evaluate { number, trial: trials, purpose: Purpose::Search });
            self.testing = Testing::Evaluating { launch, trial: trials };
        } else if let Some(first) = self.first.take() {
            self.trials_before = first.trials;
            effects.push(Effect::Build { number: first.number, candidate: first.candidate.clone() });
            self.testing = Testing::Rebuilding {
                number: first.number,
                proposal: first.proposal,
                candidate: first.candidate,
                lines: first.lines,
            };
        }
    }

    fn proposed(&mut self, proposal: Option<Proposal>, effects: &mut Vec<Effect>) {
        let Making::Proposing { parent, attempts } = self.making.clone() else { return };
        match proposal {
            Some(proposal) => self.commit(proposal, attempts, parent != self.champion.commit, effects),
            // The answer was to an old champion: ask again.
            None if attempts.is_empty() && parent != self.champion.commit => self.making = Making::Idle,
            None if attempts.is_empty() => self.making = Making::Resting,
            None => self.give_up(attempts, effects),
        }
    }

    fn commit(&mut self, proposal: Proposal, attempts: Vec<Attempt>, moved: bool, effects: &mut Vec<Effect>) {
        effects.push(Effect::Commit {
            number: self.next_number,
            proposal: Box::new(proposal.clone()),
            parent: self.champion.commit.clone(),
        });
        self.making = Making::Committing { proposal, attempts, moved };
    }

    fn committed(&mut self, candidate: Candidate, lines: Lines, effects: &mut Vec<Effect>) {
        let Making::Committing { proposal, attempts, .. } = self.making.clone() else { return };
        if candidate.parent != self.champion.commit {
            return self.commit(proposal, attempts, true, effects);
        }
        effects.push(Effect::Build { number: self.next_number, candidate: candidate.clone() });
        self.making = Making::Building { proposal, candidate, lines, attempts };
    }

    fn refused(&mut self, refusal: Refusal, effects: &mut Vec<Effect>) {
        let Making::Committing { proposal, attempts, moved } = self.making.clone() else { return };
        let skip = match &refusal {
            Refusal::Duplicate(reason) => Some(reason.clone()),
            Refusal::DoesNotApply(reason) if moved => {
                Some(format!("it no longer fits the champion, which moved while this was being built: {reason}"))
            }
            Refusal::DoesNotApply(_) | Refusal::Policy(_) => None,
        };
        match skip {
            Some(reason) => {
                self.fruitless += 1;
                self.making = Making::Idle;
                effects.push(Effect::Skip { proposal: Box::new(proposal), reason });
            }
            None => self.repair(proposal, None, Setback::Refused(refusal), attempts, effects),
        }
    }

    fn repair(
        &mut self,
        proposal: Proposal,
        candidate: Option<Candidate>,
        setback: Setback,
        mut attempts: Vec<Attempt>,
        effects: &mut Vec<Effect>,
    ) {
        attempts.push(Attempt { proposal: proposal.clone(), candidate, setback: Some(setback.clone()) });
        if attempts.len() > self.limits.repair_rounds as usize {
            self.give_up(attempts, effects);
        } else {
            effects.push(Effect::Repair {
                number: self.next_number,
                turn: self.take_turn(),
                proposal: Box::new(proposal),
                setback: Box::new(setback),
            });
            self.making = Making::Proposing { parent: self.champion.commit.clone(), attempts };
        }
    }

    /// Records an experiment that never got as far as training.
    fn give_up(&mut self, attempts: Vec<Attempt>, effects: &mut Vec<Effect>) {
        let Some(last) = attempts.last() else { return };
        let (verdict, reason) = match &last.setback {
            Some(Setback::Refused(Refusal::Policy(why))) => {
                (Verdict::Invalid, format!("the edits break a rule: {why}"))
            }
            Some(Setback::Refused(Refusal::DoesNotApply(why) | Refusal::Duplicate(why))) => {
                (Verdict::Unbuildable, format!("the edits do not apply: {why}"))
            }
            Some(Setback::Build(failure)) => (
                Verdict::Unbuildable,
                format!("{} compiler errors after {} attempts", failure.error_count, attempts.len()),
            ),
            None => return,
        };
        let decision = stats::untested(verdict, reason);
        effects.push(Effect::Settle {
            settled: Box::new(Settled {
                number: self.next_number,
                proposal: Some(last.proposal.clone()),
                candidate: last.candidate.clone(),
                attempts,
                decision,
                val_bpb: None,
                without: None,
            }),
        });
        self.making = Making::Settling(self.next_number);
        self.next_number += 1;
        self.settled += 1;
        self.fruitless += 1;
    }

    fn built(&mut self, built: u32, result: Result<Artifact, BuildFailure>, now: f64, effects: &mut Vec<Effect>) {
        if let Testing::Rebuilding { number, proposal, candidate, lines } = self.testing.clone()
            && number == built
        {
            match result {
                Ok(artifact) => {
                    let launch =
                        Launch { number, proposal, candidate, lines, artifact, attempts: Vec::new(), without: None };
                    self.launch(Arc::new(launch), self.trials_before + 1, now, effects);
                }
                Err(failure) if number == 0 => {
                    let first = failure.errors.first().cloned().unwrap_or_default();
                    self.finish(Ending::BadStart(format!("it does not build: {first}")), effects);
                }
                Err(failure) => {
                    let reason = format!("{} compiler errors", failure.error_count);
                    let attempts = proposal
                        .clone()
                        .map(|proposal| Attempt {
                            proposal,
                            candidate: Some(candidate.clone()),
                            setback: Some(Setback::Build(failure)),
                        })
                        .into_iter()
                        .collect();
                    let decision = stats::untested(Verdict::Unbuildable, reason);
                    self.settle(number, proposal, candidate, attempts, decision, None, effects);
                }
            }
            return;
        }
        let Making::Building { proposal, candidate, lines, mut attempts } = self.making.clone() else { return };
        match result {
            Ok(artifact) => {
                (self.fruitless, self.making_faults) = (0, 0);
                attempts.push(Attempt {
                    proposal: proposal.clone(),
                    candidate: Some(candidate.clone()),
                    setback: None,
                });
                let number = self.next_number;
                self.making = Making::Ready(Arc::new(Launch {
                    number,
                    proposal: Some(proposal),
                    candidate,
                    lines,
                    artifact,
                    attempts,
                    without: None,
                }));
            }
            Err(failure) => self.repair(proposal, Some(candidate), Setback::Build(failure), attempts, effects),
        }
    }

    fn launch(&mut self, launch: Arc<Launch>, trial: u32, now: f64, effects: &mut Vec<Effect>) {
        self.trial_began = Some(now);
        effects.push(Effect::Train { launch: Arc::clone(&launch), trial, seed: 0, purpose: Purpose::Search, era: 0 });
        self.testing = Testing::Training { launch, trial };
    }

    fn trained(&mut self, trained: &Trained, now: f64, effects: &mut Vec<Effect>) {
        let Testing::Training { launch, trial } = self.testing.clone() else { return };
        let number = launch.number;
        let failure = match &trained.end {
            TrialEnd::Finished => {
                effects.push(Effect::Evaluate { number, trial, purpose: Purpose::Search });
                self.testing = Testing::Evaluating { launch, trial };
                return;
            }
            TrialEnd::Stopped => return self.finish(Ending::Stopped, effects),
            TrialEnd::MachineFault { message } => {
                return self.trial_fault(message, now, effects);
            }
            TrialEnd::TimedOut => "it was still running after its budget and what is allowed beyond it".to_owned(),
            TrialEnd::NotFinite => "its loss was not finite".to_owned(),
            TrialEnd::StoppedEarly { message } => format!("stopped early: {message}"),
            TrialEnd::OutOfMemory { message } => format!("out of memory: {message}"),
            TrialEnd::Crashed { message } => format!("it crashed: {message}"),
        };
        if number == 0 {
            return self.finish(Ending::BadStart(failure), effects);
        }
        let mut decision = stats::untested(Verdict::Crashed, failure);
        decision.trials = 1;
        self.settle_launch(&launch, decision, None, effects);
    }

    /// A fault of the machine is no verdict: the trial is run again. An experiment with which the machine fails again and
    /// again is left alone, and a machine that does so with the next one as well is not fit for a night.
    fn trial_fault(&mut self, message: &str, now: f64, effects: &mut Vec<Effect>) {
        let (Testing::Training { launch, trial } | Testing::Evaluating { launch, trial }) = self.testing.clone() else {
            return;
        };
        self.faults += 1;
        if self.faults < FAULTS_BEFORE_LEAVING_IT {
            return self.launch(launch, trial + 1, now, effects);
        }
        let why = format!("{} trials in a row ended in a fault of the machine, the last: {message}", self.faults);
        self.faults = 0;
        self.left_alone += 1;
        if launch.number == 0 || self.left_alone >= LEFT_ALONE_BEFORE_GIVING_UP {
            self.finish(Ending::MachineFaults(why), effects);
        } else {
            self.settle_launch(&launch, stats::untested(Verdict::Inconclusive, why), None, effects);
        }
    }

    /// Nothing is known of the candidate; another is made.
    fn making_fault(&mut self, number: u32, what: &str, effects: &mut Vec<Effect>) {
        if matches!(self.testing, Testing::Rebuilding { number: rebuilding, .. } if rebuilding == number) {
            return self.finish(Ending::MachineFaults(what.to_owned()), effects);
        }
        self.making = Making::Idle;
        self.fruitless += 1;
        self.making_faults += 1;
        if self.making_faults >= MAKING_FAULTS_BEFORE_GIVING_UP {
            let why = format!("{} candidates in a row could not be made, the last: {what}", self.making_faults);
            self.finish(Ending::MachineFaults(why), effects);
        }
    }

    fn evaluated(&mut self, result: Result<Measured, Rejected>, now: f64, effects: &mut Vec<Effect>) {
        let Testing::Evaluating { launch, .. } = self.testing.clone() else { return };
        (self.faults, self.left_alone) = (0, 0);
        // What a rejected trial took says nothing of the next: a model that hangs must not end the night early.
        if let Some(took) = self.trial_began.filter(|_| result.is_ok()).map(|began| now - began) {
            self.longest_trial = Some(self.longest_trial.map_or(took, |longest| longest.max(took)));
        }
        match result {
            Ok(Measured { verified, .. }) if launch.number == 0 => {
                let decision = stats::night_start(&verified);
                self.settle_launch(&launch, decision, Some(verified.val_bpb), effects);
            }
            Ok(Measured { verified, .. }) => {
                let decision = match self.champion.val_bpb {
                    Some(champion) => stats::lower_is_kept(verified.val_bpb, champion),
                    None => stats::untested(Verdict::Inconclusive, "its champion was never measured".to_owned()),
                };
                self.settle_launch(&launch, decision, Some(verified.val_bpb), effects);
            }
            Err(rejected) => {
                let decision = stats::rejected(&rejected);
                if launch.number == 0 {
                    return self.finish(Ending::BadStart(decision.reason), effects);
                }
                self.settle_launch(&launch, decision, None, effects);
            }
        }
    }

    fn settle_launch(&mut self, launch: &Launch, decision: Decision, val_bpb: Option<f64>, effects: &mut Vec<Effect>) {
        let Launch { number, proposal, candidate, attempts, .. } = launch.clone();
        self.settle(number, proposal, candidate, attempts, decision, val_bpb, effects);
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one record, used at two places")]
    fn settle(
        &mut self,
        number: u32,
        proposal: Option<Proposal>,
        candidate: Candidate,
        attempts: Vec<Attempt>,
        decision: Decision,
        val_bpb: Option<f64>,
        effects: &mut Vec<Effect>,
    ) {
        self.testing =
            Testing::Settling { decision: decision.clone(), number, commit: candidate.commit.clone(), val_bpb };
        effects.push(Effect::Settle {
            settled: Box::new(Settled {
                number,
                proposal,
                candidate: Some(candidate),
                attempts,
                decision,
                val_bpb,
                without: None,
            }),
        });
    }

    fn settled(&mut self, settled: u32) {
        if self.making == Making::Settling(settled) {
            self.making = Making::Idle;
            return;
        }
        let Testing::Settling { decision, number, commit, val_bpb } = self.testing.clone() else { return };
        if number != settled {
            return;
        }
        self.testing = Testing::Idle;
        if number > 0 {
            self.settled += 1;
        }
        if decision.verdict == Verdict::Kept {
            self.champion = Champion { number, commit, val_bpb };
            self.fruitless = 0;
            if self.making == Making::Resting {
                self.making = Making::Idle;
            }
        }
    }

    /// What was built from a champion that has been replaced is made again from the new one.
    fn remake_if_outdated(&mut self, effects: &mut Vec<Effect>) {
        let Making::Ready(launch) = &self.making else { return };
        if launch.candidate.parent == self.champion.commit {
            return;
        }
        let Launch { proposal: Some(proposal), mut attempts, .. } = (**launch).clone() else { return };
        // The attempt that built is repeated; the failures before it stay as evidence.
        attempts.pop();
        self.commit(proposal, attempts, true, effects);
    }

    /// Starts whatever can be started.
    fn advance(&mut self, now: f64, effects: &mut Vec<Effect>) {
        if self.finished {
            return;
        }
        self.remake_if_outdated(effects);
        if self.testing == Testing::Idle {
            if self.stopping {
                return self.finish(Ending::Stopped, effects);
            }
            if let Some(ending) = self.limit_reached(now) {
                return self.finish(ending, effects);
            }
            match std::mem::replace(&mut self.making, Making::Idle) {
                Making::Ready(launch) => {
                    self.next_number += 1;
                    self.launch(launch, 1, now, effects);
                }
                Making::Resting => {
                    self.making = Making::Resting;
                    return self.finish(Ending::NothingLeft, effects);
                }
                other => self.making = other,
            }
        }
        if self.making == Making::Idle && self.worth_making() {
            if self.fruitless >= FRUITLESS_PROPOSALS_BEFORE_RESTING {
                self.making = Making::Resting;
                if self.testing == Testing::Idle {
                    self.finish(Ending::NothingLeft, effects);
                }
                return;
            }
            effects.push(Effect::Propose { number: self.next_number, turn: self.take_turn() });
            self.making = Making::Proposing { parent: self.champion.commit.clone(), attempts: Vec::new() };
        }
    }

    /// Whether another experiment would be tested if it were made now. Nothing is made before the night's start is measured:
    /// the first build warms the slots, and a bad start ends the night.
    fn worth_making(&self) -> bool {
        let in_flight = u32::from(self.testing != Testing::Idle);
        // One compiler at a time.
        let rebuilding = matches!(self.testing, Testing::Rebuilding { .. });
        !self.stopping
            && !rebuilding
            && self.champion.val_bpb.is_some()
            && self.limits.experiments.is_none_or(|most| self.settled + in_flight < most)
    }

    fn limit_reached(&self, now: f64) -> Option<Ending> {
        self.champion.val_bpb?;
        if self.limits.experiments.is_some_and(|most| self.settled >= most) {
            return Some(Ending::ExperimentsDone);
        }
        let expected = self.longest_trial.unwrap_or(self.limits.expected_trial_seconds);
        self.limits.seconds.is_some_and(|most| now + expected > most).then_some(Ending::Deadline)
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

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
