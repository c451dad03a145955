//! Faults of the machine, and waiting for it.

use super::*;
use crate::flow::Verdict;

#[test]
fn heat_that_is_there_to_stay_begins_an_era_and_its_trial_is_run_again() {
    let mut night = Script::new(limits(), rules());
    night.step(Event::Begin);
    night.step(built(0));
    // Nothing has been measured yet that would not compare.
    night.step(Event::Changed("it is hot".to_owned()));
    assert_eq!(night.machine.era, 0);
    night.trial(2.0);
    night.step(Event::Settled { number: 0 });
    let effects = night.make(1);
    assert_eq!(trains(&effects), [(1, 0)]);
    let told = night.step(Event::Changed("it is hot".to_owned()));
    assert!(
        told.iter().any(|effect| matches!(effect, Effect::Warn { text } if text.contains("it is hot"))),
        "{told:?}"
    );
    let effects = night.step(spoilt());
    let Some(Effect::Train { launch, seed, era, .. }) =
        effects.iter().find(|effect| matches!(effect, Effect::Train { .. }))
    else {
        panic!("{effects:?}")
    };
    assert_eq!((launch.number, *seed, *era), (0, 0, 1), "the champion is measured anew before the candidate is");
    assert!(trains(&night.trial(2.0)).contains(&(1, 0)), "then the trial that was spoilt");
}

#[test]
fn a_night_waits_for_its_machine_as_long_as_it_has_time_and_then_ends_as_it_would_have() {
    let limits = Limits { experiments: None, seconds: Some(1_000.0), expected_trial_seconds: 25.0 };
    let rules = Rules { morning_pairs: 2, ..rules() };
    let mut night = Script::new(limits, rules.clone());
    night.step(Event::Begin);
    assert_eq!(night.machine.may_wait(100.0), Some(900.0), "nothing else can be done before the start is measured");
    let mut night = Script::new(limits, rules);
    night.measure_start(2.0);
    let effects = night.make(1);
    assert_eq!(trains(&effects), [(1, 0)]);
    // 21.5 seconds a trial, one of a build that may have its turn first, and two pairs in the morning.
    let wait = night.machine.may_wait(400.0).unwrap();
    assert!((wait - (1_000.0 - 5.0 * 21.5 - 1.0 - 400.0)).abs() < 1e-9, "{wait}");
    night.now = 400.0 + wait;
    let effects = night.step(Event::NotBegun("others use the GPU".to_owned()));
    assert_eq!(settled(&effects).map(|settled| settled.decision.verdict), Some(Verdict::Inconclusive), "{effects:?}");
    let effects = night.step(Event::Settled { number: 1 });
    assert_eq!(effects, [Effect::Finish(Ending::Deadline)]);
    let endless = Limits { seconds: None, ..limits };
    assert_eq!(Script::new(endless, Rules::default()).machine.may_wait(9.0), None);
}

#[test]
fn three_machine_faults_in_a_row_end_the_night_and_none_is_a_verdict() {
    let mut night = Script::new(limits(), rules());
    night.step(Event::Begin);
    night.step(built(0));
    for trial in [2_u32, 3] {
        let effects = night.step(spoilt());
        let [Effect::Train { trial: again, seed: 0, .. }] = effects.as_slice() else { panic!("{effects:?}") };
        assert_eq!(*again, trial);
    }
    assert!(matches!(night.step(spoilt()).as_slice(), [Effect::Finish(Ending::MachineFaults(_))]));
}

#[test]
fn an_experiment_with_which_the_machine_fails_is_left_alone_and_a_second_one_ends_the_night() {
    let mut night = Script::new(Limits { experiments: None, ..limits() }, rules());
    night.measure_start(2.0);
    let fault = || Event::TrialFault("no such device".to_owned());
    for number in [1_u32, 2] {
        night.make(number);
        // In training as in evaluation.
        night.step(fault());
        night.step(trained(TrialEnd::Finished));
        night.step(fault());
        let effects = night.step(fault());
        if number == 1 {
            assert_eq!(settled(&effects).unwrap().decision.verdict, Verdict::Inconclusive);
            night.step(Event::Settled { number });
        } else {
            assert!(matches!(ending(&effects), Some(Ending::MachineFaults(_))), "{effects:?}");
        }
    }
}

#[test]
fn what_the_machine_was_waited_for_is_not_taken_for_a_long_trial() {
    let mut night = Script::new(Limits { experiments: None, ..limits() }, rules());
    night.step(Event::Begin);
    night.step(built(0));
    night.now = 600.0;
    night.trial(2.0);
    let effects = night.step(Event::Settled { number: 0 });
    assert!(ending(&effects).is_none(), "the trial took 21.5 seconds: {effects:?}");
}

#[test]
fn an_experiment_with_faults_again_and_again_is_left_alone_though_trials_succeed_between() {
    let mut night = Script::new(limits(), rules());
    night.measure_start(2.0);
    let mut effects = night.make(1);
    for _ in 0..4 {
        assert_eq!(train(&effects), Some((1, 0, Purpose::Search)), "{effects:?}");
        // As after a trial that went well.
        night.machine.faults = 0;
        effects = night.step(spoilt());
    }
    let decision = &settled(&effects).unwrap().decision;
    assert_eq!(decision.verdict, Verdict::Inconclusive);
    assert!(decision.reason.contains("4 of its trials ended in a fault"), "{}", decision.reason);
}
