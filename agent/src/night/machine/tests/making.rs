//! The making lane.

use super::*;
use crate::night::messages::Refusal;

#[test]
fn a_proposer_that_fails_is_asked_again_and_ends_the_night_the_third_time_in_a_row() {
    let mut night = Script::new(limits(), rules());
    night.measure_start(2.0);
    let fault = || Event::MakingFault { number: 1, what: "so sorry".to_owned() };
    assert!(matches!(night.step(fault()).as_slice(), [Effect::Propose { number: 1, .. }]));
    assert!(matches!(night.step(fault()).as_slice(), [Effect::Propose { number: 1, .. }]));
    assert!(matches!(night.step(fault()).as_slice(), [Effect::Finish(Ending::MachineFaults(_))]));
}

#[test]
fn what_was_built_from_a_replaced_champion_is_made_again() {
    let mut night = Script::new(Limits { experiments: None, ..limits() }, rules());
    night.measure_start(2.0);
    // Experiment 1 is made and launched, experiment 2 is made while 1 trains.
    let effects = night.make(1);
    night.make(2);
    night.race(effects, |number, seed, _| if number == 1 { 1.9 } else { 2.0 } + 0.001 * jitter(number, seed));
    let effects = night.step(Event::Settled { number: 1 });
    let [Effect::Commit { number: 2, parent, .. }] = effects.as_slice() else { panic!("{effects:?}") };
    assert_eq!(*parent, commit(1));
    // It no longer applies: skipped with a reason, its number free for the next.
    let effects = night.step(Event::Refused(Refusal::DoesNotApply("gone".to_owned())));
    assert!(matches!(effects.as_slice(), [Effect::Skip { .. }, Effect::Propose { number: 2, .. }]), "{effects:?}");
}

#[test]
fn no_more_is_made_than_is_tested() {
    let mut night = Script::new(Limits { experiments: Some(1), ..limits() }, Rules { champion_seeds: 3, ..rules() });
    let effects = night.measure_start(2.0);
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Propose { number: 1, .. })), "{effects:?}");
    assert!(night.make(1).is_empty(), "the start is under its seeds");
    night.trial(2.0);
    let effects = night.trial(2.0);
    assert!(matches!(effects.as_slice(), [Effect::Train { .. }]), "no second one is asked for: {effects:?}");
}
