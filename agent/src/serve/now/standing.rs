//! How the night stands: what was tried, kept and claimed, and what waits for the person.

use dashboards::site::{Fact, Line, url};

use crate::flow::Verdict;
use crate::propose::LEAVE_ONE_OUT;
use crate::records::ExperimentRecord;
use crate::report::NightRecords;
use crate::serve::live::Seen;
use crate::store::Glance;

/// How many of the night's experiments have a verdict; what leaves a kept change out is none of them.
pub(super) fn done(glance: &Glance) -> String {
    let decided = experiments(glance).filter(|verdict| verdict.is_some()).count();
    match glance.night.experiment_limit {
        Some(limit) => format!("{decided} of {limit} experiments"),
        None if decided == 1 => "1 experiment".to_owned(),
        None => format!("{decided} experiments"),
    }
}

fn experiments(glance: &Glance) -> impl Iterator<Item = Option<Verdict>> {
    let stands = |number| glance.withdrawal.as_ref().is_none_or(|withdrawal| withdrawal.spares(number));
    glance.lines.iter().filter(|line| line.proposer != LEAVE_ONE_OUT).map(move |line| match line.verdict {
        Some(Verdict::Kept) if !stands(line.number) => Some(Verdict::Invalid),
        verdict => verdict,
    })
}

/// The records of the start and the champions alone: enough for the way of the champion and for what waits for a decision.
pub(super) fn records(seen: &Seen, glance: &Glance) -> NightRecords {
    NightRecords {
        night: glance.night.clone(),
        experiments: seen.experiments.values().cloned().collect(),
        trials: glance.trials.clone(),
        champions: glance.champions.clone(),
        claim: None,
        withdrawal: glance.withdrawal.clone(),
        calls: Vec::new(),
        concluded: Vec::new(),
        waits: Vec::new(),
        faults: Vec::new(),
        skips: Vec::new(),
        journal: Vec::new(),
        cuts: Vec::new(),
        reviews: Vec::new(),
    }
}

pub(super) fn standing(records: &NightRecords, glance: &Glance) -> Vec<Fact> {
    let champion = records.champion();
    let mut facts = Vec::new();
    let way = match (records.val_bpb(0), records.level(champion)) {
        (Some(start), Some(level)) if champion > 0 => {
            format!("{start:.4} → {level:.4} ({})", difference(level - start))
        }
        (Some(start), None) if champion > 0 => format!("{start:.4} → not known"),
        (Some(start), _) => format!("{start:.4}"),
        (None, _) => "the night's start is not measured yet".to_owned(),
    };
    facts.push(Fact::new("val_bpb", way));
    let named = records.experiments.iter().find(|experiment| experiment.id.number == champion && champion > 0);
    let named = named.map_or("the night's start".to_owned(), |it| format!("#{champion} {}", it.proposal.title));
    facts.push(Fact::new("champion", named));
    let count = |verdict| experiments(glance).filter(|it| *it == Some(verdict)).count();
    let decided = experiments(glance).filter(Option::is_some).count();
    facts.push(Fact::new("kept", format!("{} of {decided} tried", count(Verdict::Kept))));
    let others = Verdict::ALL.into_iter().filter(|verdict| *verdict != Verdict::Kept);
    let others = others.map(|verdict| (count(verdict), verdict)).filter(|(count, _)| *count > 0);
    let others: Vec<String> = others.map(|(count, verdict)| format!("{count} {verdict}")).collect();
    if !others.is_empty() {
        facts.push(Fact::new("others", others.join(", ")));
    }
    if let Some(claim) = glance.claim.as_ref().filter(|_| glance.withdrawal.is_none()) {
        facts.push(Fact::new("morning's claim", claim.words.clone()));
    }
    if let Some(withdrawal) = &glance.withdrawal {
        facts.push(Fact::new("taken back", withdrawal.words.clone()));
    }
    facts
}

pub(super) fn decision(experiment: &ExperimentRecord) -> Line {
    let id = &experiment.id;
    let found = experiment.decision.as_ref();
    let note = found.and_then(|decision| decision.difference).map(|change| match found.and_then(|it| it.interval) {
        Some((low, high)) => format!("{} (95 % {} to {})", difference(change), difference(low), difference(high)),
        None => difference(change),
    });
    Line {
        text: format!("#{} {}", id.number, experiment.proposal.title),
        href: Some(url::experiment(id.night.as_str(), id.number)),
        note: note.unwrap_or_default(),
        experiment: Some(id.to_string()),
    }
}

/// A difference in bits per byte with its sign.
pub(super) fn difference(value: f64) -> String {
    format!("{value:+.4}").replace('-', "−")
}
