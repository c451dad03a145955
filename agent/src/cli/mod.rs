//! The command line: parses, calls the library, prints. No decisions of its own.
//!
//! Exit codes: 0 done, 1 failed, 2 wrong use or bad input, 3 the environment is not fit. Results go to standard output,
//! everything else to standard error, so that `--json` can be piped. A pipe that is closed early ends a command quietly.

mod bench;
mod certificate;
mod data;
mod environment;
mod fault;
mod history;
mod night;
mod output;
mod read;
mod sample;
mod show;
mod story;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

pub use fault::Fault;

use crate::campaign::{self, CampaignError};
use crate::layout::Layout;
use crate::repo::Repo;
use crate::run::supervise;
use crate::store::Reader;

/// An autonomous ML researcher for one GPU box: proposes edits to a GPT trainer, trains each on a branch of its own,
/// measures it, and leaves branches, plots and a page to decide from.
#[derive(Debug, Parser)]
#[command(name = "nocturne", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run experiments until the hours or the experiments are used up; installs and prepares what is missing first
    ///
    /// Ctrl-C once: finish this trial and write the report. Twice: stop now. A night that was cut off is resumed.
    Night(NightArgs),
    /// Install and build what is missing
    Setup(SetupArgs),
    /// Check machine, tools, libtorch, GPU, data and disk, and say what to do
    Doctor(ReadArgs),
    /// Prepare a campaign's data: read or download text, train the tokenizer, write token shards
    Prepare(PrepareArgs),
    /// Write a new campaign to fill in
    New(NewArgs),
    /// What is going on: the running night, or the last one
    Status(ReadArgs),
    /// Nights, or the experiments of one
    List(ListArgs),
    /// One night or one experiment (NIGHT/NUMBER) whole: proposal, trials and their certificates, decision, diff
    Show(ShowArgs),
    /// Write a night's plots, page and results.tsv
    Report(ReportArgs),
    /// Build an experiment's commit again and train it again under the same seed
    Replay(ReplayArgs),
    /// Continue a text with a trained model
    Sample(SampleArgs),
    /// Measure the machine and the campaign outside nights
    #[command(subcommand)]
    Bench(BenchCommand),
    /// Build the database again from git and the nights' files
    Rebuild(ReadArgs),
    /// Run a command and end everything it started when it, or the parent, ends
    #[command(hide = true)]
    Supervise(SuperviseArgs),
    /// Confine itself and execute a command
    #[command(hide = true)]
    Confine(ConfineArgs),
    /// Try what a sandbox must prevent
    #[command(hide = true)]
    Attempt(AttemptArgs),
}

#[derive(Debug, Subcommand)]
enum BenchCommand {
    /// How much a run's figure depends on its seeds: initial values crossed with data orders
    ///
    /// Trains and evaluates a commit under every pair of seeds, confined and verified like a night's trials, and prints the
    /// standard deviation of a run and what it is made of. Nothing is recorded in the database; files lie under
    /// .nocturne/bench/, and a measurement that was cut off goes on where it stopped.
    Noise(NoiseArgs),
}

/// Options of `nocturne bench noise`.
#[derive(Debug, Clone, Args)]
struct NoiseArgs {
    /// The campaign's folder, for example experiments/quickstart
    campaign: PathBuf,
    /// So many seeds of initial values
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(2..=64))]
    seeds: u32,
    /// So many seeds of the data order
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(2..=64))]
    orders: u32,
    /// So many runs once more, under the same seeds
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(..=64))]
    repeats: u32,
    /// Train on so many tokens instead of the campaign's budget: repeatable on a machine with other work
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    tokens: Option<u64>,
    /// Threads of libtorch instead of the campaign's
    #[arg(long)]
    threads: Option<usize>,
    /// Measure this commit (40 digits) instead of HEAD
    #[arg(long)]
    commit: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Options of `nocturne night`.
#[derive(Debug, Clone, Args)]
struct NightArgs {
    /// The campaign's folder, for example experiments/quickstart
    campaign: PathBuf,
    /// End after so many hours
    #[arg(long, value_parser = positive)]
    hours: Option<f64>,
    /// End after so many experiments
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    experiments: Option<u32>,
    /// End at this time of day, for example 07:30
    #[arg(long, conflicts_with = "hours", value_parser = time_of_day)]
    until: Option<jiff::civil::Time>,
    /// Ask only these proposers (see the campaign's `proposers`)
    #[arg(long, value_delimiter = ',')]
    proposer: Vec<String>,
    /// Go on with the night that was cut off, without asking
    #[arg(long, conflicts_with = "fresh")]
    resume: bool,
    /// Begin a new night even though one was cut off, without asking
    #[arg(long)]
    fresh: bool,
    /// End with one JSON document on standard output
    #[arg(long)]
    json: bool,
}

