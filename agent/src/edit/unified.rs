//! Unified diffs, as `git diff` and `git format-patch` write them, made into edits.
//!
//! A hunk becomes a search text of its own lines, with as many lines around it as it takes to mean one place. Where the file has changed
//! since, a hunk is found where its lines are now; never where they only nearly are, and never at one of several places but the one that it
//! names.

use std::ops::Range;

use super::error::Nearest;
use super::policy::is_unprintable;
use super::search::{Miss, locate};
use crate::flow::{Edit, SourceFile};

/// Bytes of a diff: twice the largest file, in and out.
pub const MOST_DIFF_BYTES: usize = 256 * 1024;

/// Hunks of a diff: as many as a proposal may have edits.
const MOST_HUNKS: usize = 64;

/// Why a diff did not become edits. Lines are counted from 1; `line` is one of the diff.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DiffError {
    /// Too long to be a change that one would test.
    #[error("the patch is longer than {MOST_DIFF_BYTES} bytes or {MOST_HUNKS} hunks; make a smaller change")]
    TooLarge,
    /// There is nothing in it.
    #[error(
        "the patch holds no hunk (`@@ -1,7 +1,8 @@`); write it with `git diff`, after committing what it builds on"
    )]
    Empty,
    /// It is not what git writes.
    #[error("line {line} of the patch: {problem}; write it with `git diff`, and do not edit it by hand")]
    Malformed {
        /// Where.
        line: usize,
        /// What is wrong there.
        problem: String,
    },
    /// It does more than change the text of files.
    #[error("line {line} of the patch: {what}; only the lines of the files that may be edited can change")]
    Unsupported {
        /// Where.
        line: usize,
        /// What it does.
        what: &'static str,
    },
    /// It changes a file that no experiment may edit.
    #[error("line {line} of the patch: {} may not be edited; the files that may are {}", shown(.path), .allowed.join(", "))]
    NotEditable {
        /// Where.
        line: usize,
        /// The file.
        path: String,
        /// Those that may be edited, sorted.
        allowed: Vec<String>,
    },
    /// The lines of a hunk are not there.
    #[error("the hunk at line {line} of the patch does not fit {path}: {}", nowhere(.nearest.as_ref()))]
    Nowhere {
        /// Where.
        line: usize,
        /// The file.
        path: String,
        /// The lines of the file that look most like it.
        nearest: Option<Nearest>,
    },
    /// The lines of a hunk are there more than once, and not where it says.
    #[error(
        "the hunk at line {line} of the patch fits {path} at lines {}, and none of them is where it says; write it anew with more \
         context: `git diff -U10`",
        .places.iter().map(usize::to_string).collect::<Vec<_>>().join(", ")
    )]
    Ambiguous {
        /// Where.
        line: usize,
        /// The file.
        path: String,
        /// The first of its lines at each place.
        places: Vec<usize>,
    },
}

fn nowhere(nearest: Option<&Nearest>) -> String {
    match nearest {
        None => "nothing in the file looks like its lines".to_owned(),
        Some(Nearest { line, diff }) => {
            format!(
                "its lines are not in the file; the nearest begin at line {line} (`-` the patch, `+` the file):\n{diff}"
            )
        }
    }
}

fn shown(path: &str) -> String {
    path.chars().take(200).map(|c| if is_unprintable(c) { '\u{FFFD}' } else { c }).collect()
}

/// The edits that do to `files` what `diff` says, in its order.
///
/// # Errors
/// See [`DiffError`]; then nothing of the diff is used.
pub fn edits_of_diff(diff: &str, files: &[SourceFile]) -> Result<Vec<Edit>, DiffError> {
    let changes = parse(diff)?;
    let mut edits = Vec::new();
    for change in &changes {
        let Some(file) = files.iter().find(|file| file.path == change.path) else {
            let mut allowed: Vec<String> = files.iter().map(|file| file.path.clone()).collect();
            allowed.sort();
            return Err(DiffError::NotEditable { line: change.line, path: change.path.clone(), allowed });
        };
        let mut fitting = Fitting { path: &change.path, text: file.text.clone(), behind: 0, shift: 0 };
        for hunk in &change.hunks {
            edits.push(fitting.fit(hunk)?);
        }
    }
    Ok(edits)
}

/// What a diff does to one file.
struct Change {
    line: usize,
    path: String,
    hunks: Vec<Hunk>,
}

struct Hunk {
    /// Line of the diff.
    line: usize,
    /// First line of the file before, counted from 0.
    at: usize,
    before: String,
    after: String,
}

/// A file while hunk after hunk is fitted to it.
struct Fitting<'a> {
    path: &'a str,
    text: String,
    /// Bytes of it that hunks have dealt with.
    behind: usize,
    /// Lines by which what follows lies further down than the diff says.
    shift: isize,
}

