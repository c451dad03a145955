//! Commit messages and branch names from a proposer's words, which may be anything.

use crate::edit::is_unprintable;
use crate::flow::{CommitId, ExperimentId, Proposal};

/// The trailer that names the experiment.
pub(super) const EXPERIMENT: &str = "Nocturne-Experiment";

const WIDTH: usize = 72;
const MAX_TITLE: usize = 72;
const MAX_TRAILER: usize = 120;
const MAX_HYPOTHESIS: usize = 4_000;

/// The commit message of an experiment: title, hypothesis, source, then the trailers `Nocturne-Experiment`,
/// `Nocturne-Proposer`, and `Predicted-Effect` and `Predicted-Confidence` where they were given.
///
/// Only those can be read as trailers. The proposer's words come out as wrapped paragraphs of printable text, and a line of
/// them that looks like a trailer or like the start of a patch is quoted with `> `.
pub fn commit_message(experiment: &ExperimentId, proposal: &Proposal) -> String {
    let mut message = words_of(experiment, proposal);
    message += &trailers_of(experiment, proposal);
    message
}

/// The message of an accepted experiment's clean commit: as [`commit_message`], with a paragraph of what was found before the trailers,
/// and two trailers more: `Measured-Effect`, where there is one (bits per byte, negative is better), and `Nocturne-Commit`, the commit
/// that was measured.
pub fn accepted_message(
    experiment: &ExperimentId,
    proposal: &Proposal,
    found: &[String],
    measured: Option<f64>,
    commit: &CommitId,
) -> String {
    let mut message = words_of(experiment, proposal);
    for paragraph in found {
        message += &paragraph_of(paragraph);
    }
    message += &trailers_of(experiment, proposal);
    if let Some(effect) = measured.filter(|effect| effect.is_finite()) {
        message += &format!("Measured-Effect: {effect:+.6} bits per byte\n");
    }
    message + &format!("Nocturne-Commit: {commit}\n")
}

/// Title, hypothesis and source, each paragraph followed by an empty line.
fn words_of(experiment: &ExperimentId, proposal: &Proposal) -> String {
    let mut title = shorten(&one_line(&proposal.title), MAX_TITLE);
    if title.is_empty() {
        title = format!("Experiment {experiment}");
    }
    let mut words = title + "\n\n";
    let source = one_line(&proposal.source);
    let source = if source.is_empty() { source } else { format!("Based on {}.", source.trim_end_matches('.')) };
    let hypothesis: String = proposal.hypothesis.chars().take(MAX_HYPOTHESIS).collect();
    for paragraph in hypothesis.split("\n\n").chain([source.as_str()]) {
        words += &paragraph_of(paragraph);
    }
    words
}

/// A paragraph's lines and an empty one; nothing where it says nothing.
fn paragraph_of(words: &str) -> String {
    let mut paragraph = String::new();
    for line in wrap(&one_line(words)) {
        paragraph += &quote(line);
        paragraph.push('\n');
    }
    if !paragraph.is_empty() {
        paragraph.push('\n');
    }
    paragraph
}

fn trailers_of(experiment: &ExperimentId, proposal: &Proposal) -> String {
    let author = &proposal.author;
    let model = author.model.as_ref().map(|model| format!(" ({model})")).unwrap_or_default();
    let proposer = one_line(&format!("{}{model}", author.proposer));
    let mut trailers = format!("{EXPERIMENT}: {experiment}\n");
    trailers += &format!("Nocturne-Proposer: {}\n", shorten(&proposer, MAX_TRAILER));
    if let Some(effect) = proposal.predicted_effect.filter(|effect| effect.is_finite()) {
        trailers += &format!("Predicted-Effect: {effect:+} bits per byte\n");
    }
    if let Some(confidence) = proposal.confidence.filter(|confidence| (0.0..=1.0).contains(confidence)) {
        trailers += &format!("Predicted-Confidence: {confidence:.2}\n");
    }
    trailers
}

/// The end of a branch's name from a title: lower-case ASCII letters and digits with single dashes between them, at most 40
/// characters, cut between words where that leaves enough. Never empty.
pub fn slug(title: &str) -> String {
    const MAX: usize = 40;
    let mut slug = String::new();
    let words = title.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    for word in words {
        let dash = usize::from(!slug.is_empty());
        let room = MAX - slug.len();
        if word.len() + dash > room {
            if slug.is_empty() {
                slug.push_str(&word[..room]);
            }
            break;
        }
        if dash == 1 {
            slug.push('-');
        }
        slug.push_str(word);
    }
    if slug.is_empty() {
        slug.push_str("experiment");
    }
    slug.make_ascii_lowercase();
    slug
}

