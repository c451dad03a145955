//! Takes a change back out of files that have been changed further since: the three-way merge of version control, in lines.

use std::collections::HashMap;
use std::ops::Range;

use similar::{Algorithm, DiffOp, capture_diff_slices};

use super::apply::apply;
use crate::flow::{Edit, SourceFile};

/// A change that cannot be taken back, because what was changed later lies over it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Overlap {
    /// The file is gone, or was not there.
    #[error("{path}: not among the present files")]
    Missing {
        /// The file.
        path: String,
    },
    /// Its lines were changed again.
    #[error("{path}: what the change left at line {line} was changed again later ({text:?})")]
    Changed {
        /// The file.
        path: String,
        /// Counted from 1, in the file as the change left it.
        line: usize,
        /// The line, shortened.
        text: String,
    },
}

/// Edits that turn in `present` whatever leads from `before` to `after` back, and keep everything else; none where nothing does.
/// All of it, or none: they apply to `present`, one after the other.
///
/// # Errors
/// See [`Overlap`]. Where the change only removed lines, those beside the gap must still stand there side by side.
pub fn revert(before: &[SourceFile], after: &[SourceFile], present: &[SourceFile]) -> Result<Vec<Edit>, Overlap> {
    let mut edits = Vec::new();
    for after in after {
        let path = &after.path;
        let of = |files: &[SourceFile]| files.iter().find(|file| file.path == *path).map(|file| file.text.clone());
        let missing = || Overlap::Missing { path: path.clone() };
        let before = of(before).ok_or_else(missing)?;
        if before != after.text {
            let present = of(present).ok_or_else(missing)?;
            edits.extend(revert_file(path, &before, &after.text, &present)?);
        }
    }
    Ok(edits)
}

fn revert_file(path: &str, before: &str, after: &str, present: &str) -> Result<Vec<Edit>, Overlap> {
    let [before, after, lines] = [before, after, present].map(|text| text.split_inclusive('\n').collect::<Vec<_>>());
    let kept = unchanged(&after, &lines);
    let mut text = present.to_owned();
    let mut edits = Vec::new();
    // From the end, so that the lines above a change keep their numbers.
    for (range, replacement) in hunks(&after, &before).into_iter().rev() {
        let place = place(&range, after.len(), lines.len(), &kept).map_err(|line| Overlap::Changed {
            path: path.to_owned(),
            line: line + 1,
            text: after.get(line).map_or(String::new(), |line| line.trim().chars().take(80).collect()),
        })?;
        edits.push(edit(path, &mut text, place, &before[replacement].concat()));
    }
    Ok(edits)
}

/// The places at which two texts differ: lines of the one and of the other, in order.
fn hunks(old: &[&str], new: &[&str]) -> Vec<(Range<usize>, Range<usize>)> {
    let mut hunks = Vec::new();
    let (mut line, mut other) = (0, 0);
    for (old_end, new_end, len) in equal_runs(old, new).into_iter().chain([(old.len(), new.len(), 0)]) {
        if (line, other) != (old_end, new_end) {
            hunks.push((line..old_end, other..new_end));
        }
        (line, other) = (old_end + len, new_end + len);
    }
    hunks
}

/// Which line of `present` each unchanged line of `after` has become.
fn unchanged(after: &[&str], present: &[&str]) -> HashMap<usize, usize> {
    let runs = equal_runs(after, present).into_iter();
    runs.flat_map(|(old, new, len)| (0..len).map(move |i| (old + i, new + i))).collect()
}

/// Runs of lines that two texts share: where they begin in the one and in the other, and their length. Counted here, because the
/// places that `similar` gives for insertions are not always those at which its own operations arrive.
fn equal_runs(old: &[&str], new: &[&str]) -> Vec<(usize, usize, usize)> {
    let mut runs = Vec::new();
    let (mut line, mut other) = (0, 0);
    for op in capture_diff_slices(Algorithm::Myers, old, new) {
        if let DiffOp::Equal { len, .. } = op {
            runs.push((line, other, len));
        }
        line += op.old_range().len();
        other += op.new_range().len();
    }
    runs
}

/// Where lines `range` stand now; the error is a line of them that stands nowhere, or no longer beside its neighbour.
fn place(
    range: &Range<usize>,
    after_lines: usize,
    present_lines: usize,
    kept: &HashMap<usize, usize>,
) -> Result<Range<usize>, usize> {
    let now = |line: usize| kept.get(&line).copied().ok_or(line);
    if range.is_empty() {
        let above = if range.start == 0 { 0 } else { now(range.start - 1)? + 1 };
        let below = if range.start == after_lines { present_lines } else { now(range.start)? };
        return if above == below { Ok(above..below) } else { Err(range.start.min(after_lines.saturating_sub(1))) };
    }
    let first = now(range.start)?;
    for (offset, line) in range.clone().enumerate() {
        if now(line)? != first + offset {
            return Err(line);
        }
    }
    Ok(first..first + range.len())
}

