//! The morning.

use super::*;
use crate::flow::Verdict;
use crate::night::messages::Without;

fn value(number: u32, seed: u32, _: Purpose) -> f64 {
    let own = match number {
        0 => 2.0,
        1 => 1.9,
        // The second experiment is on top of the first; 3 and 4 leave them out.
        2 => 1.8,
        3 => 1.9,
        _ => 1.8,
    };
    own + 0.001 * jitter(9, seed) + 0.0005 * jitter(number, seed)
}

fn rules() -> Rules {
    Rules { morning_pairs: 3, ..super::rules() }
}

fn make_on(night: &mut Script, number: u32, parent: u64) -> Vec<Effect> {
    night.step(proposed());
    let candidate = Candidate { commit: commit(u64::from(number)), parent: commit(parent) };
    night.step(Event::Committed { candidate, lines: Lines::default() });
    night.step(built(number))
}

/// A night that has kept experiments 1 and 2, the second being the last; what followed.
fn two_kept(limits: Limits) -> (Script, Vec<Effect>) {
    let mut night = Script::new(limits, rules());
    night.measure_start(2.0);
    let effects = night.make(1);
    night.race(effects, value);
    night.step(Event::Settled { number: 1 });
    let effects = make_on(&mut night, 2, 1);
    let effects = night.race(effects, value);
    assert_eq!(settled(&effects).unwrap().decision.verdict, Verdict::Kept);
    let effects = night.step(Event::Settled { number: 2 });
    assert_eq!(night.machine.kept(), [1, 2]);
    (night, effects)
}

#[test]
fn start_and_champion_alternate_on_fresh_seeds_and_then_the_claim_is_made() {
    let limits = Limits { experiments: Some(2), seconds: None, ..limits() };
    let (mut night, effects) = two_kept(limits);
    let effects = night.race(effects, value);
    assert_eq!(trains(&effects), [(0, 16), (2, 16), (2, 17), (0, 17), (0, 18), (2, 18)]);
    let Some(Effect::Claim { claim, champion, start }) = effects.last() else { panic!("{effects:?}") };
    assert_eq!((claim.pairs, champion.number, *start == commit(0)), (3, 2, true));
    assert!(claim.difference.estimate < -0.19 && claim.holds, "{claim:?}");
}

#[test]
fn each_kept_experiment_is_left_out_once_and_nothing_is_crowned_by_it() {
    let limits = Limits { experiments: Some(2), seconds: None, ..limits() };
    let (mut night, effects) = two_kept(limits);
    night.race(effects, value);
    let effects = night.step(Event::Claimed);
    assert!(
        matches!(effects.as_slice(), [Effect::ProposeWithout { of: Without { kept: 1, idea: None }, number: 3, .. }]),
        "{effects:?}"
    );
    let effects = make_on(&mut night, 3, 2);
    // Under a seed by which nothing was kept, where the champion runs first.
    let Some((2, seed @ 0..16, Purpose::Search)) = train(&effects) else { panic!("{effects:?}") };
    assert!(!night.machine.searched.contains(&seed), "{seed} {:?}", night.machine.searched);
    // The next is made meanwhile.
    assert!(
        effects
            .iter()
            .any(|e| matches!(e, Effect::ProposeWithout { of: Without { kept: 2, idea: None }, number: 4, .. })),
        "{effects:?}"
    );
    make_on(&mut night, 4, 2);
    let effects = night.race(effects, value);
    let without = settled(&effects).unwrap();
    assert_eq!((without.without, without.decision.verdict), (Some(1.into()), Verdict::Discarded));
    assert!(without.decision.reason.contains("it contributes"), "{}", without.decision.reason);
    let effects = night.step(Event::Settled { number: 3 });
    let effects = night.race(effects, value);
    let without = settled(&effects).unwrap();
    assert_eq!((without.without, without.decision.verdict), (Some(2.into()), Verdict::Inconclusive));
    assert!(without.decision.reason.contains("a passenger"), "{}", without.decision.reason);
    let effects = night.step(Event::Settled { number: 4 });
    assert_eq!(effects, [Effect::Finish(Ending::ExperimentsDone)]);
    assert_eq!(night.machine.champion().number, 2);
}

