//! Any edits on any files.
//!
//! The input is text: a file, then edits of it. Lines that begin with `@@` divide it:
//!
//! ```text
//! pub fn rate() -> f64 {
//!     0.04
//! }
//! @@model
//! pub fn depth() -> i64 { 4 }
//! @@edit piece
//! 0.04
//! @@with
//! 0.05
//! @@lines 1 2 deeper
//! fn speed() -> f64 {
//!     0.04
//! ```
//!
//! `@@edit` quotes its search text, `@@lines FIRST COUNT` takes it from the file as it is by then. Words behind either: `model` edits the
//! second file and `other` a file that may not be edited; `piece` takes the last line feed from both texts; `trail`, `deeper`, `shallower`
//! and `cr` change the white space of a search text as models do.

use nocturne::edit::{CANDIDATE_FILES, CheckedPatch, Class, EditError, Policy, apply, content_digest, revert};
use nocturne::flow::{Author, Edit, Proposal, SourceFile};

use super::places;

/// The two files.
const FIRST: &str = CANDIDATE_FILES[2];
const SECOND: &str = CANDIDATE_FILES[0];

/// Edits of one input that are looked at; the comparison takes time for each.
const MOST_EDITS: usize = 12;

/// Whatever the files and the edits: each goes where it belongs or nowhere, all or none, and the policy has a word on the result.
pub fn check(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (files, edits) = read(&text);
    all_or_nothing(&files, &edits);
    checked(&files, &edits);
    for file in &files {
        // Whatever the file, the policy has an opinion.
        if let Err(error) = Policy::default().check_file(file) {
            assert!(!error.to_string().is_empty());
        }
    }
}

/// Files and edits of an input.
fn read(text: &str) -> (Vec<SourceFile>, Vec<Edit>) {
    let mut sections: Vec<(&str, String)> = vec![("", String::new())];
    for line in text.split_inclusive('\n') {
        match line.strip_prefix("@@") {
            Some(words) => sections.push((words.trim_end(), String::new())),
            None => {
                if let Some((_, body)) = sections.last_mut() {
                    body.push_str(line);
                }
            }
        }
    }
    let file = |path: &str, text: &str| SourceFile { path: path.to_owned(), text: text.to_owned() };
    let mut files = vec![file(FIRST, &sections[0].1), file(SECOND, "pub fn depth() -> i64 {\n    4\n}\n")];
    if let Some((_, text)) = sections.iter().find(|(words, _)| *words == "model") {
        files[1].text.clone_from(text);
    }
    // What the edits so far have left, for those that quote it.
    let mut now = files.clone();
    let mut edits: Vec<Edit> = Vec::new();
    let mut sections = sections.into_iter().skip(1).peekable();
    while let Some((words, body)) = sections.next() {
        if edits.len() == MOST_EDITS {
            break;
        }
        let words: Vec<&str> = words.split_whitespace().collect();
        let has = |word: &str| words.contains(&word);
        let path = match (has("model"), has("other")) {
            (_, true) => "trainer/src/main.rs",
            (true, false) => SECOND,
            (false, false) => FIRST,
        };
        let (mut search, mut replace) = match words.first() {
            Some(&"edit") => {
                (body, sections.next_if(|(words, _)| *words == "with").map(|(_, body)| body).unwrap_or_default())
            }
            Some(&"lines") => {
                let number = |at: usize| words.get(at).and_then(|word| word.parse::<usize>().ok()).unwrap_or(1);
                let text = now.iter().find(|file| file.path == path).map_or("", |file| file.text.as_str());
                let taken = text.split_inclusive('\n').skip(number(1).saturating_sub(1)).take(number(2).max(1));
                (taken.collect(), body)
            }
            _ => continue,
        };
        let each = |text: &str, of: &dyn Fn(&str) -> String| text.split_inclusive('\n').map(of).collect::<String>();
        if has("deeper") {
            search = each(&search, &|line| format!("    {line}"));
            replace = each(&replace, &|line| format!("    {line}"));
        }
        if has("shallower") {
            search = each(&search, &|line| line.strip_prefix("    ").unwrap_or(line).to_owned());
        }
        if has("trail") {
            search = each(&search, &|line| line.replace('\n', " \t\n"));
        }
        if has("cr") {
            search = search.replace('\n', "\r\n");
        }
        if has("piece") {
            for text in [&mut search, &mut replace] {
                text.truncate(text.trim_end_matches('\n').len());
            }
        }
        edits.push(Edit { path: path.to_owned(), search, replace });
        if let Some(Ok(after)) = edits.last().map(|edit| apply(&now, std::slice::from_ref(edit))) {
            now = after;
        }
    }
    (files, edits)
}

