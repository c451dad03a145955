//! A second, independent reading of what edits may do to a text, for comparison with what was done.

use nocturne::flow::Edit;

/// A line of the result.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Line<'a> {
    /// Of the file as it was: every byte counts.
    Kept(&'a str),
    /// Of a replacement: counts without its indentation and trailing white space, which may have moved.
    New(&'a str),
}

impl<'a> Line<'a> {
    fn trimmed(self) -> &'a str {
        match self {
            Line::Kept(line) | Line::New(line) => line.trim(),
        }
    }

    fn is(self, line: &str) -> bool {
        match self {
            Line::Kept(kept) => kept == line,
            Line::New(new) => new.trim() == line.trim(),
        }
    }
}

/// Whether some choice of places, one for each edit, turns `before` into `after`. It knows nothing of exact matches and
/// indentation; what it rules out is that a line outside of a replaced place changed, or that one inside is not the block's.
pub fn explains(before: &str, after: &str, edits: &[&Edit]) -> bool {
    let mut possible: Vec<Vec<Line<'_>>> = vec![before.lines().map(Line::Kept).collect()];
    for edit in edits {
        let wanted: Vec<&str> = edit.search.lines().map(str::trim).collect();
        let new: Vec<Line<'_>> = edit.replace.lines().map(Line::New).collect();
        let mut next = Vec::new();
        for lines in &possible {
            if wanted.is_empty() {
                next.push(new.clone());
            }
            for first in 0..(lines.len() + 1).saturating_sub(wanted.len().max(1)) {
                let end = first + wanted.len();
                if !wanted.is_empty() && lines[first..end].iter().map(|line| line.trimmed()).eq(wanted.iter().copied())
                {
                    next.push([&lines[..first], &new, &lines[end..]].concat());
                }
            }
        }
        possible = next;
    }
    possible
        .iter()
        .any(|lines| lines.len() == after.lines().count() && lines.iter().zip(after.lines()).all(|(a, b)| a.is(b)))
}
