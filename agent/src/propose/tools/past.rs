//! Past experiments, as tables and one by one. Titles, hypotheses and reasons are others' words.

use std::fmt::Write as _;

use similar::TextDiff;

use super::arguments::Arguments;
use super::facts::ToolFacts;
use crate::brief::quote::{inline, quote};
use crate::flow::{Edit, ExperimentId, PastExperiment, Verdict};

/// Experiments in a table, unless told, and at most.
const LISTED: usize = 20;
const MOST_LISTED: usize = 60;

/// Rows of a curve, unless told, and at most.
const ROWS: usize = 20;
const MOST_ROWS: usize = 100;

/// Lines of a story and of a diff.
const MOST_STORY: usize = 24;
const MOST_DIFF: usize = 160;

const NEAR_MISS: &str = "near-miss";
const OPEN: &str = "open";

/// Which experiments a table shows.
#[derive(Clone, Copy)]
enum Wanted {
    All,
    With(Verdict),
    NearMisses,
    Open,
}

impl Wanted {
    fn read(text: Option<&str>) -> Result<Self, String> {
        match text.map(|text| text.trim().to_lowercase()).as_deref() {
            None | Some("" | "all" | "any") => Ok(Self::All),
            Some(NEAR_MISS | "near miss" | "near_miss") => Ok(Self::NearMisses),
            Some(OPEN) => Ok(Self::Open),
            Some(name) => name.parse().map(Self::With).map_err(|_| {
                let known = Verdict::ALL.map(Verdict::name).join(", ");
                format!("`{}` is no verdict; there are {known}, {NEAR_MISS} and {OPEN}", inline(name, 40))
            }),
        }
    }

    fn takes(self, past: &PastExperiment) -> bool {
        match self {
            Self::All => true,
            Self::With(verdict) => past.verdict == Some(verdict),
            Self::NearMisses => past.evidence.as_ref().is_some_and(|evidence| evidence.near_miss),
            Self::Open => past.verdict.is_none(),
        }
    }
}

pub(super) fn experiments(facts: &ToolFacts, arguments: &Arguments<'_>) -> Result<String, String> {
    let wanted = Wanted::read(arguments.text("verdict")?)?;
    let family = arguments.text("family")?.map(|family| family.trim().to_lowercase());
    let text = arguments.text("text")?.map(|text| text.trim().to_lowercase());
    let most = arguments.count("most", MOST_LISTED)?.unwrap_or(LISTED);
    let contains = |past: &PastExperiment| {
        text.as_ref().is_none_or(|text| {
            [&past.proposal.title, &past.proposal.hypothesis].iter().any(|said| said.to_lowercase().contains(text))
        })
    };
    let found: Vec<&PastExperiment> = facts
        .history
        .iter()
        .rev()
        .filter(|past| wanted.takes(past))
        .filter(|past| family.as_ref().is_none_or(|family| past.proposal.family.to_lowercase() == *family))
        .filter(|past| contains(past))
        .collect();
    if found.is_empty() {
        let mut families: Vec<&str> = facts.history.iter().map(|past| past.proposal.family.as_str()).collect();
        families.sort_unstable();
        families.dedup();
        let families: Vec<String> = families.into_iter().take(40).map(|family| inline(family, 30)).collect();
        return Ok(format!(
            "none of the {} experiments is like that; their families are: {}",
            facts.history.len(),
            families.join(", ")
        ));
    }
    let mut answer = format!(
        "{} of {} experiments, newest first. Differences in bits per byte against its champion, negative is better; in brackets what to \
         expect of it when measured again, with a 95 % interval.\n",
        found.len().min(most),
        found.len()
    );
    for past in found.into_iter().take(most) {
        let _infallible = writeln!(
            answer,
            "{}: {} ({}, by {}) `{}`",
            past.id,
            outcome(past),
            inline(&past.proposal.family, 30),
            inline(&past.proposal.author.proposer, 30),
            inline(&past.proposal.title, 100)
        );
        if let Some(reason) = past.evidence.as_ref().and_then(|evidence| evidence.story.last()) {
            let _infallible = writeln!(answer, "    `{}`", inline(reason, 300));
        }
    }
    Ok(answer)
}

/// Verdict, effect and interval on one line.
fn outcome(past: &PastExperiment) -> String {
    let mut text = past.verdict.map_or_else(|| "still being tested".to_owned(), |verdict| verdict.to_string());
    if let Some(difference) = past.difference {
        let _infallible = write!(text, " {difference:+.4}");
    }
    if let Some(evidence) = &past.evidence {
        let (low, high) = evidence.expected_interval;
        let _infallible = write!(text, " [{:+.4}, {low:+.4} to {high:+.4}]", evidence.expected);
        if evidence.near_miss {
            text.push_str(" near miss");
        }
        if !evidence.vouched() {
            text.push_str(" (foretold from its curve, not measured)");
        }
    }
    text
}

/// The experiment that a call names.
fn named(facts: &ToolFacts, arguments: &Arguments<'_>) -> Result<ExperimentId, String> {
    let name = arguments.need_name("experiment")?;
    let bare = name.trim_start_matches('#').parse::<u32>().ok();
    match (bare, &facts.night) {
        (Some(number), Some(night)) => Ok(ExperimentId { night: night.clone(), number }),
        (Some(_), None) => Err("there is no night yet whose experiment that could be".to_owned()),
        (None, _) => name.parse().map_err(|_| {
            format!("`{}` is no experiment; write its number in this night, or night/number", inline(&name, 60))
        }),
    }
}