impl Fitting<'_> {
    fn fit(&mut self, hunk: &Hunk) -> Result<Edit, DiffError> {
        let (line, path) = (hunk.line, self.path.to_owned());
        let edit = |search: &str, replace: String| Edit { path: path.clone(), search: search.to_owned(), replace };
        let starts = line_starts(&self.text);
        let stated = hunk.at.checked_add_signed(self.shift);
        let places: Vec<usize> = (0..starts.len()).filter(|place| self.has(starts[*place], &hunk.before)).collect();
        let place = match places.as_slice() {
            [] => {
                // White space at the ends of lines and the indentation of all of them may differ, as in any edit.
                let found = locate(&self.text, &hunk.before, &hunk.after);
                let nearest = match found {
                    Ok(found) if found.range.start >= self.behind && hunk.before.ends_with('\n') => {
                        let edit = edit(&hunk.before, hunk.after.clone());
                        self.replace(found.range, &found.replacement);
                        return Ok(edit);
                    }
                    Err(Miss::Absent(nearest)) => nearest,
                    Ok(_) | Err(_) => None,
                };
                return Err(DiffError::Nowhere { line, path, nearest });
            }
            [only] => *only,
            several => match several.iter().find(|place| Some(**place) == stated) {
                Some(place) => *place,
                None => {
                    let places = several.iter().map(|place| place + 1).collect();
                    return Err(DiffError::Ambiguous { line, path, places });
                }
            },
        };
        let start = starts[place];
        let range = start..start + hunk.before.len();
        let whole = self.unmistakable(&starts, range.clone());
        let around = (&self.text[whole.start..range.start], &self.text[range.end..whole.end]);
        let edit = edit(&self.text[whole.clone()], format!("{}{}{}", around.0, hunk.after, around.1));
        self.shift += isize::try_from(place).unwrap_or(0) - stated.and_then(|at| isize::try_from(at).ok()).unwrap_or(0);
        self.shift +=
            isize::try_from(lines(&hunk.after)).unwrap_or(0) - isize::try_from(lines(&hunk.before)).unwrap_or(0);
        self.replace(range, &hunk.after);
        Ok(edit)
    }

    fn has(&self, start: usize, before: &str) -> bool {
        // A hunk whose last line has no line feed is the end of the file.
        let ends = before.ends_with('\n') || self.text.len() == start + before.len();
        start >= self.behind && ends && self.text[start..].starts_with(before)
    }

    /// The range with as many lines around it as it takes for its text to be found there and nowhere else.
    fn unmistakable(&self, starts: &[usize], range: Range<usize>) -> Range<usize> {
        let mut whole = range;
        loop {
            let found = locate(&self.text, &self.text[whole.clone()], "");
            if found.is_ok_and(|found| found.range == whole) || whole == (0..self.text.len()) {
                return whole;
            }
            let above = starts.partition_point(|start| *start < whole.start);
            let start = above.checked_sub(1).map_or(0, |above| starts[above]);
            let end = starts.iter().copied().find(|start| *start > whole.end).unwrap_or(self.text.len());
            whole = start..end;
        }
    }

    fn replace(&mut self, range: Range<usize>, by: &str) {
        self.behind = range.start + by.len();
        self.text.replace_range(range, by);
    }
}

fn line_starts(text: &str) -> Vec<usize> {
    let feeds = text.match_indices('\n').map(|(at, _)| at + 1);
    std::iter::once(0).chain(feeds).filter(|start| *start < text.len()).collect()
}

fn lines(text: &str) -> usize {
    text.lines().count()
}

fn parse(diff: &str) -> Result<Vec<Change>, DiffError> {
    if diff.len() > MOST_DIFF_BYTES {
        return Err(DiffError::TooLarge);
    }
    let lines: Vec<&str> = diff.split_inclusive('\n').collect();
    let mut changes: Vec<Change> = Vec::new();
    let (mut i, mut hunks, mut named) = (0, 0, false);
    while let Some(text) = lines.get(i).map(|line| line.trim_end_matches(['\n', '\r'])) {
        let line = i + 1;
        i += 1;
        if let Some(what) = beyond_text(text) {
            return Err(DiffError::Unsupported { line, what });
        }
        if text.starts_with("diff --git ") {
            named = false;
        }
        let next = lines.get(i).and_then(|next| next.strip_prefix("+++ "));
        if let (Some(old), Some(new)) = (text.strip_prefix("--- "), next) {
            let path = path_of(old, new.trim_end_matches(['\n', '\r']), line)?;
            if changes.iter().any(|change| change.path == path) {
                let problem = format!("{} is changed a second time", shown(&path));
                return Err(DiffError::Malformed { line, problem });
            }
            changes.push(Change { line: line + 1, path, hunks: Vec::new() });
            (named, i) = (true, i + 1);
        } else if text.starts_with("@@ ") {
            let Some(change) = changes.last_mut().filter(|_| named) else {
                let problem = "a hunk without `---` and `+++` lines above it".to_owned();
                return Err(DiffError::Malformed { line, problem });
            };
            hunks += 1;
            if hunks > MOST_HUNKS {
                return Err(DiffError::TooLarge);
            }
            let (hunk, read) = read_hunk(text, &lines[i..], line)?;
            change.hunks.push(hunk);
            i += read;
        }
    }
    if hunks == 0 { Err(DiffError::Empty) } else { Ok(changes) }
}

