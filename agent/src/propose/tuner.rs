//! Perturbs the numbers of the champion's recipe and learns from the history which ones pay.
//!
//! For each number and direction (up, down) it keeps a belief on the gain of a step (see [`slopes`](super::slopes)), so a success
//! is followed further, a failure is answered by the other direction, and a number that loses both ways is left in favour of
//! untried ones. Among the beliefs, per hour that a step takes, one is chosen by Thompson sampling (see [`bandit`](super::bandit)).
//! Steps get finer, then coarser, and no value is tried twice. When the champion has stood for long, steps are wider from the
//! start, and now and then two numbers move at once.

use super::bandit::{self, Record};
use super::breadth::Breadth;
use super::recipe::{Constant, constants, meaning};
use super::slopes::{self, Slopes};
use super::steps::{Direction, literal, sizes, step};
use super::tried::Tried;
use super::{CANDIDATE_FOLDER, Failure, ProposeError, Proposer, Skipped, shorten};
use crate::edit::apply;
use crate::flow::{Author, Brief, Edit, Proposal, SourceFile, Verdict};

/// The word that stands in its proposals' author.
pub(super) const NAME: &str = "tuner";

/// How many of the best second numbers are tried for a pair before it is given up.
const PAIR_TRIES: usize = 8;

/// Proposes steps of the recipe's numbers.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tuner;

/// A step that may be proposed.
struct Choice<'a> {
    constant: &'a Constant,
    direction: Direction,
    /// The new value as the recipe would write it.
    literal: String,
    to: f64,
    /// Bits per byte.
    gain: f64,
    /// That it helps at all.
    confidence: f64,
}

impl Choice<'_> {
    fn name(&self) -> String {
        self.constant.name.chars().take(30).collect()
    }

    fn field(&self) -> &str {
        self.constant.name.split('.').next().unwrap_or_default()
    }

    /// `Raise matrix_rate from 0.04 to 0.06`.
    fn title(&self, file: &SourceFile) -> String {
        let from = file.text[self.constant.span.clone()].chars().take(16).collect::<String>();
        format!("{} {} from {from} to {}", self.verb(), self.name(), self.literal)
    }

    fn verb(&self) -> &'static str {
        match self.direction {
            Direction::Up => "Raise",
            Direction::Down => "Lower",
        }
    }

    /// What the number is, and what its past says.
    fn reason(&self, file: &SourceFile, slopes: &Slopes<'_>) -> String {
        let name = self.name();
        let mut words = match meaning(&file.text, self.field()) {
            Some(meaning) => format!("{name}: {meaning}. "),
            None => String::new(),
        };
        match slopes.of_number(&self.constant.name).next_back() {
            None => {
                words.push_str("Not varied in this campaign so far; a step shows whether its optimum lies this way.");
            }
            Some(last) => {
                let count = slopes.of_number(&self.constant.name).count();
                words.push_str(&format!("Of {count} earlier steps the last: {}. ", last.told()));
                words.push_str(match (last.direction() == self.direction, last.past.verdict) {
                    (true, Some(Verdict::Kept)) => "It paid, so the optimum may lie further the same way.",
                    (true, _) => "Another size of step the same way tells whether that was the step or the direction.",
                    (false, Some(Verdict::Kept)) => "That may have gone too far; a step back brackets the optimum.",
                    (false, _) => "So the optimum may lie the other way.",
                });
            }
        }
        words
    }
}

