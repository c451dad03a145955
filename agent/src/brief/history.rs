//! Past experiments in a brief: what was tried, what it did, and why. Near misses and failures first, because they tell what to try and
//! what not to; many of one kind that did not help are told in one line.

use std::collections::BTreeMap;

use similar::TextDiff;

use super::quote::{inline, quote};
use super::sections::piece;
use super::window::{Piece, Section};
use crate::flow::{Brief, PastExperiment, Verdict};
use crate::propose::LEAVE_ONE_OUT;

/// Of each family, so many that did not help are told one by one.
const SINGLE_OF_A_FAMILY: usize = 2;

/// What a token of an experiment is worth that the person rejected: as much as of a near miss, for it saves the next from being one.
const REJECTED_WORTH: f64 = 0.60;

/// Titles in a line that tells of many.
const MOST_TITLES: usize = 12;

/// Lines of a past experiment's edits.
const MOST_DIFF: usize = 30;

/// What a past experiment is to somebody who looks for the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Could be a gain that was too small to tell.
    NearMiss,
    /// The champion's own, or was.
    Kept,
    /// Did not build, did not finish or broke a rule.
    Failed,
    /// Not settled.
    Running,
    /// Did not help, or did not tell.
    Other,
}

impl Kind {
    fn of(past: &PastExperiment) -> Self {
        match past.verdict {
            None => Self::Running,
            Some(Verdict::Kept) => Self::Kept,
            Some(Verdict::Invalid | Verdict::Crashed | Verdict::Unbuildable) => Self::Failed,
            Some(_) if past.evidence.as_ref().is_some_and(|evidence| evidence.near_miss) => Self::NearMiss,
            Some(Verdict::Discarded | Verdict::Inconclusive) => Self::Other,
        }
    }

    /// What a token of it is worth.
    fn worth(self) -> f64 {
        match self {
            Self::NearMiss => 0.60,
            Self::Failed => 0.50,
            Self::Kept => 0.45,
            Self::Running => 0.40,
            Self::Other => 0.20,
        }
    }
}

/// The table; `None` before the first experiment.
pub(super) fn table(brief: &Brief) -> Option<Section> {
    let ideas: Vec<&PastExperiment> =
        brief.history.iter().filter(|past| past.proposal.author.proposer != LEAVE_ONE_OUT).collect();
    if ideas.is_empty() {
        return None;
    }
    let mut families: BTreeMap<&str, Vec<&PastExperiment>> = BTreeMap::new();
    let mut rows: Vec<Piece> = Vec::new();
    let newest = ideas.len();
    for (place, past) in ideas.iter().enumerate() {
        match Kind::of(past) {
            Kind::Other if rejected(brief, past).is_none() => {
                families.entry(past.proposal.family.as_str()).or_default().push(past)
            }
            // Between two of a kind the newer goes first: it is closer to the champion as it is.
            kind => {
                let worth = if rejected(brief, past).is_some() { REJECTED_WORTH } else { kind.worth() };
                rows.push(piece(row(brief, past), worth + 0.05 * (place + 1) as f64 / newest as f64));
            }
        }
    }
    for (family, mut of) in families {
        // What came nearest to helping is told by itself.
        of.sort_by(|a, b| nearness(a).total_cmp(&nearness(b)));
        let single = if of.len() > SINGLE_OF_A_FAMILY + 1 { SINGLE_OF_A_FAMILY } else { of.len() };
        let (told, compact) = of.split_at(single);
        rows.extend(told.iter().map(|past| piece(row(brief, past), Kind::Other.worth())));
        if !compact.is_empty() {
            rows.push(piece(compacted(family, compact), Kind::Other.worth() + 0.1));
        }
    }
    rows.sort_by(|a, b| per_token(b).total_cmp(&per_token(a)));
    let head = "Differences are in bits per byte against the champion of the time, negative is better, with what to expect when measured again \
                and its 95 % interval. What was kept is part of the champion. The same code is never run twice.\n\n"
        .to_owned();
    Some(Section { title: "Experiments so far".to_owned(), head, pieces: rows, worth: 30.0, what: "experiments" })
}

fn per_token(piece: &Piece) -> f64 {
    piece.worth / crate::llm::spend::estimated_tokens(&piece.text).max(1) as f64
}

/// How far from a gain; what was not measured is furthest.
fn nearness(past: &PastExperiment) -> f64 {
    let expected = past.evidence.as_ref().map(|evidence| evidence.expected).or(past.difference);
    expected.filter(|difference| difference.is_finite()).unwrap_or(f64::INFINITY)
}

