//! Perturbs one number of the champion's recipe at a time and learns from the history which ones pay.
//!
//! For each number and direction (up, down) it keeps a belief on the gain of a step: a small prior, and the tries so
//! far. A try is read as a slope: what a step gained, another one the same way is expected to gain; what it lost, a step
//! the other way is expected to win back by half, until that way has been tried itself. So a success is followed further,
//! a failure is answered by the other direction, and a number that loses both ways is left in favour of untried ones. Among the beliefs one is chosen by
//! Thompson sampling (see [`bandit`](super::bandit)). Steps get finer, then coarser, and no value is tried twice.

use super::bandit::{self, Arm};
use super::recipe::{Constant, constants, meaning};
use super::steps::{Direction, STEPS, literal, step};
use super::tried::{Tried, outcome};
use super::{CANDIDATE_FOLDER, Failure, ProposeError, Proposer, Skipped};
use crate::flow::{Author, Brief, Edit, PastExperiment, Proposal, SourceFile, Verdict};

/// The word that stands in its proposals' author.
pub(super) const NAME: &str = "tuner";

/// Bits per byte that a step of an untried number is expected to gain, as firmly as after [`PRIOR_WEIGHT`] tries.
const PRIOR_GAIN: f64 = 0.001;
const PRIOR_WEIGHT: f64 = 2.0;

/// What a step that did not even train is counted as, bits per byte.
const CRASH_GAIN: f64 = -0.01;

/// Proposes steps of the recipe's numbers.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tuner;

/// A step of the history.
struct Step<'a> {
    past: &'a PastExperiment,
    name: String,
    from: f64,
    to: f64,
}

impl Step<'_> {
    fn direction(&self) -> Direction {
        if self.to > self.from { Direction::Up } else { Direction::Down }
    }

    /// In words: `experiment 2026-03-08-k4/7 took it from 0.04 to 0.06: kept (-0.0031 bits per byte)`.
    fn told(&self) -> String {
        let difference = self.past.difference.map_or(String::new(), |d| format!(" ({d:+.4} bits per byte)"));
        let (id, outcome) = (&self.past.id, outcome(self.past));
        format!("experiment {id} took it from {} to {}: {outcome}{difference}", self.from, self.to)
    }
}

impl Tuner {
    /// The name of a step for the history.
    fn key(brief: &Brief, constant: &Constant, to: f64) -> String {
        format!("{}/{}/{}/{to}", brief.scale, constant.name, constant.value)
    }

    /// The history's steps at this scale.
    fn steps(brief: &Brief) -> Vec<Step<'_>> {
        let own = brief.history.iter().filter(|past| past.proposal.author.proposer == NAME);
        let parsed = own.filter_map(|past| {
            let mut parts = past.proposal.key.split('/');
            let scale = parts.next()?;
            let (name, from, to) = (parts.next()?, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
            (scale == brief.scale.name()).then(|| Step { past, name: name.to_owned(), from, to })
        });
        parsed.collect()
    }

