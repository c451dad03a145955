//! The words of the rule: its name, what it is told of a change, what it answers, under which seeds trials run, and what it asks of a
//! change that only removes lines. What follows from an experiment's runs is decided by [`super::decide`].

use super::Run;
use super::belief::{Belief, Posterior};
use super::difference::{Difference, Layout, newest_era};
use super::distributions::{student_quantile, widening};
use super::noise::Noise;
use super::rules::Rules;
use crate::flow::Decision;

/// Name and version of the rule. Whoever changes what it decides, a default of [`Rules`] included, gives it another: figures that were
/// decided under two rules are not one night's. "race/1" to "race/4" were given to rules that are no more.
pub const RULE: &str = "race/6";

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

/// Trials that a verdict of kept on a fresh idea rests on at least. What is tried again rests on its earlier trials too.
pub(super) const LEAST_TRIALS: u32 = 2;

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
mod tests {
    use super::*;

    /// Fails when a default changes: then the rule is another, and wants another name.
    #[test]
    fn a_name_stands_for_one_set_of_defaults() {
        // Every field by name: who adds one must say here whether it decides.
        let Rules {
            decision,
            repair_rounds: _,
            champion_seeds,
            most_trials,
            false_keep,
            least_effect,
            least_effect_per_line,
            margin,
            combine,
            own_spread,
            drift_every,
            early_stop,
            early_spare,
            morning_pairs,
            expected_run_sd,
        } = Rules::default();
        assert_eq!((RULE, decision), ("race/6", super::super::rules::Method::Race));
        assert_eq!((false_keep, least_effect, least_effect_per_line, margin), (0.2, 0.000_2, 0.000_005, 0.001));
        assert_eq!((champion_seeds, most_trials, drift_every, morning_pairs), (6, 8, 12, 6));
        assert_eq!((combine, own_spread, early_stop, early_spare, expected_run_sd), (true, true, true, 0.1, 0.001_5));
    }
}
