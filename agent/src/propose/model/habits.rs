//! What models write into blocks out of habit and do not mean as code, although it may well compile.
//!
//! A comment in place of code that is to stay would delete that code; the signs of a diff read as arithmetic; a whole file after
//! an edit of the same file undoes the edit. None of this is guessed at: it goes back to its author.

use crate::flow::Edit;

/// Everything of the kind in `edits`, one complaint each.
pub(in crate::propose) fn complaints(edits: &[Edit]) -> Vec<String> {
    let mut complaints = Vec::new();
    for (index, edit) in edits.iter().enumerate() {
        let place = format!("edit {} of {}", index + 1, edits.len());
        if let Some(line) = edit.replace.lines().find(|line| is_elision(line) && !edit.search.contains(line.trim())) {
            let line = shorten(line);
            complaints.push(format!(
                "{place}: `{line}` stands for code that is to stay, but a replacement replaces all of the search text; \
                 write that code out, or make the search text smaller"
            ));
        }
        if !edit.search.lines().any(is_signed)
            && let Some(line) = edit.replace.lines().find(|line| is_signed(line))
        {
            let line = shorten(line);
            complaints.push(format!(
                "{place}: `{line}` begins with the sign of a diff; write the new lines as they shall stand in the file, \
                 and the old ones in the search text only"
            ));
        }
        let earlier = edits[..index].iter().position(|earlier| earlier.path == edit.path);
        if let Some(earlier) = earlier.filter(|_| edit.search.is_empty()) {
            complaints.push(format!(
                "{place}: its search text is empty, so it replaces the whole file and edit {} of the same file is lost; \
                 quote the lines to replace, or leave the other edit out",
                earlier + 1
            ));
        }
    }
    complaints
}

/// `// ... existing code ...`, `/* ... */`, `// (… rest unchanged)`.
fn is_elision(line: &str) -> bool {
    let line = line.trim();
    let comment = line.strip_prefix("//").or_else(|| line.strip_prefix("/*"));
    comment.is_some_and(|words| {
        let words = words.trim_start_matches([' ', '/', '!', '*', '(', '[', '<', '{']);
        words.starts_with("...") || words.starts_with('…')
    })
}

/// Whether a line begins, without indentation, with the sign of a diff; formatted Rust has no such line.
fn is_signed(line: &str) -> bool {
    line.starts_with('+') || (line.starts_with('-') && !line.starts_with("->"))
}

fn shorten(line: &str) -> String {
    line.trim_end().chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edit(path: &str, search: &str, replace: &str) -> Edit {
        Edit { path: path.to_owned(), search: search.to_owned(), replace: replace.to_owned() }
    }

    #[test]
    fn code_that_is_only_hinted_at_goes_back() {
        for line in
            ["// ... existing code ...", "    /* ... */", "  // … unchanged", "// (... rest of the file)", "//..."]
        {
            let found = complaints(&[edit("a", "x\n", "x\n"), edit("a", "b();\n", &format!("a();\n{line}\n"))]);
            assert!(found.len() == 1 && found[0].contains("edit 2 of 2: `"), "{line}: {found:?}");
            // What stands there already may stay.
            assert!(complaints(&[edit("a", &format!("{line}\n"), &format!("b();\n{line}\n"))]).is_empty());
        }
        for line in ["// and so on ...", "a[..b]", "..Recipe::base()", "// a ... b", "1.0 / *x"] {
            assert!(complaints(&[edit("a", "b();\n", line)]).is_empty(), "{line}");
        }
    }

    #[test]
    fn a_diff_in_a_replacement_goes_back() {
        let found = complaints(&[edit("a", "    x\n", "-    x\n+    y\n")]);
        assert!(found.len() == 1 && found[0].contains("`-    x` begins with the sign of a diff"), "{found:?}");
        for (search, replace) in [("x\n", "    + y\n"), ("-1,\n", "-2,\n"), ("fn f()\n", "fn f()\n-> i64\n")] {
            assert!(complaints(&[edit("a", search, replace)]).is_empty(), "{replace}");
        }
    }

    #[test]
    fn a_whole_file_does_not_undo_an_edit_in_silence() {
        let found = complaints(&[edit("a", "x\n", "y\n"), edit("b", "", "z\n"), edit("a", "", "z\n")]);
        assert!(found.len() == 1 && found[0].starts_with("edit 3 of 3: its search text is empty"), "{found:?}");
        assert!(complaints(&[edit("a", "", "z\n"), edit("a", "z\n", "y\n")]).is_empty());
    }
}
