//! Simulated nights: what the rule of this project comes to in worlds whose truth is known, beside other rules. The nights under the
//! project's rule are those of the state machine that real nights run, with the choices of its proposers.
//!
//! `cargo xtask simulate-nights [NIGHTS]` runs it; docs/decisions.md shows what it prints. Seeded: the same figures every time.

mod machine;
mod machine_ideas;
mod machine_tally;
mod machine_trial;
mod machine_troubles;
mod references;
mod table;
mod tally;
mod world;

use std::process::ExitCode;

use machine::Memory;
use machine_troubles::Troubles;
use nocturne::stats::Rules;
use nocturne::stats::race::RULE;
use table::Table;
use tally::Night;
use world::{Effects, Spec, World};

/// Nights per cell, unless the command line says otherwise.
const NIGHTS: u64 = 500;

/// Nights in which nothing works, per night of the others: rare events need more.
const OF_NOTHING: u64 = 4;

/// Nights of a campaign, where nights learn from earlier ones.
const CAMPAIGN: u64 = 4;

/// Nights, or why one of them was none.
type Found = Result<Vec<Night>, String>;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let printed = match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => all(NIGHTS, &Rules::default()),
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
    };
    match printed {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::FAILURE
        }
    }
}

fn toml_of(lines: &[&str]) -> Result<Rules, String> {
    toml::from_str(&lines.join("\n")).map_err(|error| format!("not the lines of [rules]: {error}"))
}

fn mixed(run_sd: f64, correlation: f64) -> Spec {
    Spec { effects: Effects::Mixed, run_sd, correlation, heavy_tails: false, interaction: 0.0, unequal: false }
}

fn all(nights: u64, rules: &Rules) -> Result<(), String> {
    println!("{nights} nights of {} trial times per row, ± one standard error.\n", world::BUDGET);
    nothing(OF_NOTHING * nights, rules)?;
    let worlds = worlds();
    let found: Vec<Vec<Night>> =
        worlds.iter().map(|(_, spec)| ours(*spec, nights, rules)).collect::<Result<_, String>>()?;
    against_greedy(&worlds, &found, nights)?;
    honesty(&worlds, &found);
    foresight(&worlds, &found);
    tried(nights, rules)?;
    campaigns(nights, rules)?;
    in_trouble(nights, rules)
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
        worlds.push((format!("... unequal pairs, corr. {correlation}"), Spec { unequal: true, ..usual }));
    }
    worlds
}

/// First nights of campaigns under the rule.
fn ours(spec: Spec, nights: u64, rules: &Rules) -> Found {
    troubled(spec, nights, rules, &Troubles::default())
}

fn troubled(spec: Spec, nights: u64, rules: &Rules, troubles: &Troubles) -> Found {
    hold(spec, nights, |world| machine::night(world, rules, &mut Memory::default(), troubles))
}

fn greedy(spec: Spec, nights: u64) -> Found {
    hold(spec, nights, |world| Ok(references::greedy(world, false)))
}

/// Nights in two threads; the order of the results does not depend on them.
fn hold(spec: Spec, nights: u64, policy: impl Fn(&mut World) -> Result<Night, String> + Sync) -> Found {
    let half = nights / 2;
    let stretch =
        |from: u64, to: u64| -> Found { (from..to).map(|night| policy(&mut World::new(spec, night))).collect() };
    std::thread::scope(|scope| {
        let second = scope.spawn(|| stretch(half, nights));
        let mut found = stretch(0, half)?;
        // A thread that panicked has said why; what it leaves out would be missed in every figure.
        match second.join() {
            Ok(more) => found.extend(more?),
            Err(panic) => std::panic::resume_unwind(panic),
        }
        Ok(found)
    })
}

fn nothing(nights: u64, rules: &Rules) -> Result<(), String> {
    println!("Nothing works ({nights} nights per row)\n");
    let mut table = Table::new(&["world", "rule", "false keeps a night", "gain", "claims, all wrong"]);
    for (effects, name) in [(Effects::Nothing, "no effects"), (Effects::NothingOrHarm, "none or harmful")] {
        for correlation in [0.0, 0.9] {
            let spec = Spec { effects, ..mixed(0.0015, correlation) };
            let world = format!("{name}, corr. {correlation}");
            let mut row = |rule: &str, found: &[Night], claims: String| {
                table.row(vec![world.clone(), rule.to_owned(), table::false_keeps(found), table::gain(found), claims]);
            };
            let found = ours(spec, nights, rules)?;
            row(RULE, &found, table::wrong_claims(&found));
            row("lower is kept", &greedy(spec, nights)?, "none made".to_owned());
        }
    }
    table.print();
    Ok(())
}

