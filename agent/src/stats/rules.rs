//! What a campaign may set about its decisions.

use serde::{Deserialize, Serialize};

/// How experiments are decided.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// Trial after trial, as [`super::race`] says.
    #[default]
    Race,
}

/// The table `[rules]` of a campaign. Effects and standard deviations are in bits per byte.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rules {
    /// How experiments are decided.
    pub decision: Method,
    /// How often a proposer may repair one proposal that was refused or did not build. Default 3.
    pub repair_rounds: u32,
    /// Seeds on which the night's start is measured before anything is compared with it, and the most runs that a champion has for a
    /// candidate's first trial. Default 6.
    pub champion_seeds: u32,
    /// Most trials of one experiment. Default 8.
    pub most_trials: u32,
    /// An experiment is kept only when the probability that it is no improvement is at most this. The last trial mostly leaves less, so that
    /// far fewer of the keeps are no improvement (docs/decisions.md). Default 0.2.
    pub false_keep: f64,
    /// The least improvement worth having. Default 0.0002.
    pub least_effect: f64,
    /// What each line that a change adds, beyond those that it removes, adds to the least improvement. Default 0.000005.
    pub least_effect_per_line: f64,
    /// A change that only removes lines is kept when it is, with 95 % confidence, no worse than this. Default 0.001.
    pub margin: f64,
    /// Whether a promising experiment waits after its first trial for another near miss to be tried together with, where a second trial of
    /// its own would tell little. Default true; to be false where no proposer combines near misses.
    pub combine: bool,
    /// Whether an idea's own pairs have a say in how sharp they are; false: all ideas are taken to scatter alike. Default true.
    pub own_spread: bool,
    /// Trials without a run of the champion after which one watches for drift; 0: never. Default 12.
    pub drift_every: u32,
    /// Whether hopeless trials are stopped early. Default true.
    pub early_stop: bool,
    /// The share of the trials that would be stopped early that is left to finish, to measure how many stops are wrong. Default 0.1.
    pub early_spare: f64,
    /// Pairs of runs behind the morning's claim, champion and start each under that many fresh seeds; 0: no claim. Default 6.
    pub morning_pairs: u32,
    /// sd of a run over seeds, expected where little was measured. Default 0.0015.
    pub expected_run_sd: f64,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            decision: Method::Race,
            repair_rounds: 3,
            champion_seeds: 6,
            most_trials: 8,
            false_keep: 0.2,
            least_effect: 0.000_2,
            least_effect_per_line: 0.000_005,
            margin: 0.001,
            combine: true,
            own_spread: true,
            drift_every: 12,
            early_stop: true,
            early_spare: 0.1,
            morning_pairs: 6,
            expected_run_sd: 0.001_5,
        }
    }
}

impl Rules {
    /// The least improvement worth having for a change that adds and removes this many lines, in bits per byte.
    pub fn least_effect_of(&self, lines_added: u32, lines_removed: u32) -> f64 {
        self.least_effect + self.least_effect_per_line * f64::from(lines_added.saturating_sub(lines_removed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_fill_what_a_campaign_leaves_out_and_unknown_words_are_refused() {
        let rules: Rules = toml::from_str("most_trials = 3").unwrap();
        assert_eq!(rules, Rules { most_trials: 3, ..Rules::default() });
        assert!(toml::from_str::<Rules>("most_tirals = 3").is_err());
        assert!(toml::from_str::<Rules>("decision = \"lower-is-kept\"").is_err());
    }

    #[test]
    fn added_lines_raise_the_least_effect_and_removed_ones_do_not_lower_it() {
        let rules = Rules::default();
        assert!(rules.least_effect_of(30, 2) > rules.least_effect_of(1, 1));
        assert!((rules.least_effect_of(0, 40) - rules.least_effect).abs() < 1e-15);
    }
}
