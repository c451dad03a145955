use super::*;
use crate::stats::Rules;
use crate::stats::mixture::Part;
use crate::stats::spread::Scatter;

const SD: f64 = 0.0015;

fn noise(correlation: f64) -> Noise {
    Noise {
        seed_variance: correlation * SD * SD,
        rest_variance: (1.0 - correlation) * SD * SD,
        spread: Spread::alike(),
        ..Noise::expected(&Rules::default())
    }
}

fn run(seed: u32, val_bpb: f64) -> Run {
    Run { seed, val_bpb, era: 0, documents: [].into() }
}

/// The difference where all ideas scatter alike.
fn told(level: &Level, runs: &[Run]) -> (f64, f64) {
    let seen = level.difference(runs, None);
    assert_eq!(seen.len(), 1);
    (seen[0].estimate, seen[0].error)
}

fn fresh() -> Mixture {
    Mixture::new([(0.5, 0.0, 0.0), (0.2, -0.003, 0.001), (0.3, 0.004, 0.002)].map(|(weight, mean, sd)| Part {
        weight,
        mean,
        sd,
    }))
}

#[test]
fn without_shared_seeds_the_error_is_that_of_two_means() {
    let mut reference = Reference::new();
    for (seed, value) in [(0, 1.001), (1, 0.999), (2, 1.003), (3, 0.997)] {
        reference.champion_ran(run(seed, value));
    }
    let level = reference.level(&fresh(), &noise(0.0)).unwrap();
    let (estimate, error) = told(&level, &[run(0, 0.996), run(1, 0.998)]);
    assert!((estimate + 0.003).abs() < 1e-6, "{estimate}");
    assert!((error - SD * (1.0_f64 / 2.0 + 1.0 / 4.0).sqrt()).abs() < 1e-6, "{error}");
}

#[test]
fn under_the_same_seed_the_luck_of_the_seed_cancels() {
    let mut reference = Reference::new();
    reference.champion_ran(run(5, 1.01));
    let level = reference.level(&fresh(), &noise(0.9)).unwrap();
    let (estimate, error) = told(&level, &[run(5, 1.008)]);
    assert!((estimate + 0.002).abs() < 1e-6, "{estimate}");
    assert!((error - SD * 0.2_f64.sqrt()).abs() < 1e-6, "{error}");
    assert!(told(&level, &[run(6, 1.008)]).1 > SD);
}

#[test]
fn candidates_place_the_level_and_those_stopped_early_do_too() {
    let mut reference = Reference::new();
    // The champion was lucky; what was tested lies about 1.000.
    reference.champion_ran(run(0, 0.997));
    let before = reference.level(&fresh(), &noise(0.0)).unwrap().error_with(&[1], &[]).unwrap();
    for k in 0..6 {
        reference.dropped(vec![run(1, 1.0 + 0.0002 * f64::from(k))], None, None);
    }
    let mut stopped = reference.clone();
    let level = reference.level(&fresh(), &noise(0.0)).unwrap();
    let (estimate, error) = told(&level, &[run(1, 1.0)]);
    assert!(error < before && estimate < 0.0015, "{error} {before} {estimate}");
    stopped.dropped(Vec::new(), Some(Glimpse { seed: 1, val_bpb: 1.02, error: 0.002, era: 0 }), None);
    let with = stopped.level(&fresh(), &noise(0.0)).unwrap();
    assert!(told(&with, &[run(1, 1.0)]).0 <= estimate);
}

#[test]
fn a_new_champion_inherits_the_level_and_is_not_believed_to_be_as_good_as_it_looked() {
    let mut reference = Reference::new();
    for seed in 0..8 {
        reference.champion_ran(run(seed, 1.0));
    }
    reference.kept(vec![run(0, 0.992), run(1, 0.994)], None);
    let level = reference.level(&fresh(), &noise(0.0)).unwrap();
    // A run like the new champion's own mean looks worse than its level would be by itself: the level is shrunk towards what gains are.
    let (estimate, error) = told(&level, &[run(2, 0.993)]);
    assert!(estimate < -0.001, "{estimate}");
    assert!(error < SD * (1.0_f64 + 1.0 / 2.0).sqrt(), "{error}");
    assert_eq!(reference.champion().len(), 2);
}

#[test]
fn a_new_era_forgets_what_was_before() {
    let mut reference = Reference::new();
    reference.champion_ran(run(0, 1.0));
    reference.dropped(vec![run(0, 1.1)], None, None);
    reference.champion_ran(Run { era: 1, ..run(0, 2.0) });
    let level = reference.level(&fresh(), &noise(0.0)).unwrap();
    assert!(level.difference(&[run(1, 1.0)], None).is_empty(), "a candidate's run of before the change");
    let (estimate, _) = told(&level, &[Run { era: 1, ..run(0, 2.0) }]);
    assert!(estimate.abs() < 1e-5, "{estimate}");
}

#[test]
fn pairs_that_agree_narrow_a_difference_down_and_one_pair_leaves_a_heavy_tail() {
    let scatters = [0.01, 0.01, 0.01, 2.0, 2.0, 2.0].map(|squares| Scatter { squares, degrees: 2.0 });
    let noise = |spread| Noise { spread, ..noise(0.2) };
    let unequal = noise(Spread::learn(&scatters, 1.0));
    let mut reference = Reference::new();
    let champion = [1.003, 0.999, 0.9975, 1.0005];
    (0..).zip(champion).for_each(|(seed, value)| reference.champion_ran(run(seed, value)));
    let with = |noise: &Noise, differences: &[f64]| -> (f64, f64) {
        let runs: Vec<Run> =
            (0..).zip(champion.iter().zip(differences)).map(|(seed, (own, more))| run(seed, own + more)).collect();
        Seen::overall(&reference.level(&fresh(), noise).unwrap().difference(&runs, None)).unwrap()
    };
    let alike = noise(Spread::alike());
    let calm = [-0.001, -0.001_02, -0.000_98];
    let (estimate, error) = with(&unequal, &calm);
    assert!((estimate + 0.001).abs() < 0.000_1 && error < 0.3 * with(&alike, &calm).1, "{estimate} {error}");
    let wild = [0.004, -0.006, 0.003];
    assert!(with(&unequal, &wild).1 > with(&alike, &wild).1);
    // Of one pair it cannot be told: several accounts stand.
    let one = [run(0, champion[0] - 0.001)];
    let seen = reference.level(&fresh(), &unequal).unwrap().difference(&one, None);
    assert!(seen.len() > 1, "{seen:?}");
    let errors = seen.iter().map(|seen| seen.error);
    assert!(errors.clone().fold(0.0, f64::max) > 4.0 * errors.fold(1.0, f64::min), "{seen:?}");
}

#[test]
fn a_candidate_that_repeats_its_champions_luck_says_nothing_of_the_level() {
    let scatters = [0.001; 12].map(|squares| Scatter { squares, degrees: 2.0 });
    let calm = Noise { spread: Spread::learn(&scatters, 1.0), ..noise(0.0) };
    let mut reference = Reference::new();
    reference.champion_ran(run(0, 1.003));
    reference.champion_ran(run(1, 1.003));
    let before = reference.level(&fresh(), &calm).unwrap().error_with(&[5], &[]).unwrap();
    for _ in 0..5 {
        reference.dropped(vec![run(0, 1.003), run(1, 1.003_01)], None, None);
    }
    let after = reference.level(&fresh(), &calm).unwrap().error_with(&[5], &[]).unwrap();
    assert!((after / before - 1.0).abs() < 0.02, "{before} {after}");
}
