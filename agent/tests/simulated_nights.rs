//! A short version of `cargo xtask simulate-nights`: a few nights with fixed seeds and generous bounds. The figures that count stand in
//! docs/decisions.md; this sees that the rule and the state machine still are what they were made with.

#[path = "../examples/simulate_nights/machine.rs"]
mod machine;
#[path = "../examples/simulate_nights/machine_ideas.rs"]
mod machine_ideas;
#[path = "../examples/simulate_nights/machine_tally.rs"]
mod machine_tally;
#[path = "../examples/simulate_nights/machine_trial.rs"]
mod machine_trial;
#[path = "../examples/simulate_nights/machine_troubles.rs"]
mod machine_troubles;
#[path = "../examples/simulate_nights/references.rs"]
#[expect(dead_code, reason = "the tables need more of it")]
mod references;
#[path = "../examples/simulate_nights/tally.rs"]
#[expect(dead_code, reason = "the tables need more of it")]
mod tally;
#[path = "../examples/simulate_nights/world.rs"]
#[expect(dead_code, reason = "the tables need more of it")]
mod world;

use machine::Memory;
use machine_troubles::Troubles;
use nocturne::stats::Rules;
use tally::{Night, mean, ratio};
use world::{BUDGET, Effects, Spec, World};

const MIXED: Spec = Spec {
    effects: Effects::Mixed,
    run_sd: 0.0015,
    correlation: 0.5,
    heavy_tails: false,
    interaction: 0.0,
    unequal: false,
};

/// Nights, or why one of them hung or ended for no reason.
type Held<T> = Result<T, String>;

fn hold(spec: Spec, nights: u64, policy: impl Fn(&mut World) -> Held<Night>) -> Held<Vec<Night>> {
    (0..nights).map(|number| policy(&mut World::new(spec, number))).collect()
}

fn ours(world: &mut World) -> Held<Night> {
    machine::night(world, &Rules::default(), &mut Memory::default(), &Troubles::default())
}

#[test]
fn where_some_ideas_gain_the_rule_finds_them_and_little_else() {
    let found = hold(MIXED, 8, ours).unwrap();
    let gain = mean(&found, |night| 1000.0 * night.gain).value;
    assert!((20.0..60.0).contains(&gain), "gain {gain}");
    let not_real = ratio(&found, |night| night.false_keeps, |night| night.keeps).value;
    assert!(not_real < 0.15, "{not_real} of the keeps are not real");
    let saved = ratio(&found, |night| night.bad_whole - night.bad_time, |night| night.bad_whole).value;
    assert!(saved > 0.15, "early stops save {saved} of bad candidates' time");
    let covered = ratio(&found, |night| night.covered, |night| night.intervals).value;
    assert!(covered > 0.85, "{covered} of the intervals cover the truth");
    for night in &found {
        assert!(night.time <= BUDGET && night.time > BUDGET - 4.0, "{night:?}");
        let parts = night.champion_time + night.drift_time + night.morning_time;
        assert!(night.morning_time >= 6.0 && parts < 0.5 * BUDGET, "{night:?}");
    }
    // What follows a change that is kept has to be made anew, and cannot be foreseen.
    let foreseen = ratio(&found, |night| night.foreseen, |night| night.followed).value;
    let wrongly = ratio(&found, |night| night.foreseen_wrongly, |night| night.followed).value;
    assert!(
        foreseen > 0.65 && wrongly < 0.2,
        "{foreseen} of the trials that follow another were foreseen, {wrongly} wrongly"
    );
    // A champion that nothing has replaced for long is watched.
    assert!(found.iter().map(|night| night.drift_time).sum::<f64>() >= 1.0);
    // What it is to be better than, in the same nights.
    let lower_is_kept = hold(MIXED, 8, |world| Ok(references::greedy(world, false))).unwrap();
    assert!(ratio(&lower_is_kept, |night| night.false_keeps, |night| night.keeps).value > 0.25);
    let race =
        mean(&hold(MIXED, 8, |world| Ok(references::screen_and_race(world))).unwrap(), |night| 1000.0 * night.gain)
            .value;
    assert!(race < gain, "{race} {gain}");
}

#[test]
fn where_nothing_works_little_is_kept_and_nothing_claimed_twice() {
    let found = hold(Spec { effects: Effects::Nothing, correlation: 0.0, ..MIXED }, 8, ours).unwrap();
    let kept = mean(&found, |night| night.keeps).value;
    assert!(kept <= 0.5, "{kept} keeps a night");
    assert_eq!(found.iter().map(|night| night.wrong_claims).sum::<f64>(), 0.0);
}

#[test]
fn the_same_night_has_the_same_luck() {
    let held = |number| ours(&mut World::new(MIXED, number)).unwrap();
    let (one, other) = (held(7), held(7));
    assert_eq!((one.gain, one.keeps, one.time), (other.gain, other.keeps, other.time));
    assert_ne!(one.gain, held(8).gain);
}

#[test]
fn whatever_goes_wrong_a_night_comes_to_its_end() {
    let mut slowed = 0.0;
    for (name, troubles) in machine_troubles::all() {
        let held = |world: &mut World| machine::night(world, &Rules::default(), &mut Memory::default(), &troubles);
        let found = hold(MIXED, 2, held).unwrap();
        let gain = mean(&found, |night| 1000.0 * night.gain).value;
        let whole = troubles.stopped.is_none();
        assert!(!whole || gain > 10.0, "{name}: gain {gain}");
        assert!(found.iter().all(|night| !whole || night.time > 0.8 * BUDGET), "{name}: {found:?}");
        if troubles.slower > 0.0 {
            slowed += mean(&found, |night| night.eras).value;
        }
    }
    // In one night of three or six (docs/decisions.md).
    assert!(slowed >= 0.5, "a machine that got slower was seen to change {slowed} times");
}

#[test]
fn with_time_left_the_morning_leaves_out_what_was_kept() {
    let few = Troubles { experiments: Some(25), ..Troubles::default() };
    let found = hold(MIXED, 4, |world| machine::night(world, &Rules::default(), &mut Memory::default(), &few)).unwrap();
    for night in found {
        assert!(night.keeps < 2.0 || night.left_out_time >= 2.0 * night.keeps.min(4.0), "{night:?}");
        // A smaller gain is not told every morning.
        assert!(night.claims > 0.0 || night.gain < 0.01, "{night:?}");
    }
}

#[test]
fn nights_of_a_campaign_learn_from_those_before() {
    let (rules, none) = (Rules::default(), Troubles::default());
    let mut memory = Memory::default();
    let held = |number, memory: &mut Memory| {
        let night = machine::night(&mut World::new(MIXED, number), &rules, memory, &none).unwrap();
        (night.gain, night.time)
    };
    held(1 << 32, &mut memory);
    assert_ne!(held(3, &mut memory), held(3, &mut Memory::default()));
}
