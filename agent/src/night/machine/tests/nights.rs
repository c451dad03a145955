//! Nights in worlds drawn by lot; what must hold is checked by `world`.

use proptest::prelude::*;

use super::world::{Odds, Play, World, launches, play};
use super::*;
use crate::flow::Verdict;

/// So many cases, unless PROPTEST_CASES asks for others.
fn cases(usual: u32) -> ProptestConfig {
    match std::env::var_os("PROPTEST_CASES") {
        Some(_) => ProptestConfig::default(),
        None => ProptestConfig::with_cases(usual),
    }
}

fn odds() -> impl Strategy<Value = Odds> {
    let one_in = || prop_oneof![Just(0_u32), 2..12_u32];
    (one_in(), one_in(), one_in(), one_in(), one_in(), prop_oneof![Just(0_u32), 6..40_u32]).prop_map(
        |(refused, unbuildable, crashed, spoilt, rejected, brittle)| Odds {
            refused,
            unbuildable,
            crashed,
            spoilt,
            rejected,
            brittle,
        },
    )
}

fn worlds() -> impl Strategy<Value = World> {
    let draws = prop::collection::vec(any::<u32>(), 1..200);
    (draws, 0..30_u32, odds(), prop::option::of(0..40_usize), any::<bool>(), 0.0..0.03).prop_map(
        |(draws, proposals, odds, changes_after, looks, effect)| World {
            odds,
            changes_after,
            looks,
            effect,
            ..World::new(&draws, proposals)
        },
    )
}

fn all_rules() -> impl Strategy<Value = Rules> {
    (1..6_u32, 1..8_u32, prop_oneof![Just(0_u32), 2..13_u32], 0..5_u32, any::<bool>()).prop_map(
        |(champion_seeds, most_trials, drift_every, morning_pairs, early_stop)| Rules {
            champion_seeds,
            most_trials,
            drift_every,
            morning_pairs,
            early_stop,
            ..Rules::default()
        },
    )
}

fn plays() -> impl Strategy<Value = Play> {
    let cuts = prop::collection::vec(0..300_usize, 0..6);
    let limit = (prop::option::of(1..12_u32), prop::option::of(0.0..3_000.0));
    (worlds(), all_rules(), limit, prop::option::of(0..300_usize), cuts).prop_map(
        |(world, rules, (experiments, seconds), stop_at, cut_at)| Play {
            limits: Limits { experiments, seconds, ..limits() },
            rules,
            world,
            stop_at,
            cut_at,
        },
    )
}

proptest! {
    // A night is a few hundred steps.
    #![proptest_config(cases(64))]
    #[test]
    fn whatever_happens_the_night_ends_and_its_rules_hold(night in plays()) {
        let most = night.limits.experiments;
        let (_, records) = play(night);
        let tested = records.verdicts.iter().filter(|(number, _)| *number > 0).count();
        // The morning leaves out each kept one at most once.
        prop_assert!(most.is_none_or(|most| tested <= most as usize + records.kept.len()));
    }
}

#[test]
fn a_night_of_gains_is_confirmed_and_its_parts_left_out() {
    let draws: Vec<u32> = (0..97).map(|n: u32| n.wrapping_mul(2_654_435_761)).collect();
    let night = Play {
        limits: Limits { experiments: Some(12), seconds: None, ..limits() },
        rules: Rules::default(),
        world: World::new(&draws, 100),
        stop_at: None,
        cut_at: Vec::new(),
    };
    let (log, records) = play(night);
    assert!(records.kept.len() > 1, "{:?}", records.verdicts);
    assert_eq!(records.claims, 1);
    let morning = launches(&log).filter(|(_, _, purpose)| *purpose == Purpose::Morning).count();
    // Large gains are confirmed by fewer pairs than the campaign allows.
    assert!(morning % 2 == 0 && (6..=2 * Rules::default().morning_pairs as usize).contains(&morning), "{morning}");
    let left_out = launches(&log)
        .filter_map(|(launch, ..)| launch.without.map(|without| without.kept))
        .collect::<std::collections::BTreeSet<_>>();
    assert_eq!(left_out, records.kept.iter().copied().collect());
    assert_eq!(ending(&log), Some(&Ending::ExperimentsDone));
}

#[test]
fn a_night_in_which_nothing_works_keeps_little_and_claims_nothing() {
    for shift in 0..20_u32 {
        let draws: Vec<u32> = (0..89).map(|n: u32| (n + 1000 * shift).wrapping_mul(2_654_435_761)).collect();
        let night = Play {
            limits: Limits { experiments: Some(10), seconds: None, ..limits() },
            rules: Rules { expected_run_sd: 0.001, ..Rules::default() },
            world: World { effect: 0.0, ..World::new(&draws, 100) },
            stop_at: None,
            cut_at: Vec::new(),
        };
        let (_, records) = play(night);
        let kept = records.decisions.iter().map(|past| &past.decision).filter(|found| found.verdict == Verdict::Kept);
        // What only removes lines is kept for being no worse, which it is not.
        let kept = kept.filter(|found| !found.reason.contains("only removes lines")).count();
        assert!(kept <= 1, "{:?}", records.verdicts);
    }
}

#[test]
fn a_machine_that_changes_begins_an_era_and_the_night_goes_on() {
    let draws: Vec<u32> = (0..97).map(|n: u32| n.wrapping_mul(2_654_435_761)).collect();
    let night = Play {
        limits: Limits { experiments: Some(12), seconds: None, ..limits() },
        rules: Rules { drift_every: 4, ..Rules::default() },
        world: World { changes_after: Some(10), effect: 0.003, ..World::new(&draws, 100) },
        stop_at: None,
        cut_at: Vec::new(),
    };
    let (log, _) = play(night);
    let eras: std::collections::BTreeSet<u32> =
        log.iter().filter_map(|e| if let Effect::Train { era, .. } = e { Some(*era) } else { None }).collect();
    assert_eq!(eras.len(), 2, "one change, one era more");
    assert!(log.iter().any(|effect| matches!(effect, Effect::Warn { text } if text.contains("changed"))));
}

#[test]
fn what_is_stopped_early_counts_for_the_watch_by_the_part_that_ran() {
    let rules = Rules { drift_every: 1, ..rules() };
    let mut night = Script::new(Limits { experiments: None, ..limits() }, rules);
    night.measure_start(2.0);
    night.make(1);
    night.make(2);
    // Some seconds short of a trial, which is evaluated too.
    night.step(trained(TrialEnd::StoppedEarly { message: "far behind".to_owned() }));
    assert_eq!(trains(&night.step(Event::Settled { number: 1 })), [(2, 0)], "no whole trial has gone by");
    night.make(3);
    night.trial(2.5);
    assert_eq!(trains(&night.step(Event::Settled { number: 2 })), [(0, 0)]);
}
