//! Trying edits as far as that goes without training: the same steps, in the same order, that a proposal goes through in a night.

use std::fmt::Write as _;

use super::arguments::Arguments;
use super::facts::{Compiled, ToolFacts};
use crate::brief::quote::inline;
use crate::edit::{CheckedPatch, blocks};
use crate::flow::{Author, Edit, PastExperiment, Proposal};
use crate::propose::model::{habits, repairs};

pub(super) fn check(facts: &ToolFacts, arguments: &Arguments<'_>) -> Result<String, String> {
    let edits = blocks::parse(arguments.need_text("edits")?).map_err(|error| error.to_string())?;
    let complaints = habits::complaints(&edits);
    if !complaints.is_empty() {
        return Err(complaints.join("\n"));
    }
    check_edits(facts, edits)
}

/// The same for edits that were read already.
pub(super) fn check_edits(facts: &ToolFacts, edits: Vec<Edit>) -> Result<String, String> {
    let patch =
        CheckedPatch::check(&to_try(edits), &facts.candidate, &facts.policy).map_err(|error| error.to_string())?;
    if let Some(same) = facts.history.iter().rev().find(|past| past.digest == patch.digest()) {
        return Err(seen_before(same));
    }
    let mut answer = format!(
        "The edits apply, keep the rules and are new: {} lines added, {} removed.",
        patch.lines_added(),
        patch.lines_removed()
    );
    let compiled = facts.compile.as_ref().map(|compile| compile(&patch));
    match compiled {
        Some(Compiled::Yes { seconds }) => {
            let _infallible = write!(answer, " They compile ({seconds:.1} s).");
            Ok(answer)
        }
        Some(Compiled::No(failure)) => {
            let errors = repairs::errors(&failure, patch.files());
            Err(format!("The edits apply and keep the rules, but the result does not compile{errors}"))
        }
        Some(Compiled::NotTried(why)) => {
            let _infallible = write!(answer, " Whether they compile could not be tried: {}.", inline(&why, 300));
            Ok(answer)
        }
        None => {
            answer.push_str(" Whether they compile is not tried here; that is found out when they are built.");
            Ok(answer)
        }
    }
}

/// What is said of code that was an experiment before.
pub(crate) fn seen_before(same: &PastExperiment) -> String {
    let found = match (same.verdict, same.difference) {
        (Some(verdict), Some(difference)) => format!("{verdict}, {difference:+.4} bits per byte"),
        (Some(verdict), None) => verdict.to_string(),
        (None, _) => "still being tested".to_owned(),
    };
    format!(
        "the same code, comments and layout aside, is experiment {} already (`{}`: {found}); it would not be run again",
        same.id,
        inline(&same.proposal.title, 80)
    )
}

/// A proposal of which only the edits count.
fn to_try(edits: Vec<Edit>) -> Proposal {
    Proposal {
        key: "check".to_owned(),
        title: "Check".to_owned(),
        hypothesis: String::new(),
        source: String::new(),
        family: "check".to_owned(),
        predicted_effect: None,
        confidence: None,
        edits,
        author: Author { proposer: "check".to_owned(), model: None, cost_usd: 0.0 },
    }
}
