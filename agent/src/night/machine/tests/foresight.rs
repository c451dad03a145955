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

#[test]
fn only_while_something_is_evaluated_anything_is_foreseen() {
    let mut night = Script::new(limits(), rules());
    assert_eq!(named(night.machine.foresee(night.now)), None);
    night.step(Event::Begin);
    night.step(built(0));
    assert!(!night.machine.is_evaluating());
    assert_eq!(named(night.machine.foresee(night.now)), None);
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
    for _ in 0..3 {
        asked.machine.foresee(asked.now);
    }
    for result in [0.9, 1.0, 1.1] {
        assert_eq!(asked.step(evaluated(result)), other.step(evaluated(result)));
        let state = |night: &Script| (night.machine.champion().clone(), night.machine.turn, night.machine.next_number);
        assert_eq!(state(&asked), state(&other));
        (asked, other) = (evaluating(), evaluating());
        asked.machine.foresee(asked.now);
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
