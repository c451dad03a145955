//! Near misses on a file of a few numbers.

use proptest::prelude::*;

use super::*;
use crate::edit::{CheckedPatch, Policy};
use crate::flow::{CommitId, Edit, SourceFile};
use crate::propose::fixture::{brief, evidence, proposal, remember};
use crate::propose::{LEAVE_ONE_OUT, ablation, ablations_of_parts};

const RECIPE: &str = "trainer/src/candidate/recipe.rs";

/// A recipe of the lines `let a = 0;`, `let b = 0;`, ...
fn recipe(values: &[u32]) -> Vec<SourceFile> {
    let line = |(name, value): (char, &u32)| format!("    let {name} = {value};\n");
    let lines: String = ('a'..='z').zip(values).map(line).collect();
    vec![SourceFile { path: RECIPE.to_owned(), text: format!("fn cpu() {{\n{lines}}}\n") }]
}

fn set_to(name: char, from: u32, to: u32) -> Edit {
    let line = |value| format!("let {name} = {value};");
    Edit { path: RECIPE.to_owned(), search: line(from), replace: line(to) }
}

/// Goes on with an experiment that sets a number from 0 to 1, as the rule decided it.
fn tried(brief: &mut Brief, name: char, verdict: Option<Verdict>, expected: f64, near_miss: bool) {
    let mut proposal = proposal("playbook", "rates", vec![set_to(name, 0, 1)]);
    (proposal.key, proposal.title) = (name.to_string(), format!("Raise {name}"));
    settle(brief, proposal, verdict, expected, near_miss);
}

fn settle(brief: &mut Brief, proposal: Proposal, verdict: Option<Verdict>, expected: f64, near_miss: bool) {
    remember(brief, proposal, verdict, Some(expected));
    if let Some(last) = brief.history.last_mut() {
        last.evidence = verdict.map(|_| Box::new(evidence(expected, 0.8, near_miss)));
    }
}

fn near_misses(names: &str) -> Brief {
    let mut brief = brief(recipe(&[0; 6]));
    for (place, name) in names.chars().enumerate() {
        tried(&mut brief, name, Some(Verdict::Inconclusive), -0.001 - 0.0001 * place as f64, true);
    }
    brief
}

/// What it says on each of some turns.
fn said(brief: &mut Brief) -> Vec<Proposal> {
    let mut all = Vec::new();
    for _ in 0..40 {
        brief.turn += 1;
        all.extend(Combine.propose(brief).unwrap());
    }
    all
}

/// Gives the champion another commit and other files.
fn move_champion(brief: &mut Brief, values: &[u32]) {
    brief.champion = CommitId::try_from("b".repeat(40)).unwrap();
    brief.champion_files = recipe(values);
}

#[test]
fn three_near_misses_are_proposed_together_with_the_sum_of_what_is_expected() {
    let mut brief = near_misses("abc");
    let together = Combine.propose(&brief).unwrap().unwrap();
    assert_eq!(together.key, "2026-03-08-k4/1+2026-03-08-k4/2+2026-03-08-k4/3");
    assert_eq!(together.title, "Combine: Raise a + Raise b + Raise c");
    assert_eq!((together.predicted_effect, together.confidence), (Some(-0.0033), Some(0.92)));
    assert!(
        together.hypothesis.contains("\"Raise b\" (experiment 2026-03-08-k4/2: -0.0011 expected, 80 % an improvement)")
    );
    assert_eq!(apply(&brief.champion_files, &together.edits).unwrap(), recipe(&[1, 1, 1, 0, 0, 0]));
    assert_eq!(Combine.propose(&brief).unwrap().unwrap(), together);

    // While it is tested its parts wait; then pairs of them follow, and never the same set again.
    settle(&mut brief, together.clone(), None, 0.0, false);
    assert_eq!(said(&mut brief), []);
    let last = brief.history.last_mut().unwrap();
    last.verdict = Some(Verdict::Discarded);
    let mut seen = vec![together.key];
    while let Some(pair) = Combine.propose(&brief).unwrap() {
        assert_eq!(pair.key.split('+').count(), 2);
        assert!(!seen.contains(&pair.key), "{} again", pair.key);
        seen.push(pair.key.clone());
        settle(&mut brief, pair, Some(Verdict::Discarded), 0.001, false);
    }
    // After two failures an idea is let go, so of three pairs one is tested.
    assert_eq!(seen.len(), 2, "{seen:?}");
}

