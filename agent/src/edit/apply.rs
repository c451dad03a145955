//! Puts edits into files: all of them, or none.

use super::error::{EditError, Place};
use super::search::{Miss, locate};
use crate::flow::{Edit, SourceFile};

/// Applies `edits` in order, each to what the ones before it left, and returns all files. On an error nothing is returned, and
/// `files` are untouched in any case.
pub fn apply(files: &[SourceFile], edits: &[Edit]) -> Result<Vec<SourceFile>, EditError> {
    let mut files = files.to_vec();
    for (index, edit) in edits.iter().enumerate() {
        let place = || Place { edit: index + 1, of: edits.len(), path: edit.path.clone() };
        let Some(position) = files.iter().position(|file| file.path == edit.path) else {
            let mut allowed: Vec<String> = files.iter().map(|file| file.path.clone()).collect();
            allowed.sort();
            return Err(EditError::NotEditable { place: place(), allowed });
        };
        let text = &mut files[position].text;
        if edit.search.is_empty() {
            text.clone_from(&edit.replace);
            continue;
        }
        let found = locate(text, &edit.search, &edit.replace).map_err(|miss| match miss {
            Miss::Blank => EditError::BlankSearch { place: place() },
            Miss::Absent(nearest) => EditError::NotFound { place: place(), nearest },
            Miss::Ambiguous(lines) => EditError::Ambiguous { place: place(), lines },
        })?;
        text.replace_range(found.range, &found.replacement);
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::edit::blocks;

    fn file(path: &str, text: &str) -> SourceFile {
        SourceFile { path: path.to_owned(), text: text.to_owned() }
    }

    fn edit(path: &str, search: &str, replace: &str) -> Edit {
        Edit { path: path.to_owned(), search: search.to_owned(), replace: replace.to_owned() }
    }

    #[test]
    fn edits_build_on_each_other() {
        let files = [file("a.rs", "one\ntwo\nthree\n"), file("b.rs", "b\n")];
        let edits = [
            edit("a.rs", "one\ntwo\n", "1\ntwo\n"),
            edit("a.rs", "two\nthree\n", "two\n3\n"),
            edit("b.rs", "", "whole\n"),
        ];
        let after = apply(&files, &edits).unwrap();
        assert_eq!(after, [file("a.rs", "1\ntwo\n3\n"), file("b.rs", "whole\n")]);
    }

    #[test]
    fn messages_say_which_edit_and_what_to_do() {
        let files = [file("a.rs", "let rate = 0.04;\nlet x = 1;\nlet x = 1;\n"), file("b.rs", "")];
        let cases = [
            (
                edit("c.rs", "x", "y"),
                "edit 2 of 2 (c.rs): this file may not be edited; the files that may are a.rs, b.rs",
            ),
            (edit("a.rs", "\n", "y"), "edit 2 of 2 (a.rs): the search text holds only white space"),
            (
                edit("a.rs", "let x = 1;\n", "y"),
                "edit 2 of 2 (a.rs): the search text fits 2 places, beginning at lines 2, 3",
            ),
            (edit("a.rs", "let rate = 0.05;\n", "y"), "-let rate = 0.05;\n+let rate = 0.06;"),
            (edit("b.rs", "let rate = 0.05;\n", "y"), "nothing in the file looks like it"),
        ];
        for (bad, expected) in cases {
            let message = apply(&files, &[edit("a.rs", "0.04", "0.06"), bad]).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
    }

    proptest! {
        /// Cutting a file at line borders and replacing some pieces must give what replacing them by hand gives, through the
        /// text form of the edits as well.
        #[test]
        fn blocks_written_read_and_applied_do_what_was_asked(
            pieces in prop::collection::vec((prop::collection::vec("[ -~]{0,8}", 0..3), any::<bool>(), prop::collection::vec("[ -~]{0,8}", 0..3)), 1..6)
        ) {
            let mut text = String::new();
            let mut expected = String::new();
            let mut edits = Vec::new();
            for (i, (old, change, new)) in pieces.iter().enumerate() {
                // The piece's own line makes it the only one of its kind.
                let old: String = [format!("old {i};")].iter().chain(old).map(|line| format!("{line}\n")).collect();
                let new: String = [format!("new {i};")].iter().chain(new).map(|line| format!("{line}\n")).collect();
                text += &old;
                expected += if *change { &new } else { &old };
                if *change {
                    edits.push(edit("dir/a.rs", &old, &new));
                }
            }
            prop_assume!(!edits.is_empty());
            let Ok(written) = blocks::render(&edits) else { return Ok(()) };
            let read = blocks::parse(&written).unwrap();
            let after = apply(&[file("dir/a.rs", &text)], &read).unwrap();
            prop_assert_eq!(&after[0].text, &expected);

            // One edit that does not fit, and there is no result at all.
            let mut broken = read.clone();
            broken.push(edit("dir/a.rs", "nowhere to be found;\n", ""));
            prop_assert!(apply(&[file("dir/a.rs", &text)], &broken).is_err());
        }

        #[test]
        fn never_panics(text in "\\PC{0,30}", search in "\\PC{0,8}", replace in "\\PC{0,8}") {
            let _ = apply(&[file("a", &text)], &[edit("a", &search, &replace)]);
        }
    }
}
