//! Taking in again what a night had done before it was cut off: each trial as the testing lane took it in, each decision as it was
//! recorded. What the machine has learnt after that is what it had learnt then, to the last bit, because the same functions learn it
//! from the same figures in the same order; that nothing else is in it is shown by cutting nights at every point (`tests/uncut.rs`).
//!
//! Verdicts are never weighed again: they are on record. Only what follows from the newest trial, and had not been recorded yet, is
//! asked for once more.

use std::collections::VecDeque;
use std::sync::Arc;

use super::contest::Contest;
use super::testing::Testing;
use super::trial::{Executable, Role, Side, Trial};
use super::{LeftOver, Machine, Phase};
use crate::flow::{Artifact, Candidate, Proposal, Purpose};
use crate::night::messages::{Came, Effect, Ending, Launch, Lines, PastDecision, PastTrial, Unsettled, Without};

/// What the records say besides the trials.
pub(super) struct History {
    decisions: VecDeque<PastDecision>,
    pub unsettled: Option<Unsettled>,
    baseline_settled: bool,
    /// Why the search ended, once it has.
    ending: Ending,
    /// Whether the morning's claim was made, or could not be: all that failed since failed after it.
    claimed: bool,
}

impl History {
    pub fn new(
        decisions: Vec<PastDecision>,
        unsettled: Option<Unsettled>,
        baseline_settled: bool,
        ending: Ending,
        claimed: bool,
    ) -> Self {
        Self { decisions: decisions.into(), unsettled, baseline_settled, ending, claimed }
    }
}

impl Machine {
    /// Takes all in. Returns what was asked for after the newest trial and may not have been done.
    pub(super) fn replay(&mut self, trials: &[PastTrial], history: &mut History) -> Vec<Effect> {
        let mut told = Vec::new();
        for (place, past) in trials.iter().enumerate() {
            told = self.replay_trial(past, history);
            if matches!(self.testing, Testing::Settling { number: 0, .. }) && history.baseline_settled {
                self.settled(0);
                told.clear();
            }
            while history.decisions.front().is_some_and(|decision| decision.after <= place + 1) {
                let Some(decision) = history.decisions.pop_front() else { break };
                if self.replay_decision(decision) {
                    told.clear();
                }
            }
            let last = place + 1 == trials.len();
            if self.finished && (!last || Self::goes_on(&told)) {
                self.begin_another_part();
                told.clear();
            }
            if !last {
                self.testing = Testing::Idle;
            }
        }
        self.finished = false;
        if let Some(contest) = &mut self.contest {
            contest.judged = contest.story.len() >= contest.runs.len();
        }
        told
    }

    /// Whether a night that ended so is gone on with once the machine is mended.
    fn goes_on(told: &[Effect]) -> bool {
        told.iter().any(|effect| matches!(effect, Effect::Finish(Ending::MachineFaults(_))))
    }

    /// The machine had failed too often, and a person has begun the night again: the failures before that count no more.
    fn begin_another_part(&mut self) {
        self.finished = false;
        (self.faults, self.left_alone, self.reign.failures) = (0, 0, 0);
        if let Some(contest) = &mut self.contest {
            contest.faults = 0;
        }
    }

    fn replay_trial(&mut self, past: &PastTrial, history: &mut History) -> Vec<Effect> {
        let mut told = Vec::new();
        while self.era < past.era {
            self.begin_era("as it was on record", &mut Vec::new());
        }
        self.era = past.era;
        let Some(role) = self.role_of(past, history) else { return told };
        if matches!(role, Role::Morning(_)) {
            self.begin_morning(history.ending.clone(), history.claimed);
        }
        let ordinal = self.ordinals.entry(past.number).or_default();
        *ordinal = past.ordinal.max(*ordinal);
        if matches!(self.phase, Phase::Search) {
            self.searched.insert(past.seed);
        }
        if let (Role::Candidate, Some(contest)) = (role, &mut self.contest) {
            contest.begun = true;
        }
        self.testing = Testing::Training(self.past_trial(past, role));
        for (look, curve_difference) in &past.looks {
            // What was to be done about the run in flight was done then.
            self.looked(past.number, past.ordinal, *look, *curve_difference, &mut Vec::new());
        }
        if let Some(why) = &past.changed {
            self.changed(why, &mut told);
        }
        let Testing::Training(trial) = std::mem::replace(&mut self.testing, Testing::Idle) else { return told };
        match &past.came {
            Came::Verified(measured) => {
                self.testing = Testing::Evaluating(trial);
                self.evaluated(Ok(measured.clone()), &mut told);
            }
            Came::Waits => self.left_over = Some(LeftOver::Evaluation(Box::new(trial))),
            Came::Failed { verdict, words } => self.failed(&trial, *verdict, words.clone(), &mut told),
            Came::StoppedEarly(message) => self.stopped_early(trial, message, &mut told),
            Came::Spoilt(message) => self.spoilt(&trial, message, &mut told),
            Came::Nothing => {}
        }
        told
    }

