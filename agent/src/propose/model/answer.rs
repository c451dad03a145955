//! What a language model answers with: some lines about the idea, then SEARCH/REPLACE blocks.
//!
//! ```text
//! Title: Warm down over the last half of the run
//! Hypothesis: ...
//! Family: schedule
//! Predicted: -0.002
//! Confidence: 0.4
//!
//! trainer/src/candidate/recipe.rs
//! <<<<<<< SEARCH
//! ...
//! ```
//!
//! The lines may stand in any order, in bold or as a list, with text around them; the first of each name counts, and only above the first
//! block, so that nothing inside an edit is taken for one. What is missing is said, all of it at once, so that one more round can mend it.
//! Nothing here touches a file.

use crate::edit::blocks::{self, BlockError};
use crate::flow::Edit;

/// Longest title; longer ones are cut, for a title is a commit's first line.
const MOST_TITLE: usize = 72;

/// Characters of a hypothesis that are kept.
const MOST_HYPOTHESIS: usize = 2_000;

/// Characters of a family's name.
const MOST_FAMILY: usize = 30;

/// An answer as its author meant it, not yet tried on any file.
#[derive(Debug, Clone, PartialEq)]
pub struct Idea {
    /// One line, in the imperative.
    pub title: String,
    /// Why it should help.
    pub hypothesis: String,
    /// What kind of change it is; lower-case words joined by dashes.
    pub family: String,
    /// Predicted change in bits per byte, negative is better.
    pub predicted: f64,
    /// Probability that it is an improvement, 0 to 1.
    pub confidence: f64,
    /// Its edits.
    pub edits: Vec<Edit>,
}

/// What is wrong with an answer; goes back to its author.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum AnswerError {
    /// Lines are missing or not what they should be.
    #[error("the answer's lines need mending:\n{}", .0.join("\n"))]
    Lines(
        /// One complaint each.
        Vec<String>,
    ),
    /// The blocks cannot be read.
    #[error("{0}")]
    Blocks(#[from] BlockError),
}

/// The lines that an answer begins with.
const TITLE: &str = "title";
const HYPOTHESIS: &str = "hypothesis";
const FAMILY: &str = "family";
const PREDICTED: &str = "predicted";
const CONFIDENCE: &str = "confidence";
const NAMES: [&str; 5] = [TITLE, HYPOTHESIS, FAMILY, PREDICTED, CONFIDENCE];

/// Reads an answer.
///
/// # Errors
/// What its author should mend; the lines first, because without them a good edit is of no use either.
pub fn read(text: &str) -> Result<Idea, AnswerError> {
    let said = Said::of(text);
    let mut problems = Vec::new();
    let mut need = |name: &str, what: &str| {
        let value = said.value(name);
        if value.is_none() {
            problems.push(format!("`{}:` is missing; {what}", capital(name)));
        }
        value.unwrap_or_default()
    };
    let title = need(TITLE, "one line in the imperative that says what is changed");
    let hypothesis = need(HYPOTHESIS, "a few sentences on why it should help");
    let family = need(FAMILY, "one word for the kind of change, such as schedule, optimizer, attention");
    let predicted = need(PREDICTED, "the change of val_bpb that you expect, such as -0.002");
    let confidence = need(CONFIDENCE, "how probable an improvement is, from 0 to 1");
    let mut number = |name: &str, text: &str, fits: fn(f64) -> bool, what: &str| {
        let value = figure(text).filter(|value| fits(*value));
        if value.is_none() && !text.is_empty() {
            let shown: String = text.chars().take(60).collect();
            problems.push(format!("`{}: {shown}` is no {what}", capital(name)));
        }
        value.unwrap_or_default()
    };
    let predicted = number(PREDICTED, &predicted, |value| value.abs() < 10.0, "difference in bits per byte");
    let confidence = number(CONFIDENCE, &confidence, |value| (0.0..=1.0).contains(&value), "probability from 0 to 1");
    if !problems.is_empty() {
        return Err(AnswerError::Lines(problems));
    }
    let edits = blocks::parse(text)?;
    Ok(Idea {
        title: one_line(&title, MOST_TITLE),
        hypothesis: hypothesis.chars().take(MOST_HYPOTHESIS).collect(),
        family: family_name(&family),
        predicted,
        confidence,
        edits,
    })
}

