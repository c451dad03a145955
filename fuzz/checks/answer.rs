//! Any text as a model's answer.

use nocturne::edit::{CANDIDATE_FILES, blocks};
use nocturne::flow::SourceFile;
use nocturne::propose::model::answer;

use super::apply::{all_or_nothing, checked};

/// The files that the corpus of answers (`agent/tests/answers/`) is about, in the order of [`CANDIDATE_FILES`].
const FILES: [&str; 4] = [
    include_str!("../../agent/tests/answers/files/model.rs"),
    include_str!("../../agent/tests/answers/files/optimizer.rs"),
    include_str!("../../agent/tests/answers/files/recipe.rs"),
    include_str!("../../agent/tests/answers/files/training.rs"),
];

/// Whatever the text: an idea that keeps to its bounds, or a complaint; and then edits that do what they say, or nothing.
pub fn check(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let read = answer::read(&text);
    assert_eq!(read, answer::read(&text), "the same text was read in two ways");
    let idea = match read {
        Ok(idea) => idea,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    assert!((0.0..=1.0).contains(&idea.confidence), "a confidence of {}", idea.confidence);
    assert!(idea.predicted.is_finite() && idea.predicted.abs() < 10.0, "a prediction of {}", idea.predicted);
    let on_one_line = |text: &str| !text.is_empty() && !text.contains(['\n', '\r', '\u{1b}', '\u{202e}']);
    assert!(on_one_line(&idea.title) && idea.title.chars().count() <= 72, "the title {:?}", idea.title);
    assert!(on_one_line(&idea.hypothesis) && idea.hypothesis.chars().count() <= 2_000);
    let is_family = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    assert!(
        !idea.family.is_empty() && idea.family.len() <= 30 && idea.family.chars().all(is_family),
        "{}",
        idea.family
    );
    assert!(!idea.edits.is_empty());
    // Every edit stands in the text as a block, lines and all.
    let plain = |text: &str| text.replace('\r', "");
    let text = plain(&text);
    for edit in &idea.edits {
        assert!(text.contains(&plain(&edit.search)), "no search text {:?}", edit.search);
        assert!(text.contains(&plain(&edit.replace)), "no replacement {:?}", edit.replace);
    }
    if let Ok(written) = blocks::render(&idea.edits) {
        assert_eq!(blocks::parse(&written).as_ref(), Ok(&idea.edits), "what was read cannot be written and read again");
    }

    let files: Vec<SourceFile> = CANDIDATE_FILES
        .iter()
        .zip(FILES)
        .map(|(path, text)| SourceFile { path: path.to_string(), text: text.to_owned() })
        .collect();
    all_or_nothing(&files, &idea.edits);
    checked(&files, &idea.edits);
}