    /// What a step of `constant` in this direction is expected to gain.
    fn belief(steps: &[Step<'_>], constant: &Constant, direction: Direction) -> Arm {
        let mut arm = Arm::new(PRIOR_GAIN, PRIOR_WEIGHT);
        let untried = !steps.iter().any(|step| step.name == constant.name && step.direction() == direction);
        for step in steps.iter().filter(|step| step.name == constant.name) {
            let same = step.direction() == direction;
            match (step.past.verdict, step.past.difference.filter(|d| d.is_finite())) {
                // Still running: neither direction is urgent.
                (None, _) => arm.observe(0.0, 1.0),
                (Some(Verdict::Kept | Verdict::Discarded | Verdict::Inconclusive), Some(difference)) if same => {
                    arm.observe(-difference, 1.0);
                }
                (Some(Verdict::Kept | Verdict::Discarded | Verdict::Inconclusive), Some(difference)) if untried => {
                    arm.observe(difference, 0.5);
                }
                (Some(_), _) if same => arm.observe(CRASH_GAIN, 1.0),
                (Some(_), _) => {}
            }
        }
        arm
    }

    /// The next untried value of `constant` in this direction, as a literal and as a number, and how many were passed over.
    fn next_value(
        brief: &Brief,
        recipe: &str,
        all: &[Constant],
        steps: &[Step<'_>],
        constant: &Constant,
        direction: Direction,
    ) -> Option<(String, f64, usize)> {
        let original = &recipe[constant.span.clone()];
        let tried = |to: f64| {
            let near = |value: f64| (value - to).abs() <= 1e-9 * to.abs();
            steps.iter().any(|step| step.name == constant.name && (near(step.to) || near(step.from)))
        };
        STEPS.iter().enumerate().find_map(|(index, factor)| {
            let to = step(constant, all, brief.scale, direction, *factor)?;
            let literal = literal(to, constant.integer, original);
            let to: f64 = literal.replace('_', "").parse().ok()?;
            (to != constant.value && !tried(to)).then_some((literal, to, index))
        })
    }

    fn proposal(
        brief: &Brief,
        file: &SourceFile,
        steps: &[Step<'_>],
        constant: &Constant,
        literal: &str,
        to: f64,
        expected: f64,
    ) -> Proposal {
        let name: String = constant.name.chars().take(30).collect();
        let from = &file.text[constant.span.clone()];
        let verb = if to > constant.value { "Raise" } else { "Lower" };
        let field = constant.name.split('.').next().unwrap_or_default();
        let mut hypothesis = match meaning(&file.text, field) {
            Some(meaning) => format!("{name}: {meaning}. "),
            None => String::new(),
        };
        let past: Vec<&Step<'_>> = steps.iter().filter(|step| step.name == constant.name).collect();
        match past.last() {
            None => hypothesis
                .push_str("Not varied in this campaign so far; a step shows whether its optimum lies this way."),
            Some(last) => {
                hypothesis.push_str(&format!("Of {} earlier steps the last: {}. ", past.len(), last.told()));
                let same = last.direction() == if to > constant.value { Direction::Up } else { Direction::Down };
                hypothesis.push_str(match (same, last.past.verdict) {
                    (true, Some(Verdict::Kept)) => "It paid, so the optimum may lie further the same way.",
                    (true, _) => "Another size of step the same way tells whether that was the step or the direction.",
                    (false, Some(Verdict::Kept)) => "That may have gone too far; a step back brackets the optimum.",
                    (false, _) => "So the optimum may lie the other way.",
                });
            }
        }
        Proposal {
            key: Self::key(brief, constant, to),
            title: format!("{verb} {name} from {} to {literal}", from.chars().take(16).collect::<String>()),
            hypothesis,
            source: "numeric search over the recipe's constants, guided by the campaign's own history".to_owned(),
            family: format!("recipe: {}", field.chars().take(30).collect::<String>()),
            predicted_effect: Some(-(expected * 1e5).round() / 1e5),
            confidence: None,
            edits: vec![edit(file, constant, literal)],
            author: Author { proposer: NAME.to_owned(), model: None, cost_usd: 0.0 },
        }
    }
}

impl Proposer for Tuner {
    fn name(&self) -> &str {
        NAME
    }

    fn propose(&mut self, brief: &Brief) -> Result<Option<Proposal>, ProposeError> {
        let Some(file) = recipe_file(brief) else { return Ok(None) };
        let all = constants(&file.text, brief.scale);
        let steps = Self::steps(brief);
        let tried = Tried::of(brief);
        let spread = bandit::spread(brief);
        let mut random = bandit::random(brief, 2);
        let mut candidates = Vec::new();
        for constant in &all {
            for direction in [Direction::Up, Direction::Down] {
                let mut arm = Self::belief(&steps, constant, direction);
                let value = Self::next_value(brief, &file.text, &all, &steps, constant, direction);
                if let Some((_, _, passed_over)) = &value {
                    // Each size of step that is used up makes this direction less worth while.
                    arm.observe(0.0, *passed_over as f64);
                }
                let draw = arm.draw(spread, &mut random);
                if let Some((literal, to, _)) = value {
                    candidates.push((draw, constant, literal, to, arm.mean()));
                }
            }
        }
        candidates.sort_by(|a, b| b.0.total_cmp(&a.0));
        let mut proposals = candidates.into_iter().map(|(_, constant, literal, to, expected)| {
            Self::proposal(brief, file, &steps, constant, &literal, to, expected)
        });
        Ok(proposals.find(|proposal| tried.objection(proposal).is_none()))
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
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;
    use crate::edit::{CheckedPatch, Policy};
    use crate::propose::fixture::{baseline, brief, remember};

    fn next(brief: &Brief) -> Option<Proposal> {
        Tuner.propose(brief).unwrap()
    }

    /// A recipe of one number beside untouchable ones.
    fn tiny(line: &str) -> Brief {
        let text = format!("fn cpu() -> R {{\n    R {{\n        {line}\n        name: \"x\",\n    }}\n}}\n");
        brief(vec![SourceFile { path: recipe_path(), text }])
    }

    fn edited(brief: &Brief, proposal: &Proposal) -> Vec<SourceFile> {
        crate::edit::apply(&brief.champion_files, &proposal.edits).unwrap()
    }

    #[test]
    fn a_success_is_followed_and_a_failure_turned_around() {
        let mut brief = tiny("matrix_rate: 0.04,");
        let first = next(&brief).unwrap();
        let rising = first.title.starts_with("Raise");
        // It paid: the champion has it now, and the next step goes on the same way.
        brief.champion_files = edited(&brief, &first);
        remember(&mut brief, first, Some(Verdict::Kept), Some(-0.01));
        let second = next(&brief).unwrap();
        assert_eq!(second.title.starts_with("Raise"), rising, "{second:?}");
        assert!(second.hypothesis.contains("kept (-0.0100 bits per byte)"), "{}", second.hypothesis);
        // That one lost: turn around, to a value between.
        remember(&mut brief, second, Some(Verdict::Discarded), Some(0.02));
        let third = next(&brief).unwrap();
        assert_ne!(third.title.starts_with("Raise"), rising, "{third:?}");
    }

    #[test]
    fn a_number_that_loses_both_ways_is_left_for_others() {
        let mut brief = tiny("matrix_rate: 0.04, head_rate: 0.004,");
        for key in ["cpu/matrix_rate/0.04/0.06", "cpu/matrix_rate/0.04/0.027"] {
            let mut proposal = next(&brief).unwrap();
            proposal.key = key.to_owned();
            remember(&mut brief, proposal, Some(Verdict::Discarded), Some(0.01));
        }
        for _ in 0..4 {
            let proposal = next(&brief).unwrap();
            assert!(proposal.title.contains("head_rate"), "{}", proposal.title);
            remember(&mut brief, proposal, Some(Verdict::Discarded), Some(0.0));
        }
    }

    #[test]
    fn the_same_brief_gives_the_same_proposal_and_another_turn_another() {
        let mut brief = brief(baseline());
        let first = next(&brief);
        assert_eq!(next(&brief), first);
        let others: HashSet<String> = (1..20)
            .map(|turn| {
                brief.turn = turn;
                next(&brief).unwrap().key
            })
            .collect();
        assert!(others.len() > 5, "{others:?}");
    }

    #[test]
    fn five_hundred_turns_never_repeat_a_value() {
        let mut brief = brief(baseline());
        let mut seen = HashSet::new();
        for turn in 0..500_u32 {
            let Some(proposal) = next(&brief) else { break };
            assert!(proposal.title.chars().count() <= 72, "{}", proposal.title);
            let (scale_name, to) = proposal.key.rsplit_once('/').unwrap();
            let name = scale_name.split('/').nth(1).unwrap().to_owned();
            assert!(seen.insert((name, to.to_owned())), "turn {turn}: {} again", proposal.key);
            // Every seventh is kept and moves the champion.
            let kept = turn % 7 == 0;
            CheckedPatch::check(&proposal, &brief.champion_files, &Policy::default()).unwrap();
            if kept {
                brief.champion_files = edited(&brief, &proposal);
            }
            let difference = f64::from(turn % 5) * 0.001 - 0.002;
            let verdict = if kept { Verdict::Kept } else { Verdict::Discarded };
            remember(&mut brief, proposal, Some(verdict), Some(difference));
            // Applying the whole history at every turn is for real nights; here it would take minutes.
            brief.history.iter_mut().for_each(|past| past.same_champion = false);
        }
        assert!(seen.len() > 100, "only {} steps", seen.len());
    }

    #[test]
    fn an_unreadable_recipe_is_said_and_not_guessed() {
        let mut brief = tiny("rate: Self::rate(),");
        assert_eq!(next(&brief), None);
        assert!(Tuner.skipped(&brief)[0].reason.contains("no plain numbers"));
        brief.champion_files.clear();
        assert!(Tuner.skipped(&brief)[0].reason.contains("has no trainer/src/candidate/recipe.rs"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_recipe_and_any_history_give_edits_that_apply(
            lines in prop::collection::vec("(a|b|dim|head_dim|beta|warmup|tokens_per_step): (0|[1-9][0-9]{0,15}|[0-9]{1,3}\\.[0-9]{0,4}|1e-[0-9]{1,3}|\\(0\\.5, 7\\)|x),", 0..8),
            keys in prop::collection::vec("(cpu/)?(a|b|dim|/)/[0-9.e-]{0,4}/([0-9.]{1,3}|nan|inf)", 0..8),
            difference in prop::num::f64::ANY,
        ) {
            let mut brief = tiny(&lines.join("\n        "));
            for key in keys {
                let Some(mut proposal) = next(&brief) else { break };
                proposal.key = key;
                remember(&mut brief, proposal, Some(Verdict::Discarded), Some(difference));
            }
            if let Some(proposal) = next(&brief) {
                prop_assert!(CheckedPatch::check(&proposal, &brief.champion_files, &Policy::default()).is_ok());
                prop_assert!(proposal.title.chars().count() <= 72);
            }
        }
    }
}
