//! The command line: parses, calls the library, prints. No decisions of its own.
//!
//! Exit codes: 0 done, 1 failed, 2 wrong use or bad input, 3 the environment is not fit. Results go to standard output,
//! everything else to standard error, so that `--json` can be piped. A pipe that is closed early ends a command quietly.

mod args;
mod bench;
mod bench_args;
mod data;
mod environment;
mod export;
mod fault;
mod history;
mod mcp;
mod models;
mod night;
mod output;
mod queue;
mod read;
mod review;
mod sample;
mod serve;
mod show;
mod story;
mod time;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub use fault::Fault;

use args::{
    AttemptArgs, ConfineArgs, ExportAllArgs, ExportNightArgs, ListArgs, McpArgs, NewArgs, NightArgs, PrepareArgs,
    QueueAddArgs, QueueListArgs, QueueMoveArgs, QueueRemoveArgs, ReadArgs, ReplayArgs, ReportArgs, ReviewBranchesArgs,
    ReviewChoiceArgs, ReviewListArgs, ReviewRecordArgs, SampleArgs, ServeArgs, SetupArgs, ShowArgs, SuperviseArgs,
};
use bench_args::{NoiseArgs, ThroughputArgs};

use crate::campaign::{self, CampaignError};
use crate::layout::Layout;
use crate::records::ReviewChoice;
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
    /// One night or one experiment (NIGHT/NUMBER) whole: proposal, trials and their certificates, decision, diff; or where a night's time went (night)
    Show(ShowArgs),
    /// Your own ideas for the night, also while one runs
    #[command(subcommand)]
    Queue(QueueCommand),
    /// Decide on what a night kept, and make clean branches of what you accept
    ///
    /// Without a command: goes through what waits for you, one by one. Nothing is merged into your branches.
    #[command(args_conflicts_with_subcommands = true)]
    Review {
        #[command(subcommand)]
        command: Option<ReviewCommand>,
        #[command(flatten)]
        list: ReviewListArgs,
    },
    /// How far the answers of each language model and coding agent got in a night, and what they cost
    Models(ReportArgs),
    /// Write a night's plots, page and results.tsv
    Report(ReportArgs),
    /// Show the night as it goes on, and all that is on record, in a browser
    ///
    /// Prints the address to open. Only this machine can open it, unless --listen says otherwise: then whoever opens it needs the token in the
    /// printed address, or that of NOCTURNE_SERVE_TOKEN. It reads and does not disturb a night; what you decide on its pages is what
    /// `review` decides. Ctrl-C ends it.
    Serve(ServeArgs),
    /// What is on record, for other programs: TensorBoard's event files, CSV
    #[command(subcommand)]
    Export(ExportCommand),
    /// Build an experiment's commit again and train it again under the same seed
    Replay(ReplayArgs),
    /// Continue a text with a trained model
    Sample(SampleArgs),
    /// Offer a campaign to a coding agent: tools of the Model Context Protocol on standard input and output
    ///
    /// An agent that is connected reads, checks edits and puts entries into the queue (see `queue`); it changes nothing else. Register
    /// `nocturne mcp experiments/<campaign>`, run in the repository, as a server of its configuration.
    Mcp(McpArgs),
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
enum QueueCommand {
    /// Write down an idea: in words for a language model, or with a patch that is tested as it is
    ///
    /// Ideas go before those of the proposers, in their order. A patch is checked at once: that it fits the candidate's files
    /// as HEAD has them, and that what it makes may be tested. A night fits it to its champion.
    Add(QueueAddArgs),
    /// Ideas, in the order in which they will be taken, and what came of those that were
    List(QueueListArgs),
    /// Take back an idea that waits
    Remove(QueueRemoveArgs),
    /// Give an idea that waits another place
    Move(QueueMoveArgs),
}

#[derive(Debug, Subcommand)]
enum ExportCommand {
    /// A night's trials as runs of TensorBoard: losses by step, and the evaluator's figure
    Tensorboard(ExportNightArgs),
    /// Every table and view of the database, of all nights
    Csv(ExportAllArgs),
}

