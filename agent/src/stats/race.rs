//! The rule: trial after trial until an experiment is kept, dropped or left open.
//!
//! All trials of an experiment count, the first too: what is weighed is a posterior ([`super::belief`]), which does not mind that one
//! stops when it looks good, and which shrinks what was picked for looking good.

use super::Run;
use super::belief::{Belief, Posterior};
use super::difference::{Difference, difference};
use super::distributions::{student_quantile, widening};
use super::noise::Noise;
use super::plan::{Bar, Plan, Prospect, Stage};
use super::related::{Equations, Reference};
use super::rules::Rules;
use super::words;
use crate::flow::{Decision, Evidence, Verdict};

/// Name and version of the rule.
pub const RULE: &str = "race/1";

/// What the rule knows of a change besides its runs.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Change {
    /// Lines that its edits add.
    pub lines_added: u32,
    /// Lines that its edits remove.
    pub lines_removed: u32,
    /// The effect that its proposer predicts, bits per byte.
    pub predicted: Option<f64>,
    /// How probable its proposer calls an improvement, 0 to 1.
    pub confidence: Option<f64>,
}

impl Change {
    /// Whether it only removes lines.
    pub fn simplifies(&self) -> bool {
        self.lines_added == 0 && self.lines_removed > 0
    }
}

/// What to do next with an experiment.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Another trial, under the seed that [`next_seed`] names.
    Again {
        /// What was seen and why it goes on: one line for the story.
        words: String,
    },
    /// It is settled.
    Settle(Box<Decision>),
}

/// Seeds of the night that its search uses; the others are for the morning.
pub const SEARCH_SEEDS: u32 = 16;

/// Not kept, but this probable to be an improvement: worth another look later.
const NEAR_MISS: f64 = 0.25;

/// Less probable than this to be an improvement: not better.
const HOPELESS: f64 = 0.1;

/// Trials that a verdict of kept rests on at least.
const LEAST_TRIALS: u32 = 2;

/// What an experiment's runs say, before it is put into words.
enum Finding {
    Kept(String),
    Again(Prospect),
    /// Another trial does not pay.
    Dropped(Option<Prospect>),
}

/// What to do next with an experiment that has just had a trial. `story` is what earlier steps said. Runs of an older era than the
/// champion's newest do not count.
pub fn next<'a>(
    rules: &Rules,
    belief: &Belief,
    noise: &Noise,
    change: &Change,
    candidate: &[Run],
    champion: impl Into<Reference<'a>>,
    story: &[String],
) -> Step {
    let champion = champion.into();
    let Some(found) = difference(candidate, champion, noise) else {
        return Step::Again { words: "nothing to compare yet: another trial".to_owned() };
    };
    let posterior = posterior(belief, &found);
    let plan = plan(rules, belief, noise, change, candidate, champion, &found);
    let seen = words::seen(&found, &posterior);
    match weigh(rules, &plan, change, &found, &posterior) {
        Finding::Again(ahead) => Step::Again { words: format!("{seen}. {}", words::going_on(&ahead, plan.rate)) },
        Finding::Kept(why) => {
            settle(Verdict::Kept, format!("{seen}. {why}"), rules, noise, change, &found, &posterior, story)
        }
        Finding::Dropped(ahead) => {
            let verdict = if posterior.probability < HOPELESS || found.interval.0 > 0.0 {
                Verdict::Discarded
            } else {
                Verdict::Inconclusive
            };
            let why = words::dropped(verdict, ahead.as_ref(), plan.rate, found.candidate_runs);
            settle(verdict, format!("{seen}. {why}"), rules, noise, change, &found, &posterior, story)
        }
    }
}

#[expect(clippy::too_many_arguments, reason = "the parts of one record")]
fn settle(
    verdict: Verdict,
    reason: String,
    rules: &Rules,
    noise: &Noise,
    change: &Change,
    found: &Difference,
    posterior: &Posterior,
    story: &[String],
) -> Step {
    let mut story = story.to_vec();
    story.push(reason.clone());
    let evidence = Evidence {
        standard_error: found.standard_error,
        degrees: found.degrees,
        probability: posterior.probability,
        expected: posterior.expected,
        expected_interval: posterior.interval,
        least_effect: rules.least_effect_of(change.lines_added, change.lines_removed),
        run_sd: noise.run_sd(),
        pair_sd: noise.pair_sd(),
        near_miss: verdict != Verdict::Kept && posterior.probability > NEAR_MISS,
        story,
    };
    Step::Settle(Box::new(Decision {
        verdict,
        difference: Some(found.estimate),
        interval: Some(found.interval),
        trials: found.candidate_runs,
        rule: RULE.to_owned(),
        reason,
        evidence: Some(Box::new(evidence)),
    }))
}

