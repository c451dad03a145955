//! The state of a night that begins, or goes on after it was cut off: recomputed from its trials.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::contest::Contest;
use super::knowledge::Knowledge;
use super::making::Making;
use super::morning::Morning;
use super::reign::{self, Reign, unmasked};
use super::testing::{Executable, Role, Side, Testing, Trial};
use super::{LeftOver, Machine, Phase};
use crate::flow::{Purpose, Verdict};
use crate::night::messages::{Came, Champion, Ending, Limits, Measured, PastTrial, Start};
use crate::stats::reference::Reference;
use crate::stats::{Rules, Run};

fn run_of(trial: &PastTrial, measured: &Measured) -> Run {
    Run { seed: trial.seed, val_bpb: measured.verified.val_bpb, era: trial.era, documents: measured.documents.clone() }
}

impl Machine {
    /// A night about to begin or to go on.
    pub fn new(limits: Limits, rules: Rules, start: Start) -> Self {
        let knowledge = Knowledge::new(&rules, &start);
        let baseline = Executable::of(start.baseline, None);
        let crowned = start.champion.map(|standing| Executable::of(standing, None));
        let reigning = crowned.as_ref().unwrap_or(&baseline);
        let champion =
            Champion { number: reigning.number(), commit: reigning.candidate().commit.clone(), val_bpb: None };
        let contest = start.unsettled.map(|unsettled| Box::new(Contest::resumed(unsettled)));
        let mut machine = Self {
            limits,
            lot: start.lot,
            baseline,
            baseline_settled: start.baseline_settled,
            crowned,
            champion,
            reign: Reign::default(),
            kept: start.kept,
            searched: BTreeSet::new(),
            era: start.trials.iter().map(|trial| trial.era).max().unwrap_or(0),
            since_drift_watch: 0,
            knowledge,
            reference: Reference::new(),
            hopes: HashMap::new(),
            expected_gain: 0.0,
            ordinals: HashMap::new(),
            next_number: start.next_number,
            turn: start.turn,
            settled: start.settled,
            fruitless: 0,
            faults: 0,
            left_alone: 0,
            making_faults: 0,
            making: Making::Idle,
            testing: Testing::Idle,
            contest,
            phase: Phase::Search,
            unmasked: None,
            left_over: None,
            stopping: false,
            finished: false,
            rules,
        };
        machine.recall_phase(&start.trials, start.claimed, &start.tested_without);
        machine.recall(&start.trials);
        machine
    }

    /// Sealed text is spent once in a night: a morning that has begun goes on, whatever time there is now.
    fn recall_phase(&mut self, trials: &[PastTrial], claimed: bool, tested_without: &[u32]) {
        let leaves_out = self.contest.as_ref().is_some_and(|contest| contest.without.is_some());
        let begun = trials.iter().any(|trial| trial.purpose == Purpose::Morning);
        if !(claimed || begun || leaves_out || !tested_without.is_empty()) || self.champion.number == 0 {
            return;
        }
        let ending = if self.limits.experiments.is_some_and(|most| self.settled >= most) {
            Ending::ExperimentsDone
        } else if self.limits.seconds.is_some() {
            Ending::Deadline
        } else {
            Ending::NothingLeft
        };
        let mut morning = Morning::new(ending, &self.kept, tested_without);
        let in_hand = self.contest.as_ref().and_then(|contest| contest.without);
        morning.to_leave_out.retain(|number| Some(*number) != in_hand);
        morning.claimed = claimed || leaves_out || !tested_without.is_empty();
        self.phase = Phase::Morning(Box::new(morning));
    }

    fn recall(&mut self, trials: &[PastTrial]) {
        self.recall_searched(trials);
        let mut ran = HashSet::new();
        let mut estimate = false;
        let mut last_repetition = None;
        for (at, trial) in trials.iter().enumerate() {
            let ordinal = self.ordinals.entry(trial.number).or_default();
            *ordinal = trial.ordinal.max(*ordinal);
            if trial.came != Came::Nothing && trial.came != Came::Waits {
                self.since_drift_watch += 1;
            }
            let Came::Verified(measured) = &trial.came else {
                self.recall_failure(trial);
                continue;
            };
            if let Some(seconds) = trial.seconds {
                self.knowledge.took(seconds);
            }
            if trial.purpose == Purpose::Search && !ran.insert((trial.number, trial.era, trial.seed)) {
                self.since_drift_watch = 0;
                last_repetition = Some(at);
                continue;
            }
            if trial.purpose == Purpose::Search {
                let val_bpb = measured.verified.val_bpb;
                estimate |= self.knowledge.note(trial.number, trial.era, trial.seed, val_bpb);
            }
            self.recall_run(trial, measured);
        }
        self.recall_reference(trials);
        if estimate {
            self.knowledge.estimate_noise(&self.rules);
        }
        self.champion.val_bpb = reign::mean(&self.reign.runs);
        if let Some(contest) = &mut self.contest {
            contest.judged = contest.story.len() >= contest.runs.len();
        }
        let standing = [Some(self.champion.number), Some(0), self.contest.as_ref().map(|contest| contest.number)];
        self.ordinals.retain(|number, _| standing.contains(&Some(*number)));
        self.left_over = trials.last().and_then(|last| self.left_over(last, last_repetition == Some(trials.len() - 1)));
    }

