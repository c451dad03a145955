//! The search: the champion's seeds, races, drift, early stops.

use super::*;
use crate::flow::{Rejected, Verdict};
use crate::night::messages::PastLook;
use crate::stats::Run;
use crate::stats::reference::Glimpse;

/// What experiment 1 is worth beside a start of 2.0.
fn value(worth: f64) -> impl Fn(u32, u32, Purpose) -> f64 {
    move |number, seed, _| {
        let own = if number == 1 { 2.0 + worth } else { 2.0 };
        own + 0.001 * jitter(9, seed) + 0.0005 * jitter(number, seed)
    }
}

#[test]
fn the_start_is_measured_under_its_seeds_before_anything_is_compared_with_it() {
    let mut night = Script::new(limits(), Rules { champion_seeds: 4, ..Rules::default() });
    night.step(Event::Begin);
    assert_eq!(trains(&night.step(built(0))), [(0, 0)]);
    let effects = night.trial(2.0);
    assert_eq!(settled(&effects).map(|settled| settled.number), Some(0));
    assert!(train(&effects).is_none(), "the start is settled after its first trial: {effects:?}");
    let effects = night.step(Event::Settled { number: 0 });
    // Experiment 1 is made meanwhile.
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Propose { number: 1, .. })), "{effects:?}");
    assert_eq!(trains(&effects), [(0, 1)]);
    night.make(1);
    assert_eq!(trains(&night.trial(2.001)), [(0, 2)]);
    assert_eq!(trains(&night.trial(1.999)), [(0, 3)]);
    let effects = night.trial(2.0);
    assert!(matches!(train(&effects), Some((1, 0..4, Purpose::Search))), "{effects:?}");
    assert!((night.machine.champion().val_bpb.unwrap() - 2.0).abs() < 1e-9, "the mean over its seeds");
}

#[test]
fn what_is_clearly_better_is_crowned_after_several_seeds_and_what_is_worse_dropped_after_one() {
    for (worth, verdict) in [(-0.05, Verdict::Kept), (0.05, Verdict::Discarded)] {
        let mut night = Script::new(limits(), Rules { champion_seeds: 4, drift_every: 0, ..Rules::default() });
        let effects = night.measure_start(2.0);
        night.make(1);
        let effects = night.race(effects, value(worth));
        let settled = settled(&effects).unwrap();
        assert_eq!((settled.number, settled.decision.verdict), (1, verdict), "{:?}", settled.decision);
        let trials = trains(&effects).iter().filter(|(number, _)| *number == 1).count();
        assert_eq!(trials as u32, settled.decision.trials);
        assert_eq!(trials == 1, verdict == Verdict::Discarded);
        let told = effects.iter().filter(|effect| matches!(effect, Effect::Conclude { number: 1, .. })).count();
        assert_eq!(told, trials - 1, "a word after each trial, the last aside");
        assert_eq!(settled.decision.evidence.as_ref().unwrap().story.len(), trials);
        assert_eq!(night.machine.champion().number, 0, "nothing is crowned before that is on record");
        night.step(Event::Settled { number: 1 });
        assert_eq!(night.machine.champion().number, u32::from(verdict == Verdict::Kept));
    }
}

#[test]
fn no_run_of_a_new_champion_is_spent_on_what_is_known() {
    let mut night = Script::new(
        Limits { experiments: None, ..limits() },
        Rules { champion_seeds: 5, drift_every: 0, ..Rules::default() },
    );
    let effects = night.measure_start(2.0);
    night.make(1);
    let effects = night.race(effects, value(-0.05));
    assert_eq!(settled(&effects).unwrap().decision.verdict, Verdict::Kept);
    night.step(Event::Settled { number: 1 });
    night.step(proposed());
    night.step(Event::Committed {
        candidate: Candidate { commit: commit(2), parent: commit(1) },
        lines: Lines::default(),
    });
    let champions = night.machine.reign.runs.len();
    assert!(champions < 5);
    let effects = night.step(built(2));
    // Screening needs one run of the champion, which it has from its own race.
    let Some((2, seed, _)) = train(&effects) else { panic!("{effects:?}") };
    assert!(night.machine.reign.has_run(seed));
    let effects = night.trial(1.95 - 0.05);
    let Some((2, seed, _)) = train(&effects) else { panic!("{effects:?}") };
    assert!(night.machine.reign.has_run(seed), "the other seed of its own race");
    let effects = night.trial(1.95 - 0.05);
    assert_eq!(settled(&effects).unwrap().decision.verdict, Verdict::Kept);
}

