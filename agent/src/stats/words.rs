//! What the rule saw and did, in words with figures.

use super::belief::Posterior;
use super::difference::Difference;
use super::plan::Prospect;
use crate::flow::Verdict;

fn trials(count: u32) -> String {
    if count == 1 { "1 trial".to_owned() } else { format!("{count} trials") }
}

fn percent(share: f64) -> String {
    let figure = 100.0 * share;
    match figure {
        _ if figure > 0.0 && figure < 1.0 => "less than 1 %".to_owned(),
        _ if figure > 99.0 && figure < 100.0 => "more than 99 %".to_owned(),
        _ => format!("{figure:.0} %"),
    }
}

/// What the runs say.
pub(super) fn seen(found: &Difference, posterior: &Posterior) -> String {
    format!(
        "{}: {:+.5} ± {:.5} bits per byte against the champion ({} of it, {} under the same {}); an improvement with a probability of \
         {}, expected effect {:+.5}",
        trials(found.candidate_runs),
        found.estimate,
        found.standard_error,
        trials(found.champion_runs),
        found.paired,
        if found.paired == 1 { "seed" } else { "seeds" },
        percent(posterior.probability),
        posterior.expected
    )
}

/// Why another trial pays.
pub(super) fn going_on(ahead: &Prospect, rate: f64) -> String {
    format!(
        "Raced on: it ends kept with a probability of {} and promises {:.5} a trial, a fresh idea {rate:.5}",
        percent(ahead.chance),
        ahead.gain / ahead.trials
    )
}

/// Why it is kept.
pub(super) fn kept(posterior: &Posterior, least: f64) -> String {
    format!(
        "Kept: no improvement with a probability of {}, and the expected gain is above {least:.5}, the least worth having for its \
         length",
        percent(1.0 - posterior.probability)
    )
}

/// Why a simplification is kept.
pub(super) fn not_worse(worst: f64, margin: f64) -> String {
    format!(
        "Kept: it only removes lines, and with 95 % confidence costs at most {worst:+.5}, less than the margin of {margin:.5}"
    )
}

/// Why it is not raced on.
pub(super) fn dropped(verdict: Verdict, ahead: Option<&Prospect>, rate: f64, count: u32) -> String {
    let what = if verdict == Verdict::Discarded { "Dropped" } else { "Left open" };
    match ahead {
        Some(ahead) => format!(
            "{what}: it would end kept with a probability of {} and promises {:.5} a trial, a fresh idea {rate:.5}",
            percent(ahead.chance),
            ahead.gain / ahead.trials.max(1.0)
        ),
        None => format!("{what}: {} did not show an improvement, and no more are allowed", trials(count)),
    }
}
