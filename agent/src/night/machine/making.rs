//! The making lane: from a proposal to an executable, one at a time and at most one ahead of the testing lane.

use std::sync::Arc;

use super::testing::Testing;
use super::{Machine, Phase};
use crate::flow::{Artifact, BuildFailure, Candidate, CommitId, Proposal, Verdict};
use crate::night::messages::{Attempt, Effect, Ending, Launch, Lines, Refusal, Setback, Settled, Without};
use crate::stats;

/// Faults in a row in making candidates before the night gives up.
const MAKING_FAULTS_BEFORE_GIVING_UP: u32 = 3;

/// How the conclusion on a kept experiment begins that cannot be left out of the champion.
pub const CANNOT_LEAVE_OUT: &str = "the champion cannot be tested without";

/// Proposals in a row that may come to nothing before the making lane rests.
const FRUITLESS_PROPOSALS_BEFORE_RESTING: u32 = 200;

/// What has happened to a proposal so far.
#[derive(Debug, Clone)]
pub(super) struct Work {
    /// What it leaves out, for one of the morning's.
    without: Option<Without>,
    attempts: Vec<Attempt>,
}

/// What the making lane is at.
#[derive(Debug, Clone)]
pub(super) enum Making {
    /// Nothing under way.
    Idle,
    /// A proposer is thinking, with `parent` as the champion it was shown.
    Proposing { parent: CommitId, work: Work },
    /// Edits are being checked and committed. `moved`: they were written for a champion that has been replaced since.
    Committing { proposal: Proposal, work: Work, moved: bool },
    /// The compiler is at work.
    Building { proposal: Proposal, candidate: Candidate, lines: Lines, work: Work },
    /// Built, waits for the testing lane, and is tried for a few steps meanwhile.
    Trying(Arc<Launch>),
    /// Built, waits for the testing lane.
    Ready(Arc<Launch>),
    /// Given up under this number, which is used up; being recorded.
    Settling(u32),
    /// No proposer has anything left, until another experiment is settled.
    Resting,
}

impl Making {
    fn take(&mut self) -> Self {
        std::mem::replace(self, Self::Idle)
    }

    /// What is built, if anything is. What is still being tried is not waited for: its trial says all.
    pub fn take_ready(&mut self) -> Option<Arc<Launch>> {
        match self.take() {
            Self::Ready(launch) | Self::Trying(launch) => Some(launch),
            other => {
                *self = other;
                None
            }
        }
    }

    fn work(&self) -> Option<&Work> {
        match self {
            Self::Proposing { work, .. } | Self::Committing { work, .. } | Self::Building { work, .. } => Some(work),
            Self::Idle | Self::Trying(_) | Self::Ready(_) | Self::Settling(_) | Self::Resting => None,
        }
    }

    /// Whether it works for the morning.
    pub fn leaves_one_out(&self) -> bool {
        match self {
            Self::Ready(launch) | Self::Trying(launch) => launch.without.is_some(),
            Self::Settling(_) => true,
            other => other.work().is_some_and(|work| work.without.is_some()),
        }
    }
}

impl Machine {
    /// Asks for the next proposal, if another experiment would be tested if it were made now.
    pub(super) fn make_next(&mut self, now: f64, effects: &mut Vec<Effect>) {
        // One compiler at a time.
        let rebuilding = matches!(self.testing, Testing::Rebuilding(_));
        let ends = self.stopping || self.unmasked.is_some();
        if !matches!(self.making, Making::Idle) || ends || rebuilding {
            return;
        }
        if matches!(self.phase, Phase::Morning(_)) {
            return self.leave_out_next(now, effects);
        }
        // Nothing is made before the night's start is measured: the first build warms the slots, and a bad start ends the night.
        let in_hand = u32::from(self.contest.is_some());
        // The next proposal is made in the knowledge of the experiment in hand, which is on record from its first trial on.
        let unknown = self.contest.as_ref().is_some_and(|contest| !contest.begun);
        let wanted = self.limits.experiments.is_none_or(|most| self.settled + in_hand < most);
        // What could not be tested in time would only keep the compiler, and on a full machine the next trial, busy.
        let in_flight = u32::from(!matches!(self.testing, Testing::Idle));
        let in_time = self.time_for(1 + in_flight, now);
        if !self.baseline_settled || unknown || !wanted || !in_time {
            return;
        }
        if self.fruitless >= FRUITLESS_PROPOSALS_BEFORE_RESTING {
            self.making = Making::Resting;
            if matches!(self.testing, Testing::Idle) {
                self.test_next(now, effects);
            }
            return;
        }
        effects.push(Effect::Propose { number: self.next_number, turn: self.take_turn() });
        let work = Work { without: None, attempts: Vec::new() };
        self.making = Making::Proposing { parent: self.champion.commit.clone(), work };
    }

