//! The testing lane: one trial at a time, from its beginning to what came of it.

use std::sync::Arc;

use super::making::Making;
use super::trial::{Executable, Role, Shown, Side, Trial, failure};
use super::{Machine, Phase};
use crate::flow::{BuildFailure, Rejected, Trained, TrialEnd, Verdict};
use crate::night::messages::{Effect, Ending, Finding, Measured, Standing};
use crate::stats;
use crate::stats::decide;
use crate::stats::early::Early;
use crate::stats::reference::Glimpse;

/// Trials in a row that may end in a fault of the machine before the experiment is left alone.
const FAULTS_BEFORE_LEAVING_IT: u32 = 3;

/// Faults of the machine that one experiment may have in all. Each is another run under the same seed, and a candidate that could
/// bring them about would choose among its runs.
const MOST_FAULTS_OF_ONE: u32 = 3;

/// Experiments in a row that may be left alone for that reason before the night gives up. One alone may be to blame itself,
/// whatever it looks like from outside.
const LEFT_ALONE_BEFORE_GIVING_UP: u32 = 2;

/// What the testing lane is at.
#[derive(Debug, Clone)]
pub(super) enum Testing {
    Idle,
    /// What is to have this trial is being built, for the night's start and after a restart.
    Rebuilding(Role),
    Training(Trial),
    Evaluating(Trial),
    /// A decision is being recorded.
    Settling {
        number: u32,
        verdict: Verdict,
        finding: Option<Finding>,
    },
    /// The morning's claim is being recorded.
    Claiming,
}

impl Machine {
    fn executable(&mut self, role: Role) -> Option<&mut Executable> {
        match role {
            Role::Candidate => self.contest.as_mut().map(|contest| &mut contest.executable),
            Role::Morning(Side::Start) => Some(&mut self.baseline),
            Role::Champion | Role::DriftWatch | Role::Morning(Side::Champion) => {
                Some(self.crowned.as_mut().unwrap_or(&mut self.baseline))
            }
        }
    }

    /// Begins a trial. Where the executable is missing it is built first, and the trial planned again.
    pub(super) fn try_out(&mut self, role: Role, seed: u32, effects: &mut Vec<Effect>) {
        // One compiler at a time: what is being made is waited for.
        let compiling = matches!(self.making, Making::Building { .. });
        let launch = match self.executable(role) {
            Some(Executable::Built(launch)) => Arc::clone(launch),
            Some(Executable::Unbuilt(standing)) if !compiling => {
                effects.push(Effect::Build { number: standing.number, candidate: standing.candidate.clone() });
                self.testing = Testing::Rebuilding(role);
                return;
            }
            Some(Executable::Unbuilt(_)) | None => return,
        };
        let ordinal = self.ordinals.entry(launch.number).or_default();
        *ordinal += 1;
        let trial = Trial {
            launch: Arc::clone(&launch),
            ordinal: *ordinal,
            seed,
            role,
            seconds: None,
            steps: 0,
            looks: Vec::new(),
            stopping: false,
            spared: false,
            glimpse: None,
        };
        if let (Role::Candidate, Some(contest)) = (role, &mut self.contest) {
            contest.begun = true;
            let build = &mut self.knowledge.longest_build;
            *build = build.max(trial.launch.artifact.build_seconds);
        }
        effects.push(Effect::Train { launch, trial: trial.ordinal, seed, purpose: trial.purpose(), era: self.era });
        self.testing = Testing::Training(trial);
    }

    /// The compiler's answer where an executable was missing.
    pub(super) fn rebuilt(
        &mut self,
        role: Role,
        result: Result<crate::flow::Artifact, BuildFailure>,
        effects: &mut Vec<Effect>,
    ) {
        let without = self.contest.as_ref().filter(|_| role == Role::Candidate).and_then(|contest| contest.without);
        self.testing = Testing::Idle;
        let Some(executable) = self.executable(role) else { return };
        let number = executable.number();
        let failure = match (result, &*executable) {
            (Ok(artifact), Executable::Unbuilt(standing)) => {
                let standing = Standing { artifact: Some(artifact), ..(**standing).clone() };
                *executable = Executable::of(standing, without);
                return;
            }
            (Ok(_), Executable::Built(_)) => return,
            (Err(failure), _) => failure,
        };
        let first = failure.errors.first().cloned().unwrap_or_default();
        if role == Role::Candidate {
            let words = format!("{} compiler errors", failure.error_count);
            self.settle_unbuildable(failure, words, effects);
        } else if number == 0 {
            self.finish(Ending::BadStart(format!("it does not build: {first}")), effects);
        } else {
            let why = format!("the champion, experiment {number}, no longer builds: {first}");
            self.finish(Ending::MachineFaults(why), effects);
        }
    }

