//! The patch that has passed.

use similar::{ChangeTag, TextDiff};

use super::apply::apply;
use super::digest::{content_digest, same_content};
use super::error::{EditError, Place};
use super::policy::Policy;
use crate::flow::{Proposal, SourceFile};

/// Edits that fit, applied and checked. [`CheckedPatch::check`] is the only way to make one, so whatever holds a patch knows
/// that the policy has run on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedPatch {
    base: Vec<SourceFile>,
    files: Vec<SourceFile>,
    digest: String,
    diff: String,
    lines_added: usize,
    lines_removed: usize,
}

impl CheckedPatch {
    /// Applies `proposal`'s edits to `files`, the candidate files of the commit it is meant for, and checks the result. The first
    /// rule that is broken is the error.
    pub fn check(proposal: &Proposal, files: &[SourceFile], policy: &Policy) -> Result<Self, EditError> {
        let edits = &proposal.edits;
        Policy::check_prediction(proposal)?;
        policy.check_edits(edits)?;
        let mut editable: Vec<SourceFile> =
            files.iter().filter(|file| policy.paths.contains(&file.path)).cloned().collect();
        editable.sort_by(|a, b| a.path.cmp(&b.path));
        for (index, edit) in edits.iter().enumerate() {
            match editable.iter().find(|file| file.path == edit.path) {
                Some(file) => policy.check_size(&file.path, "the file before the edits", &file.text)?,
                None => {
                    let place = Place { edit: index + 1, of: edits.len(), path: edit.path.clone() };
                    let allowed = editable.into_iter().map(|file| file.path).collect();
                    return Err(EditError::NotEditable { place, allowed });
                }
            }
        }
        let after = apply(&editable, edits)?;

        let changed = || editable.iter().zip(&after).filter(|(before, after)| before.text != after.text);
        for (_, file) in changed() {
            policy.check_file(file)?;
        }
        if changed().all(|(before, after)| same_content(&before.text, &after.text)) {
            return Err(EditError::NothingChanged);
        }

        let mut patch = Self {
            base: changed().map(|(before, _)| before.clone()).collect(),
            files: changed().map(|(_, after)| after.clone()).collect(),
            digest: content_digest(&after),
            diff: String::new(),
            lines_added: 0,
            lines_removed: 0,
        };
        for (before, after) in patch.base.iter().zip(&patch.files) {
            let diff = TextDiff::from_lines(&before.text, &after.text);
            for change in diff.iter_all_changes() {
                match change.tag() {
                    ChangeTag::Insert => patch.lines_added += 1,
                    ChangeTag::Delete => patch.lines_removed += 1,
                    ChangeTag::Equal => {}
                }
            }
            let (old, new) = (format!("a/{}", before.path), format!("b/{}", after.path));
            patch.diff += &diff.unified_diff().context_radius(3).header(&old, &new).to_string();
        }
        Ok(patch)
    }

    /// The changed files, sorted by path, whole, as they are after the edits.
    pub fn files(&self) -> &[SourceFile] {
        &self.files
    }

    /// The same files as they were before the edits; a commit may only be made on top of exactly these.
    pub fn base(&self) -> &[SourceFile] {
        &self.base
    }

    /// Names the resulting candidate by content: [`content_digest`] over all candidate files after the edits. Equal for two
    /// proposals exactly if they leave the same code, whatever they say about it.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Lines that the patch adds; a changed line counts as one added and one removed.
    pub fn lines_added(&self) -> usize {
        self.lines_added
    }

    /// Lines that the patch removes.
    pub fn lines_removed(&self) -> usize {
        self.lines_removed
    }

