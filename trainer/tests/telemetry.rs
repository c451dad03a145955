//! What a run tells of its own steps, and what the telling costs.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod common;

use harness::{Candidate, Checkpoint, run_until};
use protocol::{Budget, Event, Go, Measured, Precision, Scale, Setting};
use trainer::candidate::Trainer;
use trainer::candidate::recipe::Recipe;

/// Trains `steps` steps; of each, the seconds since the one before and what it told.
fn steps(mut candidate: Trainer, setting: &Setting, tokens_per_step: u64, steps: u64) -> Vec<(f64, Option<Measured>)> {
    let dir = tempfile::tempdir().unwrap();
    common::write_data(dir.path(), u16::try_from(setting.vocabulary).unwrap());
    let budget = Budget::Tokens(steps * tokens_per_step);
    let go = Go { budget, checkpoint: dir.path().join("unused"), stop_after_steps: None };
    let mut run = Checkpoint::start(setting, 7);
    let (mut told, mut before) = (Vec::new(), 0.0);
    run_until(&mut candidate, &mut run, &go, &common::training_files(dir.path()), &mut |event| {
        if let Event::Step { seconds, measured, .. } = event {
            told.push((seconds - before, measured.clone()));
            before = *seconds;
        }
        Ok(())
    })
    .unwrap();
    told
}

#[test]
fn sampled_steps_tell_their_parts_and_gradients() {
    let setting = common::setting(50, 32, Precision::Fp32);
    let mut recipe = Recipe::cpu();
    recipe.shape.dim = 64;
    recipe.shape.head_dim = 16;
    recipe.shape.tokens_per_step = 128;
    recipe.shape.micro_batch_rows = 2;
    let told = steps(Trainer::new(recipe, &setting, 7).unwrap(), &setting, 128, 64);
    assert_eq!(told.len(), 64);
    let sampled: Vec<&Measured> = told.iter().filter_map(|(_, measured)| measured.as_ref()).collect();
    assert!(told[0].1.is_none() && (15..=16).contains(&sampled.len()), "{}", sampled.len());
    for measured in sampled {
        assert!(measured.data > 0.0 && measured.forward > 0.0 && measured.backward > 0.0 && measured.optimizer > 0.0);
        let norm = measured.gradient_norm.unwrap();
        let of_groups = measured.groups.iter().map(|(_, norm)| norm * norm).sum::<f64>().sqrt();
        assert!(norm > 0.0 && of_groups <= norm * (1.0 + 1e-9), "{measured:?}");
        let names: Vec<&str> = measured.groups.iter().map(|(name, _)| name.as_str()).collect();
        assert!(names.len() > 3 && names.iter().all(|name| !name.contains(|c: char| c.is_ascii_digit())), "{names:?}");
    }
}

/// `cargo test -p trainer --test telemetry -- --ignored --nocapture`: how much longer a run takes for its sampled steps, within one run.
#[test]
#[ignore = "a measurement, not a test: it prints a figure"]
fn what_sampling_costs() {
    let setting = Setting { threads: 0, ..common::setting(2_048, 256, Precision::Fp32) };
    assert_eq!(setting.scale, Scale::Cpu);
    let candidate = Trainer::build(&setting, 7).unwrap();
    let tokens = (candidate.rows_per_step() * setting.context) as u64;
    let told = steps(candidate, &setting, tokens, 80);
    let median = |sampled: bool| {
        let mut all: Vec<f64> =
            told.iter().skip(1).filter(|(_, told)| told.is_some() == sampled).map(|(seconds, _)| *seconds).collect();
        all.sort_by(f64::total_cmp);
        (all[all.len() / 2], all.len())
    };
    let ((with, sampled), (without, _)) = (median(true), median(false));
    println!(
        "a sampled step {:.1} ms, another {:.1} ms, by the median of {sampled} and the rest",
        1e3 * with,
        1e3 * without
    );
    let all = told.iter().map(|(seconds, _)| seconds).sum::<f64>();
    println!("of a run of {} steps: {:+.2} %", told.len(), 100.0 * (with - without) * sampled as f64 / all);
    for (_, measured) in told.iter().filter(|(_, measured)| measured.is_some()).take(2) {
        println!("{measured:?}");
    }
}