/// Edits leave what a second reading of them leaves, to the byte, and either all of it or nothing.
pub fn all_or_nothing(files: &[SourceFile], edits: &[Edit]) {
    let before = files.to_vec();
    let mut expected = Some(before.clone());
    for edit in edits.iter().take(MOST_EDITS) {
        expected = expected.and_then(|mut files| {
            let file = files.iter_mut().find(|file| file.path == edit.path)?;
            file.text = places::expected(&file.text, &edit.search, &edit.replace)?;
            Some(files)
        });
    }
    let done = apply(files, &edits[..edits.len().min(MOST_EDITS)]);
    assert_eq!(files, before, "the files that were given have changed");
    match (done, expected) {
        (Ok(done), Some(expected)) => assert_eq!(done, expected, "{edits:?}"),
        (Err(error), None) => assert!(!error.to_string().is_empty()),
        (Ok(done), None) => panic!("applied where it does not belong: {edits:?} to {files:?} left {done:?}"),
        (Err(error), Some(_)) => panic!("refused where it belongs: {edits:?} to {files:?}: {error}"),
    }
}

/// What passes the policy is what the edits leave, keeps every rule, can be told from what was there and be taken back; what does not
/// pass has a reason.
pub fn checked(files: &[SourceFile], edits: &[Edit]) {
    let proposal = Proposal {
        key: "fuzzed".to_owned(),
        title: "Fuzzed".to_owned(),
        hypothesis: String::new(),
        source: String::new(),
        family: "fuzzed".to_owned(),
        predicted_effect: None,
        confidence: None,
        edits: edits.to_vec(),
        author: Author { proposer: "model".to_owned(), model: None, cost_usd: 0.0 },
    };
    let policy = Policy::default();
    let patch = match CheckedPatch::check(&proposal, files, &policy) {
        Ok(patch) => patch,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            if error.class() == Class::DoesNotFit && !matches!(error, EditError::NotEditable { .. }) {
                assert!(apply(files, edits).is_err(), "said not to fit, and fits: {error}");
            }
            return;
        }
    };
    let Ok(after) = apply(files, edits) else { panic!("passed, and does not apply: {edits:?}") };
    for (before, after) in files.iter().zip(&after) {
        let base = patch.base().iter().find(|file| file.path == before.path);
        let changed = patch.files().iter().find(|file| file.path == before.path);
        assert_eq!(base, (before != after).then_some(before), "the base of the patch");
        assert_eq!(changed, (before != after).then_some(after), "the files of the patch");
    }
    assert!(!patch.files().is_empty() && !patch.diff().is_empty());
    assert!(patch.lines_added() + patch.lines_removed() > 0);
    let mut sorted = after.clone();
    sorted.sort_by(|a, b| a.path.cmp(&b.path));
    assert_eq!(patch.digest(), content_digest(&sorted));
    assert_ne!(patch.digest(), content_digest(files), "passed, and computes the same");
    for file in patch.files() {
        assert_eq!(policy.check_file(file), Ok(()), "passed, and breaks a rule");
    }
    // The morning leaves kept changes out: this one alone must come back out in full.
    match revert(files, &after, &after) {
        Ok(back) => match apply(&after, &back) {
            Ok(back) => assert_eq!(back, files, "taken back to something else"),
            Err(error) => panic!("taken back by what does not apply: {error}"),
        },
        Err(error) => panic!("cannot be taken back: {error}"),
    }
}
