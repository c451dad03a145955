//! A study of how noisy a campaign is and whether testing ideas in blocks pays; docs/noise.md has the procedure and its figures.
//!
//! `cargo run --example study -- crossed|singles|blocks CAMPAIGN --tokens T [--threads N] [--seeds N] [--skip RUNS] [--commit ID]`

mod design;
mod figures;
mod report;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use nocturne::bench::{Options, Place, Runner, Variant};
use nocturne::flow::CommitId;
use nocturne::propose::Playbook;
use nocturne::terminal::Display;

/// Ideas of the playbook, spread over its families, whose edits apply together.
const IDEAS: [&str; design::FACTORS] = [
    "windows-quarter",
    "smaller-embedding-start",
    "softcap-30",
    "adam-beta2-99",
    "rotary-half",
    "scalars-by-depth",
    "warmdown-longer",
    "leaky-squared-relu",
];

fn main() -> ExitCode {
    // Confined processes are started through this executable, as they are through `nocturne`.
    let first = std::env::args().nth(1).unwrap_or_default();
    if matches!(first.as_str(), "supervise" | "confine" | "attempt") {
        return nocturne::cli::main();
    }
    let result = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime.block_on(run()),
        Err(error) => Err(error.to_string()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::FAILURE
        }
    }
}

struct Arguments {
    what: String,
    campaign: PathBuf,
    tokens: u64,
    threads: usize,
    seeds: u32,
    skip: usize,
    commit: Option<CommitId>,
}

/// `study report SEEDS DATA FOLDER...`
fn report(words: &[String]) -> Result<(), String> {
    let usage = "usage: study report SEEDS DATA FOLDER...";
    let [seeds, data, folders @ ..] = words else { return Err(usage.to_owned()) };
    let folders: Vec<PathBuf> = folders.iter().map(PathBuf::from).collect();
    report::read(Path::new(data), &folders, seeds.parse().map_err(|_| usage)?)?.print()
}

fn arguments() -> Result<Arguments, String> {
    let mut words = std::env::args().skip(1);
    let usage =
        "usage: study crossed|singles|blocks CAMPAIGN --tokens T [--threads N] [--seeds N] [--skip RUNS] [--commit ID]";
    let what = words.next().ok_or(usage)?;
    let campaign = words.next().ok_or(usage)?.into();
    let mut arguments = Arguments { what, campaign, tokens: 0, threads: 1, seeds: 4, skip: 0, commit: None };
    while let (Some(option), Some(value)) = (words.next(), words.next()) {
        let number = || value.parse::<u32>().map_err(|_| usage);
        match option.as_str() {
            "--tokens" => arguments.tokens = number()?.into(),
            "--threads" => arguments.threads = number()? as usize,
            "--seeds" => arguments.seeds = number()?,
            "--skip" => arguments.skip = number()? as usize,
            "--commit" => arguments.commit = Some(value.clone().try_into().map_err(|_| usage)?),
            _ => return Err(usage.to_owned()),
        }
    }
    if arguments.tokens == 0 { Err(usage.to_owned()) } else { Ok(arguments) }
}

async fn run() -> Result<(), String> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let [first, rest @ ..] = words.as_slice()
        && first == "report"
    {
        return report(rest);
    }
    let arguments = arguments()?;
    let here = std::env::current_dir().map_err(|error| error.to_string())?;
    let options = Options {
        commit: arguments.commit.clone(),
        tokens: Some(arguments.tokens),
        threads: Some(arguments.threads),
        cuts: Some(64),
    };
    let mut display = Display::new();
    let mut runner =
        Runner::open(&here, &arguments.campaign, &options, &mut display).await.map_err(|error| error.to_string())?;
    let playbook = Playbook::load().map_err(|error| error.to_string())?;
    let mut ideas = Vec::new();
    for id in IDEAS {
        let idea = playbook.ideas().iter().find(|idea| idea.id == id).ok_or_else(|| format!("no idea {id}"))?;
        ideas.push(Variant { name: id.to_owned(), edits: idea.edits.clone() });
    }
    let unedited = Variant::unedited();
    let mut plan = Vec::new();
    match arguments.what.as_str() {
        "singles" => {
            for seed in 0..arguments.seeds {
                plan.extend(std::iter::once(&unedited).chain(&ideas).map(|variant| (variant.clone(), seed, seed)));
            }
        }
        "crossed" => {
            for initial in 0..arguments.seeds {
                plan.extend((0..arguments.seeds).map(|order| (unedited.clone(), initial, order)));
            }
        }
        "blocks" => {
            for (number, run) in design::folded().iter().enumerate() {
                plan.push((block(number, run, &ideas), design::seed(number), design::seed(number)));
            }
        }
        other => return Err(format!("no such study: {other}")),
    }
    for (variant, initial, order) in plan.into_iter().skip(arguments.skip) {
        let place = Place { initial, order, repeat: 0 };
        let row = runner.run(&variant, place, &mut display).await.map_err(|error| error.to_string())?;
        println!("{} {initial} {order}: {:?} {}", variant.name, row.val_bpb, row.end);
    }
    Ok(())
}

/// A run of a block: the ideas that are switched on, in their order.
fn block(number: usize, run: &[bool], ideas: &[Variant]) -> Variant {
    let on = ideas.iter().zip(run).filter(|(_, on)| **on);
    Variant { name: format!("block-{number}"), edits: on.flat_map(|(idea, _)| idea.edits.clone()).collect() }
}
