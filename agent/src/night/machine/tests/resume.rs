//! Going on with a night that was cut off.

use super::*;
use crate::flow::Verdict;
use crate::night::messages::{PastDecision, Standing, Unsettled};

fn standing(number: u32, artifact: Option<Artifact>) -> Standing {
    let proposal = (number > 0).then(|| proposal("x"));
    let parent = START.parse().unwrap();
    let candidate = Candidate { commit: commit(u64::from(number)), parent };
    Standing { number, proposal, candidate, lines: Lines::default(), artifact }
}

/// Experiment 1 was kept after its first trial, which was the night's second.
fn kept() -> Vec<PastDecision> {
    let decision = crate::stats::untested(Verdict::Kept, "better".to_owned());
    vec![PastDecision { standing: standing(1, None), without: None, decision, after: 2 }]
}

/// A night that was cut off while it tested an experiment, after its first trial had come out so.
fn cut_off(number: u32, artifact: Option<Artifact>, came: Came) -> Start {
    Start {
        baseline: standing(0, Some(super::artifact())),
        baseline_settled: true,
        trials: vec![past(0, 1, 0, Came::Verified(measured(2.0))), past(number, 1, 0, came)],
        unsettled: Some(Unsettled { standing: standing(number, artifact), without: None, story: Vec::new() }),
        next_number: number + 1,
        turn: 9,
        settled: number - 1,
        ..start()
    }
}

#[test]
fn an_interrupted_trial_is_run_again_first() {
    let limits = Limits { experiments: Some(9), ..limits() };
    let mut night = Script::from(limits, rules(), cut_off(4, None, Came::Nothing));
    // Nothing is made beside it: there is one compiler.
    assert!(matches!(night.step(Event::Begin).as_slice(), [Effect::Build { number: 4, .. }]));
    let effects = night.step(built(4));
    assert!(
        matches!(effects.as_slice(), [Effect::Train { trial: 2, seed: 0, .. }, Effect::Propose { number: 5, turn: 9 }]),
        "{effects:?}"
    );

    // One that had finished its training is only evaluated.
    let mut night = Script::from(limits, rules(), cut_off(4, Some(artifact()), Came::Waits));
    let effects = night.step(Event::Begin);
    assert!(matches!(effects.first(), Some(Effect::Evaluate { number: 4, trial: 1, .. })), "{effects:?}");
}

#[test]
fn what_had_come_out_is_judged_and_not_run_again() {
    let failed = Came::Failed { verdict: Verdict::Invalid, words: "it looked ahead".to_owned() };
    for (came, verdict) in [
        (failed, Verdict::Invalid),
        (Came::StoppedEarly("far behind".to_owned()), Verdict::Discarded),
        (Came::Verified(measured(2.5)), Verdict::Discarded),
    ] {
        let mut night = Script::from(limits(), rules(), cut_off(2, Some(artifact()), came));
        let effects = night.step(Event::Begin);
        assert_eq!(settled(&effects).unwrap().decision.verdict, verdict, "{effects:?}");
        assert!(train(&effects).is_none());
    }
}

#[test]
fn the_time_before_a_resumption_is_not_taken_for_a_long_trial() {
    let limits = Limits { experiments: None, seconds: Some(1_000.0), ..limits() };
    let mut night = Script::from(limits, rules(), cut_off(1, Some(artifact()), Came::Waits));
    night.now = 600.0;
    night.step(Event::Begin);
    night.step(evaluated(2.1));
    let effects = night.step(Event::Settled { number: 1 });
    assert!(ending(&effects).is_none(), "395 seconds are left: {effects:?}");
}

#[test]
fn a_start_that_was_measured_and_not_recorded_is_recorded() {
    let start = Start {
        baseline: standing(0, Some(artifact())),
        trials: vec![past(0, 1, 0, Came::Nothing), past(0, 2, 0, Came::Verified(measured(2.0)))],
        ..start()
    };
    let mut night = Script::from(limits(), Rules::default(), start);
    let effects = night.step(Event::Begin);
    assert!(matches!(effects.as_slice(), [Effect::Settle { settled }] if settled.val_bpb == Some(2.0)), "{effects:?}");
    let effects = night.step(Event::Settled { number: 0 });
    assert!(matches!(effects.first(), Some(Effect::Train { trial: 3, seed: 1, .. })), "{effects:?}");
}

