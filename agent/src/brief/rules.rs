//! The rules in a brief, out of the page that is written from the policy itself, and the form of an answer.

use super::sections::piece;
use super::window::{Piece, Section};
use crate::edit;

/// Parts of the page, each with its worth. What is allowed is long, and comes behind single rules: it is a list of names that the champion's own
/// files show in use.
const ALLOWED: (&str, f64) = ("Allowed", 0.5);
const LIMITS: (&str, f64) = ("Limits", 0.3);
const RULES: (&str, f64) = ("Rules", 0.25);
const NAMES: &str = "Names refused";

/// What the fused operations do, as the crate that has them says it: it makes ideas possible. For each of its words worth less than the recipe and
/// than a short rule, more than a rule of many words.
const FUSED: f64 = 0.65;

/// The documentation of the crate `kernels`, where a table lists its functions.
const KERNELS: &str = include_str!("../../../trainer/kernels/src/lib.rs");

/// The table's rows: which functions, and what they do.
fn fused_operations() -> impl Iterator<Item = (&'static str, &'static str)> {
    let rows =
        KERNELS.lines().take_while(|line| line.starts_with("//!")).filter_map(|line| line.strip_prefix("//! | ["));
    rows.filter_map(|row| row.trim_end_matches([' ', '|']).split_once(" | "))
}

/// The rows for a model. Signatures and shapes are in the candidate's uses and in `trainer/kernels/src/lib.rs`.
fn fused() -> Piece {
    let mut text =
        "\nFused operations of `kernels`, which do in one pass over memory what takes several in tensor code:\n"
            .to_owned();
    for (names, meaning) in fused_operations() {
        text.push_str(&format!("- {}: {meaning}\n", names.replace(['[', ']'], "")));
    }
    text.push('\n');
    piece(text, FUSED)
}

/// What an experiment may contain. How the page ends, with what no check can stop, is for people.
pub(super) fn rules() -> Section {
    let page = edit::page();
    let mut head = String::new();
    let mut pieces: Vec<Piece> = Vec::new();
    for part in page.split("\n## ") {
        let (title, text) = part.split_once('\n').unwrap_or((part, ""));
        let text = text.trim();
        match title {
            "Files" => head.push_str(&format!("{text}\n\n")),
            _ if title == ALLOWED.0 => pieces.push(piece(format!("Allowed:\n{text}\n\n"), ALLOWED.1)),
            _ if title == LIMITS.0 => pieces.push(piece(format!("Limits:\n{text}\n\n"), LIMITS.1)),
            _ if title == RULES.0 => pieces.extend(text.split("### ").filter_map(rule)),
            _ if title.starts_with(NAMES) => pieces.push(piece(format!("{title}:\n{text}\n"), 0.1)),
            _ => {}
        }
    }
    pieces.push(fused());
    pieces.sort_by(|a, b| per_token(b).total_cmp(&per_token(a)));
    head.push_str(
        "Edits are checked before anything is built; what breaks a rule comes back to you with the rule and the place. No new dependencies.\n\n",
    );
    Section { title: "The rules".to_owned(), head, pieces, worth: 40.0, what: "rules" }
}

fn per_token(piece: &Piece) -> f64 {
    piece.worth / crate::llm::spend::estimated_tokens(&piece.text).max(1) as f64
}

/// One rule on one line.
fn rule(text: &str) -> Option<Piece> {
    let (name, words) = text.split_once('\n')?;
    Some(piece(format!("- {}: {}\n", name.trim(), words.trim()), RULES.1))
}

/// How a model has to answer: never left out.
pub fn answer_format() -> Section {
    let head = "Answer with exactly one idea: first these lines, each beginning with its name,

Title: what is changed, in the imperative, at most 72 characters
Hypothesis: why it should lower val_bpb, in a few sentences
Family: one word for the kind of change, such as schedule, optimizer, attention, initialisation
Predicted: the change of val_bpb that you expect, such as -0.002
Confidence: how probable an improvement is, from 0 to 1
Edits: how many blocks follow

then its edits, as blocks of this form, each under the path of its file:

trainer/src/candidate/recipe.rs
<<<<<<< SEARCH
            matrix_rate: 0.04,
=======
            matrix_rate: 0.05,
>>>>>>> REPLACE

The search text must stand in the file exactly as you write it, and at one place only: copy whole lines, and as many as it takes. The replacement \
stands there afterwards, whole: nothing is left out of it with `...`. Blocks of one file apply one after the other. Nothing between SEARCH and \
======= replaces the whole file. Nothing that does not fit is ever applied.
"
    .to_owned();
    let title = "How to answer".to_owned();
    Section { title, head, pieces: Vec::new(), worth: f64::INFINITY, what: "lines" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fused_operation_that_edits_may_use_is_told_and_no_other() {
        let told: Vec<&str> = fused_operations()
            .flat_map(|(names, _)| names.split(", "))
            .map(|name| name.trim_matches(|c| matches!(c, '`' | '[' | ']')))
            .collect();
        // What is no operation by itself: settings of one, the plain forms, and what is never fused.
        let others = ["AdamStep", "plain", "rotate"];
        let page = edit::page();
        let (_, allowed) = page.split_once("Items of `kernels`: ").unwrap();
        let allowed = allowed.lines().next().unwrap().split('`').filter(|name| name.starts_with(char::is_alphabetic));
        let mut expected: Vec<&str> = allowed.filter(|item| !others.contains(item)).collect();
        let mut sorted = told.clone();
        sorted.sort_unstable();
        expected.sort_unstable();
        assert_eq!(sorted, expected);
        let shown = fused().text;
        let line = "- `norm`, `add_norm`, `mix_norm`: RMSNorm, alone or after a sum on the residual stream\n";
        assert!(shown.contains(line) && !shown.contains(['[', '|']), "{shown}");
    }

    #[test]
    fn what_makes_ideas_possible_does_not_go_first_where_there_is_little_room() {
        let pieces = rules().pieces;
        let fused = pieces.iter().position(|piece| piece.text.starts_with("\nFused operations")).unwrap();
        let behind = pieces[fused..].iter().filter(|piece| piece.text.starts_with("- ")).count();
        assert!(behind > pieces.len() / 4, "{behind} rules of {} stand behind it", pieces.len());
    }
}
