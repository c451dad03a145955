//! What may go into the person's queue, and what becomes of it: whoever adds an idea (the command, a coding agent outside) asks [`check`]
//! first, and a night that takes one with a patch makes it a proposal with [`proposal`]. Pure; [`store`](crate::store) keeps the queue.

use crate::edit::{CheckedPatch, DiffError, EditError, Policy, edits_of_diff, is_unprintable};
use crate::flow::{Proposal, SourceFile};
use crate::records::{QueueEntry, QueueState};

/// Characters of an idea in words.
pub const MOST_WORDS: usize = 4_000;

/// Why something cannot go into the queue, or cannot be tested.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// Nothing is said.
    #[error("an idea needs words: say in a sentence what to try and why")]
    NoWords,
    /// More than an idea.
    #[error("the idea has {0} characters, at most {MOST_WORDS} are taken; say it shorter")]
    TooManyWords(
        /// How many it has.
        usize,
    ),
    /// A character that shows as nothing or as something else.
    #[error("the idea holds the invisible character U+{0:04X}; only printable text and line breaks are taken")]
    Unprintable(
        /// Its code point.
        u32,
    ),
    /// The patch cannot be read or does not fit.
    #[error("{0}")]
    Diff(#[from] DiffError),
    /// What the patch makes of the candidate cannot be tested.
    #[error("what the patch makes cannot be tested: {0}")]
    Edit(#[from] EditError),
    /// There is none.
    #[error("idea {0} of the queue has no patch: it is for a model to make edits of its words")]
    NoPatch(
        /// Which.
        u32,
    ),
}

/// Whether an idea can be queued: its words, and its patch on `files`, the candidate files as they are now. What a patch makes must be
/// something that may be tested (see [`Policy`]); whether it compiles is found out at night.
///
/// # Errors
/// See [`Unfit`].
pub fn check(words: &str, patch: Option<&str>, files: &[SourceFile]) -> Result<(), Unfit> {
    if words.trim().is_empty() {
        return Err(Unfit::NoWords);
    }
    let length = words.chars().count();
    if length > MOST_WORDS {
        return Err(Unfit::TooManyWords(length));
    }
    if let Some(odd) = words.chars().find(|c| *c != '\n' && is_unprintable(*c)) {
        return Err(Unfit::Unprintable(u32::from(odd)));
    }
    if let Some(patch) = patch {
        let entry = QueueEntry {
            id: 0,
            campaign: String::new(),
            place: 0,
            words: words.to_owned(),
            by: None,
            patch: Some(patch.to_owned()),
            state: QueueState::Waiting,
            taken: None,
            result: None,
            created_at: jiff::Timestamp::UNIX_EPOCH,
            settled_at: None,
        };
        CheckedPatch::check(&proposal(&entry, files)?, files, &Policy::default())?;
    }
    Ok(())
}

/// An entry's patch as a proposal, fitted to `files`: the champion's.
///
/// # Errors
/// [`Unfit::Diff`] where it does not fit, [`Unfit::NoPatch`] where there is none.
pub fn proposal(entry: &QueueEntry, files: &[SourceFile]) -> Result<Proposal, Unfit> {
    let patch = entry.patch.as_ref().ok_or(Unfit::NoPatch(entry.id))?;
    Ok(entry.proposal(edits_of_diff(patch, files)?))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::edit::CANDIDATE_FILES;

    fn baseline() -> Vec<SourceFile> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let read = |path: &&str| SourceFile {
            path: (*path).to_owned(),
            text: std::fs::read_to_string(root.join(path)).unwrap(),
        };
        CANDIDATE_FILES.iter().map(read).collect()
    }

    /// A diff that puts `to` (as many lines as it has) in the place of a line of the recipe.
    fn patch(from: &str, to: &str) -> String {
        let path = "trainer/src/candidate/recipe.rs";
        let added: String = to.lines().map(|line| format!("+{line}\n")).collect();
        format!("--- a/{path}\n+++ b/{path}\n@@ -1 +1,{} @@\n-{from}\n{added}", to.lines().count())
    }

    const CAP: &str = "            softcap: 15.0,";

    #[test]
    fn what_can_be_tested_is_taken() {
        let files = baseline();
        let good = patch(CAP, "            softcap: 20.0,");
        assert_eq!(check("try a\nlarger cap", Some(&good), &files), Ok(()));
        assert_eq!(check("in words", None, &files), Ok(()));
    }

    #[test]
    fn what_cannot_be_tested_is_told_at_once() {
        let files = baseline();
        let good = patch(CAP, "            softcap: 20.0,");
        let cases = [
            (" \n", None, "needs words"),
            (&"x".repeat(4_001), None, "4001 characters"),
            ("a\u{202e}b", None, "U+202E"),
            ("a\u{0}", None, "U+0000"),
            ("a", Some(String::new()), "holds no hunk"),
            ("a", Some(patch(CAP, CAP)), "change nothing"),
            ("a", Some(patch(CAP, &format!("{CAP} // higher"))), "change nothing"),
            ("a", Some(good.replace("recipe.rs", "mod.rs")), "may not be edited"),
            ("a", Some(patch("no such line", "x")), "nothing in the file looks like its lines"),
            ("a", Some(patch(CAP, "    }}}}")), "not Rust"),
            (
                "a",
                Some(patch(CAP, &format!("{CAP}\n            x: std::fs::read(\"x\"),"))),
                "is not allowed in a candidate",
            ),
        ];
        for (words, patch, told) in cases {
            let error = check(words, patch.as_deref(), &files).unwrap_err().to_string();
            assert!(error.contains(told), "{error}\nshould say: {told}");
        }
    }
}
