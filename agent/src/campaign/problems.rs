//! What is wrong with a `campaign.toml`, place by place, and how that is said. Pure text: no files, no colours.

use std::fmt;
use std::ops::Range;

use crate::terminal::{clean, visible};

/// One thing that is wrong at one place of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong, in one line.
    pub message: String,
    /// What was expected at that place, in a few words.
    pub expected: String,
    /// What to do about it.
    pub help: Option<String>,
    /// Bytes of the file's text that are meant; empty at the end of the file for something that is missing.
    pub span: Range<usize>,
}

/// Everything that is wrong with one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems {
    /// The file as the person named it.
    pub file: String,
    /// Its whole text.
    pub text: String,
    /// In the order of the file; at least one.
    pub list: Vec<Problem>,
}

/// A place in a text as people count: both from 1, the column in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

impl Place {
    /// The place of a byte offset; an offset past the end or inside a character counts as the nearest place before it.
    pub fn of(text: &str, offset: usize) -> Self {
        let mut offset = offset.min(text.len());
        while !text.is_char_boundary(offset) {
            offset -= 1;
        }
        let before = &text[..offset];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self { line: before.matches('\n').count() + 1, column: before[line_start..].chars().count() + 1 }
    }
}

impl Problems {
    /// Where a problem stands.
    pub fn place(&self, problem: &Problem) -> Place {
        Place::of(&self.text, problem.span.start)
    }

    /// `file:line:column`.
    pub fn address(&self, problem: &Problem) -> String {
        let place = self.place(problem);
        format!("{}:{}:{}", clean(&self.file), place.line, place.column)
    }
}

impl fmt::Display for Problems {
    /// As compilers do it: the address and the message, the offending line with a mark under it, and the help.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.list.iter().enumerate() {
            let place = self.place(problem);
            let line = visible(self.text.split('\n').nth(place.line - 1).unwrap_or_default());
            let margin = " ".repeat(place.line.to_string().len());
            let marked = self.text.get(problem.span.clone()).unwrap_or_default();
            let marks = "^".repeat(marked.lines().next().unwrap_or_default().chars().count().max(1));
            if index > 0 {
                f.write_str("\n\n")?;
            }
            writeln!(f, "{}: {}", self.address(problem), problem.message)?;
            writeln!(f, " {} | {}", place.line, line)?;
            write!(f, " {margin} | {}{marks} {}", " ".repeat(place.column - 1), problem.expected)?;
            if let Some(help) = &problem.help {
                write!(f, "\n {margin} = help: {help}")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// The candidate that someone who wrote `text` most likely meant, if one is near enough.
pub fn nearest<'a>(text: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Similarity is quadratic in the length; nobody mistypes a key into a novel.
    if text.len() > 64 {
        return None;
    }
    let lower = text.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&lower, candidate), candidate))
        .filter(|(distance, candidate)| {
            *distance <= (candidate.len() / 3).max(1) || candidate.starts_with(&lower) && lower.len() >= 3
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_characters_from_one() {
        let text = "ä = 1\nbö = 2\n";
        for (offset, line, column) in
            [(0, 1, 1), (1, 1, 1), (2, 1, 2), (7, 2, 1), (10, 2, 3), (text.len(), 3, 1), (99, 3, 1)]
        {
            assert_eq!(Place::of(text, offset), Place { line, column }, "offset {offset}");
        }
    }

    #[test]
    fn near_words_are_found_and_far_ones_are_not() {
        let keys = ["seconds", "tokens", "hours"];
        for (written, meant) in [
            ("secnds", Some("seconds")),
            ("Seconds", Some("seconds")),
            ("sec", Some("seconds")),
            ("token", Some("tokens")),
            ("huors", Some("hours")),
            ("banana", None),
            ("", None),
        ] {
            assert_eq!(nearest(written, keys), meant, "{written:?}");
        }
    }
}