    /// The patch as a unified diff with three lines of context.
    pub fn diff(&self) -> &str {
        &self.diff
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edit::{CANDIDATE_FILES, Class};
    use crate::flow::{Author, Edit};

    /// Path, search, replace.
    type Edits<'a> = &'a [(&'a str, &'a str, &'a str)];

    const RECIPE: &str = "trainer/src/candidate/recipe.rs";

    fn files() -> Vec<SourceFile> {
        CANDIDATE_FILES
            .iter()
            .map(|path| SourceFile {
                path: path.to_string(),
                text: "/// Half.\nfn a(x: f64) -> f64 {\n    x * 0.5\n}\n".to_owned(),
            })
            .collect()
    }

    fn proposal(edits: Edits<'_>) -> Proposal {
        let edits = edits
            .iter()
            .map(|(path, search, replace)| Edit {
                path: path.to_string(),
                search: search.to_string(),
                replace: replace.to_string(),
            })
            .collect();
        Proposal {
            key: "test".to_owned(),
            title: "Test".to_owned(),
            hypothesis: String::new(),
            source: String::new(),
            family: "test".to_owned(),
            predicted_effect: None,
            confidence: None,
            edits,
            author: Author { proposer: "person".to_owned(), model: None, cost_usd: 0.0 },
        }
    }

    fn check(edits: Edits<'_>) -> Result<CheckedPatch, EditError> {
        CheckedPatch::check(&proposal(edits), &files(), &Policy::default())
    }

    #[test]
    fn a_patch_knows_what_it_changes() {
        let patch = check(&[(RECIPE, "0.5", "0.25"), (RECIPE, "x * 0.25\n", "let y = x;\ny * 0.25\n")]).unwrap();
        assert_eq!((patch.lines_added(), patch.lines_removed()), (2, 1));
        assert_eq!(patch.files().len(), 1);
        assert_eq!((patch.files()[0].path.as_str(), patch.base()[0].path.as_str()), (RECIPE, RECIPE));
        insta::assert_snapshot!(patch.diff(), @r"
        --- a/trainer/src/candidate/recipe.rs
        +++ b/trainer/src/candidate/recipe.rs
        @@ -1,4 +1,5 @@
         /// Half.
         fn a(x: f64) -> f64 {
        -    x * 0.5
        +    let y = x;
        +    y * 0.25
         }
        ");
    }

    #[test]
    fn what_is_foretold_must_be_figures() {
        let mut proposal = proposal(&[(RECIPE, "x * 0.5", "x * 0.25")]);
        let mut refused = |effect: f64, confidence: f64| {
            proposal.predicted_effect = Some(effect);
            proposal.confidence = Some(confidence);
            let refused = CheckedPatch::check(&proposal, &files(), &Policy::default()).err();
            refused.map(|error| (error.class(), error.to_string()))
        };
        for (effect, confidence) in [(-0.002, 0.0), (0.0, 1.0), (1e-9, 0.35)] {
            assert_eq!(refused(effect, confidence), None);
        }
        let expected = [
            (f64::NAN, 0.5, "the predicted effect is NaN"),
            (f64::NEG_INFINITY, 0.5, "the predicted effect is -inf"),
            (0.0, 1.01, "the confidence is 1.01"),
            (0.0, -0.1, "the confidence is -0.1"),
            (0.0, f64::NAN, "the confidence is NaN"),
        ];
        for (effect, confidence, words) in expected {
            let (class, message) = refused(effect, confidence).unwrap();
            assert!(class == Class::BreaksRule && message.starts_with(words), "{message}");
        }
    }

    #[test]
    fn the_same_edit_is_recognised_in_other_words() {
        let one = check(&[(RECIPE, "x * 0.5", "x * 0.25")]).unwrap();
        let other = check(&[(RECIPE, "", "// A quarter.\nfn a(x: f64) -> f64 { x * 0.25 }\n")]).unwrap();
        let elsewhere = check(&[("trainer/src/candidate/model.rs", "x * 0.5", "x * 0.25")]).unwrap();
        assert_eq!(one.digest(), other.digest());
        assert_ne!(one.digest(), elsewhere.digest());
        assert_ne!(one.digest(), content_digest(&files()));
    }

    #[test]
    fn paths_are_taken_literally() {
        for path in [
            "trainer/src/main.rs",
            "trainer/build.rs",
            "Cargo.toml",
            ".cargo/config.toml",
            "/trainer/src/candidate/recipe.rs",
            "./trainer/src/candidate/recipe.rs",
            "trainer/src/candidate/../candidate/recipe.rs",
            "trainer/src/candidate/Recipe.rs",
            "trainer/src/candidate/recipe.rs ",
            "trainer\\src\\candidate\\recipe.rs",
            "",
        ] {
            let error = check(&[(path, "", "fn a() {}\n")]).unwrap_err();
            assert!(matches!(error, EditError::NotEditable { .. }), "{path:?}: {error}");
        }
        let alike = RECIPE.replace("rec", "re\u{441}");
        let error = check(&[(&alike, "0.5", "0.6")]).unwrap_err().to_string();
        assert!(error.contains(r"(trainer/src/candidate/re\u{441}ipe.rs)"), "{error}");
        // Not even a file that was handed in, if the policy does not name it.
        let stray = vec![SourceFile { path: "build.rs".to_owned(), text: "fn main() {}\n".to_owned() }];
        let result = CheckedPatch::check(&proposal(&[("build.rs", "main", "mine")]), &stray, &Policy::default());
        assert!(matches!(result, Err(EditError::NotEditable { .. })));
    }

    #[test]
    fn every_rule_refuses_what_it_is_for() {
        let long_line = format!("// {}\n", "x".repeat(64 * 1024));
        let many_lines = "// x\n".repeat(5_001);
        let half_each = format!("// {}\n", "x".repeat(40_000));
        let cases: [(Edits<'_>, &str, Class); 17] = [
            (&[], "no edits", Class::ChangesNothing),
            (&[(RECIPE, "x * 0.5", "x * 0.5")], "change nothing", Class::ChangesNothing),
            (&[(RECIPE, "/// Half.\n", "// Other words.\n\n\n")], "change nothing", Class::ChangesNothing),
            (&[(RECIPE, "0.5", "0.6"), (RECIPE, "0.6", "0.5")], "change nothing", Class::ChangesNothing),
            (&[(RECIPE, "", &long_line)], "the replacement has 65540 bytes, at most 65536", Class::BreaksRule),
            (&[(RECIPE, "", &many_lines)], "the replacement has 5001 lines, at most 5000", Class::BreaksRule),
            (
                &[(RECIPE, "/// Half.\n", &half_each), (RECIPE, "    x * 0.5\n", &half_each)],
                "the file after the edits has 80032 bytes",
                Class::BreaksRule,
            ),
            (&[(RECIPE, "0.5", "0.5\0")], "recipe.rs:3: control or invisible character U+0000", Class::BreaksRule),
            (&[(RECIPE, "0.5", "0.6\r")], "recipe.rs:3: control or invisible character U+000D", Class::BreaksRule),
            (&[(RECIPE, "0.5", "0.6 // \u{202E}")], "U+202E", Class::BreaksRule),
            (&[(RECIPE, "0.5", "0.6\u{A0}+ x")], "U+00A0", Class::BreaksRule),
            (&[(RECIPE, "", "")], "would be empty", Class::BreaksRule),
            (&[(RECIPE, "", "fn a() {}")], "not end with a line feed", Class::BreaksRule),
            (&[(RECIPE, "0.5\n}", "0.6\n")], "recipe.rs:2: this is not Rust", Class::BreaksRule),
            (
                &[(RECIPE, "0.5", "0.6 * include!(\"/tmp/x\")")],
                "recipe.rs:3:15: `include!` is not allowed in a candidate (rule include-macro): write the code",
                Class::BreaksRule,
            ),
            (&[(RECIPE, "0.5", "0.6; std::process::abort()")], "(rule process)", Class::BreaksRule),
            (&[(RECIPE, "0.7", "0.6")], "the search text was not found", Class::DoesNotFit),
        ];
        for (edits, expected, class) in cases {
            let error = check(edits).unwrap_err();
            assert!(error.to_string().contains(expected), "expected {expected:?}, got {error}");
            assert_eq!(error.class(), class, "{error}");
        }
        let edits: Vec<_> = (0..65).map(|_| (RECIPE, "0.5", "0.6")).collect();
        assert!(matches!(check(&edits), Err(EditError::TooManyEdits { count: 65, limit: 64 })));
    }

    #[test]
    fn the_baseline_itself_keeps_every_rule() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        for path in CANDIDATE_FILES {
            let text = std::fs::read_to_string(root.join(path)).unwrap();
            let file = SourceFile { path: path.to_owned(), text };
            assert_eq!(Policy::default().check_file(&file), Ok(()));
        }
    }

    #[test]
    fn what_was_there_before_does_not_excuse() {
        let mut files = files();
        files[2].text = "fn a() { unsafe {} }\n".to_owned();
        let result = CheckedPatch::check(&proposal(&[(RECIPE, "a()", "b()")]), &files, &Policy::default());
        assert!(matches!(result, Err(EditError::Forbidden(_))));
    }
}
