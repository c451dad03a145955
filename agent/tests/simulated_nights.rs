//! A short version of `cargo xtask simulate-nights`: a few nights with fixed seeds and generous bounds. The figures that count stand in
//! docs/decisions.md; this sees that the rule still is what they were made with.

#[path = "../examples/simulate_nights/night.rs"]
mod night;
#[path = "../examples/simulate_nights/references.rs"]
#[expect(dead_code, reason = "the tables need more of it")]
mod references;
#[path = "../examples/simulate_nights/tally.rs"]
#[expect(dead_code, reason = "the tables need more of it")]
mod tally;
#[path = "../examples/simulate_nights/world.rs"]
#[expect(dead_code, reason = "the tables need more of it")]
mod world;

use night::Memory;
use nocturne::stats::Rules;
use tally::{Night, mean, ratio};
use world::{Effects, Spec, World};

const MIXED: Spec =
    Spec { effects: Effects::Mixed, run_sd: 0.0015, correlation: 0.5, heavy_tails: false, interaction: 0.0 };

fn hold(spec: Spec, nights: u64, policy: impl Fn(&mut World) -> Night) -> Vec<Night> {
    (0..nights).map(|number| policy(&mut World::new(spec, number))).collect()
}

fn ours(world: &mut World) -> Night {
    let rules = Rules::default();
    night::night(world, &rules, &mut Memory::new(&rules))
}

#[test]
fn where_some_ideas_gain_the_rule_finds_them_and_little_else() {
    let found = hold(MIXED, 8, ours);
    let gain = mean(&found, |night| 1000.0 * night.gain).value;
    assert!((20.0..60.0).contains(&gain), "gain {gain}");
    let not_real = ratio(&found, |night| night.false_keeps, |night| night.keeps).value;
    assert!(not_real < 0.15, "{not_real} of the keeps are not real");
    let saved = ratio(&found, |night| night.bad_whole - night.bad_time, |night| night.bad_whole).value;
    assert!(saved > 0.15, "early stops save {saved} of bad candidates' time");
    let covered = ratio(&found, |night| night.covered, |night| night.intervals).value;
    assert!(covered > 0.85, "{covered} of the intervals cover the truth");
    let time = mean(&found, |night| night.time).value;
    assert!(time <= night::BUDGET, "{time} trial times");
    // What it is to be better than, in the same nights.
    let lower_is_kept = hold(MIXED, 8, |world| references::greedy(world, false));
    assert!(ratio(&lower_is_kept, |night| night.false_keeps, |night| night.keeps).value > 0.25);
    let race = mean(&hold(MIXED, 8, references::screen_and_race), |night| 1000.0 * night.gain).value;
    assert!(race < gain, "{race} {gain}");
}

#[test]
fn where_nothing_works_little_is_kept_and_nothing_claimed_twice() {
    let found = hold(Spec { effects: Effects::Nothing, correlation: 0.0, ..MIXED }, 8, ours);
    let kept = mean(&found, |night| night.keeps).value;
    assert!(kept <= 1.0, "{kept} keeps a night");
    assert!(found.iter().map(|night| night.wrong_claims).sum::<f64>() <= 1.0);
}

#[test]
fn the_same_night_has_the_same_luck() {
    let (one, other) = (ours(&mut World::new(MIXED, 7)), ours(&mut World::new(MIXED, 7)));
    assert_eq!((one.gain, one.keeps, one.time), (other.gain, other.keeps, other.time));
    assert_ne!(one.gain, ours(&mut World::new(MIXED, 8)).gain);
}