/// The named lines above the first block; a hypothesis may go on over several.
struct Said {
    values: Vec<(&'static str, String)>,
}

impl Said {
    fn of(text: &str) -> Self {
        let mut values: Vec<(&'static str, String)> = Vec::new();
        let mut open = false;
        for line in text.lines().take_while(|line| !line.trim_start().starts_with("<<<<<")) {
            match named(line) {
                Some((name, value)) => {
                    open = !values.iter().any(|(known, _)| *known == name);
                    if open {
                        values.push((name, value.to_owned()));
                    }
                }
                // Only a hypothesis goes on; an empty line ends it.
                None if line.trim().is_empty() => open = false,
                None => {
                    if let Some((HYPOTHESIS, value)) = values.last_mut().filter(|_| open) {
                        value.push(' ');
                        value.push_str(line.trim());
                    }
                }
            }
        }
        Self { values }
    }

    fn value(&self, name: &str) -> Option<String> {
        let (_, value) = self.values.iter().find(|(known, _)| *known == name)?;
        Some(value.trim().to_owned()).filter(|value| !value.is_empty())
    }
}

/// `Title: text`, also as `**Title:** text`, `- Title: text`, `## Title: text`.
fn named(line: &str) -> Option<(&'static str, &str)> {
    let dressed = |c: char| c.is_whitespace() || matches!(c, '*' | '#' | '-' | '`' | '_' | '>');
    let (name, value) = line.trim_start_matches(dressed).split_once(':')?;
    let name = name.trim_end_matches(dressed);
    let known = NAMES.into_iter().find(|known| known.eq_ignore_ascii_case(name))?;
    // What closes the dress of the name stands before the value: `**Title:** text`.
    let value = value.trim_start_matches(['*', '_', '`']).trim();
    Some((known, value))
}

/// A number, with the sign that typesetters use, and without a unit behind it.
fn figure(text: &str) -> Option<f64> {
    let text = text.trim().trim_matches(['`', '*']).replace('\u{2212}', "-");
    let end = text.find(|c: char| c.is_whitespace() || c == '%' || c == '(').unwrap_or(text.len());
    let (number, rest) = text.split_at(end);
    let value: f64 = number.parse().ok().filter(|value: &f64| value.is_finite())?;
    Some(if rest.trim_start().starts_with('%') { value / 100.0 } else { value })
}

/// Printable, on one line, at most so long.
fn one_line(text: &str, most: usize) -> String {
    let plain: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let trimmed = plain.trim().trim_end_matches('.');
    match trimmed.char_indices().nth(most) {
        None => trimmed.to_owned(),
        // Cut between words where there is a place.
        Some((end, _)) => {
            let cut = &trimmed[..end];
            cut.rsplit_once(' ').map_or(cut, |(words, _)| words).trim_end().to_owned()
        }
    }
}

fn family_name(text: &str) -> String {
    let words: String = text
        .to_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .take(MOST_FAMILY)
        .collect();
    let joined: Vec<&str> = words.split('-').filter(|word| !word.is_empty()).collect();
    if joined.is_empty() { "other".to_owned() } else { joined.join("-") }
}

fn capital(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map(|first| first.to_ascii_uppercase().to_string() + letters.as_str()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BLOCK: &str =
        "trainer/src/candidate/recipe.rs\n<<<<<<< SEARCH\nrate: 0.04,\n=======\nrate: 0.05,\n>>>>>>> REPLACE\n";

    fn answer(lines: &str) -> Result<Idea, AnswerError> {
        read(&format!("{lines}\n\n{BLOCK}"))
    }

    #[test]
    fn an_answer_is_read_however_it_is_dressed() {
        for lines in [
            "Title: Raise the rate\nHypothesis: It is low.\nStill.\nFamily: Learning rate\nPredicted: -0.002\nConfidence: 0.4",
            "Sure!\n\n**Title:** Raise the rate.\n- **Hypothesis:** It is low. Still.\n\n## family: learning-rate\n`Predicted: \u{2212}0.002 bpb`\nCONFIDENCE: 40 %",
            "Confidence: 0.4 (a guess)\nPredicted: -2e-3\nFamily: learning_rate\nTitle: Raise the rate\nTitle: Another\nHypothesis: It is low.\nStill.\n\nNot part of it: no.",
        ] {
            let idea = answer(lines).unwrap();
            assert_eq!((idea.title.as_str(), idea.family.as_str()), ("Raise the rate", "learning-rate"), "{lines}");
            assert_eq!((idea.hypothesis.as_str(), idea.predicted, idea.confidence), ("It is low. Still.", -0.002, 0.4));
            assert_eq!(idea.edits.len(), 1);
        }
    }

    #[test]
    fn all_that_is_missing_is_said_at_once() {
        let error = answer("Title: T\nPredicted: much\nConfidence: 2").unwrap_err().to_string();
        for words in
            ["`Hypothesis:` is missing", "`Family:` is missing", "`Predicted: much` is no", "`Confidence: 2` is no"]
        {
            assert!(error.contains(words), "{error}");
        }
        assert!(!error.contains("Title"), "{error}");
    }

    #[test]
    fn lines_within_an_edit_are_none_of_the_answers() {
        let text = format!("Title: T\n{}", BLOCK.replace("rate: 0.05,", "// Hypothesis: x\n// Family: y"));
        let error = read(&text).unwrap_err().to_string();
        assert!(error.contains("`Hypothesis:` is missing"), "{error}");
    }

    #[test]
    fn blocks_that_cannot_be_read_are_told_of() {
        let lines = "Title: T\nHypothesis: h\nFamily: f\nPredicted: 0\nConfidence: 0.5\n";
        assert!(matches!(read(lines), Err(AnswerError::Blocks(BlockError::NoBlocks))));
        let cut = format!("{lines}{}", &BLOCK[..BLOCK.len() - 20]);
        assert!(matches!(read(&cut), Err(AnswerError::Blocks(BlockError::Unfinished { .. }))));
    }

    #[test]
    fn a_long_title_is_cut_between_words() {
        let lines = format!("Title: {}\nHypothesis: h\nFamily: ?!\nPredicted: 0\nConfidence: 1", "word ".repeat(40));
        let idea = answer(&lines).unwrap();
        assert!(idea.title.chars().count() <= 72 && idea.title.ends_with("word"), "{:?}", idea.title);
        assert_eq!(idea.family, "other");
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC{0,60}|((Title|Family|Predicted|Confidence|Hypothesis): ?[-0-9.a-zä% ]{0,20}\n?|<<<<<<< SEARCH\n|=======\n|\r){0,12}") {
            if let Ok(idea) = read(&text) {
                prop_assert!((0.0..=1.0).contains(&idea.confidence) && idea.predicted.is_finite());
            }
        }
    }
}
