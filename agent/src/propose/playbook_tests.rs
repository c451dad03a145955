//! The embedded ideas, and the order in which they come.

use std::collections::HashSet;

use super::*;
use crate::edit::{CheckedPatch, Policy, apply};
use crate::flow::Verdict;
use crate::propose::fixture::{baseline, brief, past, remember};

#[test]
fn every_idea_applies_to_the_baseline_and_no_two_are_the_same() {
    let files = baseline();
    let playbook = Playbook::load().unwrap();
    let mut results = HashSet::new();
    let mut failures = String::new();
    for idea in playbook.ideas() {
        match CheckedPatch::check(&idea.proposal(), &files, &Policy::default()) {
            Ok(patch) if results.insert(patch.digest().to_owned()) => {}
            Ok(_) => failures += &format!("{}: another idea makes the same code\n", idea.id),
            Err(error) => failures += &format!("{}: {error}\n", idea.id),
        }
    }
    assert!(failures.is_empty(), "{failures}");
    assert!(playbook.ideas().len() >= 55);
}

#[test]
fn every_idea_is_told_in_full() {
    for Idea { id, title, hypothesis, source, predicted_effect, .. } in Playbook::load().unwrap().ideas() {
        assert!(id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'), "{id}");
        assert!((10..=72).contains(&title.chars().count()) && !title.ends_with('.'), "{id}: {title}");
        assert!(hypothesis.matches(['.', '?']).count() >= 2, "{id}: {hypothesis}");
        assert!(source.len() > 10, "{id}: {source}");
        assert!(predicted_effect.abs() <= 0.02, "{id}: {predicted_effect} is not modest");
    }
}

#[test]
fn each_idea_is_proposed_once_and_the_end_is_said() {
    let mut playbook = Playbook::load().unwrap();
    let mut brief = brief(baseline());
    let mut keys = HashSet::new();
    while let Some(proposal) = playbook.propose(&brief).unwrap() {
        assert!(keys.insert(proposal.key.clone()), "{} again", proposal.key);
        remember(&mut brief, proposal, Some(Verdict::Discarded), Some(0.001));
    }
    assert_eq!(keys.len(), playbook.ideas().len());
    assert_eq!(playbook.skipped(&brief).len(), keys.len());
}

#[test]
fn ideas_that_fit_no_more_are_skipped_with_the_reason() {
    let mut playbook = Playbook::load().unwrap();
    let mut brief = brief(baseline());
    let gelu = playbook.ideas().iter().find(|idea| idea.id == "gelu").unwrap().proposal();
    brief.champion_files = apply(&brief.champion_files, &gelu.edits).unwrap();
    remember(&mut brief, gelu, Some(Verdict::Kept), Some(-0.01));
    let skipped = playbook.skipped(&brief);
    let reason = |key: &str| &skipped.iter().find(|skipped| skipped.key == key).unwrap().reason;
    assert_eq!(reason("gelu"), "tried in experiment 2026-03-08-k4/1: kept");
    assert!(reason("relu").starts_with("does not fit the champion: edit 1 of 1"), "{}", reason("relu"));
    assert!(playbook.propose(&brief).unwrap().is_some_and(|proposal| proposal.family != "activation"));
}

#[test]
fn the_same_code_is_not_proposed_under_another_name() {
    let playbook = Playbook::load().unwrap();
    let mut brief = brief(baseline());
    let mut proposal = playbook.ideas().iter().find(|idea| idea.id == "matrix-rate-higher").unwrap().proposal();
    proposal.key = "cpu/matrix_rate/0.04/0.06".to_owned();
    proposal.author.proposer = "tuner".to_owned();
    proposal.edits[0].search = "matrix_rate: 0.04,".to_owned();
    proposal.edits[0].replace = "matrix_rate: 0.06,".to_owned();
    remember(&mut brief, proposal, Some(Verdict::Discarded), Some(0.0));
    let skipped = playbook.skipped(&brief);
    assert_eq!(skipped.len(), 1, "{skipped:?}");
    assert!(skipped[0].reason.contains("tried the same code"), "{skipped:?}");
}

#[test]
fn a_family_that_disappoints_waits() {
    let mut playbook = Playbook::load().unwrap();
    let mut brief = brief(baseline());
    let first = playbook.propose(&brief).unwrap().unwrap();
    let family = first.family.clone();
    remember(&mut brief, first, Some(Verdict::Discarded), Some(0.01));
    let mut later = HashSet::new();
    for _ in 0..6 {
        let proposal = playbook.propose(&brief).unwrap().unwrap();
        later.insert(proposal.family.clone());
        remember(&mut brief, proposal, Some(Verdict::Discarded), Some(0.01));
    }
    assert!(later.len() >= 4, "after {family}: {later:?}");
}

/// Share of 100 turns in which of two families the first one's idea comes next.
fn share_of_first(families: [&str; 2], brief: &mut Brief) -> f64 {
    let mut playbook = Playbook::load().unwrap();
    playbook.ideas.retain(|idea| families.contains(&idea.family.as_str()));
    let mut count = 0;
    for turn in 0..100 {
        brief.turn = turn;
        count += u32::from(playbook.propose(brief).unwrap().unwrap().family == families[0]);
    }
    f64::from(count) / 100.0
}

#[test]
fn families_are_asked_by_what_they_gain_per_hour() {
    let with = |gains: [f64; 2], seconds: [f64; 2]| {
        let mut brief = brief(baseline());
        for place in [0, 1].repeat(5) {
            let family = ["muon", "loss"][place];
            let mut past = past(NAME, family, Some(Verdict::Kept), -gains[place], None);
            past.seconds = seconds[place];
            brief.history.push(past);
        }
        share_of_first(["muon", "loss"], &mut brief)
    };
    let even = with([0.004, 0.004], [100.0, 100.0]);
    let richer = with([0.006, 0.002], [100.0, 100.0]);
    let slower = with([0.004, 0.004], [200.0, 100.0]);
    assert!(richer > even + 0.1 && slower < even - 0.1 && slower > 0.0, "{richer} {even} {slower}");
}

#[test]
fn when_nothing_works_untried_families_come_first() {
    let mut playbook = Playbook::load().unwrap();
    let mut brief = brief(baseline());
    brief.stagnation = 12;
    let families: HashSet<String> =
        playbook.families(&brief, &Tried::of(&brief)).iter().map(|ideas| ideas[0].family.clone()).collect();
    let mut seen = HashSet::new();
    for _ in 0..families.len() {
        let proposal = playbook.propose(&brief).unwrap().unwrap();
        assert!(proposal.hypothesis.starts_with("The champion has stood for 12 experiments, so a family of ideas"));
        assert!(seen.insert(proposal.family.clone()), "{} again", proposal.family);
        // Even where the first ones pay.
        remember(&mut brief, proposal, Some(Verdict::Kept), Some(-0.02));
    }
    let after = playbook.propose(&brief).unwrap().unwrap();
    assert!(!after.hypothesis.contains("has stood"), "{}", after.hypothesis);
}

#[test]
fn confidence_follows_the_family() {
    for (effect, expected) in [(0.0, 0.25), (-0.002, 0.5), (0.01, 0.0), (-0.015, 1.0)] {
        assert!((usual_confidence(effect) - expected).abs() < 0.01, "{effect}");
    }
    let playbook = Playbook::load().unwrap();
    let idea = playbook.ideas().iter().find(|idea| idea.family == "muon").unwrap();
    let mut brief = brief(baseline());
    let before = Playbook::confidence(idea, &brief);
    assert!((before - idea.confidence).abs() < 0.01);
    for expected in [-0.001, 0.004] {
        brief.history.push(past(NAME, "muon", Some(Verdict::Discarded), expected, Some(expected)));
    }
    // Each was an improvement with probability one half.
    let after = Playbook::confidence(idea, &brief);
    assert!((after - (4.0 * idea.confidence + 1.0) / 6.0).abs() < 0.01, "{before} {after}");
}

#[test]
fn a_mistake_in_a_file_is_told_with_its_place() {
    let error = parse("family = \"x\"\n[[idea]]\nid = \"a\"\ntitel = \"b\"\n").unwrap_err();
    assert!(error.contains("line 4") && error.contains("titel"), "{error}");
}
