//! Other rules, for comparison: what is usual, what this project began with, and screening designs.
//!
//! They get what they like to be told: the noise is known to them.

use crate::tally::Night;
use crate::world::{BUDGET, World};

/// Trials between two that watch for drift.
const DRIFT_EVERY: f64 = 12.0;

/// Trial times that rules other than the greedy one leave to the morning.
const MORNING: f64 = 4.0;

fn keep(world: &mut World, champion: &mut Vec<usize>, idea: usize, night: &mut Night) {
    let wrong = f64::from(u8::from(world.gain_of(champion, &[idea]) >= 0.0));
    night.keeps += 1.0;
    night.ideas += 1.0;
    night.false_keeps += wrong;
    night.false_ideas += wrong;
    champion.push(idea);
}

/// One run each, lower is kept. `paired`: all under one seed, else each under its own. Nothing is spent on anything else.
pub fn greedy(world: &mut World, paired: bool) -> Night {
    let mut night = Night::default();
    let mut champion = Vec::new();
    let mut best = world.run(&champion, 0).val_bpb;
    for k in 1..BUDGET as u32 {
        let idea = k as usize;
        let candidate: Vec<usize> = champion.iter().copied().chain([idea]).collect();
        let found = world.run(&candidate, if paired { 0 } else { k }).val_bpb;
        if found < best {
            keep(world, &mut champion, idea, &mut night);
            best = found;
        }
    }
    night.experiments = BUDGET - 1.0;
    finish(world, &champion, night)
}

fn finish(world: &mut World, champion: &[usize], mut night: Night) -> Night {
    night.gain = -world.truth(champion);
    night
}

/// Screen and race: the champion on 4 seeds; one paired trial, dropped unless half a sd better; up to 3 further pairs, stopped when
/// hopeless; kept at z of -1.64 and a difference beyond 0.0002. The screening trial never counts.
pub fn screen_and_race(world: &mut World) -> Night {
    let spec = world.spec;
    let pair_sd = spec.run_sd * (2.0 * (1.0 - spec.correlation)).sqrt();
    let mut night = Night::default();
    let mut champion: Vec<usize> = Vec::new();
    let mut known: Vec<(u32, f64)> = (0..4).map(|seed| (seed, world.run(&[], seed).val_bpb)).collect();
    let mut fresh = 4;
    let mut time = 4.0;
    let end = (BUDGET - MORNING) * (1.0 - 1.0 / (DRIFT_EVERY + 1.0));
    let mut idea = 0;
    while time + 1.0 <= end {
        idea += 1;
        night.experiments += 1.0;
        let candidate: Vec<usize> = champion.iter().copied().chain([idea]).collect();
        let (seed, theirs) = known[idea % known.len()];
        time += 1.0;
        if world.run(&candidate, seed).val_bpb - theirs > -0.5 * pair_sd {
            continue;
        }
        let (mut sum, mut count, mut runs) = (0.0, 0.0_f64, Vec::new());
        for k in 1..=3 {
            let place = (idea + k) % 4;
            while known.len() <= place && time + 2.0 <= end {
                known.push((fresh, world.run(&champion, fresh).val_bpb));
                fresh += 1;
                time += 1.0;
                night.champion_time += 1.0;
            }
            let Some(&(seed, theirs)) = known.get(place).filter(|_| time + 1.0 <= end) else { break };
            let ours = world.run(&candidate, seed).val_bpb;
            time += 1.0;
            runs.push((seed, ours));
            sum += ours - theirs;
            count += 1.0;
            let (mean, error) = (sum / count, pair_sd / count.sqrt());
            if mean > 0.0 {
                break;
            }
            if count > 2.0 && mean <= -1.64 * error && mean < -0.0002 {
                keep(world, &mut champion, idea, &mut night);
                known.clone_from(&runs);
                break;
            }
        }
    }
    finish(world, &champion, night)
}

/// First row of Plackett and Burman's design in twelve runs (1946).
const PLACKETT_BURMAN: [bool; 11] = [true, true, false, true, true, true, false, false, false, true, false];

/// Eleven ideas at a time in a two-level design of twelve runs, all under one seed; with `fold` the twelve complements too, which
/// clears main effects of pair interactions. Ideas with an estimate beyond `z` standard errors are kept, all at once.
pub fn block(world: &mut World, fold: bool, z: f64) -> Night {
    let spec = world.spec;
    let own_sd = spec.run_sd * (1.0 - spec.correlation).sqrt();
    let mut night = Night::default();
    let mut champion: Vec<usize> = Vec::new();
    let end = (BUDGET - MORNING) * (1.0 - 1.0 / (DRIFT_EVERY + 1.0));
    let mut rows: Vec<[bool; 11]> =
        (0..11).map(|shift| std::array::from_fn(|k| PLACKETT_BURMAN[(k + shift) % 11])).collect();
    rows.push([false; 11]);
    if fold {
        let complements: Vec<[bool; 11]> = rows.iter().map(|row| row.map(|on| !on)).collect();
        rows.extend(complements);
    }
    let runs = rows.len() as f64;
    let error = 2.0 * own_sd / runs.sqrt();
    let (mut time, mut number) = (0.0, 0);
    while time + runs <= end {
        let ideas: Vec<usize> = (1..=11).map(|k| 11 * number + k).collect();
        let seed = (number % 16) as u32;
        number += 1;
        time += runs;
        night.experiments += 11.0;
        let mut effects = [0.0; 11];
        for row in &rows {
            let on = ideas.iter().zip(row).filter(|(_, on)| **on).map(|(idea, _)| *idea);
            let commit: Vec<usize> = champion.iter().copied().chain(on).collect();
            let found = world.run(&commit, seed).val_bpb;
            for (effect, on) in effects.iter_mut().zip(row) {
                *effect += if *on { found } else { -found } * 2.0 / runs;
            }
        }
        for (idea, effect) in ideas.iter().zip(effects) {
            if effect < -z * error && effect < -0.0002 {
                keep(world, &mut champion, *idea, &mut night);
            }
        }
    }
    finish(world, &champion, night)
}
