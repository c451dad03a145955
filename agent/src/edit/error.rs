//! Why a proposal did not become a patch. The texts are read by people in a terminal and by proposers that get another try, so
//! each says what, where and what to do.

use std::fmt;

use super::check::Rule;

/// How many violations one message names.
const SHOWN_VIOLATIONS: usize = 5;

/// Names one edit of a proposal in a message: `edit 2 of 3 (trainer/src/candidate/recipe.rs)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Counted from 1.
    pub edit: usize,
    /// How many edits the proposal has.
    pub of: usize,
    /// The file the edit names.
    pub path: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "edit {} of {} (", self.edit, self.of)?;
        // A letter that only looks like another must not look like it here, where somebody wonders why the path is refused.
        if self.path.chars().all(|c| c == ' ' || c.is_ascii_graphic()) {
            write!(f, "{})", self.path)
        } else {
            write!(f, "{})", self.path.escape_default())
        }
    }
}

/// The lines of a file that look most like a search text that was not found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nearest {
    /// Where they begin, counted from 1.
    pub line: usize,
    /// Line by line: `-` stands in the search text only, `+` in the file only.
    pub diff: String,
}

/// One place where a proposal's result breaks a rule on what a candidate may contain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The rule.
    pub rule: Rule,
    /// The file.
    pub path: String,
    /// Counted from 1, in the file as it would be after the edits.
    pub line: usize,
    /// Characters of the line, counted from 1.
    pub column: usize,
    /// What was found there, shortened.
    pub found: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rule, path, line, column, found } = self;
        write!(f, "{path}:{line}:{column}: `{found}` is not allowed in a candidate (rule {rule}): {}", rule.instead())
    }
}

/// What kind of failure it was; counted per proposer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// The edits do not fit the files as they are now.
    DoesNotFit,
    /// The edits fit and change nothing.
    ChangesNothing,
    /// The result is not something a candidate may be.
    BreaksRule,
}

impl Class {
    /// The word used in records.
    pub fn name(self) -> &'static str {
        match self {
            Class::DoesNotFit => "does-not-fit",
            Class::ChangesNothing => "changes-nothing",
            Class::BreaksRule => "breaks-rule",
        }
    }
}

