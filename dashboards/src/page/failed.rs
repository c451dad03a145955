//! What failed and why, in groups of like reasons.

use std::collections::BTreeMap;

use maud::{Markup, html};

use crate::axis::usable;
use crate::text::{clean, counted, signed};
use crate::view::{ExperimentView, NightView, Verdict};

/// Rows of the table; the rest are the rare ones, and stand in the table of all experiments.
const MOST_GROUPS: usize = 40;
/// Rows of what was not tried.
const MOST_SKIPPED: usize = 8;
/// Experiments that a row names.
const MOST_NAMED: usize = 12;
/// Characters of a reason.
const MOST_REASON: usize = 200;

/// Experiments, or proposals that never became one, that ended alike for a like reason.
#[derive(Debug, Clone, PartialEq)]
struct Group<'a> {
    /// In a word.
    how: &'static str,
    class: &'static str,
    why: String,
    count: usize,
    members: Vec<&'a ExperimentView>,
}

/// The table; a sentence where nothing failed.
pub(super) fn failed(night: &NightView) -> Markup {
    let groups = groups(night);
    let count: usize = groups.iter().map(|group| group.count).sum();
    let more = groups.len().saturating_sub(MOST_GROUPS);
    html! {
        @if groups.is_empty() {
            p { "Nothing failed." }
        } @else {
            div.table tabindex="0" role="region" aria-label="What failed, and why" {
                table {
                    caption {
                        (counted(count, "attempt")) " without a change that was kept and stands, in groups of like reasons; figures in the reasons are left out. Effects in "
                        (clean(&night.metric_unit)) ", negative is better."
                    }
                    thead {
                        tr {
                            th scope="col" { "how" }
                            th scope="col" { "why" }
                            th.number scope="col" { "how many" }
                            th.number scope="col" { "measured effects" }
                            th scope="col" { "which" }
                        }
                    }
                    tbody { @for group in groups.iter().take(MOST_GROUPS) { (row(group)) } }
                }
            }
            @if more > 0 {
                @let left = groups.iter().skip(MOST_GROUPS).map(|group| group.count).sum::<usize>();
                p { "… and " (counted(more, "rarer reason")) " of " (counted(left, "attempt")) ": all experiments stand in the last table." }
            }
        }
    }
}

fn row(group: &Group<'_>) -> Markup {
    let more = group.members.len().saturating_sub(MOST_NAMED);
    html! {
        tr {
            td class={ "verdict " (group.class) } { (group.how) }
            th.why scope="row" { (group.why) }
            td.number { (group.count) }
            td.number { (effects(&group.members)) }
            td {
                @for (i, member) in group.members.iter().take(MOST_NAMED).enumerate() {
                    @if i > 0 { ", " }
                    a href={ "#row-" (member.number) } title=(clean(&member.title)) { "#" (member.number) }
                }
                @if more > 0 { " and " (more) " more" }
            }
        }
    }
}

/// The least and the largest effect that was measured.
fn effects(members: &[&ExperimentView]) -> String {
    let found: Vec<f64> = members.iter().filter_map(|e| e.difference).filter(|value| usable(*value)).collect();
    let least = found.iter().copied().reduce(f64::min);
    let largest = found.iter().copied().reduce(f64::max);
    match (least, largest) {
        (Some(least), Some(largest)) if least < largest => {
            format!("{} to {}", signed(Some(least)), signed(Some(largest)))
        }
        (least, _) => signed(least),
    }
}

/// Verdicts in their order, the commonest reason of each first; then what was never tried.
fn groups(night: &NightView) -> Vec<Group<'_>> {
    let mut experiments: Vec<&ExperimentView> = night.experiments.iter().filter(|e| !night.leaves_out(e)).collect();
    experiments.sort_by_key(|experiment| experiment.number);
    let mut groups: Vec<(usize, Group<'_>)> = Vec::new();
    for (rank, verdict) in Verdict::ALL.into_iter().enumerate() {
        let mut by_reason: BTreeMap<String, Vec<&ExperimentView>> = BTreeMap::new();
        for experiment in &experiments {
            if experiment.verdict == Some(verdict) && !experiment.is_kept() {
                by_reason.entry(why(experiment)).or_default().push(experiment);
            }
        }
        let how = if verdict == Verdict::Kept { "taken back" } else { verdict.name() };
        let class = if verdict == Verdict::Kept { Verdict::Invalid.name() } else { verdict.name() };
        groups.extend(
            by_reason
                .into_iter()
                .map(|(why, members)| (rank, Group { how, class, why, count: members.len(), members })),
        );
    }
    let mut skipped: BTreeMap<String, usize> = BTreeMap::new();
    for (proposer, reason) in &night.skipped {
        *skipped.entry(format!("{}: {}", clean(proposer), alike(reason))).or_default() += 1;
    }
    // What was never tried stands in no other table: it is not what a long one loses.
    let not_tried = |(why, count)| Group { how: "not tried", class: "skipped", why, count, members: Vec::new() };
    let mut skipped: Vec<Group<'_>> = skipped.into_iter().map(not_tried).collect();
    skipped.sort_by(|one, other| other.count.cmp(&one.count).then(one.why.cmp(&other.why)));
    skipped.truncate(MOST_SKIPPED);
    groups.sort_by(|(one, a), (other, b)| one.cmp(other).then(b.count.cmp(&a.count)).then(a.why.cmp(&b.why)));
    let mut groups: Vec<Group<'_>> = groups.into_iter().map(|(_, group)| group).collect();
    let room = MOST_GROUPS - skipped.len();
    groups.splice(groups.len().min(room)..groups.len().min(room), skipped);
    groups
}

