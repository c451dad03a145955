use proptest::prelude::*;

use super::*;
use crate::edit::apply;

const PATH: &str = "trainer/src/candidate/recipe.rs";

fn file(text: &str) -> SourceFile {
    SourceFile { path: PATH.to_owned(), text: text.to_owned() }
}

/// As git's own library writes it.
fn diff_of(before: &str, after: &str, context: u32) -> String {
    let (path, mut options) = (std::path::Path::new(PATH), git2::DiffOptions::new());
    options.context_lines(context).interhunk_lines(0);
    let (before, after) = (before.as_bytes(), after.as_bytes());
    let mut patch = git2::Patch::from_buffers(before, Some(path), after, Some(path), Some(&mut options)).unwrap();
    patch.to_buf().unwrap().as_str().unwrap().to_owned()
}

/// What the diff makes of the text.
fn done(diff: &str, text: &str) -> Result<String, DiffError> {
    let files = [file(text)];
    let edits = edits_of_diff(diff, &files)?;
    Ok(apply(&files, &edits).unwrap_or_else(|error| panic!("{error}\n{edits:?}")).remove(0).text)
}

const BEFORE: &str =
    "fn one() {\n    let a = 1;\n}\n\nfn two() {\n    let a = 1;\n}\n\nfn three() {\n    let a = 1;\n}\n";

#[test]
fn a_diff_does_what_it_says_also_in_a_file_that_has_grown_since() {
    let after = BEFORE.replacen("let a = 1;\n}\n\nfn three", "let a = 2;\n    let b = 3;\n}\n\nfn three", 1);
    let diff = diff_of(BEFORE, &after, 3);
    assert_eq!(done(&diff, BEFORE).unwrap(), after);
    let grown = format!("// new\n// lines\n{BEFORE}// end\n");
    assert_eq!(done(&diff, &grown).unwrap(), format!("// new\n// lines\n{after}// end\n"));
    // The mail that format-patch writes, with its signature, and a line feed lost at its end.
    let mail = format!(
        "From 123 Mon Sep 17 00:00:00 2001\nSubject: [PATCH] Try\n\n---\n recipe.rs | 2 +-\n 1 file changed\n\n\
         diff --git a/{PATH} b/{PATH}\nindex 123..456 100644\n{diff}-- \n2.39.5\n"
    );
    assert_eq!(done(&mail, BEFORE).unwrap(), after);
    assert_eq!(done(diff.trim_end(), BEFORE).unwrap(), after);
    // Without prefixes, with dates, and with the space of an empty line lost.
    let other = diff
        .replace("a/trainer", "trainer")
        .replace("b/trainer", "trainer")
        .replace("recipe.rs\n", "recipe.rs\t2026-03-08\n");
    assert_eq!(done(&other, BEFORE).unwrap(), after);
    assert_eq!(done(&diff.replace("\n \n", "\n\n"), BEFORE).unwrap(), after);
}

#[test]
fn of_several_places_the_one_that_is_named_is_meant() {
    // Without context all three look the same.
    let diff = format!("--- a/{PATH}\n+++ b/{PATH}\n@@ -6 +6 @@ fn two() {{\n-    let a = 1;\n+    let a = 2;\n");
    let after = done(&diff, BEFORE).unwrap();
    assert_eq!(after, BEFORE.replace("fn two() {\n    let a = 1;", "fn two() {\n    let a = 2;"));
    let error = done(&diff, &format!("// new\n{BEFORE}")).unwrap_err();
    assert_eq!(error, DiffError::Ambiguous { line: 3, path: PATH.to_owned(), places: vec![3, 7, 11] });
    // Behind a hunk whose place is certain, lines are counted from there.
    let diff = format!(
        "--- a/{PATH}\n+++ b/{PATH}\n@@ -1,2 +1,2 @@\n-fn one() {{\n+fn eins() {{\n     let a = 1;\n@@ -6 +6 @@\n-    let a = 1;\n+    let a = 2;\n"
    );
    let after = done(&diff, &format!("// new\n{BEFORE}")).unwrap();
    assert!(after.contains("fn two() {\n    let a = 2;") && after.contains("fn eins() {\n    let a = 1;"), "{after}");
}

#[test]
fn a_last_line_without_a_line_feed_is_no_other_line() {
    let (before, after) = ("a\nb", "a\nc");
    let diff = format!(
        "--- a/{PATH}\n+++ b/{PATH}\n@@ -1,2 +1,2 @@\n a\n-b\n\\ No newline at end of file\n+c\n\\ No newline at end of file\n"
    );
    assert_eq!(done(&diff, before).unwrap(), after);
    assert!(done(&diff, "a\nb\n").is_err());
    let mended = diff.replacen("+c\n\\ No newline at end of file\n", "+c\n", 1);
    assert_eq!(done(&mended, before).unwrap(), "a\nc\n");
}