#[test]
fn the_last_fresh_seeds_tell_of_what_is_left_out_when_the_search_has_used_all_of_its_own() {
    let limits = Limits { experiments: Some(2), seconds: None, ..limits() };
    let (mut night, effects) = two_kept(limits);
    night.machine.searched.extend(0..16);
    night.race(effects, value);
    night.step(Event::Claimed);
    let effects = make_on(&mut night, 3, 2);
    assert_eq!(train(&effects), Some((2, 31, Purpose::Search)));
    assert_eq!(train(&night.trial(1.8)), Some((3, 31, Purpose::Search)));
}

#[test]
fn each_idea_of_a_kept_combination_is_left_out_too() {
    let limits = Limits { experiments: Some(1), seconds: None, ..limits() };
    let mut night = Script::new(limits, rules());
    night.measure_start(2.0);
    let mut together = proposal("n/5+n/7");
    together.author.proposer = "combine".to_owned();
    night.step(Event::Proposed(Some(Box::new(together))));
    night.step(committed(1));
    let effects = night.step(built(1));
    night.race(effects, value);
    let effects = night.step(Event::Settled { number: 1 });
    night.race(effects, value);
    // The whole of it is what the claim has compared.
    let effects = night.step(Event::Claimed);
    let idea = |idea| Without { kept: 1, idea: Some(idea) };
    assert!(matches!(effects.as_slice(), [Effect::ProposeWithout { of, .. }] if *of == idea(1)), "{effects:?}");
    let effects = night.step(Event::Proposed(None));
    let [Effect::Conclude { number: 1, words }, Effect::ProposeWithout { of, .. }] = effects.as_slice() else {
        panic!("{effects:?}")
    };
    assert!(words.contains("without idea 1 of experiment 1") && *of == idea(2), "{words}");
    let effects = make_on(&mut night, 2, 1);
    let effects =
        night.race(effects, |number, seed, purpose| value(if number == 2 { 1 } else { number }, seed, purpose));
    let without = settled(&effects).unwrap();
    assert_eq!(without.without, Some(idea(2)));
    let words = &without.decision.reason;
    assert!(words.contains("without idea 2 of experiment 1") && words.contains("a passenger"), "{words}");
}

#[test]
fn what_cannot_be_left_out_is_passed_over() {
    let limits = Limits { experiments: Some(2), seconds: None, ..limits() };
    let (mut night, effects) = two_kept(limits);
    night.race(effects, value);
    night.step(Event::Claimed);
    let effects = night.step(Event::Proposed(None));
    assert!(
        matches!(
            effects.as_slice(),
            [Effect::Conclude { number: 1, .. }, Effect::ProposeWithout { of: Without { kept: 2, .. }, .. }]
        ),
        "{effects:?}"
    );
    night.step(proposed());
    let candidate = Candidate { commit: commit(3), parent: commit(2) };
    night.step(Event::Committed { candidate, lines: Lines::default() });
    let effects = night.step(Event::Built { number: 3, result: Err(failure()) });
    assert_eq!(settled(&effects).unwrap().decision.verdict, Verdict::Unbuildable);
    assert_eq!(night.step(Event::Settled { number: 3 }), [Effect::Finish(Ending::ExperimentsDone)]);
}

