//! A study of how noisy a campaign is and whether testing ideas in blocks pays; docs/noise.md has the procedure and its figures.
//!
//! `cargo run --example study -- singles|blocks CAMPAIGN --tokens T [--threads N] [--seeds N] [--commit ID]`

use std::path::PathBuf;
use std::process::ExitCode;

use nocturne::bench::{Options, Place, Runner, Variant};
use nocturne::flow::CommitId;
use nocturne::propose::Playbook;
use nocturne::terminal::Display;

/// Ideas of the playbook, spread over its families, whose edits apply together.
const IDEAS: [&str; 14] = [
    "windows-quarter",
    "sharper-attention",
    "smaller-matrices",
    "smaller-embedding-start",
    "softcap-30",
    "value-embedding-rate-lower",
    "adam-beta2-99",
    "rotary-half",
    "scalars-by-depth",
    "warmdown-longer",
    "leaky-squared-relu",
    "skip-rate-lower",
    "fewer-heads",
    "no-momentum-rise",
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
    commit: Option<CommitId>,
}

fn arguments() -> Result<Arguments, String> {
    let mut words = std::env::args().skip(1);
    let usage = "usage: study singles|blocks CAMPAIGN --tokens T [--threads N] [--seeds N] [--commit ID]";
    let what = words.next().ok_or(usage)?;
    let campaign = words.next().ok_or(usage)?.into();
    let mut arguments = Arguments { what, campaign, tokens: 0, threads: 1, seeds: 4, commit: None };
    while let (Some(option), Some(value)) = (words.next(), words.next()) {
        let number = || value.parse::<u32>().map_err(|_| usage);
        match option.as_str() {
            "--tokens" => arguments.tokens = number()?.into(),
            "--threads" => arguments.threads = number()? as usize,
            "--seeds" => arguments.seeds = number()?,
            "--commit" => arguments.commit = Some(value.clone().try_into().map_err(|_| usage)?),
            _ => return Err(usage.to_owned()),
        }
    }
    if arguments.tokens == 0 { Err(usage.to_owned()) } else { Ok(arguments) }
}

async fn run() -> Result<(), String> {
    let arguments = arguments()?;
    let here = std::env::current_dir().map_err(|error| error.to_string())?;
    let options =
        Options { commit: arguments.commit.clone(), tokens: Some(arguments.tokens), threads: Some(arguments.threads) };
    let mut display = Display::new();
    let mut runner =
        Runner::open(&here, &arguments.campaign, &options, &mut display).await.map_err(|error| error.to_string())?;
    let playbook = Playbook::load().map_err(|error| error.to_string())?;
    let mut ideas = Vec::new();
    for id in IDEAS {
        let idea = playbook.ideas().iter().find(|idea| idea.id == id).ok_or_else(|| format!("no idea {id}"))?;
        ideas.push(Variant { name: id.to_owned(), edits: idea.edits.clone() });
    }
    match arguments.what.as_str() {
        "singles" => {
            for seed in 0..arguments.seeds {
                let place = Place { initial: seed, order: seed, repeat: 0 };
                for variant in std::iter::once(&Variant::unedited()).chain(&ideas) {
                    let row = runner.run(variant, place, &mut display).await.map_err(|error| error.to_string())?;
                    println!("{} {seed}: {:?} {}", variant.name, row.val_bpb, row.end);
                }
            }
        }
        other => return Err(format!("no such study: {other}")),
    }
    Ok(())
}
