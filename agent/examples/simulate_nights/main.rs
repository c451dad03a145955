//! Simulated nights: what the rule of this project comes to in worlds whose truth is known, beside other rules.
//!
//! `cargo xtask simulate-nights [NIGHTS]` runs it; docs/decisions.md shows what it prints. Seeded: the same figures every time.

mod night;
mod references;
mod table;
mod tally;
mod world;

use std::process::ExitCode;

use night::Memory;
use nocturne::stats::Rules;
use table::Table;
use tally::Night;
use world::{Effects, Spec, World};

/// Nights per cell, unless the command line says otherwise.
const NIGHTS: u64 = 500;

/// Nights in which nothing works, per night of the others: rare events need more.
const OF_NOTHING: u64 = 4;

/// Nights of a campaign, where nights learn from earlier ones.
const CAMPAIGN: u64 = 4;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let rules = Rules::default();
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => all(NIGHTS, &rules),
        // For trying other values of [rules]: NIGHTS and the table's lines.
        [nights, lines @ ..] => match (nights.parse(), toml_of(lines)) {
            (Ok(nights), Ok(rules)) if nights > 1 => all(nights, &rules),
            (Ok(_), Err(problem)) => {
                eprintln!("error: {problem}");
                return ExitCode::from(2);
            }
            _ => {
                eprintln!("error: {nights:?} is no number of nights; usage: simulate_nights [NIGHTS [RULE=VALUE ...]]");
                return ExitCode::from(2);
            }
        },
    }
    ExitCode::SUCCESS
}

fn toml_of(lines: &[&str]) -> Result<Rules, String> {
    toml::from_str(&lines.join("\n")).map_err(|error| format!("not the lines of [rules]: {error}"))
}

fn mixed(run_sd: f64, correlation: f64) -> Spec {
    Spec { effects: Effects::Mixed, run_sd, correlation, heavy_tails: false, interaction: 0.0 }
}

fn all(nights: u64, rules: &Rules) {
    println!("{nights} nights of {} trial times per row, ± one standard error.\n", night::BUDGET);
    nothing(OF_NOTHING * nights, rules);
    let worlds = worlds();
    let found: Vec<Vec<Night>> = worlds.iter().map(|(_, spec)| ours(*spec, nights, rules)).collect();
    against_greedy(&worlds, &found, nights);
    honesty(&worlds, &found);
    tried(nights, rules);
    campaigns(nights, rules);
}

/// Every kind of mixed nights, with its name.
fn worlds() -> Vec<(String, Spec)> {
    let mut worlds = Vec::new();
    for correlation in [0.0, 0.5, 0.9] {
        for run_sd in [0.001, 0.0015, 0.0022] {
            worlds.push((format!("sd {run_sd}, corr. {correlation}"), mixed(run_sd, correlation)));
        }
        let usual = mixed(0.0015, correlation);
        worlds.push((format!("... heavy tails, corr. {correlation}"), Spec { heavy_tails: true, ..usual }));
        for interaction in [0.15, 0.3] {
            let name = format!("... interactions {interaction}, corr. {correlation}");
            worlds.push((name, Spec { interaction, ..usual }));
        }
    }
    worlds
}

/// First nights of campaigns under the rule.
fn ours(spec: Spec, nights: u64, rules: &Rules) -> Vec<Night> {
    hold(spec, nights, |world| night::night(world, rules, &mut Memory::new(rules)))
}

/// Nights in two threads; the order of the results does not depend on them.
fn hold(spec: Spec, nights: u64, policy: impl Fn(&mut World) -> Night + Sync) -> Vec<Night> {
    let half = nights / 2;
    let stretch = |from: u64, to: u64| (from..to).map(|night| policy(&mut World::new(spec, night))).collect::<Vec<_>>();
    std::thread::scope(|scope| {
        let second = scope.spawn(|| stretch(half, nights));
        let mut found = stretch(0, half);
        // A thread that panicked has said why; what it leaves out would be missed in every figure.
        match second.join() {
            Ok(more) => found.extend(more),
            Err(panic) => std::panic::resume_unwind(panic),
        }
        found
    })
}

fn nothing(nights: u64, rules: &Rules) {
    println!("Nothing works ({nights} nights per row)\n");
    let mut table = Table::new(&["world", "rule", "false keeps a night", "gain", "claims, all wrong"]);
    for (effects, name) in [(Effects::Nothing, "no effects"), (Effects::NothingOrHarm, "none or harmful")] {
        for correlation in [0.0, 0.9] {
            let spec = Spec { effects, ..mixed(0.0015, correlation) };
            let world = format!("{name}, corr. {correlation}");
            let mut row = |rule: &str, found: &[Night]| {
                let claims = if rule == "lower is kept" { "none made".to_owned() } else { table::wrong_claims(found) };
                table.row(vec![world.clone(), rule.to_owned(), table::false_keeps(found), table::gain(found), claims]);
            };
            row("race/4", &ours(spec, nights, rules));
            row("lower is kept", &hold(spec, nights, |world| references::greedy(world, false)));
        }
    }
    table.print();
}

