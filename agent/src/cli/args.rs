//! The commands' options, and which values they take. What the words mean is the commands' own.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use crate::serve::USUAL_PORT;

/// Options of `nocturne night`.
#[derive(Debug, Clone, Args)]
pub(super) struct NightArgs {
    /// The campaign's folder, for example experiments/quickstart
    pub(super) campaign: PathBuf,
    /// End after so many hours
    #[arg(long, value_parser = positive)]
    pub(super) hours: Option<f64>,
    /// End after so many experiments
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) experiments: Option<u32>,
    /// End at this time of day, for example 07:30
    #[arg(long, conflicts_with = "hours", value_parser = time_of_day)]
    pub(super) until: Option<jiff::civil::Time>,
    /// Ask only these proposers (see the campaign's `proposers`)
    #[arg(long, value_delimiter = ',')]
    pub(super) proposer: Vec<String>,
    /// Take the answers of language models and coding agents from this night's record, in their order, instead of asking anybody; unless
    /// other proposers are named besides, nobody else proposes
    #[arg(long, value_name = "NIGHT")]
    pub(super) replay: Option<String>,
    /// Go on with the night that was cut off, without asking
    #[arg(long, conflicts_with = "fresh")]
    pub(super) resume: bool,
    /// Begin a new night even though one was cut off, without asking
    #[arg(long)]
    pub(super) fresh: bool,
    /// End with one JSON document on standard output
    #[arg(long)]
    pub(super) json: bool,
}

/// Options of `nocturne setup`.
#[derive(Debug, Clone, Args)]
pub(super) struct SetupArgs {
    /// Only make libtorch available, and print the folder to set LIBTORCH to
    #[arg(long)]
    pub(super) print_libtorch: bool,
}