    fn leave_out_next(&mut self, now: f64, effects: &mut Vec<Effect>) {
        // The claim is on record before anything else is begun.
        if matches!(self.testing, Testing::Claiming) || !self.leaves_out_another(now) {
            return;
        }
        let Some(of) = self.take_one_to_leave_out() else { return };
        effects.push(Effect::ProposeWithout { of, number: self.next_number, turn: self.take_turn() });
        let work = Work { without: Some(of), attempts: Vec::new() };
        self.making = Making::Proposing { parent: self.champion.commit.clone(), work };
    }

    /// Forgets what was being made for a search that has ended since.
    fn forget_if_over(&mut self) {
        let search = self.making.work().is_some_and(|work| work.without.is_none());
        if search && matches!(self.phase, Phase::Morning(_)) {
            self.making = Making::Idle;
        }
    }

    pub(super) fn proposed(&mut self, proposal: Option<Proposal>, effects: &mut Vec<Effect>) {
        self.forget_if_over();
        let (parent, work) = match self.making.take() {
            Making::Proposing { parent, work } => (parent, work),
            other => return self.making = other,
        };
        match (proposal, work.without) {
            (Some(proposal), _) => self.commit(proposal, work, parent != self.champion.commit, effects),
            (None, Some(without)) => self.cannot_leave_out(without, "later experiments build on it", effects),
            // The answer was to an old champion: ask again.
            (None, None) if work.attempts.is_empty() && parent != self.champion.commit => {}
            (None, None) if work.attempts.is_empty() => self.making = Making::Resting,
            (None, None) => self.give_up(work, effects),
        }
    }

    /// The making lane goes on to the next.
    fn cannot_leave_out(&mut self, without: Without, why: &str, effects: &mut Vec<Effect>) {
        let words = format!("{CANNOT_LEAVE_OUT} {without}: {why}");
        effects.push(Effect::Conclude { number: without.kept, words });
        self.making = Making::Idle;
    }

    fn commit(&mut self, proposal: Proposal, work: Work, moved: bool, effects: &mut Vec<Effect>) {
        effects.push(Effect::Commit {
            number: self.next_number,
            proposal: Box::new(proposal.clone()),
            parent: self.champion.commit.clone(),
        });
        self.making = Making::Committing { proposal, work, moved };
    }

    pub(super) fn committed(&mut self, candidate: Candidate, lines: Lines, effects: &mut Vec<Effect>) {
        self.forget_if_over();
        let (proposal, work) = match self.making.take() {
            Making::Committing { proposal, work, .. } => (proposal, work),
            other => return self.making = other,
        };
        if candidate.parent != self.champion.commit {
            return self.commit(proposal, work, true, effects);
        }
        effects.push(Effect::Build { number: self.next_number, candidate: candidate.clone() });
        self.making = Making::Building { proposal, candidate, lines, work };
    }

    pub(super) fn refused(&mut self, refusal: Refusal, effects: &mut Vec<Effect>) {
        self.forget_if_over();
        let (proposal, work, moved) = match self.making.take() {
            Making::Committing { proposal, work, moved } => (proposal, work, moved),
            other => return self.making = other,
        };
        let (Refusal::DoesNotApply(why) | Refusal::Policy(why) | Refusal::Duplicate(why)) = &refusal;
        if let Some(without) = work.without {
            let why = why.clone();
            return self.cannot_leave_out(without, &why, effects);
        }
        let skip = match &refusal {
            Refusal::Duplicate(why) => Some(why.clone()),
            Refusal::DoesNotApply(why) if moved => {
                Some(format!("it no longer fits the champion, which moved while this was being built: {why}"))
            }
            Refusal::DoesNotApply(_) | Refusal::Policy(_) => None,
        };
        match skip {
            Some(reason) => {
                self.fruitless += 1;
                effects.push(Effect::Skip { proposal: Box::new(proposal), reason });
            }
            None => self.repair(proposal, None, Setback::Refused(refusal), work, effects),
        }
    }

    fn repair(
        &mut self,
        proposal: Proposal,
        candidate: Option<Candidate>,
        setback: Setback,
        mut work: Work,
        effects: &mut Vec<Effect>,
    ) {
        work.attempts.push(Attempt { proposal: proposal.clone(), candidate, setback: Some(setback.clone()) });
        if work.without.is_some() || work.attempts.len() > self.rules.repair_rounds as usize {
            return self.give_up(work, effects);
        }
        effects.push(Effect::Repair {
            number: self.next_number,
            turn: self.take_turn(),
            proposal: Box::new(proposal),
            setback: Box::new(setback),
        });
        self.making = Making::Proposing { parent: self.champion.commit.clone(), work };
    }

    /// Records an experiment that never got as far as training.
    fn give_up(&mut self, work: Work, effects: &mut Vec<Effect>) {
        let Work { without, attempts } = work;
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
        effects.push(Effect::Settle {
            settled: Box::new(Settled {
                number: self.next_number,
                proposal: Some(last.proposal.clone()),
                candidate: last.candidate.clone(),
                untried: None,
                decision: stats::untested(verdict, reason),
                attempts,
                val_bpb: None,
                without,
            }),
        });
        self.making = Making::Settling(self.next_number);
        self.next_number += 1;
        if without.is_none() {
            self.settled += 1;
            self.fruitless += 1;
        }
    }