#[test]
fn the_champion_is_repeated_now_and_then_and_a_change_begins_an_era() {
    for (again, steps, drifted) in [(2.0, 1, false), (2.5, 1, true), (2.0, 100, true)] {
        let rules = Rules { drift_every: 1, ..rules() };
        let mut night = Script::new(Limits { experiments: None, ..limits() }, rules);
        night.measure_start(2.0);
        let effects = night.make(1);
        assert_eq!(trains(&effects), [(1, 0)]);
        night.make(2);
        night.trial(2.5);
        let effects = night.step(Event::Settled { number: 1 });
        assert_eq!(trains(&effects), [(0, 0)], "a trial has gone by since the champion ran");
        night.step(trained_with(TrialEnd::Finished, steps));
        let effects = night.step(evaluated(again));
        let warned = effects.iter().any(|effect| matches!(effect, Effect::Warn { .. }));
        assert_eq!(warned, drifted, "{again} {steps}");
        let Some(Effect::Train { launch, seed, era, .. }) =
            effects.iter().find(|effect| matches!(effect, Effect::Train { .. }))
        else {
            panic!("{effects:?}")
        };
        // After a change the champion is measured anew before a candidate is.
        assert_eq!((launch.number, *seed, *era), if drifted { (0, 0, 1) } else { (2, 0, 0) });
        assert!(drifted || night.machine.reign.runs.len() == 1, "a repetition is no run");
    }
}

#[test]
fn a_run_of_the_champion_that_nothing_lets_expect_is_repeated_next() {
    for (found, doubted) in [(2.0005, false), (2.5, true)] {
        let rules = Rules { drift_every: 12, ..rules() };
        let mut night = Script::new(Limits { experiments: None, ..limits() }, rules);
        night.measure_start(2.0);
        night.make(1);
        let effects = night.trial(1.99);
        assert_eq!(trains(&effects), [(0, 1)], "a fresh pair tells most");
        let mut effects = night.trial(found);
        let warned = effects.iter().any(|effect| matches!(effect, Effect::Warn { .. }));
        assert_eq!((warned, night.machine.reign.doubted.is_some()), (doubted, doubted), "{found}");
        // Before anything is told by it; and the run in doubt itself would only show the same once more.
        assert_eq!(trains(&effects).contains(&(0, 0)), doubted, "{found}: {effects:?}");
        if doubted {
            effects = night.trial(2.0);
            assert!(!trains(&effects).contains(&(0, 0)), "{effects:?}");
        }
        while settled(&effects).is_none() {
            effects = night.trial(found + 0.1);
        }
        night.make(2);
        let effects = night.step(Event::Settled { number: 1 });
        assert!(matches!(trains(&effects).first(), Some((2, _))), "{found}: {effects:?}");
    }
}

#[test]
fn a_failure_settles_an_experiment_however_its_other_trials_went() {
    let rejected = || Event::Evaluated(Err(Rejected { check: "normalised".to_owned(), evidence: "no".to_owned() }));
    for (event, verdict) in [(trained(TrialEnd::TimedOut), Verdict::Crashed), (rejected(), Verdict::Invalid)] {
        let mut night = Script::new(limits(), rules());
        night.measure_start(2.0);
        night.make(1);
        let effects = night.trial(1.9);
        assert!(train(&effects).is_some(), "promising: {effects:?}");
        if matches!(event, Event::Evaluated(_)) {
            night.trial(2.0);
            night.step(trained(TrialEnd::Finished));
        } else {
            night.trial(2.0);
        }
        let effects = night.step(event);
        let settled = settled(&effects).unwrap();
        assert_eq!((settled.decision.verdict, settled.decision.trials), (verdict, 2), "{:?}", settled.decision);
        night.step(Event::Settled { number: 1 });
        assert_eq!(night.machine.champion().number, 0);
    }
}

#[test]
fn a_champion_that_fails_under_another_seed_is_given_one_more() {
    let mut night = Script::new(limits(), Rules { champion_seeds: 4, ..Rules::default() });
    night.measure_start(2.0);
    let effects = night.step(trained(TrialEnd::NotFinite));
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Warn { .. })), "{effects:?}");
    assert_eq!(trains(&effects), [(0, 2)], "another seed");
    let effects = night.step(trained(TrialEnd::NotFinite));
    assert!(matches!(ending(&effects), Some(Ending::BadStart(_))), "{effects:?}");

    let mut night = Script::new(limits(), Rules { champion_seeds: 4, ..Rules::default() });
    night.measure_start(2.0);
    night.step(trained(TrialEnd::NotFinite));
    let effects = night.trial(2.0);
    assert_eq!(trains(&effects), [(0, 3)]);
    assert!(train(&night.step(trained(TrialEnd::NotFinite))).is_some(), "not twice in a row");
}

