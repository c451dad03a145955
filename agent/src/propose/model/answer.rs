//! What a language model answers with: some lines about the idea, then SEARCH/REPLACE blocks.
//!
//! ```text
//! Title: Warm down over the last half of the run
//! Hypothesis: ...
//! Family: schedule
//! Predicted: -0.002
//! Confidence: 0.4
//! Edits: 1
//!
//! trainer/src/candidate/recipe.rs
//! <<<<<<< SEARCH
//! ...
//! ```
//!
//! The lines may stand in any order, in bold or as a list, with text around them; the first of each name counts, and only above the first
//! block, so that nothing inside an edit is taken for one. What is missing is said, all of it at once, so that one more round can mend it.
//! A thought in front of the answer, as some servers send it along, is none of the answer. Nothing here touches a file.

use super::habits;
use crate::edit::blocks::{self, BlockError};
use crate::edit::is_unprintable;
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
    /// There are more or fewer blocks than the answer says: one was lost, or a marker.
    #[error(
        "`Edits: {said}` does not agree with the {found} blocks that follow; write every block with all its markers, and count them again"
    )]
    Count {
        /// What the line says.
        said: usize,
        /// Blocks that were found.
        found: usize,
    },
    /// The blocks can be read, and hold what is not meant as code.
    #[error("{}", .0.join("\n"))]
    Habits(
        /// One complaint each.
        Vec<String>,
    ),
}

/// The lines that an answer begins with.
const TITLE: &str = "title";
const HYPOTHESIS: &str = "hypothesis";
const FAMILY: &str = "family";
const PREDICTED: &str = "predicted";
const CONFIDENCE: &str = "confidence";
/// How many blocks follow; an answer may do without.
const EDITS: &str = "edits";
const NAMES: [&str; 6] = [TITLE, HYPOTHESIS, FAMILY, PREDICTED, CONFIDENCE, EDITS];

/// What is put around thoughts; the first of a pair is left out by servers whose template has written it already.
const THOUGHTS: [(&str, &str); 2] = [("<think>", "</think>"), ("<thinking>", "</thinking>")];

