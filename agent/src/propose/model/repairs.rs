//! What a model is told of edits that did not build, or that it checked and that do not compile: the compiler's first errors, three at a
//! time, with the code around the place that each names, as it is with the edits in it.

use crate::brief::fenced;
use crate::brief::quote::quote;
use crate::flow::{BuildFailure, SourceFile};

/// Errors that are shown at a time.
const MOST_ERRORS: usize = 3;

/// Lines of one error.
const MOST_ERROR_LINES: usize = 40;

/// Lines of code around a place.
const LINES_AROUND: usize = 50;

/// The question that goes with a build that failed.
pub(super) fn question(failure: &BuildFailure, files: &[SourceFile]) -> String {
    let mut text = format!("Your edits fit, but the result does not compile{}", errors(failure, files));
    text.push_str(
        "\nYour edits are in the files now. Send blocks that mend them, written for the files as they are with your edits, each under its \
         path; the lines about the idea are not needed again.\n",
    );
    text
}

/// How many errors there are, and the first of them with the code that they name: goes on behind "does not compile".
pub(in crate::propose) fn errors(failure: &BuildFailure, files: &[SourceFile]) -> String {
    let shown = failure.errors.len().min(MOST_ERRORS);
    let mut text = match failure.error_count {
        1 => ":\n".to_owned(),
        count => format!(" ({count} errors, here the first {shown}):\n"),
    };
    let mut seen: Vec<(&str, usize, usize)> = Vec::new();
    for error in failure.errors.iter().take(MOST_ERRORS) {
        text.push_str(&format!("\n{}", quote(error, MOST_ERROR_LINES)));
        let Some((file, line)) = place(error, files) else { continue };
        let lines: Vec<&str> = file.text.lines().collect();
        let first = line.saturating_sub(LINES_AROUND / 2 + 1);
        let last = (first + LINES_AROUND).min(lines.len());
        let known = seen.iter().any(|(path, from, to)| *path == file.path && *from <= line && line <= *to);
        if !known {
            let title = format!("\n{}, lines {} to {last}, with your edits in it", file.path, first + 1);
            text.push_str(&fenced(&title, &lines.get(first..last).unwrap_or_default().join("\n")));
            seen.push((&file.path, first + 1, last));
        }
    }
    text
}

/// The file and the line (from 1) that a rendered error names first: `  --> trainer/src/candidate/model.rs:12:9`.
fn place<'f>(error: &str, files: &'f [SourceFile]) -> Option<(&'f SourceFile, usize)> {
    error.lines().find_map(|line| {
        let (_, place) = line.trim_start().split_once("--> ")?;
        let mut parts = place.trim().rsplitn(3, ':');
        let (_column, line, path) = (parts.next()?, parts.next()?, parts.next()?);
        let line: usize = line.parse().ok()?;
        let file = files.iter().find(|file| file.path == path || path.ends_with(&format!("/{}", file.path)))?;
        (line >= 1 && line <= file.text.lines().count()).then_some((file, line))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(lines: usize) -> SourceFile {
        let text = (1..=lines).map(|line| format!("line {line};\n")).collect();
        SourceFile { path: "trainer/src/candidate/model.rs".to_owned(), text }
    }

    fn failure(errors: &[&str]) -> BuildFailure {
        let errors: Vec<String> = errors.iter().map(|error| (*error).to_owned()).collect();
        BuildFailure { error_count: errors.len() + 2, errors, build_seconds: 1.0 }
    }

    #[test]
    fn errors_come_with_the_code_around_them_once() {
        let at =
            |line: usize| format!("error[E0425]: cannot find `x`\n  --> trainer/src/candidate/model.rs:{line}:9\n");
        let text = question(&failure(&[&at(60), &at(62), &at(190)]), &[file(200)]);
        assert!(text.contains("(5 errors, here the first 3)"), "{text}");
        assert!(text.contains("| error[E0425]: cannot find `x`"), "{text}");
        assert!(text.contains("lines 35 to 84, with your edits") && text.contains("\nline 60;\n"), "{text}");
        assert!(text.contains("lines 165 to 200") && text.matches("```rust").count() == 2, "{text}");
    }

    #[test]
    fn places_that_are_none_show_no_code() {
        for error in [
            "error: linking failed",
            "  --> src/lib.rs:1:1",
            "--> trainer/src/candidate/model.rs:0:1",
            "--> trainer/src/candidate/model.rs:9999:1",
            "--> :::",
        ] {
            let text = question(&failure(&[error]), &[file(10)]);
            assert!(!text.contains("```"), "{text}");
        }
    }
}
