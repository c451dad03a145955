//! Finds the one place that a search text means.
//!
//! A ladder of three rungs, each stricter than the next: the text itself; whole lines, trailing white space ignored; whole
//! lines shifted by one indentation. The first rung that fits at all decides, and it must fit exactly once. There is no
//! fuzzy rung: a match applied by guess is worse than a failure, which its author can mend.

use std::collections::HashSet;
use std::ops::Range;

use similar::{ChangeTag, TextDiff};

use super::error::Nearest;

/// How many lines of a comparison are shown.
const SHOWN_LINES: usize = 60;

/// Where an edit goes and what goes there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// Bytes of the text to replace.
    pub range: Range<usize>,
    /// The replacement, indented as its place asks for.
    pub replacement: String,
}

/// No place, or too many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Miss {
    /// The search text has no printable character.
    Blank,
    /// It does not occur.
    Absent(Option<Nearest>),
    /// It occurs at these lines, counted from 1.
    Ambiguous(Vec<usize>),
}

/// Finds `search` in `text`. A search that ends with a line feed stands for whole lines; one that does not, for a piece of text
/// that begins and ends at the border of a word or number.
pub(super) fn locate(text: &str, search: &str, replace: &str) -> Result<Found, Miss> {
    if search.trim().is_empty() {
        return Err(Miss::Blank);
    }
    let lines = Lines::of(text);
    for rung in [exact, trailing_space_ignored, shifted] {
        let mut found = rung(&lines, search, replace);
        match found.len() {
            0 => {}
            1 => match found.remove(0) {
                (range, Some(replacement)) => return Ok(Found { range, replacement }),
                (_, None) => break,
            },
            _ => return Err(Miss::Ambiguous(found.iter().map(|(range, _)| lines.number_of(range.start)).collect())),
        }
    }
    Err(Miss::Absent(nearest(&lines, search)))
}

/// A place that the search text fits, and the replacement as it would stand there. There is none where it has less indentation
/// than would have to be taken away; the place counts all the same, for which one is meant is for the search text alone to say.
type Fit = (Range<usize>, Option<String>);

struct Lines<'a> {
    text: &'a str,
    /// Each line with its line feed.
    ranges: Vec<Range<usize>>,
}

impl<'a> Lines<'a> {
    fn of(text: &'a str) -> Self {
        let mut start = 0;
        let ranges = text
            .split_inclusive('\n')
            .map(|line| {
                let range = start..start + line.len();
                start = range.end;
                range
            })
            .collect();
        Self { text, ranges }
    }

    /// Without trailing white space.
    fn trimmed(&self, line: usize) -> &'a str {
        self.text[self.ranges[line].clone()].trim_end()
    }

    fn number_of(&self, offset: usize) -> usize {
        self.ranges.partition_point(|range| range.end <= offset) + 1
    }

    /// The bytes of `count` lines from line `first`; without the last line feed if `search` has none either, so that what
    /// replaces it need not have one.
    fn span(&self, first: usize, count: usize, search: &str) -> Range<usize> {
        let start = self.ranges[first].start;
        let end = self.ranges[first + count - 1].end;
        let keeps_feed = !search.ends_with('\n') && self.text[..end].ends_with('\n');
        start..if keeps_feed { end - 1 } else { end }
    }
}

fn exact(lines: &Lines<'_>, search: &str, replace: &str) -> Vec<Fit> {
    let text = lines.text;
    let whole_lines = search.ends_with('\n');
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(offset) = text[from..].find(search) {
        let range = from + offset..from + offset + search.len();
        let fits = if whole_lines {
            range.start == 0 || text[..range.start].ends_with('\n')
        } else {
            is_border(text, range.start) && is_border(text, range.end)
        };
        if fits {
            found.push((range.clone(), Some(replace.to_owned())));
        }
        // One character on, so that occurrences that overlap count as two.
        from = range.start + text[range.start..].chars().next().map_or(1, char::len_utf8);
    }
    found
}

/// Whether a piece of text may begin or end at `offset` without cutting a word or a number in two: `depth: 4` must not be found
/// in `depth: 48`, nor `0` in `0.5`.
fn is_border(text: &str, offset: usize) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let (left, right) = text.split_at(offset);
    let before = left.chars().next_back();
    let mut ahead = right.chars();
    let after = ahead.next();
    let inside_word = before.is_some_and(is_word) && after.is_some_and(is_word);
    let is_digit = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit());
    let before_fraction = is_digit(before) && after == Some('.') && is_digit(ahead.next());
    let after_point = before == Some('.') && is_digit(after) && is_digit(left[..left.len() - 1].chars().next_back());
    !(inside_word || before_fraction || after_point)
}

fn trailing_space_ignored(lines: &Lines<'_>, search: &str, replace: &str) -> Vec<Fit> {
    let wanted: Vec<&str> = search.lines().map(str::trim_end).collect();
    windows(lines, wanted.len())
        .filter(|&first| wanted.iter().enumerate().all(|(i, line)| lines.trimmed(first + i) == *line))
        .map(|first| (lines.span(first, wanted.len(), search), Some(replace.to_owned())))
        .collect()
}