fn against_greedy(worlds: &[(String, Spec)], found: &[Vec<Night>], nights: u64) {
    println!("Mixed nights, against the greedy rule without pairing (gains in thousandths of a bit per byte)\n");
    let head = ["world", "greedy gain", "not real, %", "our gain", "keeps", "not real, %", "... of ideas, %"];
    let mut table = Table::new(&head);
    for ((name, spec), ours) in worlds.iter().zip(found) {
        let greedy = hold(*spec, nights, |world| references::greedy(world, false));
        table.row(vec![
            name.clone(),
            table::gain(&greedy),
            table::not_real(&greedy),
            table::gain(ours),
            table::keeps(ours),
            table::not_real(ours),
            table::ideas_not_real(ours),
        ]);
    }
    table.print();
}

fn honesty(worlds: &[(String, Spec)], found: &[Vec<Night>]) {
    println!("The same nights: coverage of 95 % intervals, early stops, claims (all in %)\n");
    let head = [
        "world",
        "settled",
        "kept",
        "claim",
        "time saved on bad",
        "stops of gains",
        "spared, then kept",
        "claims",
        "wrong",
    ];
    let mut table = Table::new(&head);
    for ((name, _), ours) in worlds.iter().zip(found) {
        let mut row = vec![name.clone()];
        row.extend(table::covered(ours));
        row.extend(table::stops(ours));
        row.extend([table::claims(ours), table::wrong_claims(ours)]);
        table.row(row);
    }
    table.print();
}

fn tried(nights: u64, rules: &Rules) {
    println!("What was tried, sd 0.0015\n");
    let cells = [
        ("corr. 0", 0.0, 0.0),
        ("corr. 0, interactions 0.3", 0.0, 0.3),
        ("corr. 0.5", 0.5, 0.0),
        ("corr. 0.9", 0.9, 0.0),
    ];
    let mut head = vec!["rule"];
    for (name, _, _) in cells {
        head.extend([name, "not real, %"]);
    }
    let mut table = Table::new(&head);
    type Policy<'a> = Box<dyn Fn(&mut World) -> Night + Sync + 'a>;
    let with = |change: &dyn Fn(&mut Rules)| -> Policy<'_> {
        let mut rules = rules.clone();
        change(&mut rules);
        Box::new(move |world| night::night(world, &rules, &mut Memory::new(&rules)))
    };
    let policies: Vec<(&str, Policy<'_>)> = vec![
        ("race/4", with(&|_| {})),
        ("... without combinations", with(&|rules| rules.combine = false)),
        ("... without early stops", with(&|rules| rules.early_stop = false)),
        ("... without watch and morning", with(&|rules| (rules.drift_every, rules.morning_pairs) = (0, 0))),
        ("lower is kept, a seed each", Box::new(|world| references::greedy(world, false))),
        ("lower is kept, paired", Box::new(|world| references::greedy(world, true))),
        ("screen and race", Box::new(references::screen_and_race)),
        ("blocks of 11 in 12 runs, z 2.33", Box::new(|world| references::block(world, false, 2.33))),
        ("blocks of 11 in 24, folded, z 2", Box::new(|world| references::block(world, true, 2.0))),
    ];
    for (name, policy) in &policies {
        let mut row = vec![(*name).to_owned()];
        for (_, correlation, interaction) in cells {
            let found = hold(Spec { interaction, ..mixed(0.0015, correlation) }, nights, policy);
            row.extend([table::gain(&found), table::not_real(&found)]);
        }
        table.row(row);
    }
    table.print();
}

fn campaigns(nights: u64, rules: &Rules) {
    println!("Nights {CAMPAIGN} of campaigns, which know what the nights before have found, sd 0.0015\n");
    let mut table = Table::new(&[
        "world",
        "gain",
        "keeps",
        "not real, %",
        "... of ideas, %",
        "settled",
        "kept",
        "claim",
        "time saved",
    ]);
    for correlation in [0.0, 0.5, 0.9] {
        let spec = mixed(0.0015, correlation);
        let found = hold(spec, nights / CAMPAIGN, |world| {
            let mut memory = Memory::new(rules);
            for earlier in 1..CAMPAIGN {
                // Nights far from those of the other tables.
                let mut other = World::new(spec, world.night * CAMPAIGN + earlier + (1 << 32));
                night::night(&mut other, rules, &mut memory);
            }
            night::night(world, rules, &mut memory)
        });
        let mut row = vec![
            format!("corr. {correlation}"),
            table::gain(&found),
            table::keeps(&found),
            table::not_real(&found),
            table::ideas_not_real(&found),
        ];
        row.extend(table::covered(&found));
        row.push(table::stops(&found)[0].clone());
        table.row(row);
    }
    table.print();
}