    /// A look at the curve of the trial in flight: hopeless ones are stopped, but for a random sample.
    pub(super) fn looked(
        &mut self,
        number: u32,
        ordinal: u32,
        look: usize,
        curve_difference: f64,
        effects: &mut Vec<Effect>,
    ) {
        let Testing::Training(trial) = &mut self.testing else { return };
        let Some(contest) = self.contest.as_ref().filter(|contest| contest.without.is_none()) else { return };
        if trial.role != Role::Candidate || trial.launch.number != number || trial.ordinal != ordinal {
            return;
        }
        trial.looks.push((look, curve_difference));
        if !self.rules.early_stop || trial.stopping || trial.spared {
            return;
        }
        let theirs = self.reign.runs.iter().find(|run| run.seed == trial.seed);
        let ahead = self.knowledge.early.forecast(look, curve_difference);
        let (Some(theirs), Some((ahead, error))) = (theirs, ahead) else { return };
        let glimpse = Glimpse { seed: trial.seed, val_bpb: theirs.val_bpb + ahead, error, era: self.era };
        let known = self.knowledge.known(&self.rules, &self.reference);
        let reason = decide::hopeless(&known, &contest.change, &contest.parts, &contest.runs, &glimpse);
        let Some(reason) = reason else { return };
        if Early::spared(&self.rules, self.lot.wrapping_add(u64::from(number))) {
            trial.spared = true;
            effects.push(Effect::Spare { number, trial: ordinal, look });
        } else {
            trial.stopping = true;
            trial.glimpse = Some(glimpse);
            effects.push(Effect::StopEarly { number, trial: ordinal, reason });
        }
    }

    /// A training run has ended.
    pub(super) fn trained(&mut self, trained: &Trained, effects: &mut Vec<Effect>) {
        let mut trial = match std::mem::replace(&mut self.testing, Testing::Idle) {
            Testing::Training(trial) => trial,
            other => return self.testing = other,
        };
        // Not before: one that never began is on no record and chose nothing.
        if matches!(self.phase, Phase::Search) {
            self.searched.insert(trial.seed);
        }
        trial.steps = trained.steps;
        trial.seconds = Some(trained.start_seconds + trained.training_seconds);
        match &trained.end {
            TrialEnd::Finished => self.evaluate(trial, effects),
            TrialEnd::Stopped => self.finish(Ending::Stopped, effects),
            TrialEnd::MachineFault { message } => self.spoilt(&trial, message, effects),
            TrialEnd::StoppedEarly { message } => self.stopped_early(trial, message, effects),
            end => self.failed(&trial, Verdict::Crashed, failure(end), effects),
        }
    }

    pub(super) fn stopped_early(&mut self, trial: Trial, message: &str, effects: &mut Vec<Effect>) {
        if trial.role != Role::Candidate {
            return self.failed(&trial, Verdict::Crashed, format!("it was stopped: {message}"), effects);
        }
        let part = trial.seconds.map_or(1.0, |seconds| (seconds / self.expected_seconds()).min(1.0));
        self.since_drift_watch += part;
        let forecast = self.forecast(&trial);
        if let Some(contest) = &mut self.contest {
            contest.glimpse = trial.glimpse;
        }
        self.settle_hopeless(message, forecast, effects);
    }

    /// How a trial that was stopped would have ended, by the last look that tells.
    fn forecast(&self, trial: &Trial) -> Option<Finding> {
        let (estimate, spread) = self.forecast_of(trial)?;
        // No surer than a trial that finished.
        Some(Finding { estimate, standard_error: spread.max(self.knowledge.noise.pair_sd()) })
    }

    /// By how much a trial will end above the champion's under the same seed, by the last look that tells, and the sd of that forecast's
    /// error, bits per byte.
    pub(super) fn forecast_of(&self, trial: &Trial) -> Option<(f64, f64)> {
        let told = |(look, difference): &(usize, f64)| self.knowledge.early.forecast(*look, *difference);
        trial.looks.iter().rev().find_map(told)
    }

    pub(super) fn evaluate(&mut self, trial: Trial, effects: &mut Vec<Effect>) {
        let (number, purpose) = (trial.launch.number, trial.purpose());
        effects.push(Effect::Evaluate { number, trial: trial.ordinal, purpose });
        self.testing = Testing::Evaluating(trial);
    }

