//! What comes of an answer, in the words of `expected.toml`.

use nocturne::edit::blocks::BlockError;
use nocturne::edit::{CheckedPatch, Class, EditError};
use nocturne::propose::model::answer::{AnswerError, Idea};
use serde::Deserialize;

use super::Read;

/// One line of `expected.toml`. What is left out is not compared.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    is: String,
    which: Option<String>,
    does: Option<String>,
    holds: Option<String>,
    lacks: Option<String>,
    says: Option<String>,
    title: Option<String>,
    hypothesis: Option<String>,
    family: Option<String>,
    predicted: Option<f64>,
    confidence: Option<f64>,
}

/// What was seen.
#[derive(Debug)]
pub struct Seen {
    is: &'static str,
    which: String,
    message: String,
}

impl Seen {
    /// Puts what came of an answer into words.
    pub fn of(read: &Read) -> Self {
        let (is, which, message) = match read {
            Err(error) => (of_answer(error), error_kind(error), error.to_string()),
            Ok((_, Err(error))) => (of_edit(error), edit_kind(error), error.to_string()),
            Ok((_, Ok(_))) => ("applies", String::new(), String::new()),
        };
        Self { is, which, message }
    }
}

fn of_answer(error: &AnswerError) -> &'static str {
    match error {
        AnswerError::Lines(_) => "lines",
        AnswerError::Blocks(_) => "blocks",
        AnswerError::Habits(_) => "habits",
        AnswerError::Count { .. } => "count",
    }
}

fn error_kind(error: &AnswerError) -> String {
    match error {
        AnswerError::Lines(lines) => {
            // Each complaint begins with the line's name: `Title:` or `Title: what was there`.
            let name =
                |line: &String| line.trim_start_matches('`').split(':').next().unwrap_or_default().to_lowercase();
            lines.iter().map(name).collect::<Vec<_>>().join(" ")
        }
        AnswerError::Habits(_) | AnswerError::Count { .. } => String::new(),
        AnswerError::Blocks(error) => match error {
            BlockError::NoBlocks => "no-blocks",
            BlockError::NoPath { .. } => "no-path",
            BlockError::NotAPath { .. } => "not-a-path",
            BlockError::OutOfPlace { .. } => "out-of-place",
            BlockError::Damaged { .. } => "damaged",
            BlockError::Unfinished { .. } => "unfinished",
            BlockError::Unwritable { .. } => "unwritable",
        }
        .to_owned(),
    }
}

fn of_edit(error: &EditError) -> &'static str {
    match error {
        EditError::Ambiguous { .. } => "ambiguous",
        _ => match error.class() {
            Class::DoesNotFit => "does-not-fit",
            Class::ChangesNothing => "changes-nothing",
            Class::BreaksRule => "breaks-rule",
        },
    }
}

/// The rules that are broken, each once, or the kind of error.
fn edit_kind(error: &EditError) -> String {
    let kind = match error {
        EditError::Forbidden(violations) => {
            let mut rules: Vec<&str> = violations.iter().map(|violation| violation.rule.name()).collect();
            rules.sort_unstable();
            rules.dedup();
            return rules.join(" ");
        }
        EditError::NoEdits => "no-edits",
        EditError::TooManyEdits { .. } => "too-many-edits",
        EditError::NotAnEffect { .. } => "not-an-effect",
        EditError::NotAProbability { .. } => "not-a-probability",
        EditError::NotEditable { .. } => "not-editable",
        EditError::BlankSearch { .. } => "blank-search",
        EditError::NotFound { .. } => "not-found",
        EditError::Ambiguous { .. } => "ambiguous",
        EditError::NothingChanged => "nothing-changed",
        EditError::TooLarge { .. } => "too-large",
        EditError::ControlCharacter { .. } => "control-character",
        EditError::NoFinalNewline { .. } => "no-final-newline",
        EditError::NotRust { .. } => "not-rust",
    };
    kind.to_owned()
}

/// `model +3 -1, recipe +1 -1`
fn changes(patch: &CheckedPatch) -> String {
    let one = |(before, after): (&nocturne::flow::SourceFile, &nocturne::flow::SourceFile)| {
        let diff = similar::TextDiff::from_lines(&before.text, &after.text);
        let count = |tag| diff.iter_all_changes().filter(|change| change.tag() == tag).count();
        let name = after.path.rsplit('/').next().unwrap_or_default().trim_end_matches(".rs");
        format!("{name} +{} -{}", count(similar::ChangeTag::Insert), count(similar::ChangeTag::Delete))
    };
    patch.base().iter().zip(patch.files()).map(one).collect::<Vec<_>>().join(", ")
}

impl Expected {
    /// Whether it must apply.
    pub fn applies(&self) -> bool {
        self.is == "applies"
    }

    /// Everything in which `seen` is not as expected.
    pub fn compare(&self, seen: &Seen, read: &Read) -> Vec<String> {
        let mut wrong = Vec::new();
        if self.is != seen.is {
            let Seen { is, which, message } = seen;
            return vec![format!("expected {}, is {is} ({which}): {}", self.is, shorten(message))];
        }
        let mut same = |what: &str, expected: Option<&String>, found: &str| {
            if expected.is_some_and(|expected| expected != found) {
                wrong.push(format!("{what}: expected {:?}, is {found:?}", expected.map_or("", |text| text)));
            }
        };
        // Which lines, blocks or rules is always said where there is something to say.
        let which = self.which.clone().unwrap_or_default();
        let tells = self.which.is_some() || !matches!(seen.is, "applies" | "ambiguous");
        same("which", tells.then_some(&which), &seen.which);
        if let Ok((idea, result)) = read {
            let Idea { title, hypothesis, family, .. } = idea;
            same("title", self.title.as_ref(), title);
            same("hypothesis", self.hypothesis.as_ref(), hypothesis);
            same("family", self.family.as_ref(), family);
            if let Ok(patch) = result {
                let none = String::new();
                same("does", Some(self.does.as_ref().unwrap_or(&none)), &changes(patch));
            }
            for (what, expected, found) in
                [("predicted", self.predicted, idea.predicted), ("confidence", self.confidence, idea.confidence)]
            {
                if expected.is_some_and(|expected| expected != found) {
                    wrong.push(format!("{what}: expected {expected:?}, is {found}"));
                }
            }
            if let Ok(patch) = result {
                let text: String = patch.files().iter().map(|file| file.text.as_str()).collect();
                if let Some(missing) = self.holds.as_ref().filter(|holds| !text.contains(*holds)) {
                    wrong.push(format!("the files do not hold {missing:?}"));
                }
                if let Some(there) = self.lacks.as_ref().filter(|lacks| text.contains(*lacks)) {
                    wrong.push(format!("the files hold {there:?}"));
                }
            }
        }
        if let Some(says) = self.says.as_ref().filter(|says| !seen.message.contains(*says)) {
            wrong.push(format!("expected to read {says:?}, is {}", shorten(&seen.message)));
        }
        wrong
    }
}

fn shorten(text: &str) -> String {
    text.chars().take(400).collect()
}
