//! A second reading of where an edit belongs and what it leaves, written for being plain and not for being fast.
//!
//! It follows the words of PROPOSALS ("exact match, then trailing white space, then uniform indentation; exactly one place") and shares no
//! code with `edit/search.rs`.

/// What one edit must make of `text`; `None`: it must be refused.
pub fn expected(text: &str, search: &str, replace: &str) -> Option<String> {
    if search.is_empty() {
        return Some(replace.to_owned());
    }
    if search.trim().is_empty() {
        return None;
    }
    let places =
        [exact(text, search, replace), by_lines(text, search, replace, &same), by_lines(text, search, replace, &moved)]
            .into_iter()
            .find(|places| !places.is_empty())?;
    let [(start, end, new)] = places.as_slice() else { return None };
    let new = new.as_ref()?;
    let squeezed = |text: &str| text.split_whitespace().collect::<String>();
    assert_eq!(squeezed(&text[*start..*end]), squeezed(search), "this reading is wrong itself");
    Some([&text[..*start], new, &text[*end..]].concat())
}

/// Where a place begins and ends, and what would stand there; nothing where the replacement cannot be moved as far.
type Place = (usize, usize, Option<String>);

fn exact(text: &str, search: &str, replace: &str) -> Vec<Place> {
    let starts = (0..text.len()).filter(|&at| text.is_char_boundary(at) && text[at..].starts_with(search));
    starts
        .map(|at| (at, at + search.len()))
        .filter(|&(start, end)| match search.ends_with('\n') {
            // Whole lines.
            true => start == 0 || text.as_bytes()[start - 1] == b'\n',
            false => !cuts(text, start) && !cuts(text, end),
        })
        .map(|(start, end)| (start, end, Some(replace.to_owned())))
        .collect()
}

/// Whether a border at `at` would cut a word, or a number with its decimal point, in two.
fn cuts(text: &str, at: usize) -> bool {
    let left: Vec<char> = text[..at].chars().rev().take(2).collect();
    let right: Vec<char> = text[at..].chars().take(2).collect();
    let word = |c: &char| c.is_alphanumeric() || *c == '_';
    let digit = |c: Option<&char>| c.is_some_and(char::is_ascii_digit);
    let in_word = left.first().is_some_and(word) && right.first().is_some_and(word);
    let before_point = digit(left.first()) && right.first() == Some(&'.') && digit(right.get(1));
    let behind_point = digit(left.get(1)) && left.first() == Some(&'.') && digit(right.first());
    in_word || before_point || behind_point
}

/// Whether a window of the file's lines fits the searched ones, both without trailing white space, and if so the white space that the file
/// has more (`Ok`) or less (`Err`) in front.
type Fits = dyn Fn(&[&str], &[&str]) -> Option<Result<String, String>>;

fn same(found: &[&str], wanted: &[&str]) -> Option<Result<String, String>> {
    (found == wanted).then(|| Ok(String::new()))
}

fn moved(found: &[&str], wanted: &[&str]) -> Option<Result<String, String>> {
    let of = |line: &str| line[..line.len() - line.trim_start().len()].to_owned();
    let first = wanted.iter().position(|line| !line.is_empty())?;
    let (here, there) = (of(found[first]), of(wanted[first]));
    let shift = match here.strip_suffix(there.as_str()) {
        Some(more) => Ok(more.to_owned()),
        None => Err(there.strip_suffix(here.as_str())?.to_owned()),
    };
    let fits = found.iter().zip(wanted).all(|(found, wanted)| match &shift {
        _ if wanted.is_empty() => found.is_empty(),
        Ok(more) => *found == format!("{more}{wanted}"),
        Err(less) => format!("{less}{found}") == *wanted,
    });
    fits.then_some(shift)
}

fn by_lines(text: &str, search: &str, replace: &str, fits: &Fits) -> Vec<Place> {
    let wanted: Vec<&str> = search.lines().map(str::trim_end).collect();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let mut places = Vec::new();
    for first in 0..lines.len() {
        let Some(window) = lines.get(first..first + wanted.len()) else { break };
        let found: Vec<&str> = window.iter().map(|line| line.trim_end()).collect();
        let Some(shift) = fits(&found, &wanted) else { continue };
        let start: usize = lines[..first].iter().map(|line| line.len()).sum();
        let bytes: usize = window.iter().map(|line| line.len()).sum();
        // A search text without a last line feed leaves the file's.
        let left = !search.ends_with('\n') && window.last().is_some_and(|line| line.ends_with('\n'));
        let new = match &shift {
            Ok(more) if more.is_empty() => Some(replace.to_owned()),
            shift => shifted(replace, shift),
        };
        places.push((start, start + bytes - usize::from(left), new));
    }
    places
}

/// The replacement, moved as its place is.
fn shifted(replace: &str, shift: &Result<String, String>) -> Option<String> {
    let mut lines = Vec::new();
    for line in replace.lines() {
        lines.push(match shift {
            _ if line.trim().is_empty() => String::new(),
            Ok(more) => format!("{more}{line}"),
            Err(less) => line.strip_prefix(less.as_str())?.to_owned(),
        });
    }
    let end = if replace.ends_with('\n') { "\n" } else { "" };
    Some(lines.join("\n") + end)
}
