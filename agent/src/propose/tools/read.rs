//! Reading and searching files. The files are those in the facts, found by their whole path; no path is ever opened.

use std::fmt::Write as _;

use super::MOST_ANSWER;
use super::arguments::Arguments;
use super::facts::ToolFacts;
use crate::brief::quote::inline;
use crate::flow::SourceFile;

/// Characters of a file in one answer; the rest of it is for what is said around them.
const MOST_SHOWN: usize = MOST_ANSWER - 1_000;

/// Hits of a search, unless told, and at most.
const HITS: usize = 40;
const MOST_HITS: usize = 200;

/// Characters of a line that was found.
const MOST_LINE: usize = 200;

/// Bytes of a text to search for.
const MOST_TEXT: usize = 500;

fn all_files(facts: &ToolFacts) -> impl Iterator<Item = &SourceFile> {
    facts.candidate.iter().chain(&facts.harness)
}

pub(super) fn read_file(facts: &ToolFacts, arguments: &Arguments<'_>) -> Result<String, String> {
    let path = arguments.need_text("path")?;
    let path = path.trim().trim_start_matches("./");
    let Some(file) = all_files(facts).find(|file| file.path == path) else {
        let known: Vec<&str> = all_files(facts).map(|file| file.path.as_str()).collect();
        return Err(format!("there is no file `{}` to read; there are\n{}", inline(path, 200), known.join("\n")));
    };
    let lines: Vec<&str> = file.text.split_inclusive('\n').collect();
    let first = arguments.count("first", usize::MAX)?.unwrap_or(1);
    let last = arguments.count("last", usize::MAX)?.unwrap_or(lines.len()).min(lines.len());
    if lines.is_empty() {
        return Ok(format!("{path} is empty"));
    }
    if first > lines.len() {
        return Err(format!("`first` is {first}, but {path} has {} lines", lines.len()));
    }
    if first > last {
        return Err(format!("`first` is {first} and `last` is {last}; no line lies between"));
    }
    let mut shown = String::new();
    let mut end = first - 1;
    let mut room = MOST_SHOWN;
    for line in lines.get(first - 1..last).unwrap_or_default() {
        let length = line.chars().count();
        if length > room {
            break;
        }
        room -= length;
        shown.push_str(line);
        end += 1;
    }
    if end < first {
        return Err(format!("line {first} of {path} alone is longer than an answer may be"));
    }
    let may = match facts.candidate.iter().any(|file| file.path == path) {
        true => "you may edit it",
        false => "of the harness, for reading only",
    };
    let mut answer = format!("{path}, lines {first} to {end} of {} ({may}):\n{shown}", lines.len());
    if !answer.ends_with('\n') {
        answer.push('\n');
    }
    if end < last {
        let _infallible = write!(answer, "[more than fits; go on with first = {}]", end + 1);
    }
    Ok(answer)
}

pub(super) fn search(facts: &ToolFacts, arguments: &Arguments<'_>) -> Result<String, String> {
    let text = arguments.need_text("text")?;
    let within = arguments.text("path")?.unwrap_or_default();
    let most = arguments.count("most", MOST_HITS)?.unwrap_or(HITS);
    if text.trim().is_empty() || text.contains('\n') {
        return Err("`text` must be some text of one line".to_owned());
    }
    if text.len() > MOST_TEXT {
        return Err(format!("`text` has {} bytes, at most {MOST_TEXT} are looked for", text.len()));
    }
    let mut hits = String::new();
    let mut found = 0_usize;
    for file in all_files(facts).filter(|file| file.path.contains(within)) {
        for (number, line) in (1..).zip(file.text.lines()) {
            if line.contains(text) {
                found += 1;
                if found <= most {
                    let line: String = line.trim_end().chars().take(MOST_LINE).collect();
                    let _infallible = writeln!(hits, "{}:{number}: {line}", file.path);
                }
            }
        }
    }
    let searched = inline(text, 80);
    match found {
        0 => Ok(format!("`{searched}` is nowhere")),
        _ if found > most => Ok(format!("`{searched}`: the first {most} of {found} lines\n{hits}")),
        1 => Ok(format!("`{searched}`: 1 line\n{hits}")),
        _ => Ok(format!("`{searched}`: {found} lines\n{hits}")),
    }
}
