//! `[rules]`: how experiments are decided.

use super::reader::{Reader, Section};
use crate::stats::race::SEARCH_SEEDS;
use crate::stats::{Method, Rules};

/// Seeds that a night keeps for its morning.
const FRESH_SEEDS: u64 = 16;

/// A verdict of kept rests on two trials at least.
const LEAST_TRIALS: u64 = 2;

/// The rule of the first versions.
const LOWER_IS_KEPT: &str = "lower-is-kept";

/// What to do with a rule that there is no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OldRules {
    /// Say what replaced it.
    Refused,
    /// Take what replaced it: the text is a record of what was.
    Understood,
}

/// What is left out has the default of [`Rules`].
pub(super) fn read_rules(reader: &mut Reader, top: &Section<'_>, old: OldRules) -> Rules {
    let usual = Rules::default();
    let rules = reader.section(top, "rules");
    read_decision(reader, &rules, old);
    let mut whole = |key: &str, limits, what: &str, usual: u32| {
        let found = reader.integer(&rules, key, limits, what);
        found.and_then(|(number, _)| u32::try_from(number).ok()).unwrap_or(usual)
    };
    let repair_rounds = whole("repair_rounds", 0..=10, "rounds", usual.repair_rounds);
    let champion_seeds = whole("champion_seeds", 1..=u64::from(SEARCH_SEEDS), "seeds", usual.champion_seeds);
    let most_trials = whole("most_trials", LEAST_TRIALS..=u64::from(SEARCH_SEEDS), "trials", usual.most_trials);
    let drift_every = whole("drift_every", 0..=100_000, "trials (0 for never)", usual.drift_every);
    let morning_pairs = whole("morning_pairs", 0..=FRESH_SEEDS, "pairs (0 for no claim)", usual.morning_pairs);
    let false_keep = reader.share(&rules, "false_keep", (0.0, false), 0.5);
    let early_spare = reader.share(&rules, "early_spare", (0.0, true), 1.0);
    let early_stop = reader.flag(&rules, "early_stop");
    let combine = reader.flag(&rules, "combine");
    let own_spread = reader.flag(&rules, "own_spread");
    let mut bits = |key: &str, or_nothing, usual: f64| {
        let found = reader.number(&rules, key, (0.0, or_nothing), 1.0, "bits per byte");
        found.map_or(usual, |(number, _)| number)
    };
    Rules {
        decision: Method::Race,
        repair_rounds,
        champion_seeds,
        most_trials,
        false_keep: false_keep.map_or(usual.false_keep, |(share, _)| share),
        least_effect: bits("least_effect", true, usual.least_effect),
        least_effect_per_line: bits("least_effect_per_line", true, usual.least_effect_per_line),
        margin: bits("margin", true, usual.margin),
        combine: combine.unwrap_or(usual.combine),
        own_spread: own_spread.unwrap_or(usual.own_spread),
        drift_every,
        early_stop: early_stop.unwrap_or(usual.early_stop),
        early_spare: early_spare.map_or(usual.early_spare, |(share, _)| share),
        morning_pairs,
        expected_run_sd: bits("expected_run_sd", false, usual.expected_run_sd),
    }
}

fn read_decision(reader: &mut Reader, rules: &Section<'_>, old: OldRules) {
    let words = ["race"];
    let Some((word, span)) = reader.text(rules, "decision", "\"race\"") else { return };
    match word.as_str() {
        "race" => {}
        LOWER_IS_KEPT if old == OldRules::Understood => {}
        LOWER_IS_KEPT => {
            let help = "write `decision = \"race\"`: a candidate gets trial after trial, under the champion's own seeds, until the evidence \
                        settles it; one run each kept luck";
            reader.problem(
                span,
                format!("the rule \"{LOWER_IS_KEPT}\" was replaced"),
                "expected \"race\"",
                Some(help.to_owned()),
            );
        }
        _ => reader.unknown_word("decision", &word, span, &words),
    }
}