#[test]
fn whatever_is_not_a_change_of_these_files_is_refused_in_words() {
    let head = format!("--- a/{PATH}\n+++ b/{PATH}\n");
    let good = format!("{head}@@ -1,2 +1,2 @@\n-fn one() {{\n+fn eins() {{\n     let a = 1;\n");
    assert!(done(&good, BEFORE).is_ok());
    let cases = [
        ("", "holds no hunk"),
        ("a line\n", "holds no hunk"),
        (&"x".repeat(MOST_DIFF_BYTES + 1), "longer than 262144 bytes"),
        (
            &good.replace("recipe.rs", "lib.rs"),
            "line 2 of the patch: trainer/src/candidate/lib.rs may not be edited; the files that may are",
        ),
        (
            &good.replace("a/trainer", "a/../trainer").replace("b/trainer", "b/../trainer"),
            "../trainer/src/candidate/recipe.rs may not be",
        ),
        (&good.replace("recipe.rs", "\u{1b}[2J.rs"), "\u{FFFD}[2J.rs may not be edited"),
        (&good.replace("+++ b/trainer", "+++ b/trainee"), "it renames a file"),
        (&good.replace(&format!("--- a/{PATH}"), "--- /dev/null"), "it makes a new file"),
        (&good.replace(&format!("+++ b/{PATH}"), "+++ /dev/null"), "it deletes a file"),
        (
            &format!("diff --git a/x b/x\nold mode 100644\nnew mode 100755\n{good}"),
            "line 2 of the patch: it changes a file's mode",
        ),
        (&format!("GIT binary patch\n{good}"), "a binary file"),
        (&format!("diff --cc x\n{good}"), "it is a merge's"),
        (&format!("{good}{good}"), "is changed a second time"),
        (&good.replace(&head, ""), "line 1 of the patch: a hunk without `---`"),
        (&format!("{good}diff --git a/x b/x\n@@ -1 +1 @@\n-a\n+b\n"), "a hunk without `---`"),
        (&good.replace("@@ -1,2", "@@ -1;2"), "header is not"),
        (&good.replace("@@ -1,2", "@@ -1,0"), "without context"),
        (&good.replace("@@ -1,2", "@@ -1,3"), "shorter than its header says"),
        (&good.replace("@@ -1,2", "@@ -1,1"), "longer than its header says"),
        (&good.replace("+fn", "fn"), "line 5 of the patch: a line of a hunk begins with none of"),
        (&good.replace("-fn one", "-fn once"), "the nearest begin at line"),
        (&good.replace("@@ -1,2", "@@ -1,99999999999999999999999"), "header is not"),
    ];
    for (diff, words) in cases {
        let error = done(diff, BEFORE).expect_err(words).to_string();
        assert!(error.contains(words), "{error}\nshould say {words}");
        assert!(!error.contains('\u{1b}'));
    }
    let many: String = (0..65).map(|_| "@@ -1,2 +1,2 @@\n-fn one() {\n+fn eins() {\n     let a = 1;\n").collect();
    assert_eq!(done(&format!("{head}{many}"), BEFORE), Err(DiffError::TooLarge));
}

proptest! {
    /// Files of few different lines, so that hunks look alike: the diff of two texts makes one of the other.
    #[test]
    fn the_diff_of_two_texts_makes_one_of_the_other(
        before in prop::collection::vec("[abc]{0,1}", 1..40),
        changes in prop::collection::vec((any::<prop::sample::Index>(), prop::option::of("[abcd]{0,1}"), any::<bool>()), 1..5),
        context in 1_u32..4,
    ) {
        let text = |lines: &[String]| lines.iter().map(|line| format!("{line};\n")).collect::<String>();
        let mut after = before.clone();
        for (place, line, insert) in changes {
            let place = place.index(after.len());
            match line {
                Some(line) if insert => after.insert(place, line),
                Some(line) => after[place] = line,
                None if after.len() > 1 => drop(after.remove(place)),
                None => {}
            }
        }
        let (before, after) = (text(&before), text(&after));
        prop_assume!(before != after);
        let diff = diff_of(&before, &after, context);
        prop_assert_eq!(done(&diff, &before).map_err(|error| format!("{error}\n{diff}")), Ok(after.clone()));
        // Far down, where no line is that it names: it is found, or said to be ambiguous; it never lands elsewhere.
        let head = "head;\n".repeat(50);
        match done(&diff, &format!("{head}{before}")) {
            Ok(moved) => prop_assert_eq!(moved, format!("{head}{after}")),
            Err(error) => prop_assert!(matches!(error, DiffError::Ambiguous { .. }), "{}", error),
        }
    }

    #[test]
    fn no_text_makes_it_panic(diff in "(\\PC|[-+@ \\\\\n0-9,]){0,200}", text in "\\PC{0,50}") {
        let _ = edits_of_diff(&diff, &[file(&text)]);
        let framed = format!("--- {PATH}\n+++ {PATH}\n@@ -1,2 +1,2 @@\n{diff}");
        let _ = edits_of_diff(&framed, &[file(&text)]);
    }
}
