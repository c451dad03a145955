//! What is begun ahead is what is asked for next, whatever the result most likely says, and asking changes nothing.

use super::*;
use crate::night::machine::Foreseen;

/// Experiment, trial and seed.
fn named(foreseen: Option<Foreseen>) -> Option<(u32, u32, u32)> {
    foreseen.map(|it| (it.launch.number, it.trial, it.seed))
}

fn asked(effects: &[Effect]) -> Option<(u32, u32, u32)> {
    effects.iter().find_map(|effect| match effect {
        Effect::Train { launch, trial, seed, .. } => Some((launch.number, *trial, *seed)),
        _ => None,
    })
}

/// A night whose first experiment is being evaluated, with the next one built.
fn evaluating() -> Script {
    let mut night = Script::new(limits(), rules());
    night.measure_start(1.0);
    let effects = night.make(1);
    assert_eq!(asked(&effects).map(|trial| trial.0), Some(1));
    night.make(2);
    night.step(trained(TrialEnd::Finished));
    night
}

fn names(foreseen: Vec<Foreseen>) -> Vec<(u32, u32, u32)> {
    foreseen.into_iter().filter_map(|it| named(Some(it))).collect()
}

#[test]
fn only_while_a_trial_is_in_flight_anything_is_foreseen() {
    let mut night = Script::new(limits(), Rules { champion_seeds: 2, ..rules() });
    assert_eq!(named(night.machine.foresee(night.now)), None);
    night.step(Event::Begin);
    assert!(night.machine.outlook(night.now, 3).possible.is_empty());
    night.step(built(0));
    assert!(night.machine.is_training() && night.machine.foresee(night.now).is_some());
    assert!(night.machine.outlook(night.now, 0).possible.is_empty());
}

/// What a second device can begin is known before the first trial has ended.
#[test]
fn what_follows_is_foreseen_while_a_trial_trains_as_while_it_is_evaluated() {
    let mut night = Script::new(limits(), rules());
    night.measure_start(1.0);
    night.make(1);
    assert!(night.machine.is_training());
    // The next candidate is not there yet; a second trial of this one may be.
    assert!(night.machine.outlook(night.now, 2).likely.iter().all(|next| next.launch.number < 2));
    night.make(2);
    let while_training = named(night.machine.foresee(night.now));
    night.step(trained(TrialEnd::Finished));
    assert!(while_training.is_some());
    assert_eq!(while_training, named(night.machine.foresee(night.now)));
}

/// The champion's seeds do not depend on results: with devices for all of them, all are foreseen, in their order.
#[test]
fn further_devices_are_for_what_lies_further_down_the_line() {
    let mut night = Script::new(limits(), Rules { champion_seeds: 4, ..rules() });
    night.step(Event::Begin);
    night.step(built(0));
    for (most, foreseen) in
        [(1, &[(0, 2, 1)][..]), (2, &[(0, 2, 1), (0, 3, 2)]), (9, &[(0, 2, 1), (0, 3, 2), (0, 4, 3)])]
    {
        let outlook = night.machine.outlook(night.now, most);
        assert_eq!(names(outlook.likely), foreseen, "{most}");
        assert_eq!(names(outlook.possible), foreseen, "{most}");
    }
    night.step(trained(TrialEnd::Finished));
    night.step(evaluated(1.0));
    let mut effects = night.step(Event::Settled { number: 0 });
    for expected in [(0, 2, 1), (0, 3, 2), (0, 4, 3)] {
        assert_eq!(asked(&effects), Some(expected), "it asks for what was foreseen");
        night.step(trained(TrialEnd::Finished));
        effects = night.step(evaluated(1.0));
    }
}

/// What some results lead to is not begun for that, but not ended either.
#[test]
fn what_is_possible_contains_what_is_likely_and_each_trial_once() {
    let night = evaluating();
    for most in 1..6 {
        let outlook = night.machine.outlook(night.now, most);
        let (likely, possible) = (names(outlook.likely), names(outlook.possible));
        assert!(likely.iter().all(|trial| possible.contains(trial)), "{likely:?} {possible:?}");
        let mut once = possible.clone();
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), possible.len(), "{possible:?}");
    }
}

#[test]
fn the_champions_next_seed_is_foreseen_before_its_first_result() {
    let mut night = Script::new(limits(), Rules { champion_seeds: 2, ..rules() });
    night.step(Event::Begin);
    night.step(built(0));
    night.step(trained(TrialEnd::Finished));
    let foreseen = named(night.machine.foresee(night.now));
    night.step(evaluated(1.0));
    let effects = night.step(Event::Settled { number: 0 });
    assert_eq!((foreseen, asked(&effects)), (Some((0, 2, 1)), Some((0, 2, 1))));
}

#[test]
fn what_is_foreseen_is_what_the_expected_result_leads_to() {
    let mut night = evaluating();
    let foreseen = named(night.machine.foresee(night.now));
    let mut effects = night.step(evaluated(1.0));
    if let Some(number) = settled(&effects).map(|settled| settled.number) {
        effects = night.step(Event::Settled { number });
    }
    assert!(foreseen.is_some());
    assert_eq!(foreseen, asked(&effects));
}

#[test]
fn asking_changes_nothing() {
    let (mut asked, mut other) = (evaluating(), evaluating());
    for most in 1..4 {
        asked.machine.outlook(asked.now, most);
    }
    for result in [0.9, 1.0, 1.1] {
        assert_eq!(asked.step(evaluated(result)), other.step(evaluated(result)));
        let state = |night: &Script| (night.machine.champion().clone(), night.machine.turn, night.machine.next_number);
        assert_eq!(state(&asked), state(&other));
        (asked, other) = (evaluating(), evaluating());
        asked.machine.outlook(asked.now, 3);
    }
}

#[test]
fn nothing_is_foreseen_where_nothing_will_follow() {
    let mut stopping = evaluating();
    stopping.step(Event::Stop { at_once: false });
    let mut late = evaluating();
    late.now = 990.0;
    for (name, night) in [("stopping", stopping), ("no time left", late)] {
        assert!(night.machine.is_evaluating(), "{name}");
        assert_eq!(named(night.machine.foresee(night.now)), None, "{name}");
    }
}
