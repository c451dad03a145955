//! What was found of an experiment, in the words of a commit message: figures with intervals, what they were measured against, and how far
//! they can be trusted. Pure.

use crate::flow::{ExperimentId, Verdict};
use crate::propose::ablation::WITHOUT;
use crate::records::{ExperimentRecord, ReviewRecord};
use crate::report::NightRecords;

/// What leaving a kept change out of the champion again came to, or an idea that it is made of: a line for each.
pub fn left_out(records: &NightRecords, kept: &ExperimentId) -> Vec<String> {
    let mut lines = Vec::new();
    for left in records.left_out() {
        let part = left.without.split_once(WITHOUT);
        if part.map_or(left.without.as_str(), |(whole, _)| whole) != kept.to_string() {
            continue;
        }
        let what = match part {
            Some((_, part)) => format!("Without {part}, one of its ideas"),
            None => "Without it".to_owned(),
        };
        let figure = match (left.difference, left.interval) {
            (Some(difference), Some((low, high))) => {
                format!(" the champion changed by {difference:+.5} (95 % {low:+.5} to {high:+.5})")
            }
            (Some(difference), None) => format!(" the champion changed by {difference:+.5}"),
            (None, _) => String::new(),
        };
        lines.push(format!("{what}{figure}: {}.", left.words));
    }
    lines
}

/// Paragraphs for the message of a clean commit.
pub(super) fn paragraphs(records: &NightRecords, experiment: &ExperimentRecord, review: &ReviewRecord) -> Vec<String> {
    let mut paragraphs = Vec::new();
    if let Some(decision) = &experiment.decision {
        let account = records.account_of(experiment.id.number);
        let against = match account.as_ref().map_or(0, |account| account.champion) {
            0 => "the night's start".to_owned(),
            number => format!("experiment {number}"),
        };
        let mut words = match (decision.difference, decision.interval) {
            (Some(difference), Some((low, high))) => {
                format!(
                    "val_bpb was measured to change by {difference:+.5} (95 % {low:+.5} to {high:+.5}) against {against}"
                )
            }
            (Some(difference), None) => format!("val_bpb was measured to change by {difference:+.5} against {against}"),
            (None, _) => format!("Compared with {against}, without a figure"),
        };
        let trials = if decision.trials == 1 { "1 trial".to_owned() } else { format!("{} trials", decision.trials) };
        words += &format!(", {trials} by the rule {}: {}", decision.rule, decision.verdict);
        if let Some(evidence) = decision.evidence.as_deref().filter(|evidence| evidence.vouched()) {
            let (low, high) = evidence.expected_interval;
            words += &format!(
                ". To be expected when it is measured again: {:+.5} ({low:+.5} to {high:+.5})",
                evidence.expected
            );
        }
        paragraphs.push(words + ".");
        if decision.verdict != Verdict::Kept {
            paragraphs.push("It was not kept by the night's rule, and was accepted by hand.".to_owned());
        }
        let under = match account.map_or(0, |account| account.champion) {
            0 => "on the commit that the night began from",
            _ => "on top of what the night had kept before",
        };
        let commit = experiment.candidate.as_ref().map_or("", |candidate| candidate.parent.short());
        paragraphs.push(format!("That is what it did {under} ({commit}); on anything else it was not measured."));
    }
    paragraphs.extend(left_out(records, &experiment.id));
    // The claim is of the whole way to the champion: it says nothing of what is not on it.
    let on_the_way = records.champions.iter().any(|champion| champion.experiment == experiment.id.number);
    if let Some(claim) = records.claim.as_ref().filter(|_| on_the_way && records.withdrawal.is_none()) {
        paragraphs.push(format!("The night's claim for its champion as a whole {}", claim.words));
    }
    if !review.reason.is_empty() {
        paragraphs.push(format!("Remark of the review: {}", review.reason));
    }
    paragraphs
}