#[test]
fn time_for_the_morning_is_kept_free_from_the_beginning_on() {
    // 21.5 seconds a trial, whatever the clock says: three pairs take 129, a build 1, and the last trial of the search begins
    // before 248.5.
    let limits = Limits { experiments: None, seconds: Some(400.0), expected_trial_seconds: 2.0 };
    let (mut night, _) = two_kept(limits);
    night.now = 247.0;
    assert!(night.step(Event::Tick).is_empty());
    let effects = night.step(Event::Tick);
    assert_eq!(train(&effects), Some((0, 16, Purpose::Morning)), "{effects:?}");
    // The proposer, which was still thinking, is not heard any more.
    let effects = night.step(proposed());
    assert!(effects.is_empty(), "{effects:?}");
    night.now = 377.0;
    let effects = night.trial(2.0);
    assert!(ending(&effects).is_some(), "half a pair claims nothing: {effects:?}");

    // What would be kept too late to be confirmed is not begun.
    let mut night = Script::new(limits, rules());
    night.measure_start(2.0);
    night.now = 248.0;
    assert!(night.step(Event::Tick).is_empty());
    assert_eq!(night.step(Event::Tick), [Effect::Finish(Ending::Deadline)]);
}

#[test]
fn a_trial_of_the_morning_waits_only_while_its_partner_fits_too() {
    // 21.5 seconds a trial; 20 trials would fit, and the claim wants three pairs.
    let limits = Limits { experiments: Some(2), seconds: Some(430.0), expected_trial_seconds: 2.0 };
    let (mut night, effects) = two_kept(limits);
    assert_eq!(train(&effects), Some((0, 16, Purpose::Morning)), "{effects:?}");
    let wait = night.machine.may_wait(300.0).unwrap();
    assert!((wait - (430.0 - 2.0 * 21.5 - 300.0)).abs() < 1e-9, "{wait}");
    let effects = night.trial(2.0);
    assert_eq!(train(&effects), Some((2, 16, Purpose::Morning)), "{effects:?}");
    let wait = night.machine.may_wait(300.0).unwrap();
    assert!((wait - (430.0 - 21.5 - 300.0)).abs() < 1e-9, "the second of a pair needs no other: {wait}");
}

#[test]
fn nothing_is_made_that_could_not_be_tested_in_time() {
    // 21.5 seconds a trial and 1 a build; nothing is left to the morning.
    let limits = Limits { experiments: None, seconds: Some(400.0), expected_trial_seconds: 2.0 };
    for (now, proposes) in [(356.5, false), (350.0, true)] {
        let mut night = Script::new(limits, Rules { morning_pairs: 0, ..rules() });
        night.measure_start(2.0);
        night.now = now;
        let effects = night.make(1);
        assert!(train(&effects).is_some(), "{effects:?}");
        let proposed = effects.iter().any(|effect| matches!(effect, Effect::Propose { .. }));
        assert_eq!(proposed, proposes, "at {now}: {effects:?}");
    }
}

fn claim(effects: &[Effect]) -> &crate::stats::claim::Claim {
    let claims = effects.iter().find_map(|effect| match effect {
        Effect::Claim { claim, .. } => Some(&**claim),
        _ => None,
    });
    claims.unwrap_or_else(|| panic!("no claim: {effects:?}"))
}

#[test]
fn a_pair_whose_start_fails_is_replaced_and_after_two_the_claim_makes_do() {
    let limits = Limits { experiments: Some(2), seconds: None, ..limits() };
    let (mut night, _) = two_kept(limits);
    let effects = night.step(trained(TrialEnd::NotFinite));
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Warn { .. })));
    assert_eq!(trains(&effects), [(2, 17)]);
    assert_eq!(trains(&night.trial(1.8)), [(0, 17)]);
    assert_eq!(trains(&night.trial(2.0)), [(0, 18)]);
    let effects = night.step(trained(TrialEnd::NotFinite));
    assert_eq!((claim(&effects).pairs, claim(&effects).words.contains("failed")), (1, false), "{effects:?}");
}