/// Puts `replacement` at `place` of `text`, and says so as an edit whose search text takes in as many lines around as make it the
/// only one of its kind.
fn edit(path: &str, text: &mut String, place: Range<usize>, replacement: &str) -> Edit {
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let wanted = [&lines[..place.start].concat(), replacement, &lines[place.end..].concat()].concat();
    let file = [SourceFile { path: path.to_owned(), text: text.clone() }];
    let (mut start, mut end) = (place.start, place.end);
    let found = loop {
        if start == 0 && end == lines.len() {
            break Edit { path: path.to_owned(), search: String::new(), replace: wanted.clone() };
        }
        let around = |range: Range<usize>| lines[range].concat();
        let edit = Edit {
            path: path.to_owned(),
            search: around(start..end),
            replace: [&around(start..place.start), replacement, &around(place.end..end)].concat(),
        };
        // An empty search text would stand for the whole file.
        if !edit.search.is_empty()
            && apply(&file, std::slice::from_ref(&edit)).is_ok_and(|files| files[0].text == wanted)
        {
            break edit;
        }
        // Alternating, and on where one end is reached.
        let above = place.start - start <= end - place.end && start > 0;
        if above || end == lines.len() { start -= 1 } else { end += 1 }
    };
    *text = wanted;
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(text: &str) -> Vec<SourceFile> {
        vec![SourceFile { path: "a.rs".to_owned(), text: text.to_owned() }]
    }

    #[test]
    fn a_change_is_taken_back_and_later_ones_stay() {
        let cases = [
            ("one\ntwo\nthree\n", "one\n2\nthree\n", "0\none\n2\nthree\nfour\n", "0\none\ntwo\nthree\nfour\n"),
            ("one\ntwo\nthree\n", "one\nthree\n", "one\nthree\nfour\n", "one\ntwo\nthree\nfour\n"),
            ("one\nthree\n", "one\ntwo\nthree\n", "1\ntwo\nthree\n", "1\nthree\n"),
            ("a\nx\nb\nx\nc\n", "a\nx\nb\ny\nc\n", "a\ny\nb\ny\nc\n", "a\ny\nb\nx\nc\n"),
            ("x\nx\n", "x\nx\nx\n", "x\nx\nx\n", "x\nx\n"),
            ("a\n", "b\n", "b\n", "a\n"),
        ];
        for (before, after, present, expected) in cases {
            let edits = revert(&file(before), &file(after), &file(present)).unwrap();
            assert_eq!(apply(&file(present), &edits).unwrap(), file(expected), "{edits:?}");
        }
        assert_eq!(revert(&file("a\n"), &file("a\n"), &[]), Ok(Vec::new()));
    }

    #[test]
    fn later_changes_of_the_same_lines_are_told() {
        let cases = [
            (
                "one\ntwo\n",
                "one\n2\n",
                "one\ndeux\n",
                "a.rs: what the change left at line 2 was changed again later (\"2\")",
            ),
            ("one\ntwo\nthree\n", "one\nthree\n", "one\nfour\nthree\n", "at line 2"),
            ("one\n", "one\ntwo\nthree\n", "one\ntwo\nhalf\nthree\n", "at line 3"),
            ("one\ntwo\n", "one\n", "uno\n", "at line 1"),
        ];
        for (before, after, present, expected) in cases {
            let error = revert(&file(before), &file(after), &file(present)).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        let error = revert(&file("a\n"), &file("b\n"), &[]).unwrap_err().to_string();
        assert!(error.contains("not among the present files"), "{error}");
    }

    proptest! {
        /// Any two versions: with nothing changed since, the old one comes back; with changes elsewhere, those stay.
        #[test]
        fn what_comes_back_is_what_was(
            before in prop::collection::vec("[abc{} ]{0,2}", 0..8),
            after in prop::collection::vec("[abc{} ]{0,2}", 0..8),
            above in "[a-c]{1,2}",
        ) {
            let text = |lines: &[String]| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
            let (before, after) = (text(&before), text(&after));
            let edits = revert(&file(&before), &file(&after), &file(&after)).unwrap();
            prop_assert_eq!(apply(&file(&after), &edits).unwrap(), file(&before));

            let marked = |text: &str| format!("first line\nsecond line\n{text}");
            let present = format!("{above}\nsecond line\n{after}");
            let edits = revert(&file(&marked(&before)), &file(&marked(&after)), &file(&present)).unwrap();
            prop_assert_eq!(apply(&file(&present), &edits).unwrap(), file(&format!("{above}\nsecond line\n{before}")));
        }
    }
}