    pub(super) fn built(&mut self, number: u32, result: Result<Artifact, BuildFailure>, effects: &mut Vec<Effect>) {
        if let Some(role) = self.rebuilding(number) {
            return self.rebuilt(role, result, effects);
        }
        self.forget_if_over();
        let (proposal, candidate, lines, mut work) = match self.making.take() {
            Making::Building { proposal, candidate, lines, work } => (proposal, candidate, lines, work),
            other => return self.making = other,
        };
        let artifact = match result {
            Ok(artifact) => artifact,
            Err(failure) => {
                return self.repair(proposal, Some(candidate), Setback::Build(failure), work, effects);
            }
        };
        (self.fruitless, self.making_faults) = (0, 0);
        work.attempts.push(Attempt { proposal: proposal.clone(), candidate: Some(candidate.clone()), setback: None });
        let launch = Arc::new(Launch {
            number,
            proposal: Some(proposal),
            candidate,
            lines,
            artifact,
            attempts: work.attempts,
            without: work.without,
        });
        // Where nothing trains its turn has come, and its trial says all. What leaves out a part of the champion is known to run, or is told
        // by its trial that it needs the part.
        if launch.without.is_some() || !matches!(self.testing, Testing::Training(_)) {
            self.making = Making::Ready(launch);
            return;
        }
        effects.push(Effect::SmokeTest { launch: Arc::clone(&launch) });
        self.making = Making::Trying(launch);
    }

    /// A candidate was tried for a few steps. One that failed is settled as if its first trial had failed; the answer to one whose turn has
    /// come meanwhile, or that is made again from another champion, says nothing any more.
    pub(super) fn smoke_tested(
        &mut self,
        number: u32,
        commit: &CommitId,
        failed: Option<String>,
        effects: &mut Vec<Effect>,
    ) {
        let launch = match self.making.take() {
            Making::Trying(launch) if launch.number == number && launch.candidate.commit == *commit => launch,
            other => return self.making = other,
        };
        let Some(words) = failed else { return self.making = Making::Ready(launch) };
        let decision = stats::untested(Verdict::Crashed, format!("smoke test: {words}"));
        effects.push(Effect::Settle {
            settled: Box::new(Settled {
                number,
                proposal: launch.proposal.clone(),
                candidate: Some(launch.candidate.clone()),
                untried: Some(launch.artifact.clone()),
                attempts: launch.attempts.clone(),
                decision,
                val_bpb: None,
                without: None,
            }),
        });
        self.making = Making::Settling(number);
        let build = &mut self.knowledge.longest_build;
        *build = build.max(launch.artifact.build_seconds);
        self.next_number += 1;
        self.settled += 1;
    }

    /// Nothing is known of the candidate; another is made.
    pub(super) fn making_fault(&mut self, number: u32, what: &str, effects: &mut Vec<Effect>) {
        if self.rebuilding(number).is_some() {
            return self.finish(Ending::MachineFaults(what.to_owned()), effects);
        }
        self.forget_if_over();
        let Some(work) = self.making.work() else { return };
        if let Some(without) = work.without {
            return self.cannot_leave_out(without, what, effects);
        }
        self.making = Making::Idle;
        self.fruitless += 1;
        self.making_faults += 1;
        if self.making_faults >= MAKING_FAULTS_BEFORE_GIVING_UP {
            let why = format!("{} candidates in a row could not be made, the last: {what}", self.making_faults);
            self.finish(Ending::MachineFaults(why), effects);
        }
    }

    /// What the testing lane waits for the executable of, if that has this number.
    fn rebuilding(&self, number: u32) -> Option<super::trial::Role> {
        let Testing::Rebuilding(role) = self.testing else { return None };
        let waits_for = match role {
            super::trial::Role::Candidate => self.contest.as_ref().map(|contest| contest.number),
            super::trial::Role::Morning(super::trial::Side::Start) => Some(0),
            _ => Some(self.champion.number),
        };
        (waits_for == Some(number)).then_some(role)
    }

    /// What was built from a champion that has been replaced is made again from the new one.
    pub(super) fn remake_if_outdated(&mut self, effects: &mut Vec<Effect>) {
        let (Making::Ready(launch) | Making::Trying(launch)) = &self.making else { return };
        if launch.candidate.parent == self.champion.commit {
            return;
        }
        let Some(proposal) = launch.proposal.clone() else { return };
        // The attempt that built is repeated; the failures before it stay as evidence.
        let mut attempts = launch.attempts.clone();
        attempts.pop();
        let work = Work { without: launch.without, attempts };
        self.commit(proposal, work, true, effects);
    }
}
