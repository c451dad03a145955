//! A corpus of answers as language models send them, good and bad, each with what has to come of it.
//!
//! `answers/KIND/NAME.txt` is the answer, byte for byte; `answers/expected.toml` says what it must lead to; `answers/files/` are the
//! candidate files that the answers edit, texts of the corpus' own, so that a new recipe breaks nothing here. The answers go
//! through the functions that a night uses: [`answer::read`], then [`CheckedPatch::check`] with the policy as it is.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test says what went wrong by failing")]

#[path = "answers/outcome.rs"]
mod outcome;
#[path = "answers/replay.rs"]
mod replay;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use nocturne::edit::{CANDIDATE_FILES, CheckedPatch, EditError, Policy};
use nocturne::flow::{Author, Proposal, SourceFile};
use nocturne::propose::model::answer::{self, AnswerError, Idea};

use outcome::{Expected, Seen};

/// What came of one answer.
type Read = Result<(Idea, Result<CheckedPatch, EditError>), AnswerError>;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/answers")
}

/// The candidate files that all answers are about.
fn files() -> Vec<SourceFile> {
    CANDIDATE_FILES
        .iter()
        .map(|path| {
            let name = path.rsplit('/').next().unwrap();
            let text = std::fs::read_to_string(folder().join("files").join(name)).unwrap();
            SourceFile { path: path.to_string(), text }
        })
        .collect()
}

/// Every answer by `KIND/NAME`.
fn answers() -> BTreeMap<String, String> {
    let mut answers = BTreeMap::new();
    for kind in std::fs::read_dir(folder()).unwrap() {
        let kind = kind.unwrap().path();
        if !kind.is_dir() || kind.ends_with("files") {
            continue;
        }
        for file in std::fs::read_dir(&kind).unwrap() {
            let file = file.unwrap().path();
            assert!(file.extension().is_some_and(|extension| extension == "txt"), "{} is no answer", file.display());
            let of = |path: &Path| path.file_stem().unwrap().to_str().unwrap().to_owned();
            let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
            answers.insert(format!("{}/{}", of(&kind), of(&file)), text);
        }
    }
    answers
}

/// What is expected, by `KIND/NAME`.
fn expectations() -> BTreeMap<String, Expected> {
    let text = std::fs::read_to_string(folder().join("expected.toml")).unwrap();
    let kinds: BTreeMap<String, BTreeMap<String, Expected>> = toml::from_str(&text).unwrap();
    kinds
        .into_iter()
        .flat_map(|(kind, of)| of.into_iter().map(move |(name, expected)| (format!("{kind}/{name}"), expected)))
        .collect()
}

/// Those that must apply, as read and with what they leave.
fn good() -> Vec<(String, String, Idea, CheckedPatch)> {
    let (answers, files) = (answers(), files());
    expectations()
        .into_iter()
        .filter(|(_, expected)| expected.applies())
        .map(|(name, _)| {
            let text = answers[&name].clone();
            let (idea, patch) = go(&text, &files).unwrap_or_else(|error| panic!("{name}: {error}"));
            let patch = patch.unwrap_or_else(|error| panic!("{name}: {error}"));
            (name, text, idea, patch)
        })
        .collect()
}

/// The way of a night: read, then check against the files.
fn go(text: &str, files: &[SourceFile]) -> Read {
    let idea = answer::read(text)?;
    let proposal = Proposal {
        key: "answer".to_owned(),
        title: idea.title.clone(),
        hypothesis: idea.hypothesis.clone(),
        source: String::new(),
        family: idea.family.clone(),
        predicted_effect: Some(idea.predicted),
        confidence: Some(idea.confidence),
        edits: idea.edits.clone(),
        author: Author { proposer: "model".to_owned(), model: None, cost_usd: 0.0 },
    };
    let patch = CheckedPatch::check(&proposal, files, &Policy::default());
    Ok((idea, patch))
}