/// Options of `nocturne setup`.
#[derive(Debug, Clone, Args)]
struct SetupArgs {
    /// Only make libtorch available, and print the folder to set LIBTORCH to
    #[arg(long)]
    print_libtorch: bool,
}

/// Options of the commands that only read.
#[derive(Debug, Clone, Args)]
struct ReadArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Options of `nocturne prepare`.
#[derive(Debug, Clone, Args)]
struct PrepareArgs {
    /// The campaign's folder
    campaign: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Options of `nocturne new`.
#[derive(Debug, Clone, Args)]
struct NewArgs {
    /// Its name: lower-case letters, digits and dashes
    campaign: String,
    /// Size of the model: cpu, gpu or h100
    #[arg(long, default_value = "gpu", value_parser = scale)]
    scale: protocol::Scale,
}

/// Options of `nocturne list`.
#[derive(Debug, Clone, Args)]
struct ListArgs {
    /// A night; without one, all nights are listed
    night: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Options of `nocturne show`.
#[derive(Debug, Clone, Args)]
struct ShowArgs {
    /// A night (2026-03-08-k4) or an experiment (2026-03-08-k4/3, or just 3 for the last night's)
    what: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Options of `nocturne report`.
#[derive(Debug, Clone, Args)]
struct ReportArgs {
    /// A night; the last one if left out
    night: Option<String>,
    /// Print JSON: the files written
    #[arg(long)]
    json: bool,
}

/// Options of `nocturne replay`.
#[derive(Debug, Clone, Args)]
struct ReplayArgs {
    /// An experiment (NIGHT/NUMBER, or a number of the last night)
    experiment: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Options of `nocturne sample`.
#[derive(Debug, Clone, Args)]
struct SampleArgs {
    /// What to go on from
    prompt: String,
    /// An experiment (NIGHT/NUMBER, or a number of the last night); the last night's champion if left out
    #[arg(long)]
    experiment: Option<String>,
    /// How many tokens
    #[arg(long, default_value_t = 100)]
    tokens: usize,
    /// 0 takes the most likely token
    #[arg(long, default_value_t = 0.8, value_parser = not_negative)]
    temperature: f64,
    /// Draw from so many most likely tokens; 0 for all
    #[arg(long, default_value_t = 50)]
    top_k: usize,
    /// Seed of the draws
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Options of the helper process.
#[derive(Debug, Clone, Args)]
struct SuperviseArgs {
    #[arg(long)]
    parent: u32,
    #[arg(long, default_value_t = 0)]
    nice: i32,
    #[arg(long, default_value_t = 5.0, value_parser = not_negative)]
    grace_seconds: f64,
    #[arg(long)]
    confined: Option<String>,
    #[arg(required = true, last = true)]
    command: Vec<OsString>,
}

/// Options of the process that confines itself.
#[derive(Debug, Clone, Args)]
struct ConfineArgs {
    orders: String,
    #[arg(required = true, last = true)]
    command: Vec<OsString>,
}

/// Options of the process that tests a sandbox from inside.
#[derive(Debug, Clone, Args)]
struct AttemptArgs {
    goals: String,
}

fn number(text: &str) -> Result<f64, String> {
    text.parse::<f64>().ok().filter(|n| n.is_finite()).ok_or_else(|| "not a number".to_owned())
}

fn positive(text: &str) -> Result<f64, String> {
    number(text).and_then(|n| if n > 0.0 { Ok(n) } else { Err("must be more than 0".to_owned()) })
}

fn not_negative(text: &str) -> Result<f64, String> {
    number(text).and_then(|n| if n >= 0.0 { Ok(n) } else { Err("must not be negative".to_owned()) })
}

fn time_of_day(text: &str) -> Result<jiff::civil::Time, String> {
    text.parse().map_err(|_| "not a time of day; write 07:30".to_owned())
}

fn scale(text: &str) -> Result<protocol::Scale, String> {
    protocol::Scale::ALL
        .into_iter()
        .find(|scale| scale.name() == text)
        .ok_or_else(|| "not a scale; there are cpu, gpu and h100".to_owned())
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // --help and --version arrive here too, and are no error.
            let code = if error.use_stderr() { 2 } else { 0 };
            // A closed pipe is nothing to complain about to a closed pipe.
            let _unprintable = error.print();
            return ExitCode::from(code);
        }
    };
    // The helpers start no runtime of many threads and log nothing.
    let command = match cli.command {
        Command::Supervise(SuperviseArgs { parent, nice, grace_seconds, confined, command }) => {
            return supervise::main(supervise::Orders { parent, nice, grace_seconds, confined, command });
        }
        Command::Confine(ConfineArgs { orders, command }) => return sandbox::confine(&orders, &command),
        Command::Attempt(AttemptArgs { goals }) => return sandbox::attempt(&goals),
        other => other,
    };
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_env("NOCTURNE_LOG")
                .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn")),
        )
        .with_writer(std::io::stderr)
        .init();
    let outcome = match tokio::runtime::Runtime::new() {
        Ok(runtime) => {
            let outcome = runtime.block_on(run(command));
            // A thread that is reading a corpus is not waited for.
            runtime.shutdown_background();
            outcome
        }
        Err(error) => Err(Fault::environment(format!("cannot start the runtime: {error}"))),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            fault.print();
            ExitCode::from(fault.code)
        }
    }
}

async fn run(command: Command) -> Result<(), Fault> {
    match command {
        Command::Night(args) => night::night(args).await,
        Command::Setup(args) => environment::setup(args).await,
        Command::Doctor(args) => environment::doctor(args).await,
        Command::Prepare(args) => data::prepare(args).await,
        Command::New(args) => data::new(args),
        Command::Status(args) => read::status(args).await,
        Command::List(args) => read::list(args).await,
        Command::Show(args) => show::show(args).await,
        Command::Report(args) => history::report(args).await,
        Command::Replay(args) => history::replay(args).await,
        Command::Sample(args) => sample::sample(args).await,
        Command::Rebuild(args) => history::rebuild(args).await,
        Command::Bench(BenchCommand::Noise(args)) => bench::noise(args).await,
        Command::Supervise(_) | Command::Confine(_) | Command::Attempt(_) => Ok(()),
    }
}

/// The current folder.
fn here() -> Result<PathBuf, Fault> {
    std::env::current_dir().map_err(|error| Fault::environment(format!("cannot tell the current folder: {error}")))
}

/// The repository's layout and its records, for reading.
async fn open_records(here: &Path) -> Result<(Layout, Reader), Fault> {
    let layout = Layout::new(Repo::discover(here).map_err(Fault::usage)?.root());
    if !layout.database().exists() {
        return Err(Fault::failed("there are no records in this repository yet")
            .with_help("begin with: nocturne night experiments/quickstart"));
    }
    let reader = Reader::open(&layout.database()).await.map_err(Fault::failed)?;
    Ok((layout, reader))
}

fn campaign_fault(error: CampaignError) -> Fault {
    Fault::diagnostic(2, campaign::Report::from(error))
}

/// Prints a document on standard output.
fn print_json(document: &serde_json::Value) -> Result<(), Fault> {
    let text = serde_json::to_string_pretty(document).map_err(Fault::failed)?;
    output::outln!("{text}")
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_help_is_the_known_one() {
        let mut command = Cli::command();
        command.build();
        let mut help = command.render_long_help().to_string();
        for subcommand in command.get_subcommands_mut().filter(|subcommand| subcommand.get_name() != "help") {
            let name = subcommand.get_name().to_owned();
            help.push_str(&format!("\n==== {name} ====\n\n{}", subcommand.render_long_help()));
        }
        insta::assert_snapshot!(help);
    }

    #[test]
    fn times_and_numbers_that_make_no_sense_are_refused() {
        for arguments in [
            vec!["night", "x", "--hours", "0"],
            vec!["night", "x", "--hours", "NaN"],
            vec!["night", "x", "--experiments", "0"],
            vec!["night", "x", "--until", "25:00"],
            vec!["night", "x", "--until", "07:30", "--hours", "2"],
            vec!["night", "x", "--resume", "--fresh"],
            vec!["new", "x", "--scale", "tpu"],
            vec!["sample", "x", "--temperature", "-1"],
        ] {
            assert!(Cli::try_parse_from([&["nocturne"], arguments.as_slice()].concat()).is_err(), "{arguments:?}");
        }
        assert!(Cli::try_parse_from(["nocturne", "night", "x", "--until", "07:30"]).is_ok());
    }
}