    /// What a trial was run for. An experiment's first makes it the one in the testing lane. `None` for one that belongs to nothing on
    /// record.
    fn role_of(&mut self, past: &PastTrial, history: &mut History) -> Option<Role> {
        let number = past.number;
        if past.purpose == Purpose::Morning {
            return Some(Role::Morning(if number == 0 { Side::Start } else { Side::Champion }));
        }
        if self.contest.as_ref().is_some_and(|contest| contest.number == number) {
            return Some(Role::Candidate);
        }
        if number == self.champion.number {
            return Some(if self.reign.has_run(past.seed) { Role::DriftWatch } else { Role::Champion });
        }
        let unsettled = history.unsettled.take_if(|unsettled| unsettled.standing.number == number);
        let unsettled = unsettled.or_else(|| {
            let decision = history.decisions.iter().find(|decision| decision.standing.number == number)?;
            let (standing, without) = (decision.standing.clone(), decision.without);
            Some(Unsettled { standing, without, story: Vec::new() })
        })?;
        if unsettled.without.is_some() {
            self.begin_morning(history.ending.clone(), history.claimed);
        }
        let contest = Contest::resumed(unsettled);
        self.contest = Some(Box::new(self.with_parts(contest)));
        Some(Role::Candidate)
    }

    /// A trial as it was when its training had ended.
    fn past_trial(&self, past: &PastTrial, role: Role) -> Trial {
        let executable = match role {
            Role::Candidate => self.contest.as_ref().map_or(&self.baseline, |contest| &contest.executable),
            Role::Morning(Side::Start) => &self.baseline,
            Role::Champion | Role::DriftWatch | Role::Morning(Side::Champion) => {
                self.crowned.as_ref().unwrap_or(&self.baseline)
            }
        };
        let without = self.contest.as_ref().filter(|_| role == Role::Candidate).and_then(|contest| contest.without);
        Trial {
            launch: match executable {
                Executable::Built(launch) => Arc::clone(launch),
                Executable::Unbuilt(standing) => {
                    Arc::new(launch_of(past.number, standing.proposal.clone(), &standing.candidate, without))
                }
            },
            ordinal: past.ordinal,
            seed: past.seed,
            role,
            seconds: past.seconds,
            steps: past.steps,
            looks: Vec::new(),
            stopping: false,
            spared: false,
            glimpse: None,
        }
    }

    /// Takes in a decision as it was recorded; whether it was that of the experiment in the testing lane. One on an experiment that
    /// never had a trial taught nothing.
    fn replay_decision(&mut self, past: PastDecision) -> bool {
        let number = past.standing.number;
        if self.contest.as_ref().is_none_or(|contest| contest.number != number) {
            return false;
        }
        let verdict = past.decision.verdict;
        if !matches!(self.testing, Testing::Settling { .. }) {
            self.settle(past.decision, Vec::new(), &mut Vec::new());
        }
        if let Testing::Settling { verdict: settling, .. } = &mut self.testing {
            *settling = verdict;
        }
        self.settled(number);
        true
    }
}

/// Stands for what was launched then; nothing of it is started again.
fn launch_of(number: u32, proposal: Option<Proposal>, candidate: &Candidate, without: Option<Without>) -> Launch {
    Launch {
        number,
        proposal,
        candidate: candidate.clone(),
        lines: Lines::default(),
        artifact: Artifact { path: Default::default(), sha256: String::new(), build_seconds: 0.0 },
        attempts: Vec::new(),
        without,
    }
}