/// A proposal that cannot become a patch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// The proposal is empty.
    #[error("the proposal has no edits; give at least one")]
    NoEdits,
    /// More edits than the policy allows.
    #[error(
        "the proposal has {count} edits, at most {limit} are allowed; make a smaller change or replace whole files"
    )]
    TooManyEdits {
        /// How many there are.
        count: usize,
        /// How many there may be.
        limit: usize,
    },
    /// A predicted effect that is no number of bits per byte.
    #[error("the predicted effect is {effect}; give a difference in bits per byte, negative is better, or none")]
    NotAnEffect {
        /// What was given.
        effect: String,
    },
    /// A confidence that is no probability.
    #[error(
        "the confidence is {confidence}; give the probability from 0 to 1 that the change is an improvement, or none"
    )]
    NotAProbability {
        /// What was given.
        confidence: String,
    },
    /// The path is not a candidate file.
    #[error("{place}: this file may not be edited; the files that may are {}", .allowed.join(", "))]
    NotEditable {
        /// Which edit.
        place: Place,
        /// The files that may be edited, sorted.
        allowed: Vec<String>,
    },
    /// A search text of nothing but white space.
    #[error(
        "{place}: the search text holds only white space; quote the lines to replace, or leave it empty to replace the whole file"
    )]
    BlankSearch {
        /// Which edit.
        place: Place,
    },
    /// The search text is not there.
    #[error("{place}: the search text was not found; {}", describe_nearest(.nearest.as_ref()))]
    NotFound {
        /// Which edit.
        place: Place,
        /// What looks most like it.
        nearest: Option<Nearest>,
    },
    /// The search text is there more than once.
    #[error(
        "{place}: the search text fits {} places, beginning at lines {}; quote more of the lines around the one you mean",
        .lines.len(),
        list(.lines)
    )]
    Ambiguous {
        /// Which edit.
        place: Place,
        /// The lines at which it begins, counted from 1.
        lines: Vec<usize>,
    },
    /// After all edits every file is as before, comments and white space aside.
    #[error(
        "the edits change nothing but comments or white space, so a training run would tell nothing; change what is computed"
    )]
    NothingChanged,
    /// An edit or a file too large.
    #[error("{path}: {what} has {size} {unit}, at most {limit} are allowed; make it shorter")]
    TooLarge {
        /// The file.
        path: String,
        /// `the search text`, `the replacement` or `the file after the edits`.
        what: &'static str,
        /// How large it is.
        size: usize,
        /// `bytes` or `lines`.
        unit: &'static str,
        /// How large it may be.
        limit: usize,
    },
    /// A character that shows as nothing or as something else.
    #[error(
        "{path}:{line}: control or invisible character U+{code:04X}; only printable text, line feeds and tabs are allowed"
    )]
    ControlCharacter {
        /// The file.
        path: String,
        /// Counted from 1, in the file as it would be after the edits.
        line: usize,
        /// The character's code point.
        code: u32,
    },
    /// A file that does not end with a line feed.
    #[error("{path}: the file would {}; end it with a line feed", if *.empty { "be empty" } else { "not end with a line feed" })]
    NoFinalNewline {
        /// The file.
        path: String,
        /// Whether nothing at all is left of it.
        empty: bool,
    },
    /// Text that is not Rust.
    #[error(
        "{path}:{line}: this is not Rust: {message}; look there, or for an unclosed bracket, quote or comment before it"
    )]
    NotRust {
        /// The file.
        path: String,
        /// Counted from 1, in the file as it would be after the edits.
        line: usize,
        /// What the lexer or the parser says.
        message: String,
    },
    /// Something that a candidate may not contain.
    #[error("{}", describe_violations(.0))]
    Forbidden(
        /// All of them, in order of their places; at least one.
        Vec<Violation>,
    ),
}

impl EditError {
    /// What kind of failure it is.
    pub fn class(&self) -> Class {
        match self {
            EditError::NoEdits | EditError::NothingChanged => Class::ChangesNothing,
            EditError::BlankSearch { .. } | EditError::NotFound { .. } | EditError::Ambiguous { .. } => {
                Class::DoesNotFit
            }
            EditError::NotAnEffect { .. }
            | EditError::NotAProbability { .. }
            | EditError::TooManyEdits { .. }
            | EditError::NotEditable { .. }
            | EditError::TooLarge { .. }
            | EditError::ControlCharacter { .. }
            | EditError::NoFinalNewline { .. }
            | EditError::NotRust { .. }
            | EditError::Forbidden(_) => Class::BreaksRule,
        }
    }
}

fn describe_nearest(nearest: Option<&Nearest>) -> String {
    match nearest {
        None => "nothing in the file looks like it".to_owned(),
        Some(Nearest { line, diff }) => {
            format!("the nearest lines begin at line {line} (`-` your text, `+` the file):\n{diff}")
        }
    }
}

/// The first few, each on a line, and how many there are beside them.
fn describe_violations(violations: &[Violation]) -> String {
    let mut lines: Vec<String> = violations.iter().take(SHOWN_VIOLATIONS).map(ToString::to_string).collect();
    if violations.len() > SHOWN_VIOLATIONS {
        lines.push(format!("and {} more", violations.len() - SHOWN_VIOLATIONS));
    }
    lines.join("\n")
}

fn list(lines: &[usize]) -> String {
    let shown: Vec<_> = lines.iter().take(8).map(usize::to_string).collect();
    let more = if lines.len() > shown.len() { ", ..." } else { "" };
    format!("{}{more}", shown.join(", "))
}