/// A night that has learnt what curves tell: that they tell all.
fn knowing_start() -> Start {
    let looks = (0..40_u32).map(|n| {
        let difference = 0.5 * jitter(n, 1);
        let final_difference = difference + 0.0005 * jitter(n, 2);
        PastLook { look: 1, curve_difference: difference, final_difference }
    });
    Start { looks: looks.collect(), ..start() }
}

#[test]
fn a_hopeless_trial_is_stopped_once_and_its_experiment_dropped() {
    for (early_stop, early_spare) in [(true, 0.0), (true, 1.0), (false, 0.0)] {
        let rules = Rules { early_stop, early_spare, ..rules() };
        let mut night = Script::from(limits(), rules, knowing_start());
        night.measure_start(2.0);
        night.make(1);
        assert!(night.step(Event::Look { number: 1, trial: 1, look: 1, curve_difference: -0.01 }).is_empty());
        assert!(night.step(Event::Look { number: 1, trial: 2, look: 1, curve_difference: 0.24 }).is_empty());
        let effects = night.step(Event::Look { number: 1, trial: 1, look: 1, curve_difference: 0.24 });
        match (early_stop, early_spare > 0.5) {
            (false, _) => assert!(effects.is_empty(), "{effects:?}"),
            (true, true) => {
                assert!(matches!(effects.as_slice(), [Effect::Spare { number: 1, trial: 1, look: 1 }]), "{effects:?}");
                let effects = night.trial(2.4);
                assert_eq!(settled(&effects).unwrap().decision.verdict, Verdict::Discarded);
            }
            (true, false) => {
                assert!(matches!(effects.as_slice(), [Effect::StopEarly { number: 1, trial: 1, .. }]), "{effects:?}");
                let again = night.step(Event::Look { number: 1, trial: 1, look: 1, curve_difference: 0.24 });
                assert!(again.is_empty(), "{again:?}");
                let effects = night.step(trained(TrialEnd::StoppedEarly { message: "far behind".to_owned() }));
                let settled = settled(&effects).unwrap();
                assert_eq!(settled.decision.verdict, Verdict::Discarded);
                assert!(settled.decision.reason.contains("far behind"), "{}", settled.decision.reason);
            }
        }
    }
}

#[test]
fn what_is_stopped_early_keeps_what_it_has_shown_and_teaches_what_was_to_be_expected() {
    let rules = Rules { early_spare: 0.0, champion_seeds: 2, ..rules() };
    let stop = |night: &mut Script, trial| {
        let effects = night.step(Event::Look { number: 1, trial, look: 1, curve_difference: 0.24 });
        assert!(matches!(effects.as_slice(), [Effect::StopEarly { .. }]), "{effects:?}");
        let effects = night.step(trained(TrialEnd::StoppedEarly { message: "far behind".to_owned() }));
        settled(&effects).unwrap().decision.clone()
    };
    for had_a_run in [false, true] {
        let mut night = Script::from(limits(), rules.clone(), knowing_start());
        night.measure_start(2.0);
        night.trial(2.0);
        night.make(1);
        if had_a_run {
            let mut effects = night.trial(1.9);
            // The champion first, where it has no run under the seed.
            while let Some((0, ..)) = train(&effects) {
                effects = night.trial(2.0);
            }
            assert!(matches!(train(&effects), Some((1, ..))), "{effects:?}");
        }
        let decision = stop(&mut night, 1 + u32::from(had_a_run));
        assert_eq!((decision.verdict, decision.trials), (Verdict::Discarded, 1 + u32::from(had_a_run)));
        assert!(decision.reason.contains("far behind"), "{}", decision.reason);
        assert_eq!(decision.difference.is_some(), had_a_run, "{decision:?}");
        assert!(decision.evidence.is_none_or(|evidence| !evidence.near_miss));
        let crate::night::machine::Testing::Settling { finding: Some(finding), .. } = night.machine.testing else {
            panic!("{:?}", night.machine.testing)
        };
        // What was stopped counts beside what had finished.
        let expected = if had_a_run { -0.1..0.24 } else { 0.22..0.26 };
        assert!(expected.contains(&finding.estimate), "{finding:?}");
    }
}

/// What a trainer says of its loss can make its idea look bad, never make ideas look good.
#[test]
fn what_a_curve_alone_foresaw_teaches_no_gain() {
    for (foreseen, ran, taught) in [(0.01, None, 0.01), (-0.01, None, 0.0), (-0.2, Some(2.1), 0.1)] {
        let mut night = Script::from(limits(), rules(), start());
        night.measure_start(2.0);
        night.make(1);
        let contest = night.machine.contest.as_mut().unwrap();
        contest.glimpse = Some(Glimpse { seed: 1, val_bpb: 2.0 + foreseen, error: 0.0, era: 0 });
        contest.runs.extend(ran.map(|val_bpb| Run { seed: 0, val_bpb, era: 0, documents: Arc::new([]) }));
        night.machine.settle_hopeless("far behind", None, &mut Vec::new());
        let crate::night::machine::Testing::Settling { finding: Some(finding), .. } = night.machine.testing else {
            panic!("{:?}", night.machine.testing)
        };
        assert!((finding.estimate - taught).abs() < 0.002, "{foreseen}: {finding:?}");
    }
}