#[test]
fn a_champion_whose_executable_is_gone_is_built_before_its_next_trial() {
    let decision = crate::stats::untested(Verdict::Discarded, "worse".to_owned());
    let dropped = PastDecision { standing: standing(2, None), without: None, decision, after: 4 };
    let start = Start {
        decisions: [kept(), vec![dropped]].concat(),
        trials: vec![
            past(0, 1, 0, Came::Verified(measured(2.0))),
            past(1, 1, 0, Came::Verified(measured(1.9))),
            past(1, 2, 1, Came::Nothing),
            past(2, 1, 0, Came::Verified(measured(2.5))),
        ],
        unsettled: None,
        next_number: 3,
        settled: 2,
        ..cut_off(1, None, Came::Nothing)
    };
    let rules = Rules { drift_every: 1, ..rules() };
    let mut night = Script::from(limits(), rules, start);
    assert_eq!(night.machine.champion().val_bpb, Some(1.9));
    assert!(matches!(night.step(Event::Begin).as_slice(), [Effect::Build { number: 1, .. }]));
    let effects = night.step(built(1));
    assert!(matches!(effects.first(), Some(Effect::Train { trial: 3, seed: 0, .. })), "{effects:?}");
}

#[test]
fn a_repetition_that_had_shown_drift_begins_an_era_on_going_on() {
    for (again, era) in [(2.0, 0), (2.5, 1)] {
        let start = Start {
            trials: vec![past(0, 1, 0, Came::Verified(measured(2.0))), past(0, 2, 0, Came::Verified(measured(again)))],
            unsettled: None,
            ..cut_off(1, None, Came::Nothing)
        };
        let mut night = Script::from(limits(), rules(), start);
        night.step(Event::Begin);
        assert_eq!(night.machine.era, era);
    }
}

#[test]
fn a_morning_that_had_begun_goes_on_whatever_time_there_is_now() {
    let morning = |number, ordinal, seed, val_bpb| PastTrial {
        purpose: Purpose::Morning,
        ..past(number, ordinal, seed, Came::Verified(measured(val_bpb)))
    };
    let mut begun = Start {
        decisions: vec![PastDecision { standing: standing(1, Some(artifact())), ..kept().remove(0) }],
        unsettled: None,
        next_number: 2,
        settled: 1,
        ..cut_off(1, None, Came::Nothing)
    };
    begun.trials.extend([morning(0, 2, 16, 2.0), morning(1, 2, 16, 1.9)]);
    let rules = Rules { morning_pairs: 2, ..rules() };
    let limits = Limits { experiments: Some(50), seconds: None, ..limits() };
    let mut night = Script::from(limits, rules.clone(), begun.clone());
    let effects = night.step(Event::Begin);
    assert_eq!(trains(&effects), [(1, 17)], "{effects:?}");
    night.trial(1.9);
    let effects = night.trial(2.0);
    assert!(effects.iter().any(|e| matches!(e, Effect::Claim { claim, .. } if claim.pairs == 2)), "{effects:?}");
    // A champion that broke a rule stays exposed.
    let mut cheat = begun.clone();
    let came = Came::Failed { verdict: Verdict::Invalid, words: "it looked ahead".to_owned() };
    cheat.trials.push(PastTrial { purpose: Purpose::Morning, ..past(1, 3, 17, came) });
    let effects = Script::from(limits, rules.clone(), cheat).step(Event::Begin);
    assert!(matches!(ending(&effects), Some(Ending::ChampionInvalid(_))), "{effects:?}");
    // One that is found out after the claim takes it back, also where the night was cut off just then.
    for (claimed, words) in [(true, "its claim is withdrawn"), (false, "ends without a claim")] {
        let mut cheat = Start { claimed, ..begun.clone() };
        let came = Came::Failed { verdict: Verdict::Invalid, words: "it looked ahead".to_owned() };
        cheat.trials.push(past(1, 3, 5, came));
        let effects = Script::from(limits, rules.clone(), cheat).step(Event::Begin);
        let warned = |effect: &Effect| matches!(effect, Effect::Warn { text } if text.contains(words));
        assert!(effects.iter().any(warned), "{claimed}: {effects:?}");
    }
    // Once that is on record there is nothing left: one kept experiment has been compared with the start.
    let mut night = Script::from(limits, rules, Start { claimed: true, ..begun });
    assert!(ending(&night.step(Event::Begin)).is_some());
}