fn weigh(rules: &Rules, plan: &Plan, change: &Change, found: &Difference, posterior: &Posterior) -> Finding {
    let least = rules.least_effect_of(change.lines_added, change.lines_removed);
    let enough = found.candidate_runs >= LEAST_TRIALS;
    if enough && 1.0 - posterior.probability <= rules.false_keep && posterior.expected <= -least {
        return Finding::Kept(words::kept(posterior, least));
    }
    let ahead = plan.ahead(found.candidate_runs as usize, found.estimate, variance(found));
    if change.simplifies() {
        // The upper end of a 95 % interval for one side.
        let worst = found.estimate + student_quantile(0.95, found.degrees) * found.standard_error;
        if enough && worst < rules.margin {
            return Finding::Kept(words::not_worse(worst, rules.margin));
        }
        let best = found.estimate - student_quantile(0.95, found.degrees) * found.standard_error;
        return match ahead {
            Some(ahead) if best < rules.margin && worst < SIMPLIFICATION_REACH * rules.margin => Finding::Again(ahead),
            ahead => Finding::Dropped(ahead),
        };
    }
    match ahead {
        Some(ahead) if ahead.gain > plan.rate * ahead.trials => Finding::Again(ahead),
        ahead => Finding::Dropped(ahead),
    }
}

/// A simplification goes on while its loss may still turn out below the margin: its upper bound is within this many margins.
const SIMPLIFICATION_REACH: f64 = 4.0;

/// The policy for an experiment against this champion: what its estimates' variances will be, trial by trial.
fn plan<'a>(
    rules: &Rules,
    belief: &'a Belief,
    noise: &Noise,
    change: &Change,
    candidate: &[Run],
    champion: Reference<'_>,
    found: &Difference,
) -> Plan<'a> {
    let widen = widening(LEVEL, found.degrees).powi(2);
    let most = rules.most_trials.max(LEAST_TRIALS);
    let equations = Equations::new(candidate, champion);
    let stages = (1..=most)
        .filter_map(|n| {
            let (_, seeds) = equations.as_ref()?.planned(n as usize).solve(noise);
            let variance = widen * (seeds + found.document_error.powi(2));
            // Beyond the champion's seeds it runs under each new one too.
            let cost = if n > found.champion_runs { 2.0 } else { 1.0 };
            Some(Stage { variance, cost, may_keep: n >= LEAST_TRIALS })
        })
        .collect();
    let least = rules.least_effect_of(change.lines_added, change.lines_removed);
    Plan::new(belief, stages, Bar { false_keep: rules.false_keep, least })
}

/// Where the tails of Student's t and of the normal distribution are made to agree.
const LEVEL: f64 = 0.975;

fn variance(found: &Difference) -> f64 {
    (found.standard_error * widening(LEVEL, found.degrees)).powi(2)
}

/// The posterior of a difference, its standard error widened for what is not known of the noise.
pub fn posterior(belief: &Belief, found: &Difference) -> Posterior {
    belief.posterior(found.estimate, variance(found).sqrt())
}

/// The largest final difference (this trial's value less the champion's under the same seed, bits per byte) with which an experiment
/// would still be worth another trial; what cannot reach it may be stopped early. `None` when the champion has not run under `seed`.
pub fn worth_going_on<'a>(
    rules: &Rules,
    belief: &Belief,
    noise: &Noise,
    change: &Change,
    candidate: &[Run],
    champion: impl Into<Reference<'a>>,
    seed: u32,
) -> Option<f64> {
    let champion = champion.into();
    let era = champion.era()?;
    let reference = champion.runs.iter().find(|run| run.era == era && run.seed == seed)?.val_bpb;
    let mut runs = candidate.to_vec();
    runs.push(Run { seed, val_bpb: reference, era, documents: [].into() });
    let last = runs.len() - 1;
    let found = difference(&runs, champion, noise)?;
    let plan = plan(rules, belief, noise, change, &runs, champion, &found);
    let reach = 20.0 * noise.run_sd();
    let (mut low, mut high) = (-reach, reach);
    for _ in 0..24 {
        let middle = 0.5 * (low + high);
        runs[last].val_bpb = reference + middle;
        let found = difference(&runs, champion, noise)?;
        match weigh(rules, &plan, change, &found, &posterior(belief, &found)) {
            Finding::Dropped(_) => high = middle,
            Finding::Kept(_) | Finding::Again(_) => low = middle,
        }
    }
    Some(0.5 * (low + high))
}

/// The seed of an experiment's next trial: one that the champion has run under and the candidate has not, else the first that neither
/// has. Experiments begin with different ones, so that no seed's luck is every screening's.
pub fn next_seed(rules: &Rules, number: u32, candidate: &[Run], champion: &[Run]) -> u32 {
    let era = champion.iter().map(|run| run.era).max().unwrap_or_default();
    let unused = |seed: &u32| !candidate.iter().any(|run| run.era == era && run.seed == *seed);
    let mut known: Vec<u32> = champion
        .iter()
        .filter(|run| run.era == era && run.seed < SEARCH_SEEDS)
        .map(|run| run.seed)
        .filter(|seed| unused(seed))
        .collect();
    known.sort_unstable();
    known.dedup();
    let turn = (number as usize).wrapping_add(rules.champion_seeds as usize);
    match known.len() {
        0 => (0..SEARCH_SEEDS).find(unused).unwrap_or(number % SEARCH_SEEDS),
        count => known[turn % count],
    }
}