fn shifted(lines: &Lines<'_>, search: &str, replace: &str) -> Vec<Fit> {
    let wanted: Vec<&str> = search.lines().map(str::trim_end).collect();
    windows(lines, wanted.len())
        .filter_map(|first| {
            let shift = wanted
                .iter()
                .enumerate()
                .find(|(_, line)| !line.is_empty())
                .and_then(|(i, line)| Shift::between(line, lines.trimmed(first + i)))?;
            let fits = wanted
                .iter()
                .enumerate()
                .all(|(i, line)| shift.line(line).is_some_and(|line| line == lines.trimmed(first + i)));
            fits.then(|| (lines.span(first, wanted.len(), search), shift.text(replace)))
        })
        .collect()
}

fn windows(lines: &Lines<'_>, count: usize) -> Range<usize> {
    0..(lines.ranges.len() + 1).saturating_sub(count.max(1))
}

/// What has to be put before, or taken from, every line of the search text to get the file's.
enum Shift<'a> {
    Add(&'a str),
    Remove(&'a str),
}

impl<'a> Shift<'a> {
    fn between(wanted: &'a str, found: &'a str) -> Option<Self> {
        let is_space = |prefix: &&str| prefix.trim().is_empty();
        let add = found.strip_suffix(wanted).filter(is_space).map(Shift::Add);
        add.or_else(|| wanted.strip_suffix(found).filter(is_space).map(Shift::Remove))
    }

    fn line(&self, line: &str) -> Option<String> {
        match self {
            _ if line.trim().is_empty() => Some(String::new()),
            Shift::Add(prefix) => Some(format!("{prefix}{line}")),
            Shift::Remove(prefix) => line.strip_prefix(prefix).map(str::to_owned),
        }
    }

    fn text(&self, text: &str) -> Option<String> {
        let shifted: Option<Vec<String>> = text.lines().map(|line| self.line(line)).collect();
        let mut shifted = shifted?.join("\n");
        if text.ends_with('\n') {
            shifted.push('\n');
        }
        Some(shifted)
    }
}

/// The window of as many lines as the search text has that shares most lines with it, indentation aside, best at the same
/// places; where none shares any, the one around the line most like the search text's longest.
fn nearest(lines: &Lines<'_>, search: &str) -> Option<Nearest> {
    let wanted: Vec<&str> = search.lines().map(str::trim).collect();
    let first = most_shared(lines, &wanted).or_else(|| most_alike(lines, &wanted))?;
    let end = (first + wanted.len()).min(lines.ranges.len());
    let file = &lines.text[lines.ranges[first].start..lines.ranges[end - 1].end];
    Some(Nearest { line: first + 1, diff: compare(search, file) })
}

fn most_shared(lines: &Lines<'_>, wanted: &[&str]) -> Option<usize> {
    // Lines as short as a bracket are everywhere and tell nothing.
    let telling: HashSet<&str> = wanted.iter().copied().filter(|line| line.len() > 2).collect();
    let shared: Vec<bool> = (0..lines.ranges.len()).map(|i| telling.contains(lines.trimmed(i).trim_start())).collect();
    let count = wanted.len().min(shared.len());
    let at_same_place =
        |first: usize| (0..count).filter(|i| lines.trimmed(first + i).trim_start() == wanted[*i]).count();

    let mut sum = shared.iter().take(count).filter(|shared| **shared).count();
    let mut best = (sum, at_same_place(0), 0);
    for first in 1..=shared.len() - count {
        sum = sum + usize::from(shared[first + count - 1]) - usize::from(shared[first - 1]);
        if sum >= best.0.max(1) {
            best = best.max((sum, at_same_place(first), first));
        }
    }
    (best.0 > 0).then_some(best.2)
}

fn most_alike(lines: &Lines<'_>, wanted: &[&str]) -> Option<usize> {
    let (position, longest) = wanted.iter().enumerate().max_by_key(|(_, line)| line.len())?;
    let (line, likeness) = (0..lines.ranges.len())
        .map(|i| (i, strsim::sorensen_dice(longest, lines.trimmed(i).trim_start())))
        .max_by(|a, b| a.1.total_cmp(&b.1))?;
    (likeness >= 0.4).then(|| line.saturating_sub(position))
}

fn compare(search: &str, file: &str) -> String {
    let diff = TextDiff::from_lines(search, file);
    let mut shown: Vec<String> = diff
        .iter_all_changes()
        .map(|change| {
            let sign = match change.tag() {
                ChangeTag::Delete => '-',
                ChangeTag::Insert => '+',
                ChangeTag::Equal => ' ',
            };
            format!("{sign}{}", change.value().trim_end_matches(['\n', '\r']))
        })
        .collect();
    if shown.len() > SHOWN_LINES {
        let left_out = shown.len() - SHOWN_LINES;
        shown.truncate(SHOWN_LINES);
        shown.push(format!("... {left_out} more lines"));
    }
    shown.join("\n")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FILE: &str = "\
impl Recipe {
    pub fn cpu() -> Self {
        Self {
            depth: 4,
            dim: 256,
            rate: 0.04,
        }
    }

    pub fn gpu() -> Self {
        Self {
            depth: 48,
            dim: 384,
            rate: 0.04,
        }
    }
}
";

    fn replaced(search: &str, replace: &str) -> Result<String, Miss> {
        let found = locate(FILE, search, replace)?;
        Ok(format!("{}{}{}", &FILE[..found.range.start], found.replacement, &FILE[found.range.end..]))
    }

    #[test]
    fn the_ladder_finds_what_was_meant() {
        let cases = [
            // Exact lines, and a piece of a line.
            ("            dim: 256,\n", "            dim: 512,\n", FILE.replace("256", "512")),
            ("dim: 256", "dim: 512", FILE.replace("256", "512")),
            ("depth: 4", "depth: 5", FILE.replace("depth: 4,", "depth: 5,")),
            // Trailing white space on either side.
            ("            dim: 256,   \n", "            dim: 512,\n", FILE.replace("256", "512")),
            // Indentation lost, or too deep; the replacement moves along.
            (
                "depth: 4,\ndim: 256,\n",
                "depth: 4,\n\n  dim: 512,\n",
                FILE.replace("4,\n            dim: 256", "4,\n\n              dim: 512"),
            ),
            ("      pub fn gpu() -> Self {\n", "      pub fn big() -> Self {\n", FILE.replace("gpu", "big")),
            // Whole lines without a last line feed keep the file's.
            ("depth: 4,\ndim: 256,", "depth: 4,\ndim: 512,", FILE.replace("256", "512")),
        ];
        for (search, replace, expected) in cases {
            assert_eq!(replaced(search, replace).as_deref(), Ok(expected.as_str()), "{search:?}");
        }
    }

    #[test]
    fn two_places_are_none() {
        assert_eq!(replaced("rate: 0.04", "rate: 0.05"), Err(Miss::Ambiguous(vec![6, 14])));
        assert_eq!(replaced("rate: 0.04,\n", "rate: 0.05,\n"), Err(Miss::Ambiguous(vec![6, 14])));
        assert_eq!(replaced("        Self { \n", ""), Err(Miss::Ambiguous(vec![3, 11])));
        assert!(matches!(locate("aaa", "aa", ""), Err(Miss::Absent(_))), "a piece of a word is not a place");
        assert_eq!(locate("- - -", "- -", ""), Err(Miss::Ambiguous(vec![1, 1])));
        assert_eq!(replaced(" \n", ""), Err(Miss::Blank));
    }

    #[test]
    fn a_replacement_does_not_choose_between_two_places() {
        let file = "{\n    go();\n    {\n            go();\n    }\n}\n";
        // Both are less indented than the search text; eight columns can be taken from the replacement at one of them only.
        let (search, replace) = ("                go();\n", "    stop();\n                go();\n");
        assert_eq!(locate(file, search, replace), Err(Miss::Ambiguous(vec![2, 4])));
    }

    #[test]
    fn words_and_numbers_are_not_cut() {
        for (search, text) in
            [("dim: 25", "dim: 256"), ("im: 256", "dim: 256"), ("rate: 0", "rate: 0.04"), ("04", "0.04")]
        {
            assert!(matches!(locate(text, search, "x"), Err(Miss::Absent(_))), "{search:?} in {text:?}");
        }
        assert!(locate("a.0.b", "a.0", "x").is_ok());
        assert!(locate("0..5", "5", "x").is_ok());
    }

    #[test]
    fn a_miss_shows_the_nearest_lines() {
        let Err(Miss::Absent(Some(nearest))) = replaced("            depth: 48,\n            dim: 385,\n", "") else {
            panic!("expected a nearest place");
        };
        insta::assert_snapshot!(format!("line {}\n{}", nearest.line, nearest.diff), @r"
        line 12
                     depth: 48,
        -            dim: 385,
        +            dim: 384,
        ");
        let Err(Miss::Absent(Some(nearest))) = replaced("            rate: 0.05,\n", "") else {
            panic!("expected a nearest place");
        };
        assert!(nearest.diff.contains("+            rate: 0.04,"), "{}", nearest.diff);
        assert_eq!(replaced("something else entirely;\n", ""), Err(Miss::Absent(None)));
    }

    #[test]
    fn lines_of_uneven_indentation_do_not_match() {
        assert!(matches!(replaced("depth: 4,\n  dim: 256,\n", "x\n"), Err(Miss::Absent(Some(_)))));
        // The replacement has less indentation than would have to be taken away.
        assert!(matches!(replaced("                depth: 4,\n", "x\n"), Err(Miss::Absent(Some(_)))));
    }

    proptest! {
        #[test]
        fn never_panics_and_replaces_what_it_found(text in "([ab]|\t| |\n|ä|\\.|[0-9]){0,40}", search in "([ab]|\t| |\n|ä|\\.|[0-9]){0,8}") {
            if let Ok(found) = locate(&text, &search, "x\n") {
                let squeezed = |s: &str| s.chars().filter(|c| !c.is_whitespace()).collect::<String>();
                prop_assert_eq!(squeezed(&text[found.range]), squeezed(&search));
            }
        }
    }
}