#[derive(Debug, Subcommand)]
enum ReviewCommand {
    /// What waits for you, most valuable first, and what you decided
    List(ReviewListArgs),
    /// You want it: `branches` makes a clean branch of it
    Accept(ReviewChoiceArgs),
    /// You do not want it; the reason goes into the briefs of later nights
    Reject(ReviewChoiceArgs),
    /// Not now
    Defer(ReviewChoiceArgs),
    /// Take choices from a JSON document, all or none
    Record(ReviewRecordArgs),
    /// Make branches of what is accepted, under nocturne/<campaign>/<night>/accepted/
    ///
    /// One for each change, on your HEAD; a change that does not fit there by itself stands on the accepted ones that it needs. Says which
    /// of them do not fit together. Branches that are there are never moved.
    Branches(ReviewBranchesArgs),
}

#[derive(Debug, Subcommand)]
enum BenchCommand {
    /// How much a run's figure depends on its seeds: initial values crossed with data orders
    ///
    /// Trains and evaluates a commit under every pair of seeds, confined and verified like a night's trials, and prints the
    /// standard deviation of a run and what it is made of. Nothing is recorded in the database; files lie under
    /// .nocturne/bench/, and a measurement that was cut off goes on where it stopped.
    Noise(NoiseArgs),
    /// How fast the candidate trains, and what it takes to its first step: the checkout's files as they are on disk, in any shape
    ///
    /// Builds the candidate of the checkout that you are in, committed or not, in a slot of its own, and trains it on random tokens, confined
    /// as a trial is. Takes the options of xtask/reference/throughput.py, the same model in PyTorch, and prints its keys as one line of
    /// JSON, measured in the same way: tokens_per_second is the median of the last two thirds of the steps. first_step_seconds counts from
    /// the start of the trainer's process, the reference's from the end of its imports. Use a machine that does nothing else.
    Throughput(ThroughputArgs),
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
        Command::Supervise(SuperviseArgs { parent, nice, cores, grace_seconds, confined, command }) => {
            return supervise::main(supervise::Orders { parent, nice, cores, grace_seconds, confined, command });
        }
        Command::Confine(ConfineArgs { orders, command }) => return sandbox::confine(&orders, &command),
        Command::Attempt(AttemptArgs { goals }) => return sandbox::attempt(&goals),
        other => other,
    };
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_env("NOCTURNE_LOG")
                // usvg warns of letters that its first font lacks, also where another font was named for them.
                .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn,usvg=error")),
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
        Command::Queue(QueueCommand::Add(args)) => queue::add(args).await,
        Command::Queue(QueueCommand::List(args)) => queue::list(args).await,
        Command::Queue(QueueCommand::Remove(args)) => queue::remove(args).await,
        Command::Queue(QueueCommand::Move(args)) => queue::shift(args).await,
        Command::Export(ExportCommand::Tensorboard(args)) => export::tensorboard(args).await,
        Command::Export(ExportCommand::Csv(args)) => export::csv(args).await,
        Command::Review { command: None, list } => review::review(list).await,
        Command::Review { command: Some(command), .. } => match command {
            ReviewCommand::List(args) => review::list(args).await,
            ReviewCommand::Accept(args) => review::choose(ReviewChoice::Accepted, args).await,
            ReviewCommand::Reject(args) => review::choose(ReviewChoice::Rejected, args).await,
            ReviewCommand::Defer(args) => review::choose(ReviewChoice::Deferred, args).await,
            ReviewCommand::Record(args) => review::record_document(args).await,
            ReviewCommand::Branches(args) => review::branches(args).await,
        },
        Command::Models(args) => models::models(args).await,
        Command::Report(args) => history::report(args).await,
        Command::Serve(args) => serve::serve(args).await,
        Command::Replay(args) => history::replay(args).await,
        Command::Sample(args) => sample::sample(args).await,
        Command::Rebuild(args) => history::rebuild(args).await,
        Command::Mcp(args) => mcp::mcp(args).await,
        Command::Bench(BenchCommand::Noise(args)) => bench::noise(args).await,
        Command::Bench(BenchCommand::Throughput(args)) => bench::throughput(args).await,
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
            vec!["bench", "throughput", "--dtype", "fp16"],
            vec!["bench", "throughput", "--device", "gpu"],
            vec!["bench", "throughput", "--vocab", "1"],
            vec!["bench", "throughput", "--steps", "0"],
            vec!["bench", "throughput", "--steps", "3", "--seconds", "3"],
        ] {
            assert!(Cli::try_parse_from([&["nocturne"], arguments.as_slice()].concat()).is_err(), "{arguments:?}");
        }
        assert!(Cli::try_parse_from(["nocturne", "night", "x", "--until", "07:30"]).is_ok());
        assert!(Cli::try_parse_from(["nocturne", "bench", "throughput", "--device", "cuda:1", "--compile"]).is_ok());
    }
}
