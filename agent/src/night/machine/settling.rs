//! How an experiment ends: the decision, and what it teaches. A verdict is given by the rule, by a trial's own failure, or because the
//! night, the machine or the champion that it was compared with is at an end.

use std::sync::Arc;

use super::Machine;
use super::contest::Contest;
use super::making::Making;
use super::reign::Reign;
use super::testing::Testing;
use super::trial::Executable;
use crate::flow::{BuildFailure, Decision, Evidence, ExperimentId, Verdict};
use crate::night::messages::{Attempt, Champion, Effect, Finding, Launch, Setback, Settled};
use crate::propose;
use crate::stats;
use crate::stats::difference::difference;
use crate::stats::mixture::{Mixture, Seen};
use crate::stats::race;

/// Left undecided, but this probable to be an improvement: worth another look later.
const NEAR_MISS: f64 = 0.25;

impl Machine {
    /// Ends an experiment undecided; one that was never begun leaves no trace.
    pub(super) fn break_off(&mut self, why: &str, effects: &mut Vec<Effect>) {
        if self.contest.take_if(|contest| !contest.begun).is_none() {
            let decision = self.undecided(why);
            self.settle(decision, Vec::new(), effects);
        }
    }

    /// What it was compared with broke a rule: whatever was seen of it tells nothing.
    pub(super) fn leave_uncompared(&mut self, effects: &mut Vec<Effect>) {
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
            let taught = evidence.as_ref().and_then(|evidence| {
                let standard_error = evidence.standard_error;
                evidence.harm_foreseen().map(|estimate| Finding { estimate, standard_error })
            });
            self.settle(Decision { evidence, ..decision }, Vec::new(), effects);
            if let Testing::Settling { finding, .. } = &mut self.testing {
                *finding = finding.or(taught);
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
        let after = self.known().prior(&contest.parts).after(&Seen::surely(forecast.estimate, forecast.standard_error));
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
        let finding = (contest.without.is_none() && contest.parts.is_empty()).then(|| self.finding(contest)).flatten();
        self.testing = Testing::Settling { number: contest.number, verdict: decision.verdict, finding };
        effects.push(Effect::Settle {
            settled: Box::new(Settled {
                number: contest.number,
                proposal: contest.executable.proposal().cloned(),
                candidate: Some(contest.executable.candidate().clone()),
                untried: None,
                attempts,
                decision,
                val_bpb: super::reign::mean(&contest.runs),
                without: contest.without,
            }),
        });
    }

    /// What an experiment teaches of what effects are like. What it showed before it was stopped is its trainer's word, which can make it
    /// no better than what was vouched for, and than nothing where nothing was.
    fn finding(&self, contest: &Contest) -> Option<Finding> {
        let known = self.known();
        let (mut estimate, standard_error) = known.found(&contest.runs, contest.glimpse.as_ref())?;
        if contest.glimpse.is_some() {
            estimate = estimate.max(known.found(&contest.runs, None).map_or(0.0, |(vouched, _)| vouched));
        }
        Some(Finding { estimate, standard_error })
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
        // All of its runs are new.
        self.since_drift_watch = 0.0;
        self.crowned = Some(contest.executable);
        self.fruitless = 0;
    }
}