fn against_greedy(worlds: &[(String, Spec)], found: &[Vec<Night>], nights: u64) -> Result<(), String> {
    println!("Mixed nights, against the greedy rule without pairing (gains in thousandths of a bit per byte)\n");
    let head = ["world", "greedy gain", "not real, %", "our gain", "keeps", "not real, %", "... of ideas, %"];
    let mut table = Table::new(&head);
    for ((name, spec), ours) in worlds.iter().zip(found) {
        let greedy = greedy(*spec, nights)?;
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
    Ok(())
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

fn foresight(worlds: &[(String, Spec)], found: &[Vec<Night>]) {
    println!("The same nights: trials that were foreseen while the one before was evaluated (in %)\n");
    let mut table = Table::new(&["world", "foreseen", "another was"]);
    for ((name, _), ours) in worlds.iter().zip(found) {
        let [right, wrong] = table::foresight(ours);
        table.row(vec![name.clone(), right, wrong]);
    }
    table.print();
}

fn tried(nights: u64, rules: &Rules) -> Result<(), String> {
    println!("What was tried, sd 0.0015\n");
    let cells = [
        ("corr. 0", mixed(0.0015, 0.0)),
        ("corr. 0, interactions 0.3", Spec { interaction: 0.3, ..mixed(0.0015, 0.0) }),
        ("corr. 0, unequal pairs", Spec { unequal: true, ..mixed(0.0015, 0.0) }),
        ("corr. 0.5", mixed(0.0015, 0.5)),
        ("corr. 0.9", mixed(0.0015, 0.9)),
    ];
    let mut head = vec!["rule"];
    for (name, _) in cells {
        head.extend([name, "not real, %"]);
    }
    let mut table = Table::new(&head);
    type Policy<'a> = Box<dyn Fn(&mut World) -> Result<Night, String> + Sync + 'a>;
    let with = |change: &dyn Fn(&mut Rules)| -> Policy<'_> {
        let mut rules = rules.clone();
        change(&mut rules);
        Box::new(move |world| machine::night(world, &rules, &mut Memory::default(), &Troubles::default()))
    };
    let policies: Vec<(&str, Policy<'_>)> = vec![
        (RULE, with(&|_| {})),
        ("... all ideas' pairs alike", with(&|rules| rules.own_spread = false)),
        ("... without combinations", with(&|rules| rules.combine = false)),
        ("... without early stops", with(&|rules| rules.early_stop = false)),
        ("... without watch and morning", with(&|rules| (rules.drift_every, rules.morning_pairs) = (0, 0))),
        ("lower is kept, a seed each", Box::new(|world| Ok(references::greedy(world, false)))),
        ("lower is kept, paired", Box::new(|world| Ok(references::greedy(world, true)))),
        ("screen and race", Box::new(|world| Ok(references::screen_and_race(world)))),
        ("blocks of 11 in 12 runs, z 2.33", Box::new(|world| Ok(references::block(world, false, 2.33)))),
        ("blocks of 11 in 24, folded, z 2", Box::new(|world| Ok(references::block(world, true, 2.0)))),
    ];
    for (name, policy) in &policies {
        let mut row = vec![(*name).to_owned()];
        for (_, spec) in cells {
            let found = hold(spec, nights, policy)?;
            row.extend([table::gain(&found), table::not_real(&found)]);
        }
        table.row(row);
    }
    table.print();
    Ok(())
}

fn campaigns(nights: u64, rules: &Rules) -> Result<(), String> {
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
            let mut memory = Memory::default();
            for earlier in 1..CAMPAIGN {
                // Nights far from those of the other tables.
                let mut other = World::new(spec, world.night * CAMPAIGN + earlier + (1 << 32));
                machine::night(&mut other, rules, &mut memory, &Troubles::default())?;
            }
            machine::night(world, rules, &mut memory, &Troubles::default())
        })?;
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
    Ok(())
}

fn in_trouble(nights: u64, rules: &Rules) -> Result<(), String> {
    println!("Nights in which something else goes wrong, sd 0.0015, corr. 0.5\n");
    let mut table = Table::new(&[
        "trouble",
        "gain",
        "keeps",
        "not real, %",
        "claims wrong, %",
        "trial times",
        "seen to change",
        "given up, %",
        "false keeps where nothing works",
    ]);
    for (name, troubles) in machine_troubles::all() {
        let found = troubled(mixed(0.0015, 0.5), nights, rules, &troubles)?;
        let nothing = troubled(Spec { effects: Effects::Nothing, ..mixed(0.0015, 0.0) }, nights, rules, &troubles)?;
        table.row(vec![
            name.to_owned(),
            table::gain(&found),
            table::keeps(&found),
            table::not_real(&found),
            table::wrong_claims(&found),
            table::plain(tally::mean(&found, |night| night.time), 1),
            table::plain(tally::mean(&found, |night| night.eras), 2),
            table::percent(tally::mean(&found, |night| night.gave_up)),
            table::false_keeps(&nothing),
        ]);
    }
    table.print();
    Ok(())
}