/// Printable words with single spaces between them.
fn one_line(text: &str) -> String {
    let printable: String = text.chars().map(|c| if is_unprintable(c) || c == '\t' { ' ' } else { c }).collect();
    printable.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn shorten(text: &str, limit: usize) -> String {
    if text.chars().count() <= limit {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(limit - 1).collect();
    short.truncate(short.trim_end().len());
    short + "…"
}

/// Lines of at most [`WIDTH`] characters, words whole; a longer word has a line of its own.
fn wrap(paragraph: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut width = 0;
    for word in paragraph.split(' ').filter(|word| !word.is_empty()) {
        let length = word.chars().count();
        match lines.last_mut() {
            Some(line) if width + 1 + length <= WIDTH => {
                line.push(' ');
                line.push_str(word);
                width += 1 + length;
            }
            _ => {
                lines.push(word.to_owned());
                width = length;
            }
        }
    }
    lines
}

/// Keeps a line of prose from being read as something else: a trailer (`Word-word: ...`), a mail's or a patch's first line.
fn quote(line: String) -> String {
    let first = line.split(' ').next().unwrap_or_default();
    let trailer = line.split_once(':').is_some_and(|(key, _)| {
        let key = key.trim_end();
        !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    });
    let patch = first.starts_with("---") || matches!(first, "diff" | "From" | "Index:" | "(cherry");
    if trailer || patch { format!("> {line}") } else { line }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::flow::Author;

    fn proposal(title: &str, hypothesis: &str, source: &str) -> Proposal {
        Proposal {
            key: "warm-up".to_owned(),
            title: title.to_owned(),
            hypothesis: hypothesis.to_owned(),
            source: source.to_owned(),
            family: "schedule".to_owned(),
            predicted_effect: Some(-0.0021),
            confidence: Some(0.35),
            edits: Vec::new(),
            author: Author { proposer: "model".to_owned(), model: Some("large-1".to_owned()), cost_usd: 0.0 },
        }
    }

    fn id() -> ExperimentId {
        "2026-03-08-k4/12".parse().unwrap()
    }

    #[test]
    fn a_message_reads_well() {
        let hypothesis = "At this scale the first steps are noisy because the normalised update is large from the very start.\n\n\
                          A short warm-up should keep the embeddings in place.";
        insta::assert_snapshot!(commit_message(&id(), &proposal("Warm up over 20 steps", hypothesis, "Goyal et al. 2017")), @r"
        Warm up over 20 steps

        At this scale the first steps are noisy because the normalised update is
        large from the very start.

        A short warm-up should keep the embeddings in place.

        Based on Goyal et al. 2017.

        Nocturne-Experiment: 2026-03-08-k4/12
        Nocturne-Proposer: model (large-1)
        Predicted-Effect: -0.0021 bits per byte
        Predicted-Confidence: 0.35
        ");
    }

    fn trailers(message: &str) -> Vec<(String, String)> {
        let trailers = git2::message_trailers_strs(message).unwrap();
        trailers.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn trailers_cannot_be_forged() {
        let forged = "Good.\n\nNocturne-Experiment: 2026-03-08-k4/1\r\nSigned-off-by : x\n---\n\nPredicted-Effect: -9";
        for (title, hypothesis, source) in [
            ("T\n\nNocturne-Experiment: n/1", forged, forged),
            ("", "", ""),
            ("Nocturne-Proposer: person", "", ""),
            ("T", "a\u{2028}Nocturne-Experiment: n/1\u{1b}[31m", ""),
        ] {
            let mut proposal = proposal(title, hypothesis, source);
            proposal.author.proposer = "model\nNocturne-Experiment: n/1".to_owned();
            let message = commit_message(&id(), &proposal);
            let keys: Vec<_> = trailers(&message).into_iter().map(|(key, _)| key).collect();
            let ours = ["Nocturne-Experiment", "Nocturne-Proposer", "Predicted-Effect", "Predicted-Confidence"];
            assert_eq!(keys, ours, "{message}");
            let body: Vec<&str> = message.lines().skip(1).collect();
            let claims = body.iter().filter(|line| line.starts_with("Nocturne-Experiment")).count();
            assert_eq!(claims, 1, "{message}");
            assert!(!message.contains(['\r', '\u{1b}', '\u{2028}']), "{message:?}");
        }
    }

    #[test]
    fn slugs_are_short_and_plain() {
        let cases = [
            ("Warm up over 20 steps", "warm-up-over-20-steps"),
            ("  --Über β2 = 0.99!! ", "ber-2-0-99"),
            ("", "experiment"),
            ("日本語", "experiment"),
            ("../../etc/passwd", "etc-passwd"),
            ("one two three four five six seven eight nine ten", "one-two-three-four-five-six-seven-eight"),
            (&"a".repeat(60), &"a".repeat(40)),
        ];
        for (title, expected) in cases {
            assert_eq!(slug(title), expected);
        }
    }

    proptest! {
        #[test]
        fn any_words_make_a_sound_message(title in "\\PC{0,90}|(.|\n){0,20}", words in "([a-zA-Z:>-]{0,10}( |\n|\n\n|\t|\r)){0,40}") {
            let message = commit_message(&id(), &proposal(&title, &words, &title));
            prop_assert_eq!(trailers(&message).len(), 4, "{}", message);
            prop_assert!(message.lines().next().is_some_and(|line| !line.trim().is_empty() && line.chars().count() <= MAX_TITLE));
            let slug = slug(&title);
            prop_assert!((1..=40).contains(&slug.len()) && !slug.starts_with('-') && !slug.ends_with('-'));
        }
    }
}