    /// The evaluator has answered.
    pub(super) fn evaluated(&mut self, result: Result<Measured, Rejected>, effects: &mut Vec<Effect>) {
        let trial = match std::mem::replace(&mut self.testing, Testing::Idle) {
            Testing::Evaluating(trial) => trial,
            other => return self.testing = other,
        };
        self.left_alone = 0;
        let measured = match result {
            Ok(measured) => measured,
            Err(rejected) => {
                let decision = stats::rejected(&rejected);
                return self.failed(&trial, decision.verdict, decision.reason, effects);
            }
        };
        self.faults = 0;
        self.since_drift_watch += 1.0;
        // What a rejected trial took says nothing of the next: a model that hangs must not end the night early.
        // Nor does the time for which the machine was waited for: what was spent on other things is not spent again.
        if let Some(seconds) = trial.seconds {
            self.knowledge.took(seconds + measured.verified.seconds);
        }
        self.ran(trial, measured.into(), effects);
    }

    /// Takes in what a trial showed.
    pub(super) fn ran(&mut self, trial: Trial, shown: Shown, effects: &mut Vec<Effect>) {
        match trial.role {
            Role::Candidate => self.candidate_ran(trial, shown),
            Role::Champion => self.champion_ran(&trial, shown, effects),
            Role::DriftWatch => self.watch_drift(trial.seed, shown.val_bpb, trial.steps, effects),
            Role::Morning(side) => self.morning_ran(side, &trial, shown),
        }
    }

    /// The trial itself has failed; the machine has not.
    pub(super) fn failed(&mut self, trial: &Trial, verdict: Verdict, words: String, effects: &mut Vec<Effect>) {
        self.faults = 0;
        self.since_drift_watch += 1.0;
        if verdict == Verdict::Invalid && trial.role != Role::Candidate && self.builds_on(trial.launch.number) {
            return self.unmask(trial, &words, effects);
        }
        match trial.role {
            Role::Candidate => self.settle_failed(verdict, words, effects),
            Role::Champion | Role::DriftWatch if !self.baseline_settled => {
                self.finish(Ending::BadStart(words), effects);
            }
            Role::Champion | Role::DriftWatch => self.champion_failed(trial, &words, effects),
            Role::Morning(side) => self.morning_failed(side, trial, &words, effects),
        }
    }

    /// The trial in flight could not be trained or evaluated.
    pub(super) fn trial_fault(&mut self, message: &str, effects: &mut Vec<Effect>) {
        match std::mem::replace(&mut self.testing, Testing::Idle) {
            Testing::Training(trial) | Testing::Evaluating(trial) => self.spoilt(&trial, message, effects),
            other => self.testing = other,
        }
    }

    /// The machine was not fit for the trial in flight, and the time for it is over.
    pub(super) fn not_begun(&mut self) {
        match std::mem::replace(&mut self.testing, Testing::Idle) {
            Testing::Training(trial) => {
                if let Some(ordinal) = self.ordinals.get_mut(&trial.launch.number) {
                    *ordinal = ordinal.saturating_sub(1);
                }
            }
            other => self.testing = other,
        }
    }

    /// A fault of the machine is no verdict: the trial is planned again, and nothing has been learnt that could plan another. An
    /// experiment with which the machine fails again and again is left alone, and a machine that does so with the next one as well
    /// is not fit for a night.
    pub(super) fn spoilt(&mut self, trial: &Trial, message: &str, effects: &mut Vec<Effect>) {
        self.faults += 1;
        let own = self.contest.as_mut().filter(|_| trial.role == Role::Candidate).map_or(0, |contest| {
            contest.faults += 1;
            contest.faults
        });
        let why = if self.faults >= FAULTS_BEFORE_LEAVING_IT {
            format!("{} trials in a row ended in a fault of the machine, the last: {message}", self.faults)
        } else if own > MOST_FAULTS_OF_ONE {
            format!("{own} of its trials ended in a fault of the machine, the last: {message}")
        } else {
            return;
        };
        self.faults = 0;
        if trial.role != Role::Candidate {
            return self.finish(Ending::MachineFaults(why), effects);
        }
        self.left_alone += 1;
        if self.left_alone >= LEFT_ALONE_BEFORE_GIVING_UP {
            self.finish(Ending::MachineFaults(why), effects);
        } else {
            self.settle_left_alone(why, effects);
        }
    }

    /// A decision is recorded.
    pub(super) fn settled(&mut self, settled: u32) {
        if matches!(self.making, Making::Settling(number) if number == settled) {
            self.making = Making::Idle;
            return;
        }
        let Testing::Settling { number, verdict, finding } = self.testing else { return };
        if number != settled {
            return;
        }
        self.testing = Testing::Idle;
        if number == 0 {
            self.baseline_settled = true;
        } else if let Some(contest) = self.contest.take() {
            self.contest_settled(*contest, verdict, finding);
        }
    }
}