#[test]
fn no_claim_holds_of_a_champion_that_fails_where_the_start_does_not() {
    let limits = Limits { experiments: Some(2), seconds: None, ..limits() };
    for (start_fails_too, holds) in [(false, false), (true, true)] {
        let (mut night, _) = two_kept(limits);
        assert_eq!(trains(&night.trial(2.0)), [(2, 16)]);
        assert_eq!(trains(&night.trial(1.8)), [(2, 17)]);
        // Whether the start fails as well is looked at.
        assert_eq!(trains(&night.step(trained(TrialEnd::NotFinite))), [(0, 17)]);
        let next = if start_fails_too { night.step(trained(TrialEnd::NotFinite)) } else { night.trial(2.0) };
        let effects = night.race(next, value);
        let claim = claim(&effects);
        assert_eq!((claim.pairs, claim.holds), (3, holds), "{claim:?}");
        let words = "does not hold: under 1 of 4 fresh seeds the champion failed and the night's start did not; under the others, the";
        assert_eq!(claim.words.starts_with(words), !holds, "{}", claim.words);
    }
}

#[test]
fn a_stopped_night_and_one_that_kept_nothing_have_no_morning() {
    let limits = Limits { experiments: Some(2), seconds: None, ..limits() };
    let (mut night, effects) = two_kept(limits);
    assert!(train(&effects).is_some());
    night.step(Event::Stop { at_once: false });
    assert_eq!(night.trial(2.0), [Effect::Finish(Ending::Stopped)]);

    let mut night = Script::new(Limits { experiments: Some(1), seconds: None, ..limits }, rules());
    night.measure_start(2.0);
    let effects = night.make(1);
    night.race(effects, |number, _, _| 2.0 + f64::from(number));
    assert_eq!(night.step(Event::Settled { number: 1 }), [Effect::Finish(Ending::ExperimentsDone)]);
}

#[test]
fn a_champion_that_breaks_a_rule_under_another_seed_ends_the_night_without_a_claim() {
    let rejected = || {
        let rejected = crate::flow::Rejected { check: "causality".to_owned(), evidence: "it looked ahead".to_owned() };
        Event::Evaluated(Err(rejected))
    };
    let unmasked = |effects: &[Effect]| {
        let warned =
            effects.iter().any(|effect| matches!(effect, Effect::Warn { text } if text.contains("looked ahead")));
        assert!(warned && !effects.iter().any(|effect| matches!(effect, Effect::Claim { .. })), "{effects:?}");
        matches!(ending(effects), Some(Ending::ChampionInvalid(why)) if why.contains("experiment 2"))
    };
    // In the morning, after a pair that would have won.
    let limits = Limits { experiments: Some(2), seconds: None, ..limits() };
    let (mut night, _) = two_kept(limits);
    night.trial(2.0);
    night.trial(1.8);
    night.step(trained(TrialEnd::Finished));
    assert!(unmasked(&night.step(rejected())));

    // After the claim, when it runs beside what is left out of it.
    let (mut night, effects) = two_kept(limits);
    night.race(effects, value);
    night.step(Event::Claimed);
    let effects = make_on(&mut night, 3, 2);
    assert_eq!(train(&effects).map(|(number, ..)| number), Some(2));
    assert_eq!(night.machine.cheat(), None);
    night.step(trained(TrialEnd::Finished));
    let effects = night.step(rejected());
    assert!(unmasked(&effects));
    assert!(effects.iter().any(|e| matches!(e, Effect::Warn { text } if text.contains("its claim is withdrawn"))));
    assert!(night.machine.cheat().is_some_and(|(number, why)| number == 2 && why.contains("looked ahead")));

    // In the search, when it repeats a seed; the start, which breaks a rule, is no measure either.
    let (mut night, _) = two_kept(Limits { experiments: Some(9), ..limits });
    (night.machine.rules.drift_every, night.machine.since_drift_watch) = (1, 1.0);
    assert_eq!(train(&night.step(Event::Tick)).map(|(number, ..)| number), Some(2));
    night.step(trained(TrialEnd::Finished));
    assert!(unmasked(&night.step(rejected())));

    let (mut night, _) = two_kept(limits);
    night.step(trained(TrialEnd::Finished));
    assert!(matches!(ending(&night.step(rejected())), Some(Ending::BadStart(_))));
}
