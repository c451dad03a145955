//! The tuner on recipes real and made up.

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

#[test]
fn when_nothing_works_steps_are_wider_and_two_numbers_move() {
    let factors = |stagnation: u32| {
        let mut brief = tiny("matrix_rate: 0.04,");
        brief.stagnation = stagnation;
        let proposal = next(&brief).unwrap();
        let to: f64 = proposal.key.rsplit('/').next().unwrap().parse().unwrap();
        assert_eq!(proposal.hypothesis.contains("so steps are wider"), stagnation > 0, "{}", proposal.hypothesis);
        (to / 0.04).max(0.04 / to)
    };
    for (stagnation, factor) in [(0, 1.5), (12, 2.0), (24, 4.0)] {
        assert!((factors(stagnation) - factor).abs() < 0.05, "{stagnation}: {}", factors(stagnation));
    }

    let mut brief = tiny("matrix_rate: 0.04, head_rate: 0.004,");
    brief.stagnation = 30;
    let both = (0..20).find_map(|turn| {
        brief.turn = turn;
        next(&brief).filter(|proposal| proposal.edits.len() == 2)
    });
    let both = both.unwrap();
    assert!(both.hypothesis.contains("two numbers move at once"), "{}", both.hypothesis);
    CheckedPatch::check(&both, &brief.champion_files, &Policy::default()).unwrap();
    let text = &edited(&brief, &both)[0].text;
    assert!(!text.contains("0.04,") && !text.contains("0.004,"), "{text}");
    // Each number answers for its half, and neither value is tried again.
    remember(&mut brief, both.clone(), Some(Verdict::Discarded), Some(0.01));
    brief.stagnation = 0;
    let record = Record::of(&brief);
    let slopes = Slopes::of(&brief, &record);
    for part in both.key.split('&') {
        let words: Vec<&str> = part.split('/').collect();
        let to: f64 = words[3].parse().unwrap();
        assert!(slopes.tried(words[1], to), "{part}");
        let direction = slopes.of_number(words[1]).next().unwrap().direction();
        // Two prior tries of 0.001, and half of one that lost 0.005.
        assert!((slopes.belief(words[1], direction).mean() + 0.0002).abs() < 1e-12);
    }
}

#[test]
fn confidence_is_the_share_of_steps_that_helped() {
    let mut brief = tiny("matrix_rate: 0.04, head_rate: 0.004,");
    let first = next(&brief).unwrap();
    assert_eq!(first.confidence, Some(0.25));
    remember(&mut brief, first.clone(), Some(Verdict::Discarded), Some(0.01));
    let name = first.key.split('/').nth(1).unwrap();
    let record = Record::of(&brief);
    let slopes = Slopes::of(&brief, &record);
    let direction = slopes.of_number(name).next().unwrap().direction();
    // One of five, where four are prior: for others; once more corrected for the same number and direction.
    assert!((slopes.confidence("other", direction) - 0.2).abs() < 1e-12);
    assert!((slopes.confidence(name, direction) - 0.16).abs() < 1e-12);
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