#[test]
fn it_is_silent_unless_there_is_something_new_to_say() {
    assert_eq!(said(&mut brief(recipe(&[0; 6]))), []);
    // One near miss on a champion that stands.
    assert_eq!(said(&mut near_misses("a")), []);
    // What was kept, discarded or is running is no near miss, whatever its figures.
    for verdict in [Some(Verdict::Kept), Some(Verdict::Discarded), Some(Verdict::Crashed), None] {
        let mut brief = near_misses("a");
        tried(&mut brief, 'b', verdict, -0.002, true);
        assert_eq!(said(&mut brief), [], "{verdict:?}");
    }
    // Nothing speaks for it, or nothing is expected of it.
    for (expected, near_miss) in [(-0.002, false), (0.002, true), (f64::NAN, true)] {
        let mut brief = near_misses("a");
        tried(&mut brief, 'b', Some(Verdict::Inconclusive), expected, near_miss);
        assert_eq!(said(&mut brief), [], "{expected} {near_miss}");
    }
    // Leaving one out measures and is no idea.
    let mut brief = near_misses("ab");
    brief.history[1].proposal.author.proposer = LEAVE_ONE_OUT.to_owned();
    assert_eq!(said(&mut brief), []);
    // Two that do not go together.
    let mut brief = near_misses("a");
    let mut other = proposal("tuner", "rates", vec![set_to('a', 0, 2)]);
    other.key = "other".to_owned();
    settle(&mut brief, other, Some(Verdict::Inconclusive), -0.002, true);
    assert_eq!(said(&mut brief), []);
}

#[test]
fn a_near_miss_is_repeated_on_a_champion_that_has_moved() {
    let mut brief = near_misses("a");
    move_champion(&mut brief, &[0, 5, 0, 0, 0, 0]);
    let again = Combine.propose(&brief).unwrap().unwrap();
    assert_eq!((again.key.as_str(), again.title.as_str()), ("2026-03-08-k4/1@bbbbbbb", "Again: Raise a"));
    assert_eq!((again.family.as_str(), again.predicted_effect, again.confidence), ("rates", Some(-0.001), Some(0.8)));
    assert_eq!(apply(&brief.champion_files, &again.edits).unwrap(), recipe(&[1, 5, 0, 0, 0, 0]));
    CheckedPatch::check(&again, &brief.champion_files, &Policy::default()).unwrap();

    // Once a champion, and twice in all, as long as it stays a near miss.
    settle(&mut brief, again.clone(), Some(Verdict::Inconclusive), -0.001, true);
    assert_eq!(said(&mut brief), []);
    move_champion(&mut brief, &[0, 6, 0, 0, 0, 0]);
    let third = Combine.propose(&brief).unwrap().unwrap();
    settle(&mut brief, third, Some(Verdict::Inconclusive), -0.001, true);
    move_champion(&mut brief, &[0, 7, 0, 0, 0, 0]);
    assert_eq!(said(&mut brief), []);

    // A repetition that disappoints ends it.
    let mut brief = near_misses("a");
    move_champion(&mut brief, &[0, 5, 0, 0, 0, 0]);
    settle(&mut brief, again, Some(Verdict::Discarded), 0.001, false);
    move_champion(&mut brief, &[0, 6, 0, 0, 0, 0]);
    assert_eq!(said(&mut brief), []);

    // Its lines are gone, or another commit holds the same code.
    let mut brief = near_misses("a");
    move_champion(&mut brief, &[3, 0, 0, 0, 0, 0]);
    assert_eq!(said(&mut brief), []);
    move_champion(&mut brief, &[0; 6]);
    assert_eq!(said(&mut brief), []);
}

#[test]
fn near_misses_of_an_earlier_night_count() {
    for (names, key) in [("a", "2026-03-07-z9/1@bbbbbbb"), ("ab", "2026-03-07-z9/1+2026-03-07-z9/2")] {
        let mut brief = near_misses(names);
        for past in &mut brief.history {
            past.id = past.id.to_string().replace("08-k4", "07-z9").parse().unwrap();
            past.same_champion = false;
        }
        move_champion(&mut brief, &[0, 0, 0, 4, 0, 0]);
        let said = said(&mut brief);
        assert!(said.iter().any(|proposal| proposal.key == key), "{said:?}");
    }
}