/// What a line outside of hunks says that is no change of a file's text.
fn beyond_text(line: &str) -> Option<&'static str> {
    const WORDS: [(&str, &str); 9] = [
        ("new file mode ", "it makes a new file"),
        ("deleted file mode ", "it deletes a file"),
        ("old mode ", "it changes a file's mode"),
        ("rename from ", "it renames a file"),
        ("copy from ", "it copies a file"),
        ("GIT binary patch", "it changes a binary file"),
        ("Binary files ", "it changes a binary file"),
        ("diff --cc ", "it is a merge's"),
        ("diff --combined ", "it is a merge's"),
    ];
    WORDS.iter().find(|(word, _)| line.starts_with(word)).map(|(_, what)| *what)
}

/// The path that both lines name, without the `a/` and `b/` in front of it.
fn path_of(old: &str, new: &str, line: usize) -> Result<String, DiffError> {
    // Other programs write a date behind a tab.
    let name = |text: &'_ str| text.split('\t').next().unwrap_or_default().trim_end().to_owned();
    let (old, new) = (name(old), name(new));
    for (path, what) in [(&old, "it makes a new file"), (&new, "it deletes a file")] {
        if path == "/dev/null" {
            return Err(DiffError::Unsupported { line, what });
        }
    }
    if old == new {
        return Ok(old);
    }
    let inside = |path: &str| path.split_once('/').map(|(_, inside)| inside.to_owned());
    match (inside(&old), inside(&new)) {
        (Some(old), Some(new)) if old == new => Ok(old),
        _ => Err(DiffError::Unsupported { line, what: "it renames a file" }),
    }
}

/// Reads a hunk from its header and the lines below it; and says how many of them are its own.
fn read_hunk(header: &str, below: &[&str], line: usize) -> Result<(Hunk, usize), DiffError> {
    let malformed = |line: usize, problem: &str| DiffError::Malformed { line, problem: problem.to_owned() };
    let ranges = header.strip_prefix("@@ -").and_then(|rest| rest.split_once(" @@")).map(|(ranges, _)| ranges);
    let (old, new) = ranges
        .and_then(|ranges| ranges.split_once(" +"))
        .and_then(|(old, new)| Some((counted(old)?, counted(new)?)))
        .ok_or_else(|| malformed(line, "a hunk's header is not `@@ -LINE,COUNT +LINE,COUNT @@`"))?;
    if old.1 == 0 {
        return Err(malformed(line, "a hunk without context could go anywhere"));
    }
    let (mut before, mut after) = (String::new(), String::new());
    let (mut old_left, mut new_left, mut read) = (old.1, new.1, 0);
    // Where the last line went: a mark that it has no line feed concerns these.
    let mut last = (false, false);
    loop {
        let text = below.get(read).copied();
        let ended = old_left == 0 && new_left == 0;
        match text.and_then(|text| text.chars().next()) {
            Some('\\') if last != (false, false) => {
                for text in [last.0.then_some(&mut before), last.1.then_some(&mut after)].into_iter().flatten() {
                    text.truncate(text.trim_end_matches(['\n', '\r']).len());
                }
                last = (false, false);
            }
            _ if ended => break,
            Some(kind @ (' ' | '-' | '+' | '\n' | '\r')) => {
                // Editors take the space away from an empty line.
                let content = text.unwrap_or_default();
                let content = if kind.is_ascii_whitespace() && kind != ' ' { content } else { &content[1..] };
                last = (kind != '+', kind != '-');
                let lengths = (usize::from(last.0), usize::from(last.1));
                if lengths.0 > old_left || lengths.1 > new_left {
                    return Err(malformed(line + 1 + read, "the hunk is longer than its header says"));
                }
                (old_left, new_left) = (old_left - lengths.0, new_left - lengths.1);
                for text in [last.0.then_some(&mut before), last.1.then_some(&mut after)].into_iter().flatten() {
                    text.push_str(content);
                    if !content.ends_with('\n') {
                        // The diff's own last line feed is easily lost.
                        text.push('\n');
                    }
                }
            }
            Some(_) => return Err(malformed(line + 1 + read, "a line of a hunk begins with none of ` `, `-`, `+`")),
            None => return Err(malformed(line, "the hunk is shorter than its header says")),
        }
        read += 1;
    }
    Ok((Hunk { line, at: old.0.saturating_sub(1), before, after }, read))
}

/// `LINE,COUNT`, or `LINE` for one line.
fn counted(text: &str) -> Option<(usize, usize)> {
    let (line, count) = text.split_once(',').unwrap_or((text, "1"));
    let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten();
    Some((number(line)?, number(count)?))
}

#[cfg(test)]
mod tests;