    /// The search is over with the morning's first trial, or with the first that leaves a kept experiment out.
    fn recall_searched(&mut self, trials: &[PastTrial]) {
        let without = self.contest.as_ref().filter(|contest| contest.without.is_some()).map(|contest| contest.number);
        let search = trials
            .iter()
            .take_while(|trial| trial.purpose == Purpose::Search && Some(trial.number) != without)
            .map(|trial| trial.seed);
        self.searched = search.collect();
    }

    /// What the trials of this era tell of the champion's level, in the order in which it was learnt. What trials that were stopped
    /// early showed, and what was believed of ideas that were tried again, is not on record: those count as nothing and as fresh.
    fn recall_reference(&mut self, trials: &[PastTrial]) {
        let in_hand = self.contest.as_ref().map(|contest| contest.number);
        let mut champion = 0;
        let mut open: Option<(u32, Vec<Run>)> = None;
        let searched = trials.iter().filter(|trial| trial.purpose == Purpose::Search && trial.era == self.era);
        let settle = |reference: &mut Reference, champion: &mut u32, (number, runs): (u32, Vec<Run>)| {
            if self.kept.contains(&number) {
                *champion = number;
                reference.kept(runs, None);
            } else if Some(number) != in_hand {
                reference.dropped(runs, None, None);
            }
        };
        for trial in searched {
            let Came::Verified(measured) = &trial.came else { continue };
            let run = run_of(trial, measured);
            match &mut open {
                // A seed that is run again watches for drift.
                Some((number, runs)) if *number == trial.number => {
                    if !runs.iter().any(|ran| ran.seed == run.seed) {
                        runs.push(run);
                    }
                }
                _ if trial.number == champion => self.reference.champion_ran(run),
                _ => {
                    if let Some(done) = open.take() {
                        settle(&mut self.reference, &mut champion, done);
                    }
                    if trial.number == champion {
                        self.reference.champion_ran(run);
                    } else {
                        open = Some((trial.number, vec![run]));
                    }
                }
            }
        }
        if let Some(done) = open {
            settle(&mut self.reference, &mut champion, done);
        }
    }

    fn recall_run(&mut self, trial: &PastTrial, measured: &Measured) {
        if trial.era != self.era {
            return;
        }
        let run = run_of(trial, measured);
        match (trial.purpose, &mut self.phase) {
            (Purpose::Morning, Phase::Morning(morning)) if trial.number == 0 => morning.start.push(run),
            (Purpose::Morning, Phase::Morning(morning)) if trial.number == self.champion.number => {
                morning.champion.push(run);
            }
            (Purpose::Search, _) if trial.number == self.champion.number => {
                self.reign.runs.push(run);
                self.reign.steps.push(trial.steps);
                self.reign.failures = 0;
            }
            (Purpose::Search, _) => {
                if let Some(contest) = self.contest.as_mut().filter(|contest| contest.number == trial.number) {
                    contest.runs.push(run);
                    contest.steps.push(trial.steps);
                }
            }
            (Purpose::Morning, _) => {}
        }
    }

    fn recall_failure(&mut self, trial: &PastTrial) {
        if matches!(trial.came, Came::Verified(_) | Came::Waits | Came::Nothing) {
            return;
        }
        if let Some(contest) = self.contest.as_mut().filter(|contest| contest.number == trial.number) {
            contest.came = Some(trial.came.clone());
        } else if let Came::Failed { verdict: Verdict::Invalid, words } = &trial.came
            && self.builds_on(trial.number)
        {
            self.unmasked = Some(unmasked(trial.number, trial.seed, words));
        } else if let (Purpose::Morning, Phase::Morning(morning)) = (trial.purpose, &mut self.phase) {
            let side = if trial.number == 0 { Side::Start } else { Side::Champion };
            morning.failed.push((side, trial.seed));
        } else if trial.purpose == Purpose::Search && trial.number == self.champion.number && trial.era == self.era {
            self.reign.failed.push(trial.seed);
        }
    }

    /// What is still to be done about the last trial.
    fn left_over(&mut self, last: &PastTrial, repetition: bool) -> Option<LeftOver> {
        let champions = last.number == self.champion.number;
        if let (Came::Verified(measured), true, true) = (&last.came, repetition, champions) {
            let val_bpb = measured.verified.val_bpb;
            return Some(LeftOver::Repetition { seed: last.seed, val_bpb, steps: last.steps });
        }
        if last.came != Came::Waits {
            return None;
        }
        let (role, executable) = match (&self.contest, last.purpose) {
            (Some(contest), Purpose::Search) if contest.number == last.number => (Role::Candidate, &contest.executable),
            (_, Purpose::Morning) if champions && last.number != 0 => {
                (Role::Morning(Side::Champion), self.crowned.as_ref()?)
            }
            (_, Purpose::Morning) if last.number == 0 => (Role::Morning(Side::Start), &self.baseline),
            (_, Purpose::Search) if champions => {
                let role = if self.reign.has_run(last.seed) { Role::DriftWatch } else { Role::Champion };
                (role, self.crowned.as_ref().unwrap_or(&self.baseline))
            }
            _ => return None,
        };
        let Executable::Built(launch) = executable else { return None };
        Some(LeftOver::Evaluation(Box::new(Trial {
            launch: launch.clone(),
            ordinal: last.ordinal,
            seed: last.seed,
            role,
            seconds: None,
            steps: last.steps,
            looks: Vec::new(),
            stopping: false,
            spared: false,
            glimpse: None,
        })))
    }
}