pub(super) fn experiment(facts: &ToolFacts, arguments: &Arguments<'_>) -> Result<String, String> {
    let id = named(facts, arguments)?;
    let past = facts.history.iter().find(|past| past.id == id).ok_or_else(|| {
        format!("there is no experiment {id} in this campaign's history; ask `experiments` which there are")
    })?;
    let proposal = &past.proposal;
    let mut answer = format!("Experiment {id}: `{}`\n", inline(&proposal.title, 100));
    let _infallible = writeln!(answer, "Outcome: {}", outcome(past));
    let foretold = match (proposal.predicted_effect, proposal.confidence) {
        (Some(effect), Some(sure)) => format!("{effect:+.4} bits per byte, improvement with probability {sure:.2}"),
        (Some(effect), None) => format!("{effect:+.4} bits per byte"),
        _ => "nothing".to_owned(),
    };
    let _infallible = writeln!(
        answer,
        "Family: {}. Proposed by {}. Foretold: {foretold}. Took {:.0} s of trials.",
        inline(&proposal.family, 30),
        inline(&proposal.author.proposer, 30),
        past.seconds
    );
    if let Some(evidence) = &past.evidence {
        let _infallible = writeln!(
            answer,
            "Standard error {:.4}; an improvement with probability {:.2}; the least effect worth having was {:.4}.",
            evidence.standard_error, evidence.probability, evidence.least_effect
        );
    }
    answer.push_str("Hypothesis:\n");
    answer.push_str(&quote(&proposal.hypothesis, 20));
    if let Some(evidence) = past.evidence.as_ref().filter(|evidence| !evidence.story.is_empty()) {
        answer.push_str("After each trial:\n");
        answer.push_str(&quote(&evidence.story.join("\n"), MOST_STORY));
    }
    answer.push_str("Edits:\n");
    answer.push_str(&quote(&edits_as_diff(&proposal.edits), MOST_DIFF));
    Ok(answer)
}

/// Edits as a diff without line numbers, because only their texts are on record.
fn edits_as_diff(edits: &[Edit]) -> String {
    let mut diff = String::new();
    for edit in edits {
        let _infallible = writeln!(diff, "{}", edit.path);
        if edit.search.is_empty() {
            diff.push_str("(the whole file becomes)\n");
            diff.push_str(&edit.replace);
            diff.push('\n');
            continue;
        }
        let lines = TextDiff::from_lines(edit.search.as_str(), edit.replace.as_str());
        for change in lines.iter_all_changes() {
            let _infallible = writeln!(diff, "{}{}", change.tag(), change.value().trim_end_matches('\n'));
        }
    }
    diff
}

pub(super) fn curve(facts: &ToolFacts, arguments: &Arguments<'_>) -> Result<String, String> {
    let id = named(facts, arguments)?;
    let rows = arguments.count("points", MOST_ROWS)?.unwrap_or(ROWS);
    let source = facts.curve.as_ref().ok_or("curves cannot be seen here")?;
    let curves = source(&id)?;
    let Some((last, _)) = curves.own.last().copied() else {
        return Ok(format!("experiment {id} has no curve: it was stopped before its first step, or never trained"));
    };
    let own = parts(&curves.own, rows);
    let champion = parts(&curves.champion, rows);
    let mut answer = format!(
        "Training loss of experiment {id} in nats per token, by the trainer's own word, averaged over parts of the budget; it got through \
         {:.0} % of it.\n",
        100.0 * last
    );
    answer.push_str(match champion.iter().any(Option::is_some) {
        true => "budget  loss     champion  difference\n",
        false => "budget  loss\n",
    });
    for (row, own) in own.iter().enumerate() {
        let Some(own) = own else { continue };
        let end = 100.0 * (row + 1) as f64 / rows as f64;
        let _infallible = match champion.get(row).copied().flatten() {
            Some(champion) => writeln!(answer, "{end:4.0} %  {own:7.4}  {champion:7.4}   {:+.4}", own - champion),
            None => writeln!(answer, "{end:4.0} %  {own:7.4}"),
        };
    }
    let told: Vec<f64> = own.iter().flatten().copied().collect();
    if let [.., before, at_end] = told.as_slice() {
        let falls = (before - at_end) * rows as f64 / 10.0;
        let _infallible = writeln!(answer, "At the end it falls by {falls:.4} per 10 % of the budget.");
    }
    Ok(answer)
}

/// Means over equal parts of the budget; `None` for those without a point.
fn parts(points: &[(f64, f64)], rows: usize) -> Vec<Option<f64>> {
    let mut sums = vec![(0.0, 0_u32); rows];
    for (progress, loss) in points.iter().filter(|(_, loss)| loss.is_finite()) {
        let row = ((progress.clamp(0.0, 1.0) * rows as f64) as usize).min(rows.saturating_sub(1));
        if let Some((sum, count)) = sums.get_mut(row) {
            *sum += loss;
            *count += 1;
        }
    }
    sums.into_iter().map(|(sum, count)| (count > 0).then(|| sum / f64::from(count))).collect()
}