#[test]
fn what_curves_said_against_the_last_champion_is_forgotten_with_it() {
    let mut night =
        Script::from(limits(), Rules { champion_seeds: 4, drift_every: 0, ..Rules::default() }, knowing_start());
    let effects = night.measure_start(2.0);
    night.make(1);
    let effects = night.race(effects, value(-0.05));
    assert_eq!(settled(&effects).unwrap().decision.verdict, Verdict::Kept);
    assert!(night.machine.knowledge.early.forecast(1, 0.02).is_some());
    night.step(Event::Settled { number: 1 });
    assert_eq!(night.machine.knowledge.early.forecast(1, 0.02), None);
}

#[test]
fn a_bad_start_ends_the_night_before_anything_is_proposed() {
    for event in [Event::Built { number: 0, result: Err(failure()) }, trained(TrialEnd::NotFinite)] {
        let mut night = Script::new(limits(), Rules::default());
        night.step(Event::Begin);
        if matches!(event, Event::Trained(_)) {
            night.step(built(0));
        }
        let effects = night.step(event);
        assert!(matches!(effects.as_slice(), [Effect::Finish(Ending::BadStart(_))]), "{effects:?}");
    }
}

#[test]
fn a_race_that_the_night_has_no_time_for_is_left_undecided() {
    for stop in [true, false] {
        let mut night = Script::new(limits(), rules());
        night.measure_start(2.0);
        night.make(1);
        night.step(trained(TrialEnd::Finished));
        if stop {
            assert!(night.step(Event::Stop { at_once: false }).is_empty(), "the trial is finished first");
        } else {
            night.now = 990.0;
        }
        let effects = night.step(evaluated(1.9));
        let decision = &settled(&effects).unwrap().decision;
        assert_eq!((decision.verdict, decision.trials), (Verdict::Inconclusive, 1));
        assert!(decision.evidence.as_ref().is_some_and(|evidence| evidence.near_miss), "{decision:?}");
        let effects = night.step(Event::Settled { number: 1 });
        assert_eq!(ending(&effects), Some(&if stop { Ending::Stopped } else { Ending::Deadline }));
    }
}

#[test]
fn no_trial_starts_that_would_outlast_the_night() {
    let mut night = Script::new(Limits { seconds: Some(40.0), experiments: None, ..limits() }, Rules::default());
    night.step(Event::Begin);
    night.step(built(0));
    night.now = 20.0;
    night.trial(2.0);
    let effects = night.step(Event::Settled { number: 0 });
    assert_eq!(effects, [Effect::Finish(Ending::Deadline)], "a trial takes 21.5 seconds, and 17 are left");
}

#[test]
fn a_night_that_waits_for_a_proposer_ends_at_its_deadline() {
    let mut night = Script::new(Limits { experiments: None, seconds: Some(100.0), ..limits() }, rules());
    assert!(matches!(night.measure_start(2.0).as_slice(), [Effect::Propose { .. }]));
    // A third of it is the morning's, a trial takes 21.5 seconds.
    night.now = 44.0;
    assert!(night.step(Event::Tick).is_empty());
    night.now = 99.5;
    assert!(matches!(night.step(Event::Tick).as_slice(), [Effect::Finish(Ending::Deadline)]));
}

#[test]
fn proposers_are_asked_once_more_after_each_experiment_whatever_came_of_it() {
    let mut night = Script::new(limits(), rules());
    night.measure_start(2.0);
    let effects = night.make(1);
    // While it is tested, nobody has another idea.
    assert_eq!(night.step(Event::Proposed(None)), []);
    night.race(effects, |number, _, _| 2.0 + f64::from(number));
    let effects = night.step(Event::Settled { number: 1 });
    assert!(matches!(effects.as_slice(), [Effect::Propose { number: 2, .. }]), "{effects:?}");
    assert_eq!(night.step(Event::Proposed(None)), [Effect::Finish(Ending::NothingLeft)]);
}

#[test]
fn a_night_without_ideas_ends_and_says_so() {
    let mut night = Script::new(limits(), rules());
    night.measure_start(2.0);
    assert_eq!(night.step(Event::Proposed(None)), [Effect::Finish(Ending::NothingLeft)]);
}
