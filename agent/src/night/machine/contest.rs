//! An experiment's trials, one after the other, until it is settled: as [`race`] says, under the seeds that it names, each of
//! which the champion has run under first. The morning's experiments, which leave a kept one out, go the same way under a rule of
//! their own, [`super::morning`]'s.

use std::sync::Arc;

use super::Machine;
use super::making::Making;
use super::reign::Reign;
use super::testing::{Executable, Role, Testing, Trial};
use crate::flow::{BuildFailure, Decision, Evidence, ExperimentId, Verdict};
use crate::night::messages::{
    Attempt, Champion, Effect, Finding, Launch, Lines, Measured, Setback, Settled, Unsettled, Without,
};
use crate::propose;
use crate::stats;
use crate::stats::Run;
use crate::stats::decide;
use crate::stats::difference::difference;
use crate::stats::mixture::Mixture;
use crate::stats::race::{self, Change, SEARCH_SEEDS, Step};
use crate::stats::reference::Glimpse;

/// Left undecided, but this probable to be an improvement: worth another look later.
const NEAR_MISS: f64 = 0.25;

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
    /// Whether its last trial would have been stopped early and was left to finish.
    pub spared: bool,
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
            spared: false,
            runs: Vec::new(),
            steps: Vec::new(),
            faults: 0,
            story: Vec::new(),
            judged: true,
            begun: false,
        }
    }

    fn trials(&self) -> u32 {
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
        if std::mem::take(&mut contest.spared) {
            let worth = match &step {
                Step::Again { .. } => true,
                Step::Settle(decision) => {
                    decision.verdict == Verdict::Kept
                        || decision.evidence.as_ref().is_some_and(|evidence| evidence.near_miss)
                }
            };
            self.knowledge.early.count_spared(worth);
        }
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
    pub(super) fn candidate_ran(&mut self, trial: Trial, measured: Measured) {
        let (number, seed, val_bpb) = (trial.launch.number, trial.seed, measured.verified.val_bpb);
        self.knowledge.ran(&self.rules, number, self.era, seed, val_bpb);
        let Some(contest) = &mut self.contest else { return };
        contest.runs.push(Run { seed, val_bpb, era: self.era, documents: measured.documents });
        contest.steps.push(trial.steps);
        contest.judged = false;
        contest.spared = trial.spared;
        let Some(champion) = self.reign.runs.iter().find(|run| run.seed == seed) else { return };
        let found = val_bpb - champion.val_bpb;
        for (look, curve_difference) in trial.looks {
            self.knowledge.early.observe(look, curve_difference, found);
            contest.looks.push((look, curve_difference, found));
        }
    }

    /// Ends an experiment undecided; one that was never begun leaves no trace.
    fn break_off(&mut self, why: &str, effects: &mut Vec<Effect>) {
        if self.contest.take_if(|contest| !contest.begun).is_none() {
            let decision = self.undecided(why);
            self.settle(decision, Vec::new(), effects);
        }
    }

    /// What it was compared with broke a rule: whatever was seen of it tells nothing.
    fn leave_uncompared(&mut self, effects: &mut Vec<Effect>) {
        if self.contest.take_if(|contest| !contest.begun).is_some() {
            return;
        }
        let trials = self.contest.as_ref().map_or(0, |contest| contest.trials());
        let words = "the champion that it was compared with broke a rule, so that nothing can be said of it".to_owned();
        self.settle(Decision { trials, ..stats::untested(Verdict::Inconclusive, words) }, Vec::new(), effects);
    }

    /// The decision on an experiment that has to be left as it is.
    fn undecided(&self, why: &str) -> Decision {
        let mut decision = stats::untested(Verdict::Inconclusive, why.to_owned());
        let Some(contest) = &self.contest else { return decision };
        decision.trials = contest.trials();
        let noise = &self.knowledge.noise;
        let unbiased = self.runs_that_chose_nothing();
        let champion = if contest.without.is_some() { &unbiased } else { &self.reign.runs };
        let Some(found) = difference(&contest.runs, champion, noise) else { return decision };
        let posterior = race::posterior(&self.knowledge.belief, &found);
        decision.reason = format!(
            "{why}; so far {:+.5} bits per byte against the champion after {} trials, an improvement with {:.0} %",
            found.estimate,
            found.candidate_runs,
            100.0 * posterior.probability
        );
        decision.difference = Some(found.estimate);
        decision.interval = Some(found.interval);
        let mut story = contest.story.clone();
        story.push(decision.reason.clone());
        decision.evidence = Some(Box::new(Evidence {
            standard_error: found.standard_error,
            degrees: found.degrees,
            probability: posterior.probability,
            expected: posterior.expected,
            expected_interval: posterior.interval,
            least_effect: self.rules.least_effect_of(contest.change.lines_added, contest.change.lines_removed),
            run_sd: noise.run_sd(),
            pair_sd: noise.pair_sd(),
            near_miss: contest.without.is_none() && posterior.probability > NEAR_MISS,
            story,
            forecast: None,
        }));
        decision
    }

    /// The experiment was stopped early. What its finished trials showed stands; of one that has none, the forecast by which it was
    /// stopped is what is known, and counts for what ideas are like: they would look better than they are without those dropped.
    pub(super) fn settle_hopeless(&mut self, message: &str, forecast: Option<Finding>, effects: &mut Vec<Effect>) {
        let words = format!("stopped early as hopeless: {message}");
        let trials = self.contest.as_ref().map_or(0, |contest| contest.trials());
        if trials == 0 {
            let decision = Decision { trials: 1, ..stats::untested(Verdict::Discarded, words) };
            // By what it showed against the champion's level, where that is known.
            let shown = self.contest.as_ref().and_then(|contest| self.known().found(&[], contest.glimpse.as_ref()));
            let forecast = shown.map(|(estimate, standard_error)| Finding { estimate, standard_error }).or(forecast);
            let evidence = forecast.and_then(|forecast| self.promised(&decision.reason, forecast));
            self.settle(Decision { evidence, ..decision }, Vec::new(), effects);
            if let Testing::Settling { finding, .. } = &mut self.testing {
                *finding = finding.or(forecast);
            }
            return;
        }
        let mut decision = Decision { verdict: Verdict::Discarded, trials: trials + 1, ..self.undecided(&words) };
        if let Some(evidence) = &mut decision.evidence {
            evidence.near_miss = false;
        }
        self.settle(decision, Vec::new(), effects);
    }

    /// What stands behind stopping an experiment of which no trial has finished.
    fn promised(&self, reason: &str, forecast: Finding) -> Option<Box<Evidence>> {
        let contest = self.contest.as_ref().filter(|contest| contest.without.is_none())?;
        let noise = &self.knowledge.noise;
        let after = self.known().prior(&contest.parts).after(forecast.estimate, forecast.standard_error);
        Some(Box::new(Evidence {
            standard_error: forecast.standard_error,
            degrees: f64::INFINITY,
            probability: after.below(0.0),
            expected: after.moments().0,
            expected_interval: after.interval(0.95),
            least_effect: self.rules.least_effect_of(contest.change.lines_added, contest.change.lines_removed),
            run_sd: noise.run_sd(),
            pair_sd: noise.pair_sd(),
            near_miss: false,
            story: contest.story.iter().cloned().chain([reason.to_owned()]).collect(),
            forecast: Some(forecast.estimate),
        }))
    }

    /// A trial of the experiment failed: that settles it, however others went.
    pub(super) fn settle_failed(&mut self, verdict: Verdict, words: String, effects: &mut Vec<Effect>) {
        let trials = self.contest.as_ref().map_or(0, |contest| contest.trials());
        let words = match trials {
            0 => words,
            1 => format!("{words} (after 1 trial that was vouched for)"),
            _ => format!("{words} (after {trials} trials that were vouched for)"),
        };
        let decision = Decision { trials: trials + 1, ..stats::untested(verdict, words) };
        self.settle(decision, Vec::new(), effects);
    }

    /// The machine fails with it again and again.
    pub(super) fn settle_left_alone(&mut self, why: String, effects: &mut Vec<Effect>) {
        let decision = self.undecided(&why);
        self.settle(decision, Vec::new(), effects);
    }

    /// It was to go on after a restart, and does not build any more.
    pub(super) fn settle_unbuildable(&mut self, failure: BuildFailure, words: String, effects: &mut Vec<Effect>) {
        let Some(contest) = &self.contest else { return };
        let attempt = contest.executable.proposal().map(|proposal| Attempt {
            proposal: proposal.clone(),
            candidate: Some(contest.executable.candidate().clone()),
            setback: Some(Setback::Build(failure)),
        });
        self.settle(stats::untested(Verdict::Unbuildable, words), attempt.into_iter().collect(), effects);
    }

    /// Has the decision recorded. `attempts` stand for those of the launch where it has none.
    pub(super) fn settle(&mut self, decision: Decision, attempts: Vec<Attempt>, effects: &mut Vec<Effect>) {
        if let (Verdict::Kept, Some(evidence)) = (decision.verdict, &decision.evidence) {
            self.expected_gain -= evidence.expected;
        }
        let Some(contest) = &self.contest else { return };
        let attempts = match &contest.executable {
            Executable::Built(launch) if attempts.is_empty() => launch.attempts.clone(),
            Executable::Built(_) | Executable::Unbuilt(_) => attempts,
        };
        // What the morning leaves out was chosen for having been kept: it says nothing of what ideas are like.
        let finding = (contest.without.is_none() && contest.parts.is_empty())
            .then(|| self.known().found(&contest.runs, contest.glimpse.as_ref()))
            .flatten()
            .map(|(estimate, standard_error)| Finding { estimate, standard_error });
        self.testing = Testing::Settling { number: contest.number, verdict: decision.verdict, finding };
        effects.push(Effect::Settle {
            settled: Box::new(Settled {
                number: contest.number,
                proposal: contest.executable.proposal().cloned(),
                candidate: Some(contest.executable.candidate().clone()),
                attempts,
                decision,
                val_bpb: super::reign::mean(&contest.runs),
                without: contest.without,
            }),
        });
    }

    /// What a settled experiment tells of the champion's level, and of the ideas in it.
    fn remember(&mut self, contest: &Contest, verdict: Verdict) {
        let runs = contest.runs.clone();
        let prior = (!contest.parts.is_empty()).then(|| self.known().prior(&contest.parts));
        if verdict == Verdict::Kept {
            return self.reference.kept(runs, prior);
        }
        let after = self.known().after(&contest.parts, &runs, contest.glimpse.as_ref());
        let again = self.tried_again(contest.executable.proposal());
        let numbers = if again.is_empty() { vec![contest.number] } else { again };
        if numbers.len() == after.len() {
            self.hopes.extend(numbers.into_iter().zip(after));
        }
        self.reference.dropped(runs, contest.glimpse, prior);
    }

    /// Numbers of the experiments that a proposal tries again; none where one of them is of an earlier night, of which no more is known
    /// than that it was a near miss.
    fn tried_again(&self, proposal: Option<&crate::flow::Proposal>) -> Vec<u32> {
        let again = proposal.map(propose::tried_again).unwrap_or_default();
        let own = |id: &ExperimentId| self.night.as_ref().is_none_or(|night| id.night == *night);
        if again.iter().all(own) { again.iter().map(|id| id.number).collect() } else { Vec::new() }
    }

    /// A candidate that has just been built.
    pub(super) fn new_contest(&self, launch: Arc<Launch>) -> Contest {
        self.with_parts(Contest::new(launch))
    }

    /// One that tries ideas of this night again begins with what was found of them.
    pub(super) fn with_parts(&self, mut contest: Contest) -> Contest {
        let again = self.tried_again(contest.executable.proposal());
        let parts: Option<Vec<Mixture>> = again.iter().map(|number| self.hopes.get(number).cloned()).collect();
        contest.parts = parts.filter(|_| contest.without.is_none()).unwrap_or_default();
        contest
    }

    /// The decision is recorded.
    pub(super) fn contest_settled(&mut self, contest: Contest, verdict: Verdict, finding: Option<Finding>) {
        if contest.without.is_some() {
            self.ordinals.remove(&contest.number);
            return;
        }
        self.settled += 1;
        // What was just settled may be what the next idea starts from, though it was not kept: once each, so that nobody is asked
        // again and again.
        if matches!(self.making, Making::Resting) {
            self.making = Making::Idle;
        }
        self.remember(&contest, verdict);
        if let Some(finding) = finding {
            self.knowledge.belief.learn(finding.estimate, finding.standard_error);
        }
        if verdict != Verdict::Kept {
            self.ordinals.remove(&contest.number);
            return;
        }
        self.champion = Champion {
            number: contest.number,
            commit: contest.executable.candidate().commit.clone(),
            val_bpb: super::reign::mean(&contest.runs),
        };
        self.kept.push(contest.number);
        let ideas = contest.executable.proposal().map(propose::tried_again).unwrap_or_default().len();
        self.combined.insert(contest.number, u32::try_from(ideas).unwrap_or(u32::MAX));
        self.knowledge.early.new_reference(&contest.looks);
        self.reign = Reign::new(contest.runs, contest.steps);
        self.crowned = Some(contest.executable);
        self.fruitless = 0;
    }
}
