//! SEARCH/REPLACE blocks, the form in which language models write edits most reliably:
//!
//! ```text
//! trainer/src/candidate/recipe.rs
//! <<<<<<< SEARCH
//!             matrix_lr: 0.04,
//! =======
//!             matrix_lr: 0.05,
//! >>>>>>> REPLACE
//! ```
//!
//! Text and code fences around blocks are skipped; inside a block nothing is. A marker that is missing, out of order or
//! damaged is an error with its line number: a block taken for something else is worse than a failed answer. Nothing between
//! `SEARCH` and `=======` means the whole file.

use super::policy::is_unprintable;
use crate::flow::Edit;

const SEARCH: &str = "<<<<<<< SEARCH";
const DIVIDER: &str = "=======";
const REPLACE: &str = ">>>>>>> REPLACE";

/// Text that is not a sequence of whole SEARCH/REPLACE blocks. Lines are counted from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// There is no block.
    #[error(
        "no SEARCH/REPLACE block found; write the file's path, then `{SEARCH}`, `{DIVIDER}` and `{REPLACE}`, each on its own line"
    )]
    NoBlocks,
    /// No path stands above a block.
    #[error("line {line}: no path above `{SEARCH}`; write the file's path on the line before it, for every block")]
    NoPath {
        /// The block's first marker.
        line: usize,
    },
    /// What stands above a block is not a path.
    #[error("line {line}: expected a file's path above `{SEARCH}`, found {found:?}")]
    NotAPath {
        /// The line that was found.
        line: usize,
        /// Its text, shortened.
        found: String,
    },
    /// A marker where none can be.
    #[error("line {line}: `{marker}` out of place: {why}")]
    OutOfPlace {
        /// The marker's line.
        line: usize,
        /// The marker.
        marker: &'static str,
        /// What is missing.
        why: &'static str,
    },
    /// A line that looks like a marker and is none.
    #[error(
        "line {line}: {found:?} looks like a damaged marker; the markers are `{SEARCH}`, `{DIVIDER}` and `{REPLACE}`"
    )]
    Damaged {
        /// The line.
        line: usize,
        /// Its text, shortened.
        found: String,
    },
    /// The text ends inside a block.
    #[error("the block that begins at line {line} has no `{missing}`; the answer may have been cut off")]
    Unfinished {
        /// The block's first marker.
        line: usize,
        /// The next marker that was awaited.
        missing: &'static str,
    },
    /// An edit whose own text has markers, or carriage returns at line ends, cannot be written as a block.
    #[error(
        "an edit of {path} holds a line that reads as a marker or ends in a carriage return ({found:?}), so it cannot be \
         written as a block"
    )]
    Unwritable {
        /// The edit's path.
        path: String,
        /// The line, shortened.
        found: String,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Marker {
    Search,
    Divider,
    Replace,
    Damaged,
}

enum State {
    Outside,
    Searching { opened: usize, edit: Edit },
    Replacing { opened: usize, edit: Edit },
}

/// Reads all blocks of `text`, in order. Lines may end in CR LF; the edits' lines always end in LF.
pub fn parse(text: &str) -> Result<Vec<Edit>, BlockError> {
    let mut edits = Vec::new();
    let mut state = State::Outside;
    let mut above: Option<(usize, &str)> = None;
    // `lines` and not `split('\n')`: what follows the last line feed is no line.
    for (line, content) in (1..).zip(text.lines()) {
        let marker = marker(content);
        if marker == Some(Marker::Damaged) {
            return Err(BlockError::Damaged { line, found: shorten(content) });
        }
        state = match (state, marker) {
            (State::Outside, None) => {
                if !content.trim().is_empty() && !is_fence(content) {
                    above = Some((line, content));
                }
                State::Outside
            }
            (State::Outside, Some(Marker::Search)) => {
                let (path_line, path) = above.take().ok_or(BlockError::NoPath { line })?;
                let path =
                    read_path(path).ok_or_else(|| BlockError::NotAPath { line: path_line, found: shorten(path) })?;
                State::Searching { opened: line, edit: Edit { path, search: String::new(), replace: String::new() } }
            }
            (State::Searching { opened, mut edit }, None) => {
                push_line(&mut edit.search, content);
                State::Searching { opened, edit }
            }
            (State::Searching { opened, edit }, Some(Marker::Divider)) => State::Replacing { opened, edit },
            (State::Replacing { opened, mut edit }, None) => {
                push_line(&mut edit.replace, content);
                State::Replacing { opened, edit }
            }
            (State::Replacing { edit, .. }, Some(Marker::Replace)) => {
                edits.push(edit);
                State::Outside
            }
            (state, Some(marker)) => return Err(out_of_place(line, &state, marker)),
        };
    }
    match state {
        State::Outside if edits.is_empty() => Err(BlockError::NoBlocks),
        State::Outside => Ok(edits),
        State::Searching { opened, .. } => Err(BlockError::Unfinished { line: opened, missing: DIVIDER }),
        State::Replacing { opened, .. } => Err(BlockError::Unfinished { line: opened, missing: REPLACE }),
    }
}

/// Writes edits as blocks. A search or replacement that does not end with a line feed gets one, since blocks consist of lines.
pub fn render(edits: &[Edit]) -> Result<String, BlockError> {
    let mut text = String::new();
    for edit in edits {
        let unwritable = |found: &str| BlockError::Unwritable { path: edit.path.clone(), found: shorten(found) };
        if read_path(&edit.path).as_ref() != Some(&edit.path) || marker(&edit.path).is_some() || is_fence(&edit.path) {
            return Err(unwritable(&edit.path));
        }
        // What reads a block takes a carriage return before a line feed for part of the line's end.
        let lost = |line: &&str| marker(line).is_some() || line.ends_with('\r');
        if let Some(line) = edit.search.split('\n').chain(edit.replace.split('\n')).find(lost) {
            return Err(unwritable(line));
        }
        push_line(&mut text, &edit.path);
        push_line(&mut text, SEARCH);
        edit.search.lines().for_each(|line| push_line(&mut text, line));
        push_line(&mut text, DIVIDER);
        edit.replace.lines().for_each(|line| push_line(&mut text, line));
        push_line(&mut text, REPLACE);
    }
    Ok(text)
}

fn push_line(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

/// What marker a line is, if it is one or tries to be one. Rust code has no line that begins with five angle brackets or
/// consists of equals signs, so a line that does is a marker gone wrong.
fn marker(line: &str) -> Option<Marker> {
    let trimmed = line.trim();
    match line.trim_end() {
        SEARCH => Some(Marker::Search),
        DIVIDER => Some(Marker::Divider),
        REPLACE => Some(Marker::Replace),
        _ if trimmed.starts_with("<<<<<") || trimmed.starts_with(">>>>>") => Some(Marker::Damaged),
        _ if trimmed.len() >= 5 && trimmed.bytes().all(|b| b == b'=') => Some(Marker::Damaged),
        _ => None,
    }
}

fn out_of_place(line: usize, state: &State, marker: Marker) -> BlockError {
    let (marker, why) = match (marker, state) {
        (Marker::Search, _) => (SEARCH, "the block before it has no `>>>>>>> REPLACE`"),
        (Marker::Divider, State::Outside) => (DIVIDER, "no block is open; `<<<<<<< SEARCH` is missing above it"),
        (Marker::Divider, _) => (DIVIDER, "this block already has one"),
        (Marker::Replace, State::Outside) => (REPLACE, "no block is open; `<<<<<<< SEARCH` is missing above it"),
        (Marker::Replace, _) => (REPLACE, "`=======` is missing above it"),
        // Damaged markers have been reported before this is asked.
        (Marker::Damaged, _) => ("marker", "it is damaged"),
    };
    BlockError::OutOfPlace { line, marker, why }
}

fn is_fence(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with("```") || line.starts_with("~~~")
}

/// The path on a line, which models like to dress up as code, bold text, a heading, a comment, an item of a list or after
/// `File:`. A path is never made out of a sentence.
fn read_path(line: &str) -> Option<String> {
    let dress = |c: char| c.is_whitespace() || matches!(c, '`' | '*' | ':' | '#');
    let line = line.trim_matches(dress);
    let labelled = line.split_once(':').filter(|(label, _)| {
        ["file", "path"].iter().any(|known| known.eq_ignore_ascii_case(label.trim_end_matches(dress)))
    });
    let path = match labelled {
        Some((_, path)) => path,
        None => line.strip_prefix("// ").or_else(|| line.strip_prefix("- ")).unwrap_or(line),
    };
    let path = path.trim_matches(dress);
    let sound = !path.is_empty() && path.len() <= 200 && !path.chars().any(|c| c.is_whitespace() || is_unprintable(c));
    sound.then(|| path.to_owned())
}

fn shorten(text: &str) -> String {
    let short: String = text.chars().take(80).collect();
    if short.len() < text.len() { format!("{short}...") } else { short }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn edit(path: &str, search: &str, replace: &str) -> Edit {
        Edit { path: path.to_owned(), search: search.to_owned(), replace: replace.to_owned() }
    }

    #[test]
    fn reads_what_models_write() {
        let text = "I would raise the rate.\r\n\n**`src/a.rs`**:\n```rust\n<<<<<<< SEARCH\n  a\n\n=======\n  b\n>>>>>>> REPLACE\n```\n\
                    Then the file:\n\nsrc/b.rs\n<<<<<<< SEARCH   \n=======\nnew\n```\n>>>>>>> REPLACE\r\nDone.";
        let expected = vec![edit("src/a.rs", "  a\n\n", "  b\n"), edit("src/b.rs", "", "new\n```\n")];
        assert_eq!(parse(text).unwrap(), expected);
    }

    #[test]
    fn a_path_is_read_in_any_dress_and_never_made_of_a_sentence() {
        for dressed in ["**`a/b.rs`**:", "## a/b.rs", "// a/b.rs", "- `a/b.rs`", "File: a/b.rs", "**Path:** `a/b.rs`"] {
            assert_eq!(read_path(dressed).as_deref(), Some("a/b.rs"), "{dressed}");
        }
        for not in ["In a/b.rs:", "a/b.rs c/d.rs", "--- a/b.rs", "Edit: a/b.rs", "a/\u{200b}b.rs", "a/\u{202e}b.rs", ""]
        {
            assert_eq!(read_path(not), None, "{not}");
        }
    }

    #[test]
    fn every_damage_is_an_error_with_its_line() {
        let cases = [
            ("no block here", "no SEARCH/REPLACE block"),
            ("<<<<<<< SEARCH\na\n=======\nb\n>>>>>>> REPLACE", "line 1: no path"),
            ("a.rs\n<<<<<<< SEARCH\na\n=======\nb\n>>>>>>> REPLACE\n<<<<<<< SEARCH\n", "line 7: no path"),
            ("two words\n<<<<<<< SEARCH\n", "line 1: expected a file's path"),
            ("a.rs\n<<<<<<< SEARCH\na\n=======\nb", "line 2 has no `>>>>>>> REPLACE`"),
            ("a.rs\n<<<<<<< SEARCH\na\n", "line 2 has no `=======`"),
            (
                "a.rs\n<<<<<<< SEARCH\na\n>>>>>>> REPLACE\n",
                "line 4: `>>>>>>> REPLACE` out of place: `=======` is missing",
            ),
            (
                "a.rs\n<<<<<<< SEARCH\na\n=======\nb\n=======\n",
                "line 6: `=======` out of place: this block already has one",
            ),
            ("a.rs\n<<<<<<< SEARCH\na\n<<<<<<< SEARCH\n", "line 4: `<<<<<<< SEARCH` out of place"),
            ("a.rs\n=======\nb\n>>>>>>> REPLACE", "line 2: `=======` out of place: no block is open"),
            (">>>>>>> REPLACE", "line 1: `>>>>>>> REPLACE` out of place: no block is open"),
            ("a.rs\n<<<<<<<SEARCH\na\n", "line 2: \"<<<<<<<SEARCH\" looks like a damaged marker"),
            ("a.rs\n<<<<<<< SEARCH\na\n======\n", "line 4: \"======\" looks like a damaged marker"),
            (
                "a.rs\n<<<<<<< SEARCH\na\n=======\nb\n>>>>>>> UPDATED",
                "line 6: \">>>>>>> UPDATED\" looks like a damaged",
            ),
            ("a.rs\n  <<<<<<< SEARCH\n", "line 2: \"  <<<<<<< SEARCH\" looks like a damaged"),
        ];
        for (text, expected) in cases {
            let message = parse(text).unwrap_err().to_string();
            assert!(message.contains(expected), "{text:?} gave {message:?}, expected {expected:?}");
        }
    }

    #[test]
    fn an_edit_with_markers_in_its_text_is_not_written() {
        for bad in [
            edit("a.rs", "a\n=======\n", "b\n"),
            edit("a.rs", "a\n", ">>>>>>> REPLACE"),
            edit("a b", "a", "b"),
            edit("a.rs", "a\r\n", "b\n"),
            edit("a.rs", "a\n", "b\r"),
        ] {
            assert!(matches!(render(&[bad]), Err(BlockError::Unwritable { .. })));
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC{0,20}|([a-z./ ]{0,6}|<<<<<<< SEARCH|=======|>>>>>>> REPLACE|```|\r|\u{0}|ä{1,3}|\n){0,30}") {
            let _ = parse(&text);
        }

        #[test]
        fn what_is_written_is_read_back(
            edits in prop::collection::vec(
                ("[a-z]{1,5}/[a-z_]{1,5}\\.rs", prop::collection::vec("[ -~äπ\t]{0,12}", 0..5), prop::collection::vec("[ -~äπ\t]{0,12}", 0..5))
                    .prop_map(|(path, search, replace)| {
                        let join = |lines: Vec<String>| lines.into_iter().map(|line| line + "\n").collect::<String>();
                        Edit { path, search: join(search), replace: join(replace) }
                    }),
                1..4,
            )
        ) {
            // A line of five equals signs and the like cannot be written; everything else must come back as it was.
            if let Ok(text) = render(&edits) {
                prop_assert_eq!(parse(&text), Ok(edits));
            }
        }
    }
}
