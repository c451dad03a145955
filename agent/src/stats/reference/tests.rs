use super::*;
use crate::stats::Rules;
use crate::stats::mixture::Part;

const SD: f64 = 0.0015;

fn noise(correlation: f64) -> Noise {
    Noise {
        seed_variance: correlation * SD * SD,
        rest_variance: (1.0 - correlation) * SD * SD,
        ..Noise::expected(&Rules::default())
    }
}

fn run(seed: u32, val_bpb: f64) -> Run {
    Run { seed, val_bpb, era: 0, documents: [].into() }
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
    let (estimate, error) = level.difference(&[run(0, 0.996), run(1, 0.998)], None).unwrap();
    assert!((estimate + 0.003).abs() < 1e-6, "{estimate}");
    assert!((error - SD * (1.0_f64 / 2.0 + 1.0 / 4.0).sqrt()).abs() < 1e-6, "{error}");
}

#[test]
fn under_the_same_seed_the_luck_of_the_seed_cancels() {
    let mut reference = Reference::new();
    reference.champion_ran(run(5, 1.01));
    let level = reference.level(&fresh(), &noise(0.9)).unwrap();
    let (estimate, error) = level.difference(&[run(5, 1.008)], None).unwrap();
    assert!((estimate + 0.002).abs() < 1e-6, "{estimate}");
    assert!((error - SD * 0.2_f64.sqrt()).abs() < 1e-6, "{error}");
    assert!(level.difference(&[run(6, 1.008)], None).unwrap().1 > SD);
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
    let (estimate, error) = level.difference(&[run(1, 1.0)], None).unwrap();
    assert!(error < before && estimate < 0.0015, "{error} {before} {estimate}");
    stopped.dropped(Vec::new(), Some(Glimpse { seed: 1, val_bpb: 1.02, error: 0.002, era: 0 }), None);
    let with = stopped.level(&fresh(), &noise(0.0)).unwrap();
    assert!(with.difference(&[run(1, 1.0)], None).unwrap().0 <= estimate);
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
    let (estimate, error) = level.difference(&[run(2, 0.993)], None).unwrap();
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
    let (estimate, _) = level.difference(&[Run { era: 1, ..run(0, 2.0) }], None).unwrap();
    assert!(estimate.abs() < 1e-5, "{estimate}");
}