#[test]
fn every_answer_comes_to_what_is_expected() {
    let (answers, expected, files) = (answers(), expectations(), files());
    let mut wrong = Vec::new();
    wrong.extend(answers.keys().filter(|name| !expected.contains_key(*name)).map(|name| format!("{name}: no line")));
    wrong.extend(expected.keys().filter(|name| !answers.contains_key(*name)).map(|name| format!("{name}: no file")));
    for (name, text) in &answers {
        let Some(expected) = expected.get(name) else { continue };
        let before = files.clone();
        let read = go(text, &files);
        assert_eq!(files, before, "{name} changed the files it was given");
        let seen = Seen::of(&read);
        wrong.extend(expected.compare(&seen, &read).into_iter().map(|complaint| format!("{name}: {complaint}")));
    }
    assert!(answers.len() >= 150, "only {} answers", answers.len());
    assert!(wrong.is_empty(), "{} of {} answers:\n{}", wrong.len(), answers.len(), wrong.join("\n"));
}

#[test]
fn what_applies_changes_only_what_its_blocks_say() {
    let files = files();
    for (name, _, idea, patch) in good() {
        for file in &files {
            let after = patch.files().iter().find(|after| after.path == file.path).unwrap_or(file);
            let edits: Vec<_> = idea.edits.iter().filter(|edit| edit.path == file.path).collect();
            assert!(replay::explains(&file.text, &after.text, &edits), "{name}: {} is not what was asked", file.path);
        }
    }
}

#[test]
fn line_ends_do_not_matter() {
    let files = files();
    for (name, text, idea, patch) in good() {
        let plain = text.replace("\r\n", "\n");
        for (ends, other) in [("LF", plain.clone()), ("CR LF", plain.replace('\n', "\r\n"))] {
            let (other, result) = go(&other, &files).unwrap_or_else(|error| panic!("{name} with {ends}: {error}"));
            assert_eq!(other, idea, "{name} with {ends}");
            assert_eq!(result.as_ref(), Ok(&patch), "{name} with {ends}");
        }
    }
}

/// An answer that was cut off is no answer, or a shorter one that ends between two of its blocks. The latter cannot be told by
/// its text, so whoever receives it must look at why the model stopped.
#[test]
fn what_was_cut_off_is_never_part_of_a_block() {
    for (name, text, idea, _) in good() {
        let ends: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
        // Long ones at a sample of places that is the same each time, and at all of them near the end.
        let step = (ends.len() / 2_000).max(1);
        let opened = |text: &str| text.lines().filter(|line| line.trim_end() == "<<<<<<< SEARCH").count();
        // Blocks of a thought in front of the answer.
        let drafts = opened(&text) - idea.edits.len();
        for (i, &end) in ends.iter().enumerate() {
            if i % step != 0 && i + 200 < ends.len() {
                continue;
            }
            if let Ok(part) = answer::read(&text[..end]) {
                assert!(idea.edits.starts_with(&part.edits), "{name}, cut at byte {end}: {:?}", part.edits);
                assert!(part.edits.len() + drafts >= opened(&text[..end]), "{name}, cut at byte {end}: within a block");
                assert!(!part.edits.is_empty(), "{name}, cut at byte {end}: nothing is left");
                assert_eq!((&part.title, part.predicted), (&idea.title, idea.predicted), "{name}, cut at byte {end}");
            }
        }
    }
}

#[test]
fn no_part_of_an_answer_and_no_mixture_brings_the_reader_down() {
    let (answers, files) = (answers(), files());
    let texts: Vec<&String> = answers.values().filter(|text| text.len() < 4_000).collect();
    for (i, text) in texts.iter().enumerate() {
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        let other: Vec<&str> = texts[(i * 7 + 3) % texts.len()].split_inclusive('\n').collect();
        for at in (0..lines.len()).step_by(3) {
            // Head of one and tail of another, the tail alone, and one line left out.
            let tail = &other[at.min(other.len())..];
            let left_out = [&lines[..at], &lines[at + 1..]].concat();
            for pieces in [[&lines[..at], tail].concat(), lines[at..].to_vec(), left_out] {
                if let Ok((_, Ok(patch))) = go(&pieces.concat(), &files) {
                    assert_eq!(patch.files().len(), patch.base().len());
                }
            }
        }
    }
}