/// Reads an answer. Lines in messages are counted behind a thought.
///
/// # Errors
/// What its author should mend; the lines first, because without them a good edit is of no use either.
pub fn read(text: &str) -> Result<Idea, AnswerError> {
    let text = behind_thought(text);
    let said = Said::of(text);
    let mut problems = Vec::new();
    let mut need = |name: &str, what: &str| {
        let value = said.value(name);
        match &value {
            None if said.below.contains(&name) => problems.push(format!(
                "`{}:` stands below the first block; write all lines about the idea above it",
                capital(name)
            )),
            None => problems.push(format!("`{}:` is missing; {what}", capital(name))),
            Some(_) => {}
        }
        value.unwrap_or_default()
    };
    let title = need(TITLE, "one line in the imperative that says what is changed");
    let hypothesis = need(HYPOTHESIS, "a few sentences on why it should help");
    let family = need(FAMILY, "one word for the kind of change, such as schedule, optimizer, attention");
    let predicted = need(PREDICTED, "the change of val_bpb that you expect, such as -0.002");
    let confidence = need(CONFIDENCE, "how probable an improvement is, from 0 to 1");
    if !title.is_empty() && said.below.contains(&TITLE) {
        // Otherwise the effect of both ideas would be booked on the first.
        problems.push(
            "`Title:` stands below the first block once more; send one idea, its lines above its blocks".to_owned(),
        );
    }
    let mut number = |name: &str, text: &str, fits: fn(f64) -> bool, what: &str| {
        // A change of so many percent says nothing as long as nobody knows of what.
        let value = figure(text, name == CONFIDENCE).filter(|value| fits(*value));
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
    if let Some(said) = said.value(EDITS).and_then(|count| leading_count(&count)).filter(|said| *said != edits.len()) {
        return Err(AnswerError::Count { said, found: edits.len() });
    }
    let complaints = habits::complaints(&edits);
    if !complaints.is_empty() {
        return Err(AnswerError::Habits(complaints));
    }
    Ok(Idea {
        title: one_line(&title, MOST_TITLE),
        hypothesis: hypothesis.chars().take(MOST_HYPOTHESIS).map(printable).collect(),
        family: family_name(&family),
        predicted,
        confidence,
        edits,
    })
}

/// Whether an answer can be read: as a whole idea or, where one is being mended, as blocks alone. For counting answers afterwards.
pub fn is_readable(text: &str, mends: bool) -> bool {
    if !mends || has_title(text) {
        return read(text).is_ok();
    }
    blocks::parse(behind_thought(text)).is_ok_and(|edits| habits::complaints(&edits).is_empty())
}

/// The text without a byte order mark and the thought that it begins with. A thought that does not end is all there is: drafts of
/// blocks in it are no answer.
pub(super) fn behind_thought(text: &str) -> &str {
    let text = text.trim_start_matches('\u{FEFF}');
    for (open, close) in THOUGHTS {
        match text.find(close) {
            Some(at) => return &text[at + close.len()..],
            None if text.trim_start().starts_with(open) => return "",
            None => {}
        }
    }
    text
}

/// Whether an answer has lines about an idea of its own, and not only blocks.
pub(super) fn has_title(text: &str) -> bool {
    Said::of(behind_thought(text)).value(TITLE).is_some()
}

/// `2`, also as `2 blocks`; `None` where no number stands.
fn leading_count(text: &str) -> Option<usize> {
    let digits: String = text.trim_start_matches(['`', '*']).chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

/// The named lines above the first block; a hypothesis may go on over several.
struct Said {
    values: Vec<(&'static str, String)>,
    /// Names that stand outside of blocks below the first one.
    below: Vec<&'static str>,
}

impl Said {
    fn of(text: &str) -> Self {
        let mut values: Vec<(&'static str, String)> = Vec::new();
        let mut open = false;
        let above: Vec<&str> = text.lines().take_while(|line| !opens_block(line)).collect();
        let is_fence = |line: &str| line.trim_start().starts_with("```") || line.trim_start().starts_with("~~~");
        // The path of the first block, if the line is not a named one.
        let path = above.iter().rposition(|line| !line.trim().is_empty() && !is_fence(line));
        let path = path.filter(|_| text.lines().nth(above.len()).is_some());
        for (i, line) in above.iter().enumerate() {
            match named(line) {
                Some((name, value)) => {
                    open = !values.iter().any(|(known, _)| *known == name);
                    if open {
                        values.push((name, value.to_owned()));
                    }
                }
                // Only a hypothesis goes on; an empty line, a fence or the first block ends it.
                None if line.trim().is_empty() || is_fence(line) || path == Some(i) => open = false,
                None => {
                    if let Some((HYPOTHESIS, value)) = values.last_mut().filter(|_| open) {
                        value.push(' ');
                        value.push_str(line.trim());
                    }
                }
            }
        }
        let mut below = Vec::new();
        let mut inside = false;
        for line in text.lines().skip(above.len()) {
            inside = opens_block(line) || (inside && !line.trim_start().starts_with(">>>>>"));
            below.extend(named(line).filter(|_| !inside).map(|(name, _)| name));
        }
        Self { values, below }
    }

    fn value(&self, name: &str) -> Option<String> {
        let (_, value) = self.values.iter().find(|(known, _)| *known == name)?;
        // Dots and asterisks alone say nothing.
        Some(value.trim().to_owned()).filter(|value| value.chars().any(char::is_alphanumeric))
    }
}

/// Whether a line is a block's first marker, whole or damaged.
fn opens_block(line: &str) -> bool {
    line.trim_start().starts_with("<<<<<")
}

/// `Title: text`, also as `**Title:** text`, `- Title: text`, `1. Title: text`, `## Title: text`.
fn named(line: &str) -> Option<(&'static str, &str)> {
    let dressed = |c: char| c.is_whitespace() || matches!(c, '*' | '#' | '-' | '`' | '_' | '>');
    let line = line.trim_start_matches(dressed);
    let (digits, item) = line.split_at(line.len() - line.trim_start_matches(|c: char| c.is_ascii_digit()).len());
    let item = item.strip_prefix(['.', ')']).filter(|_| !digits.is_empty()).unwrap_or(line);
    let (name, value) = item.trim_start_matches(dressed).split_once(':')?;
    let name = name.trim_end_matches(dressed);
    let known = NAMES.into_iter().find(|known| known.eq_ignore_ascii_case(name))?;
    // What closes the dress of the name stands before the value: `**Title:** text`.
    let value = value.trim_start_matches(['*', '_', '`']).trim();
    // What closes the dress of the whole line stands behind it: `**Title: text**`.
    let undressed = ["**", "`", "*"].iter().fold(value, |value, mark| {
        let single = value.matches(mark).count() % 2 == 1;
        value.strip_suffix(mark).filter(|_| single).unwrap_or(value).trim_end()
    });
    Some((known, undressed))
}

/// A number, with the signs that typesetters use, and without a unit behind it; percent where `percent` has a meaning.
fn figure(text: &str, percent: bool) -> Option<f64> {
    let text = text.trim().trim_matches(['`', '*']).replace(['\u{2212}', '\u{2013}'], "-");
    let end = text.find(|c: char| c.is_whitespace() || c == '%' || c == '(').unwrap_or(text.len());
    let (number, rest) = text.split_at(end);
    let value: f64 = number.parse().ok().filter(|value: &f64| value.is_finite())?;
    match rest.trim_start().starts_with('%') {
        true => percent.then_some(value / 100.0),
        false => Some(value),
    }
}

/// A space for what would move the cursor, hide or reorder text where people read it.
fn printable(c: char) -> char {
    if is_unprintable(c) { ' ' } else { c }
}

/// Printable, on one line, at most so long.
fn one_line(text: &str, most: usize) -> String {
    let plain: String = text.chars().map(printable).collect();
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
            "**Title: Raise the rate**\n`Hypothesis: It is low. Still.`\n*Family: learning rate*\nPredicted: -0.002\nConfidence: **0.4**",
            "\u{FEFF}1. Title: Raise the rate\n2. Hypothesis: It is low. Still.\n3) Family: learning rate\n4. Predicted: \u{2013}0.002\n5. Confidence: 40%",
            "<think>\nTitle: A draft\nx.rs\n<<<<<<< SEARCH\nx\n</think>\nTitle: Raise the rate\nFamily: learning rate\nPredicted: -0.002\nConfidence: 0.4\nHypothesis: It is low. Still.\n```rust",
            "Title: another draft\n</think>\nTitle: Raise the rate\nHypothesis: It is low. Still.\nFamily: learning rate\nPredicted: -0.002\nConfidence: 0.4",
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
    fn percent_of_nobody_knows_what_is_no_effect() {
        let lines = "Title: T\nHypothesis: h\nFamily: f\nPredicted: -0.5 %\nConfidence: 40 %";
        assert!(answer(lines).unwrap_err().to_string().contains("`Predicted: -0.5 %` is no difference"));
    }

    #[test]
    fn two_ideas_are_no_answer() {
        let lines = "Title: T\nHypothesis: h\nFamily: f\nPredicted: 0\nConfidence: 0.5";
        let error = read(&format!("{lines}\n\n{BLOCK}\nOr:\n**Title:** U\n\n{BLOCK}")).unwrap_err().to_string();
        assert!(error.contains("below the first block once more; send one idea"), "{error}");
        let error = read(&format!("{BLOCK}\n{lines}\n")).unwrap_err().to_string();
        assert_eq!(error.matches("stands below the first block; write").count(), 5, "{error}");
        // Within an edit it is code.
        assert!(answer(&format!("{lines}\n\n{}", BLOCK.replace("0.05,", "0.05,\n// Title: U"))).is_ok());
    }

    #[test]
    fn a_count_of_edits_must_be_right_where_there_is_one() {
        let lines = "Title: T\nHypothesis: h\nFamily: f\nPredicted: 0\nConfidence: 0.5\nEdits: ";
        for (said, fits) in
            [("1", true), ("**1** block", true), ("", true), ("see below", true), ("2", false), ("0", false)]
        {
            assert_eq!(answer(&format!("{lines}{said}")).is_ok(), fits, "{said}");
        }
        let error = answer(&format!("{lines}3")).unwrap_err().to_string();
        assert!(error.contains("`Edits: 3` does not agree with the 1 blocks"), "{error}");
    }

    #[test]
    fn an_unfinished_thought_is_no_answer() {
        let text = format!("<think>\nTitle: T\nHypothesis: h\nFamily: f\nPredicted: 0\nConfidence: 1\n\n{BLOCK}");
        assert!(matches!(read(&text), Err(AnswerError::Lines(missing)) if missing.len() == 5));
    }

    #[test]
    fn what_people_read_is_printable() {
        let idea =
            answer("Title: a\u{1b}[31m \u{202e}b\nHypothesis: h\u{7}i\u{200b}\nFamily: f\nPredicted: 0\nConfidence: 1")
                .unwrap();
        assert_eq!((idea.title.as_str(), idea.hypothesis.as_str()), ("a [31m  b", "h i "));
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
        let lines =
            format!("Title: {}\nHypothesis: h\nFamily: \u{3bb}\nPredicted: 0\nConfidence: 1", "word ".repeat(40));
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