/// Why an experiment came to nothing, without what is its own.
fn why(experiment: &ExperimentView) -> String {
    if experiment.has_fallen() {
        return "it, or what it builds on, turned out to break a rule".to_owned();
    }
    if experiment.stopped_early || experiment.reason.starts_with("stopped early") {
        return "stopped early as hopeless".to_owned();
    }
    match alike(&experiment.reason) {
        reason if reason.is_empty() => "no reason is on record".to_owned(),
        reason => reason,
    }
}

/// A reason without its figures, so that like ones are the same. Of a decision that was weighed the figures come first and what they led to
/// last; of one that was broken off it is the other way round.
fn alike(reason: &str) -> String {
    let reason = clean(reason);
    let weighed = reason.split_once(" to be expected").and_then(|(_, rest)| rest.split_once(": ")).map(|(_, why)| why);
    let why = weighed.unwrap_or_else(|| reason.split_once("; so far ").map_or(reason.as_str(), |(why, _)| why));
    let mut masked = String::new();
    let mut in_figure = false;
    let mut before = ' ';
    for c in why.chars() {
        // A digit within a word is no figure of its own: `f64`, `E0308`.
        let begins = !in_figure && c.is_ascii_digit() && !(before.is_alphanumeric() || before == '_');
        let goes_on = c.is_ascii_alphanumeric() || matches!(c, '.' | ',' | '_' | '%');
        in_figure = begins || (in_figure && (goes_on || (matches!(c, '-' | '+') && matches!(before, 'e' | 'E'))));
        if begins {
            while masked.ends_with(['-', '+', '−']) {
                masked.pop();
            }
            masked.push('…');
        } else if !in_figure {
            masked.push(c);
        }
        before = c;
    }
    match masked.char_indices().nth(MOST_REASON) {
        Some((end, _)) => format!("{}…", &masked[..end]),
        None => masked,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn experiment(number: u32, verdict: Verdict, reason: &str, difference: Option<f64>) -> ExperimentView {
        ExperimentView {
            number,
            verdict: Some(verdict),
            reason: reason.into(),
            difference,
            ..ExperimentView::default()
        }
    }

    #[test]
    fn like_reasons_are_one() {
        for (one, expected) in [
            (
                "3 compiler errors after 2 attempts: error[E0308]: mismatched types",
                "… compiler errors after … attempts: error[E0308]: mismatched types",
            ),
            ("loss was not finite at step 41", "loss was not finite at step …"),
            ("expected `f64`, found -1.5e-4%", "expected `f64`, found …"),
            (
                "2 trials: +0.00412 +/- 0.00120 bits per byte against the champion's 4 (2 under the same seed); with all other runs of \
                 the night 4 % probable to be better by 0.00021 or more, +0.00310 to be expected; its parts alone 4 %, 5 %: left \
                 open: together they do not tell enough",
                "left open: together they do not tell enough",
            ),
            ("the night ended; so far -0.001 bits per byte against the champion after 2 trials", "the night ended"),
        ] {
            assert_eq!(alike(one), expected);
        }
        assert_eq!(alike(&"x".repeat(300)).chars().count(), MOST_REASON + 1);
    }

    #[test]
    fn failures_are_grouped_with_counts_and_effects() {
        let mut night = NightView {
            metric_unit: "bits per byte".into(),
            experiments: vec![
                experiment(1, Verdict::Kept, "kept", Some(-0.01)),
                experiment(2, Verdict::Discarded, "not lower by 3", Some(0.01)),
                experiment(3, Verdict::Crashed, "loss was not finite at step 41", None),
                experiment(4, Verdict::Discarded, "not lower by 4", Some(0.02)),
                experiment(5, Verdict::Discarded, "stopped early: at 40 %", None),
                experiment(6, Verdict::Crashed, "loss was not finite at step 7", None),
                experiment(7, Verdict::Kept, "kept", Some(-0.01)),
            ],
            skipped: vec![("tuner".into(), "the same as n/3".into()), ("tuner".into(), "the same as n/3".into())],
            ..NightView::default()
        };
        night.experiments[6].taken_back = true;
        let told: Vec<String> = groups(&night)
            .iter()
            .map(|group| {
                let numbers: Vec<u32> = group.members.iter().map(|member| member.number).collect();
                format!("{} × {} ({}) {numbers:?} {}", group.count, group.why, group.how, effects(&group.members))
            })
            .collect();
        insta::assert_snapshot!(told.join("\n"));
        let markup = failed(&night).into_string();
        assert!(markup.contains("8 attempts without a change") && markup.contains("href=\"#row-4\""), "{markup}");
        assert_eq!(failed(&NightView::default()).into_string(), "<p>Nothing failed.</p>");
    }
}
