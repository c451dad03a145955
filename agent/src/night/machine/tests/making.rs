//! The making lane.

use super::*;
use crate::flow::Verdict;
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
    let effects = night.make(1);
    assert!(matches!(effects.as_slice(), [Effect::SmokeTest { .. }]), "the start is under its seeds: {effects:?}");
    night.trial(2.0);
    let effects = night.trial(2.0);
    assert!(matches!(effects.as_slice(), [Effect::Train { .. }]), "no second one is asked for: {effects:?}");
}

/// A night in which experiment 1 trains and experiment 2 has just been built beside it.
fn tried_beside_a_trial() -> Script {
    let mut night = Script::new(Limits { experiments: None, ..limits() }, rules());
    night.measure_start(2.0);
    let effects = night.make(1);
    assert!(matches!(effects[..], [Effect::Train { .. }, Effect::Propose { .. }]), "nothing trained: {effects:?}");
    let effects = night.make(2);
    let [Effect::SmokeTest { launch }] = effects.as_slice() else { panic!("{effects:?}") };
    assert_eq!((launch.number, &launch.candidate.commit), (2, &commit(2)));
    night
}

fn smoke_tested(number: u32, failed: Option<&str>) -> Event {
    Event::SmokeTested { number, commit: commit(u64::from(number)), failed: failed.map(str::to_owned) }
}

#[test]
fn what_fails_its_smoke_test_has_no_trial() {
    let mut night = tried_beside_a_trial();
    let effects = night.step(smoke_tested(2, Some("it crashed: at its first step")));
    let found = settled(&effects).unwrap();
    assert_eq!((found.number, found.decision.verdict, found.decision.trials), (2, Verdict::Crashed, 0));
    assert_eq!(found.decision.reason, "smoke test: it crashed: at its first step");
    assert!(found.untried.is_some() && found.attempts.len() == 1);
    // Its number is used up, and another idea is asked for beside the same trial.
    let effects = night.step(Event::Settled { number: 2 });
    assert!(matches!(effects.as_slice(), [Effect::Propose { number: 3, .. }]), "{effects:?}");
    // The trial in flight goes on as if nothing had been.
    assert!(matches!(night.step(trained(TrialEnd::Finished)).as_slice(), [Effect::Evaluate { number: 1, .. }]));
}

#[test]
fn what_passes_its_smoke_test_waits_for_its_turn() {
    let mut night = tried_beside_a_trial();
    assert!(night.step(smoke_tested(2, None)).is_empty());
    let effects = night.trial(2.5);
    assert_eq!(settled(&effects).map(|settled| settled.number), Some(1));
    assert_eq!(train(&night.step(Event::Settled { number: 1 })).map(|(number, ..)| number), Some(2));
}

#[test]
fn a_smoke_test_keeps_no_trial_waiting_and_its_late_answer_says_nothing() {
    let mut night = tried_beside_a_trial();
    night.trial(2.5);
    assert_eq!(train(&night.step(Event::Settled { number: 1 })).map(|(number, ..)| number), Some(2));
    assert!(night.step(smoke_tested(2, Some("it crashed"))).is_empty());
    assert!(matches!(night.step(trained(TrialEnd::Finished)).as_slice(), [Effect::Evaluate { number: 2, .. }]));
}

#[test]
fn a_smoke_test_of_what_is_made_again_says_nothing() {
    let mut night = tried_beside_a_trial();
    let effects = night.step(trained(TrialEnd::Finished));
    let effects = [effects, night.step(evaluated(1.9))].concat();
    night.race(effects, |number, seed, _| if number == 1 { 1.9 } else { 2.0 } + 0.001 * jitter(number, seed));
    let effects = night.step(Event::Settled { number: 1 });
    assert!(matches!(effects.as_slice(), [Effect::Commit { number: 2, .. }]), "{effects:?}");
    assert!(night.step(smoke_tested(2, Some("it crashed"))).is_empty());
    let effects = night.step(Event::Committed {
        candidate: Candidate { commit: commit(22), parent: commit(1) },
        lines: Lines { added: 1, removed: 1 },
    });
    assert!(matches!(effects.as_slice(), [Effect::Build { number: 2, .. }]), "{effects:?}");
    // Built where nothing trains: its trial says all.
    assert_eq!(train(&night.step(built(2))).map(|(number, ..)| number), Some(2));
    // The test of the commit that was replaced is not taken for that of the new one.
    assert!(night.step(smoke_tested(2, Some("it crashed"))).is_empty());
}
