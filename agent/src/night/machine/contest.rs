//! An experiment's trials, one after the other, until it is settled: as [`race`] says, under the seeds that it names, each of
//! which the champion has run under first. The morning's experiments, which leave a kept one out, go the same way under a rule of
//! their own, [`super::morning`]'s.

use std::sync::Arc;

use super::Machine;
use super::trial::{Executable, Role, Shown, Trial};
use crate::flow::Decision;
use crate::night::messages::{Effect, Launch, Lines, Unsettled, Without};
use crate::stats::Run;
use crate::stats::decide;
use crate::stats::mixture::Mixture;
use crate::stats::race::{self, Change, SEARCH_SEEDS, Step};
use crate::stats::reference::Glimpse;

/// The experiment in the testing lane.
#[derive(Debug, Clone)]
pub(super) struct Contest {
    pub executable: Executable,
    pub number: u32,
    /// What it leaves out of the champion, for one of the morning's.
    pub without: Option<Without>,
    pub change: Change,
    /// What is believed beforehand of the ideas that it tries again; empty for a fresh one.
    pub parts: Vec<Mixture>,
    /// Its verified runs of this era.
    pub runs: Vec<Run>,
    /// Steps of each, by the trainer's word.
    pub steps: Vec<u64>,
    /// Its trials that ended in a fault of the machine.
    pub faults: u32,
    /// What was said after each.
    pub story: Vec<String>,
    /// Looks at its finished trials: which, the curve's difference and the final one.
    pub looks: Vec<(usize, f64, f64)>,
    /// What its trial showed before it was stopped early.
    pub glimpse: Option<Glimpse>,
    /// Whether the rule has seen the last run.
    pub judged: bool,
    /// Whether it has had a trial; it is on record then.
    pub begun: bool,
}

impl Contest {
    /// A candidate that has just been built.
    pub fn new(launch: Arc<Launch>) -> Self {
        let (number, without) = (launch.number, launch.without);
        let change = change(launch.lines, Executable::Built(Arc::clone(&launch)).proposal());
        Self::of(Executable::Built(launch), number, without, change)
    }

    /// One that an earlier part of the night had begun.
    pub fn resumed(unsettled: Unsettled) -> Self {
        let Unsettled { standing, without, story } = unsettled;
        let change = change(standing.lines, standing.proposal.as_ref());
        let number = standing.number;
        Self { story, begun: true, ..Self::of(Executable::of(standing, without), number, without, change) }
    }

    fn of(executable: Executable, number: u32, without: Option<Without>, change: Change) -> Self {
        Self {
            executable,
            number,
            without,
            change,
            parts: Vec::new(),
            looks: Vec::new(),
            glimpse: None,
            runs: Vec::new(),
            steps: Vec::new(),
            faults: 0,
            story: Vec::new(),
            judged: true,
            begun: false,
        }
    }

    pub fn trials(&self) -> u32 {
        u32::try_from(self.runs.len()).unwrap_or(u32::MAX)
    }
}

fn change(lines: Lines, proposal: Option<&crate::flow::Proposal>) -> Change {
    Change {
        lines_added: lines.added,
        lines_removed: lines.removed,
        predicted: proposal.and_then(|proposal| proposal.predicted_effect),
        confidence: proposal.and_then(|proposal| proposal.confidence),
    }
}

impl Machine {
    /// Judges what was measured last, then begins the next trial: the champion's, where it has none under the seed.
    pub(super) fn go_on_with_contest(&mut self, now: f64, effects: &mut Vec<Effect>) {
        if self.unmasked.is_some() {
            return self.leave_uncompared(effects);
        }
        // Nothing is told by runs of a machine that may have changed in between.
        let in_doubt = self.reign.doubted.is_some() && !self.stopping && self.time_for(1, now);
        if in_doubt && self.settle_doubt(effects) {
            return;
        }
        if let Some(decision) = self.judge(effects) {
            return self.settle(decision, Vec::new(), effects);
        }
        let why_not = if self.stopping {
            Some("the night was stopped before it was told")
        } else if !self.time_for(1, now) {
            Some("the time for it was over before it was told")
        } else {
            None
        };
        if let Some(why) = why_not {
            return self.break_off(why, effects);
        }
        // A run of the champion that the first trial needed may have made it due to be watched: before that trial, as after a restart.
        let fresh = self.contest.as_ref().is_some_and(|contest| !contest.begun && contest.without.is_none());
        if fresh && self.watch_champion(effects) {
            return;
        }
        let Some(contest) = &self.contest else { return };
        if contest.without.is_some() {
            return self.go_on_without(effects);
        }
        if let Some(seed) = decide::champion_first(&self.known(), &contest.runs)
            && !self.reign.fails_under(seed)
        {
            return self.try_out(Role::Champion, seed, effects);
        }
        self.try_under(self.seed_for(contest), effects);
    }

    /// The next trial is under this seed: the champion's, where it has none under it.
    pub(super) fn try_under(&mut self, seed: Option<u32>, effects: &mut Vec<Effect>) {
        let Some(seed) = seed else {
            return self.break_off("there is no seed left that it could be told by", effects);
        };
        let role = if self.reign.has_run(seed) { Role::Candidate } else { Role::Champion };
        self.try_out(role, seed, effects);
    }

    /// The seed of the next trial: as the rule says, unless the champion fails under that seed.
    fn seed_for(&self, contest: &Contest) -> Option<u32> {
        let usable = |seed: u32| {
            seed < SEARCH_SEEDS
                && !contest.runs.iter().any(|run| run.seed == seed)
                && (self.reign.has_run(seed) || !self.reign.fails_under(seed))
        };
        let named = race::next_seed(&self.rules, contest.number, &contest.runs, &self.reign.runs);
        let known = self.reign.runs.iter().map(|run| run.seed);
        std::iter::once(named).chain(known).chain(0..SEARCH_SEEDS).find(|seed| usable(*seed))
    }

    /// What the rule says of the runs so far; `None`: it goes on.
    fn judge(&mut self, effects: &mut Vec<Effect>) -> Option<Decision> {
        let unbiased = self.runs_that_chose_nothing();
        let contest = self.contest.as_ref().filter(|contest| !contest.judged)?;
        let step = match contest.without {
            Some(without) => super::morning::judge(&self.rules, &self.knowledge.noise, without, contest, &unbiased),
            None => decide::next(&self.known(), &contest.change, &contest.parts, &contest.runs, &contest.story),
        };
        let contest = self.contest.as_mut()?;
        contest.judged = true;
        match step {
            Step::Settle(decision) => Some(*decision),
            Step::Again { words } => {
                effects.push(Effect::Conclude { number: contest.number, words: words.clone() });
                contest.story.push(words);
                None
            }
        }
    }

    /// A trial of the experiment was vouched for.
    pub(super) fn candidate_ran(&mut self, trial: Trial, shown: Shown) {
        let (number, seed, val_bpb) = (trial.launch.number, trial.seed, shown.val_bpb);
        self.knowledge.ran(&self.rules, (number, self.champion.number), self.era, seed, val_bpb);
        let Some(contest) = &mut self.contest else { return };
        contest.runs.push(Run { seed, val_bpb, era: self.era, documents: shown.documents });
        contest.steps.push(trial.steps);
        contest.judged = false;
        let Some(champion) = self.reign.runs.iter().find(|run| run.seed == seed) else { return };
        let found = val_bpb - champion.val_bpb;
        for (look, curve_difference) in trial.looks {
            self.knowledge.early.observe(look, curve_difference, found);
            contest.looks.push((look, curve_difference, found));
        }
    }
}