/// Why the person did not want an experiment.
fn rejected<'a>(brief: &'a Brief, past: &PastExperiment) -> Option<&'a str> {
    brief.details.told.get(&past.id)?.rejected.as_deref()
}

/// One experiment in a few lines. All words in it are others'.
fn row(brief: &Brief, past: &PastExperiment) -> String {
    let proposal = &past.proposal;
    let mut text = format!(
        "- {} {}, family `{}`, by `{}`: `{}`\n",
        past.id,
        outcome(brief, past),
        inline(&proposal.family, 30),
        inline(&proposal.author.proposer, 20),
        inline(&proposal.title, 80)
    );
    if !proposal.hypothesis.is_empty() {
        text.push_str(&format!("  Expected because: `{}`\n", inline(&proposal.hypothesis, 240)));
    }
    if let Some(told) = brief.details.told.get(&past.id).filter(|told| !told.reason.is_empty()) {
        text.push_str(&format!("  Decided: `{}`\n", inline(&told.reason, 240)));
    }
    if let Some(why) = rejected(brief, past) {
        text.push_str(&format!(
            "  The person does not want it, and nothing like it, whatever it measures, because: `{}`\n",
            inline(why, 400)
        ));
    }
    text
}

/// `near miss, -0.0012 (...)`.
fn outcome(brief: &Brief, past: &PastExperiment) -> String {
    let mut text = match (Kind::of(past), past.verdict) {
        (Kind::NearMiss, _) => "near miss".to_owned(),
        (_, Some(verdict)) => verdict.to_string(),
        (_, None) => "being tested now".to_owned(),
    };
    if let Some(difference) = past.difference.filter(|difference| difference.is_finite()) {
        text.push_str(&format!(", {difference:+.4}"));
    }
    if let Some(evidence) = &past.evidence {
        let (low, high) = evidence.expected_interval;
        let how = if evidence.vouched() { "expect" } else { "its curve foretold" };
        text.push_str(&format!(" ({how} {:+.4}, {low:+.4} to {high:+.4})", evidence.expected));
    }
    if let Some(told) = brief.details.told.get(&past.id).filter(|told| told.trials > 0) {
        text.push_str(&format!(", {} trials", told.trials));
    }
    text
}

/// Several of a family in one line.
fn compacted(family: &str, of: &[&PastExperiment]) -> String {
    let titles: Vec<String> = of
        .iter()
        .take(MOST_TITLES)
        .map(|past| {
            let effect = past.difference.filter(|difference| difference.is_finite());
            let effect = effect.map_or_else(String::new, |difference| format!(" {difference:+.4}"));
            format!("`{}`{effect}", inline(&past.proposal.title, 50))
        })
        .collect();
    let more = of.len() - titles.len();
    let more = if more > 0 { format!(", and {more} more") } else { String::new() };
    let count = of.len();
    format!("- {count} more of the family `{}` that did not help: {}{more}\n", inline(family, 30), titles.join(", "))
}

/// What near misses, failures and kept experiments changed.
pub(super) fn edits(brief: &Brief) -> Option<Section> {
    let mut pieces: Vec<(usize, Piece)> = Vec::new();
    for (place, past) in brief.history.iter().enumerate() {
        let kind = Kind::of(past);
        if matches!(kind, Kind::NearMiss | Kind::Kept | Kind::Failed) && !past.proposal.edits.is_empty() {
            pieces.push((place, piece(diff(past), kind.worth() / 6.0)));
        }
    }
    if pieces.is_empty() {
        return None;
    }
    pieces.sort_by(|(a_place, a), (b_place, b)| per_token(b).total_cmp(&per_token(a)).then(b_place.cmp(a_place)));
    Some(Section {
        title: "What some of them changed".to_owned(),
        head: String::new(),
        pieces: pieces.into_iter().map(|(_, piece)| piece).collect(),
        worth: 5.0,
        what: "experiments",
    })
}

fn diff(past: &PastExperiment) -> String {
    let mut all = String::new();
    for edit in &past.proposal.edits {
        all.push_str(&format!("{}\n", edit.path));
        if edit.search.is_empty() {
            all.push_str("(the whole file was replaced)\n");
            continue;
        }
        let diff = TextDiff::from_lines(&edit.search, &edit.replace);
        all.push_str(&diff.unified_diff().context_radius(1).to_string());
    }
    format!("{} (`{}`):\n{}\n", past.id, inline(&past.proposal.title, 80), quote(&all, MOST_DIFF))
}
