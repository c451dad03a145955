//! The rule: trial after trial until an experiment is kept, dropped or left open.
//!
//! All trials of an experiment count, the first too: what is weighed is a posterior ([`super::belief`]), which does not mind that one
//! stops when it looks good, and which shrinks what was picked for looking good.

use super::Run;
use super::belief::{Belief, Posterior};
use super::difference::{Difference, Layout, difference, newest_era};
use super::distributions::{student_quantile, widening};
use super::noise::Noise;
use super::rules::Rules;
use crate::flow::{Decision, Evidence, Verdict};

/// Name and version of the rule. Whoever changes what it decides, a default of [`Rules`] included, gives it another: figures that were
/// decided under two rules are not one night's. "race/1" to "race/3" were given to rules that are no more.
pub const RULE: &str = "race/4";

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

/// Least probability of an improvement with which another trial is worth its time.
const PROMISING: f64 = 0.15;

/// Trials that a verdict of kept rests on at least.
const LEAST_TRIALS: u32 = 2;

/// What to do next with an experiment that has just had a trial. `story` is what earlier steps said. Runs of an older era than the
/// champion's newest do not count.
pub fn next(
    rules: &Rules,
    belief: &Belief,
    noise: &Noise,
    change: &Change,
    candidate: &[Run],
    champion: &[Run],
    story: &[String],
) -> Step {
    let Some(found) = difference(candidate, champion, noise) else {
        return Step::Again { words: "nothing to compare yet: another trial".to_owned() };
    };
    let posterior = posterior(belief, &found);
    let least = rules.least_effect_of(change.lines_added, change.lines_removed);
    let seen = format!(
        "{} {}: {:+.5} +/- {:.5} bits per byte against the champion's {} ({} under the same seed), an improvement with {:.0} %, \
         {:+.5} to be expected",
        found.candidate_runs,
        if found.candidate_runs == 1 { "trial" } else { "trials" },
        found.estimate,
        found.standard_error,
        found.champion_runs,
        found.paired,
        100.0 * posterior.probability,
        posterior.expected
    );
    let settle = |verdict: Verdict, why: &str| {
        let near_miss = verdict != Verdict::Kept && posterior.probability > NEAR_MISS;
        let reason = format!("{seen}: {why}");
        let mut story = story.to_vec();
        story.push(reason.clone());
        Step::Settle(Box::new(Decision {
            verdict,
            difference: Some(found.estimate),
            interval: Some(found.interval),
            trials: found.candidate_runs,
            rule: RULE.to_owned(),
            reason,
            evidence: Some(Box::new(Evidence {
                standard_error: found.standard_error,
                degrees: found.degrees,
                probability: posterior.probability,
                expected: posterior.expected,
                expected_interval: posterior.interval,
                least_effect: least,
                run_sd: noise.run_sd(),
                pair_sd: noise.pair_sd(),
                near_miss,
                story,
            })),
        }))
    };
    let enough = found.candidate_runs >= LEAST_TRIALS;
    let sure = 1.0 - posterior.probability <= rules.false_keep;
    if enough && sure && posterior.expected <= -least {
        return settle(
            Verdict::Kept,
            &format!("kept, for it is no improvement with at most {:.0} % only", 100.0 * rules.false_keep),
        );
    }
    let simpler = change.simplifies().then(|| simpler(rules, noise, &found));
    if enough && simpler == Some(Simpler::NoWorse) {
        return settle(
            Verdict::Kept,
            &format!(
                "kept, for it only removes lines, is not shown to be worse, and if it is, then by less than {:.5} with 95 % confidence",
                rules.margin
            ),
        );
    }
    let open = match simpler {
        Some(simpler) => simpler != Simpler::Worse,
        None => posterior.probability >= PROMISING,
    };
    if open && found.candidate_runs < rules.most_trials.max(LEAST_TRIALS) {
        return Step::Again { words: format!("{seen}: promising, another trial") };
    }
    if posterior.probability < HOPELESS || found.interval.0 > 0.0 {
        settle(Verdict::Discarded, "dropped, not better")
    } else {
        settle(Verdict::Inconclusive, "left open, the trials do not tell")
    }
}

/// What is known of a change that only removes lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Simpler {
    /// It may be kept: it is not shown to be worse, and not worse than the margin.
    NoWorse,
    /// The trials that it may still have can show that.
    Open,
    /// It is worse, or no number of trials that it may have would show otherwise.
    Worse,
}

/// Whether a change that only removes lines is worse. One trial never tells where runs differ by more than the margin, so whether more
/// of them could is decided by the error that there would be after the most trials that it may have: beginning with the best that the
/// runs so far leave possible.
pub(super) fn simpler(rules: &Rules, noise: &Noise, found: &Difference) -> Simpler {
    if found.interval.0 > 0.0 {
        return Simpler::Worse;
    }
    if found.interval.1 < rules.margin {
        return Simpler::NoWorse;
    }
    let most = rules.most_trials.max(LEAST_TRIALS);
    let planned = Layout { paired: most, candidate_only: 0, champion_only: found.champion_runs.saturating_sub(most) };
    let error = planned.variance(noise).sqrt().hypot(found.document_error);
    let reach = student_quantile(0.975, noise.pair_degrees) * error;
    if found.interval.0 + reach < rules.margin { Simpler::Open } else { Simpler::Worse }
}