/// Options of the commands that only read.
#[derive(Debug, Clone, Args)]
pub(super) struct ReadArgs {
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// Options of `nocturne prepare`.
#[derive(Debug, Clone, Args)]
pub(super) struct PrepareArgs {
    /// The campaign's folder
    pub(super) campaign: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// Options of `nocturne new`.
#[derive(Debug, Clone, Args)]
pub(super) struct NewArgs {
    /// Its name: lower-case letters, digits and dashes
    pub(super) campaign: String,
    /// Size of the model: cpu, gpu or h100
    #[arg(long, default_value = "gpu", value_parser = scale)]
    pub(super) scale: protocol::Scale,
}

/// Options of `nocturne list`.
#[derive(Debug, Clone, Args)]
pub(super) struct ListArgs {
    /// A night; without one, all nights are listed
    pub(super) night: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// Options of `nocturne show`.
#[derive(Debug, Clone, Args)]
pub(super) struct ShowArgs {
    /// A night (2026-03-08-k4) or an experiment (2026-03-08-k4/3, or just 3 for the last night's); or `night`: where a night's time went
    pub(super) what: String,
    /// With `night`: which; the last one if left out
    pub(super) night: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// Options of `nocturne queue add`.
#[derive(Debug, Clone, Args)]
pub(super) struct QueueAddArgs {
    /// What to try, and why: a sentence or a few
    pub(super) words: String,
    /// Test exactly this: a unified diff of the candidate's files, as `git diff` writes it
    #[arg(long, value_name = "FILE.diff")]
    pub(super) patch: Option<PathBuf>,
    /// For this campaign; the last night's if left out, or the only one
    #[arg(long)]
    pub(super) campaign: Option<PathBuf>,
    /// Before all that wait, instead of behind them
    #[arg(long)]
    pub(super) first: bool,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// Options of `nocturne queue list`.
#[derive(Debug, Clone, Args)]
pub(super) struct QueueListArgs {
    /// Only this campaign's
    #[arg(long)]
    pub(super) campaign: Option<String>,
    /// What was removed and what is long settled too
    #[arg(long)]
    pub(super) all: bool,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// Options of `nocturne queue remove`.
#[derive(Debug, Clone, Args)]
pub(super) struct QueueRemoveArgs {
    /// The idea's number, as `nocturne queue list` shows it
    pub(super) id: u32,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// Options of `nocturne queue move`.
#[derive(Debug, Clone, Args)]
pub(super) struct QueueMoveArgs {
    /// The idea's number, as `nocturne queue list` shows it
    pub(super) id: u32,
    /// Its new place among those of its campaign that wait: 1 is the next to be taken
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) place: u32,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// Options of `nocturne export tensorboard`.
#[derive(Debug, Clone, Args)]
pub(super) struct ExportNightArgs {
    /// Write below this folder, which must be empty or not there
    pub(super) folder: PathBuf,
    /// A night; the last one if left out
    #[arg(long)]
    pub(super) night: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// Options of `nocturne export csv`.
#[derive(Debug, Clone, Args)]
pub(super) struct ExportAllArgs {
    /// Write below this folder, which must be empty or not there
    pub(super) folder: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// Options of `nocturne review` and `nocturne review list`.
#[derive(Debug, Clone, Args)]
pub(super) struct ReviewListArgs {
    /// A night; the last one if left out
    pub(super) night: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// Options of `nocturne review accept`, `reject` and `defer`.
#[derive(Debug, Clone, Args)]
pub(super) struct ReviewChoiceArgs {
    /// An experiment (NIGHT/NUMBER, or a number of the last night)
    pub(super) experiment: String,
    /// Why; needed to reject, and told to later proposers then
    #[arg(long)]
    pub(super) reason: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// Options of `nocturne review record`.
#[derive(Debug, Clone, Args)]
pub(super) struct ReviewRecordArgs {
    /// A JSON list of {"experiment": "NIGHT/NUMBER", "choice": "accepted"|"rejected"|"deferred", "reason": "..."}; - for standard input
    pub(super) file: PathBuf,
}

/// Options of `nocturne review branches`.
#[derive(Debug, Clone, Args)]
pub(super) struct ReviewBranchesArgs {
    /// A night; the last one if left out
    pub(super) night: Option<String>,
    /// Put them on this branch or commit, instead of HEAD
    #[arg(long, value_name = "REVISION")]
    pub(super) base: Option<String>,
    /// One branch with all of them in order, instead of one branch each
    #[arg(long)]
    pub(super) stack: bool,
    /// Only say which branches would be made, and what does not fit together
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// Options of `nocturne report` and `nocturne models`.
#[derive(Debug, Clone, Args)]
pub(super) struct ReportArgs {
    /// A night; the last one if left out
    pub(super) night: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// Options of `nocturne replay`.
#[derive(Debug, Clone, Args)]
pub(super) struct ReplayArgs {
    /// An experiment (NIGHT/NUMBER, or a number of the last night)
    pub(super) experiment: String,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// Options of `nocturne mcp`.
#[derive(Debug, Clone, Args)]
pub(super) struct McpArgs {
    /// The campaign's folder, for example experiments/quickstart; with its whole path, the command can be run anywhere
    pub(super) campaign: PathBuf,
}

/// Options of `nocturne sample`.
#[derive(Debug, Clone, Args)]
pub(super) struct SampleArgs {
    /// What to go on from
    pub(super) prompt: String,
    /// An experiment (NIGHT/NUMBER, or a number of the last night); the last night's champion if left out
    #[arg(long)]
    pub(super) experiment: Option<String>,
    /// How many tokens
    #[arg(long, default_value_t = 100)]
    pub(super) tokens: usize,
    /// 0 takes the most likely token
    #[arg(long, default_value_t = 0.8, value_parser = not_negative)]
    pub(super) temperature: f64,
    /// Draw from so many most likely tokens; 0 for all
    #[arg(long, default_value_t = 50)]
    pub(super) top_k: usize,
    /// Seed of the draws
    #[arg(long, default_value_t = 1)]
    pub(super) seed: u64,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// Options of the helper process.
#[derive(Debug, Clone, Args)]
pub(super) struct SuperviseArgs {
    #[arg(long)]
    pub(super) parent: u32,
    #[arg(long, default_value_t = 0)]
    pub(super) nice: i32,
    #[arg(long)]
    pub(super) cores: Option<crate::run::CoreSet>,
    #[arg(long, default_value_t = 5.0, value_parser = not_negative)]
    pub(super) grace_seconds: f64,
    #[arg(long)]
    pub(super) confined: Option<String>,
    #[arg(required = true, last = true)]
    pub(super) command: Vec<OsString>,
}

/// Options of `nocturne serve`.
#[derive(Debug, Clone, Args)]
pub(super) struct ServeArgs {
    /// Where to listen, for example 0.0.0.0:7707 for other machines too; port 0 picks a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value_t = SocketAddr::from(([127, 0, 0, 1], USUAL_PORT)))]
    pub(super) listen: SocketAddr,
    /// Print address and token as one JSON document
    #[arg(long)]
    pub(super) json: bool,
}

/// Options of the process that confines itself.
#[derive(Debug, Clone, Args)]
pub(super) struct ConfineArgs {
    pub(super) orders: String,
    #[arg(required = true, last = true)]
    pub(super) command: Vec<OsString>,
}

/// Options of the process that tests a sandbox from inside.
#[derive(Debug, Clone, Args)]
pub(super) struct AttemptArgs {
    pub(super) goals: String,
}

fn number(text: &str) -> Result<f64, String> {
    text.parse::<f64>().ok().filter(|n| n.is_finite()).ok_or_else(|| "not a number".to_owned())
}

pub(super) fn positive(text: &str) -> Result<f64, String> {
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