impl Tuner {
    /// All steps that may be proposed, the most promising first.
    fn choices<'a>(
        brief: &Brief,
        file: &SourceFile,
        all: &'a [Constant],
        slopes: &Slopes<'_>,
        spread: f64,
    ) -> Vec<Choice<'a>> {
        let mut random = bandit::random(brief, 2);
        let mut drawn = Vec::new();
        for constant in all {
            let time = slopes.time(&constant.name);
            for direction in [Direction::Up, Direction::Down] {
                let mut arm = slopes.belief(&constant.name, direction);
                let value = Self::next_value(brief, &file.text, all, slopes, constant, direction);
                if let Some((_, _, passed_over)) = &value {
                    // Each size of step that is used up makes this direction less worth while.
                    arm.observe(0.0, *passed_over as f64);
                }
                let draw = arm.draw(spread, &mut random) / time;
                if let Some((literal, to, _)) = value {
                    let confidence = slopes.confidence(&constant.name, direction);
                    drawn.push((draw, Choice { constant, direction, literal, to, gain: arm.mean(), confidence }));
                }
            }
        }
        drawn.sort_by(|a, b| b.0.total_cmp(&a.0));
        drawn.into_iter().map(|(_, choice)| choice).collect()
    }

    /// The next untried value of `constant` in this direction, as a literal and as a number, and how many were passed over.
    fn next_value(
        brief: &Brief,
        recipe: &str,
        all: &[Constant],
        slopes: &Slopes<'_>,
        constant: &Constant,
        direction: Direction,
    ) -> Option<(String, f64, usize)> {
        let original = &recipe[constant.span.clone()];
        sizes(Breadth::of(brief)).iter().enumerate().find_map(|(index, factor)| {
            let to = step(constant, all, brief.scale, direction, *factor)?;
            let literal = literal(to, constant.integer, original);
            let to: f64 = literal.replace('_', "").parse().ok()?;
            (to != constant.value && !slopes.tried(&constant.name, to)).then_some((literal, to, index))
        })
    }

    fn single(brief: &Brief, file: &SourceFile, slopes: &Slopes<'_>, choice: &Choice<'_>) -> Proposal {
        let Choice { constant, literal, to, gain, confidence, .. } = choice;
        let (breadth, so) = (Breadth::of(brief), "steps are wider");
        Proposal {
            key: slopes::key(brief, &constant.name, constant.value, *to),
            title: choice.title(file),
            hypothesis: breadth.tell(brief, &choice.reason(file, slopes), so),
            source: "numeric search over the recipe's constants, guided by the campaign's own history".to_owned(),
            family: format!("recipe: {}", choice.field().chars().take(30).collect::<String>()),
            predicted_effect: Some(-(gain * 1e5).round() / 1e5),
            confidence: Some((confidence * 100.0).round() / 100.0),
            edits: vec![edit(file, constant, literal)],
            author: Author { proposer: NAME.to_owned(), model: None, cost_usd: 0.0 },
        }
    }

    /// Two numbers at once; `None` where the two edits get in each other's way.
    fn pair(brief: &Brief, file: &SourceFile, slopes: &Slopes<'_>, both: [&Choice<'_>; 2]) -> Option<Proposal> {
        let [first, second] = both.map(|choice| Self::single(brief, file, slopes, choice));
        // The second edit is made for what the first one leaves.
        let after = apply(std::slice::from_ref(file), &first.edits).ok()?;
        let after = after.first()?;
        let moved = constants(&after.text, brief.scale).into_iter().find(|c| c.name == both[1].constant.name)?;
        let edits = vec![first.edits.first()?.clone(), edit(after, &moved, &both[1].literal)];
        let [one, other] = both.map(Choice::name);
        let so = "two numbers move at once, each by a wide step";
        let reasons = format!("{} {}", both[0].reason(file, slopes), both[1].reason(file, slopes));
        Some(Proposal {
            key: [first.key, second.key].join(&slopes::AND.to_string()),
            title: shorten(&format!("{} {one}, {} {other}", both[0].verb(), both[1].verb().to_lowercase()), 72),
            hypothesis: Breadth::of(brief).tell(brief, &reasons, so),
            predicted_effect: first.predicted_effect.zip(second.predicted_effect).map(|(a, b)| a + b),
            // Both are uncertain, and one that hurts can undo one that helps.
            confidence: first.confidence.zip(second.confidence).map(|(a, b)| (a + b) / 2.0),
            edits,
            ..first
        })
    }
}

impl Proposer for Tuner {
    fn name(&self) -> &str {
        NAME
    }

    fn propose(&mut self, brief: &Brief) -> Result<Option<Proposal>, ProposeError> {
        let Some(file) = recipe_file(brief) else { return Ok(None) };
        let all = constants(&file.text, brief.scale);
        let record = Record::of(brief);
        let slopes = Slopes::of(brief, &record);
        let tried = Tried::of(brief);
        let choices = Self::choices(brief, file, &all, &slopes, record.spread);
        let fits = |proposal: &Proposal| tried.objection(proposal).is_none();
        if let Some((first, others)) = choices.split_first()
            && Breadth::of(brief) == Breadth::Widest
            && bandit::coin(brief, 3)
        {
            let others = others.iter().filter(|other| other.field() != first.field()).take(PAIR_TRIES);
            let mut pairs = others.filter_map(|other| Self::pair(brief, file, &slopes, [first, other]));
            if let Some(pair) = pairs.find(fits) {
                return Ok(Some(pair));
            }
        }
        Ok(choices.iter().map(|choice| Self::single(brief, file, &slopes, choice)).find(fits))
    }

    /// A number that does not build is given up; the history tells the next turn.
    fn repair(&mut self, _: &Brief, _: &Proposal, _: &Failure) -> Result<Option<Proposal>, ProposeError> {
        Ok(None)
    }

    fn skipped(&self, brief: &Brief) -> Vec<Skipped> {
        let reason = match recipe_file(brief) {
            None => format!("the champion has no {}", recipe_path()),
            Some(file) if constants(&file.text, brief.scale).is_empty() => {
                format!("no plain numbers found in fn {} of {}", brief.scale, file.path)
            }
            Some(_) => return Vec::new(),
        };
        vec![Skipped { key: format!("{}/*", brief.scale), reason }]
    }
}

pub(super) fn recipe_path() -> String {
    format!("{CANDIDATE_FOLDER}/recipe.rs")
}

pub(super) fn recipe_file(brief: &Brief) -> Option<&SourceFile> {
    let path = recipe_path();
    brief.champion_files.iter().find(|file| file.path == path)
}

/// Replaces one literal. The text to search for is its line, and as many lines around it as make it unique.
pub(super) fn edit(file: &SourceFile, constant: &Constant, literal: &str) -> Edit {
    let text = &file.text;
    let mut start = text[..constant.span.start].rfind('\n').map_or(0, |newline| newline + 1);
    let mut end = text[constant.span.end..].find('\n').map_or(text.len(), |offset| constant.span.end + offset);
    while text.matches(&text[start..end]).count() != 1 && (start > 0 || end < text.len()) {
        if start > 0 {
            start = text[..start - 1].rfind('\n').map_or(0, |newline| newline + 1);
        } else {
            end = text[end + 1..].find('\n').map_or(text.len(), |offset| end + 1 + offset);
        }
    }
    let search = &text[start..end];
    let (before, after) = (&text[start..constant.span.start], &text[constant.span.end..end]);
    Edit { path: file.path.clone(), search: search.to_owned(), replace: format!("{before}{literal}{after}") }
}

#[cfg(test)]
#[path = "tuner_tests.rs"]
mod tests;