/// The posterior of a difference, its standard error widened for what is not known of the noise.
pub fn posterior(belief: &Belief, found: &Difference) -> Posterior {
    belief.posterior(found.estimate, found.standard_error * widening(0.975, found.degrees))
}

/// The largest final difference (this trial's value less the champion's under the same seed, bits per byte) with which an experiment
/// would still be worth another trial; what cannot reach it may be stopped early.
pub fn worth_going_on(
    rules: &Rules,
    belief: &Belief,
    noise: &Noise,
    change: &Change,
    candidate: &[Run],
    champion: &[Run],
    seed: u32,
) -> Option<f64> {
    let era = newest_era(champion)?;
    let reference = champion.iter().find(|run| run.era == era && run.seed == seed)?.val_bpb;
    let reach = 20.0 * noise.run_sd();
    let (mut low, mut high) = (-reach, reach);
    for _ in 0..30 {
        let middle = 0.5 * (low + high);
        let mut runs = candidate.to_vec();
        runs.push(Run { seed, val_bpb: reference + middle, era, documents: [].into() });
        let dropped = match next(rules, belief, noise, change, &runs, champion, &[]) {
            Step::Again { .. } => false,
            Step::Settle(decision) => decision.verdict != Verdict::Kept,
        };
        if dropped {
            high = middle;
        } else {
            low = middle;
        }
    }
    Some(0.5 * (low + high))
}

/// The seed of an experiment's next trial: one that the champion has run under and the candidate has not, else the first that neither
/// has. Experiments begin with different ones, so that no seed's luck is every screening's.
pub fn next_seed(rules: &Rules, number: u32, candidate: &[Run], champion: &[Run]) -> u32 {
    let era = newest_era(champion).unwrap_or_default();
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

#[cfg(test)]
mod simplifications {
    use super::*;

    fn noise(pair_sd: f64) -> Noise {
        let rest_variance = 0.5 * pair_sd * pair_sd;
        Noise {
            seed_variance: rest_variance,
            rest_variance,
            run_degrees: 1e6,
            pair_degrees: 1e6,
            runs: 0,
            commits: 0,
            contrasts: 0,
        }
    }

    /// What becomes of a change that removes ten lines, under seeds that champion and candidate share.
    fn told(differences: &[f64], pair_sd: f64) -> &'static str {
        let rules = Rules::default();
        let run = |seed: usize, val_bpb: f64| Run { seed: seed as u32, val_bpb, era: 0, documents: [].into() };
        let champion: Vec<Run> = (0..6).map(|seed| run(seed, 1.0)).collect();
        let candidate: Vec<Run> = differences.iter().enumerate().map(|(seed, d)| run(seed, 1.0 + d)).collect();
        let change = Change { lines_removed: 10, ..Change::default() };
        match next(&rules, &Belief::new(&rules), &noise(pair_sd), &change, &candidate, &champion, &[]) {
            Step::Again { .. } => "again",
            Step::Settle(decision) => match decision.verdict {
                Verdict::Kept => "kept",
                Verdict::Discarded => "dropped",
                _ => "left open",
            },
        }
    }

    #[test]
    fn what_removes_lines_is_kept_when_it_is_not_shown_to_be_worse() {
        for (differences, pair_sd, becomes) in [
            // The whole interval lies above zero, though below the margin of 0.001.
            (&[0.0005, 0.0005, 0.0005][..], 0.0001, "dropped"),
            (&[0.000_02, 0.0, -0.000_02], 0.0001, "kept"),
            // Two runs leave more open than the margin; six may tell.
            (&[0.0, 0.0002], 0.0015, "again"),
            (&[0.0, 0.0002, 0.0, -0.0002, 0.0, 0.0], 0.0009, "kept"),
            // One run tells nothing where runs differ by several margins, and does not end it.
            (&[0.002], 0.003, "again"),
            (&[0.02], 0.003, "dropped"),
        ] {
            assert_eq!(told(differences, pair_sd), becomes, "{differences:?} at {pair_sd}");
        }
    }

    /// Fails when a default changes: then the rule is another, and wants another name.
    #[test]
    fn a_name_stands_for_one_set_of_defaults() {
        let Rules { false_keep, least_effect, least_effect_per_line, margin, most_trials, champion_seeds, .. } =
            Rules::default();
        let decisive = (RULE, false_keep, least_effect, least_effect_per_line, margin, most_trials, champion_seeds);
        assert_eq!(decisive, ("race/4", 0.2, 0.000_2, 0.000_005, 0.001, 8, 6));
    }
}