#[test]
fn what_stands_in_a_kept_combination_is_used_up() {
    let mut brief = near_misses("ab");
    let pair = Combine.propose(&brief).unwrap().unwrap();
    brief.champion_files = apply(&brief.champion_files, &pair.edits).unwrap();
    settle(&mut brief, pair, Some(Verdict::Kept), -0.002, false);
    // Both lines could be set again on this champion, which is what the parts' edits must not do.
    move_champion(&mut brief, &[0; 6]);
    tried(&mut brief, 'c', Some(Verdict::Inconclusive), -0.001, true);
    assert_eq!(said(&mut brief), []);
}

#[test]
fn probabilities_are_combined_by_their_odds() {
    assert!((together(&[0.5, 0.5]) - 0.5).abs() < 1e-12);
    assert!((together(&[0.8]) - 0.8).abs() < 1e-12);
    assert!((together(&[0.8, 0.2]) - 0.5).abs() < 1e-12);
    assert!(together(&[0.8, 0.8]) > 0.85 && together(&[0.8, 0.8, 0.8]) > together(&[0.8, 0.8]));
}

proptest! {
    /// Whatever is put together applies; taken back out, whole or one by one, it leaves what was there, whatever came later.
    #[test]
    fn what_is_put_together_can_be_left_out(
        numbers in prop::collection::btree_set(0..26_usize, 2..8),
        kinds in prop::collection::vec(0..3_u8, 8),
        later in 0..26_usize,
    ) {
        let before = recipe(&[0; 26]);
        let mut brief = brief(before.clone());
        for (place, number) in numbers.iter().enumerate() {
            let name = char::from(b'a' + u8::try_from(*number).unwrap());
            let line = format!("    let {name} = 0;\n");
            let replace = match kinds[place] {
                0 => String::new(),
                1 => format!("    let {name} = 1;\n"),
                _ => format!("{line}    let more_{name} = 1;\n"),
            };
            let mut proposal = proposal("playbook", "x", vec![Edit { path: RECIPE.to_owned(), search: line, replace }]);
            proposal.key = name.to_string();
            settle(&mut brief, proposal, Some(Verdict::Inconclusive), -0.001, true);
        }
        let together = Combine.propose(&brief).unwrap().unwrap();
        let after = CheckedPatch::check(&together, &before, &Policy::default()).unwrap().files().to_vec();
        settle(&mut brief, together, Some(Verdict::Kept), -0.002, false);
        let kept = brief.history.last().unwrap();

        let out = ablation(kept, &before, &after).unwrap();
        prop_assert_eq!(&apply(&after, &out.edits).unwrap(), &before);
        prop_assert_eq!((out.predicted_effect, out.confidence.map(|c| (c * 100.0).round())), (Some(0.002), Some(20.0)));
        let ideas = parts(&kept.proposal, &brief.history);
        prop_assert_eq!(ideas.len(), ideas.len().clamp(2, 3));
        for (idea, out) in ideas.iter().zip(ablations_of_parts(kept, &brief.history, &before, &after)) {
            let others = ideas.iter().filter(|other| other.id != idea.id);
            let edits: Vec<Edit> = others.flat_map(|other| other.proposal.edits.clone()).collect();
            // Two that lie beside each other may be inseparable, which is told.
            match out {
                Ok(out) => prop_assert_eq!(apply(&after, &out.edits).unwrap(), apply(&before, &edits).unwrap()),
                Err(error) => prop_assert!(error.to_string().contains("changed again later"), "{}", error),
            }
        }

        // A later change elsewhere stays, one of the same lines is told.
        let name = char::from(b'a' + u8::try_from(later).unwrap());
        let change = [set_to(name, 0, 9)];
        if let Ok(champion) = apply(&after, &change) {
            match ablation(kept, &before, &champion) {
                Ok(out) => {
                    prop_assert_eq!(apply(&champion, &out.edits).unwrap(), apply(&before, &change).unwrap());
                }
                Err(error) => prop_assert!(error.to_string().contains("was changed again later"), "{}", error),
            }
        }
    }
}
