//! Opening a night: everything between the person's command and the first effect. All that can be wrong is found out before
//! anything is installed, written or started.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use protocol::Budget;

use super::context::Context;
use super::lock::{Lock, is_running};
use super::machine::Machine;
use super::messages::Limits;
use super::ready::{self, Ready};
use super::redteam::{self, RedTeamError};
use super::resume;
use super::workbench::Workbench;
use crate::campaign::{self, Campaign, CampaignError, ProposerName};
use crate::flow::NightId;
use crate::layout::Layout;
use crate::prepare::{self, DataError};
use crate::propose::{Mix, Playbook, ProposeError, Proposer, Tuner};
use crate::records::{NightEnding, NightRecord};
use crate::replay;
use crate::repo::{Repo, RepoError};
use crate::run::RunError;
use crate::seeds::{self, Seeds};
use crate::setup::{Environment, SetupError};
use crate::store::{Store, StoreError};
use crate::terminal::{LiveView, Notice};

use super::live::Watcher;

/// Training seeds drawn for a night; this version uses the first.
const SEEDS: usize = 16;

/// What the person asks of a night besides its campaign.
#[derive(Debug, Clone, Default)]
pub struct Wishes {
    /// End after so many hours.
    pub hours: Option<f64>,
    /// End at this time of day.
    pub until: Option<jiff::civil::Time>,
    /// End after so many experiments.
    pub experiments: Option<u32>,
    /// Ask only these proposers.
    pub proposers: Vec<String>,
}

impl Wishes {
    fn limit_time(&self) -> bool {
        self.hours.is_some() || self.until.is_some()
    }
}

/// What to do about a night that was cut off.
pub enum CutOff<'a> {
    /// Go on with it.
    Resume,
    /// Leave it and begin a new one.
    Fresh,
    /// Let the person say; true goes on with it.
    Ask(&'a mut dyn FnMut(&NightRecord) -> bool),
}

/// A night ready to be driven.
pub struct Opened {
    /// All that it works with.
    pub context: Arc<Context>,
    /// Its state.
    pub machine: Machine,
    /// What a person sees of it at the beginning.
    pub view: LiveView,
    /// Seconds since it began, for a resumed one.
    pub offset: f64,
    /// Whether it was resumed.
    pub resumed: bool,
    /// Held while the night runs.
    _lock: Lock,
}

/// Why a night did not begin.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The repository is not fit.
    #[error(transparent)]
    Repo(#[from] RepoError),
    /// The campaign is not.
    #[error(transparent)]
    Campaign(#[from] CampaignError),
    /// The machine is not.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// The data is not.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The records are not.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A proposer is not.
    #[error(transparent)]
    Propose(#[from] ProposeError),
    /// Processes cannot be run.
    #[error(transparent)]
    Run(#[from] RunError),
    /// No such proposer.
    #[error("there is no proposer {name:?}; there are {known}")]
    NoSuchProposer {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// Another night runs in this repository.
    #[error("another night is running in this repository (it holds {}); `nocturne status` shows it", .0.display())]
    Running(PathBuf),
    /// A file of ours cannot be used.
    #[error("cannot {action} {}: {source}; check permissions and space", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// Which file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The start could not be found or mended.
    #[error("cannot go on with night {night}: {why}")]
    Resume {
        /// Which night.
        night: NightId,
        /// Why.
        why: String,
    },
    /// A GPU was asked for that is not there.
    #[error("the campaign asks for {asked}, but this machine has {found} usable GPUs; set `device` in campaign.toml")]
    NoSuchDevice {
        /// What was asked for.
        asked: String,
        /// How many there are.
        found: usize,
    },
    /// The machine confines edited code less than the campaign accepts.
    #[error(transparent)]
    TooWeak(#[from] sandbox::TooWeak),
    /// The red team found that the night's figures could not be trusted.
    #[error(transparent)]
    RedTeam(#[from] RedTeamError),
    /// No random numbers, no calendar.
    #[error("cannot name the night or draw its seeds: {0}")]
    Lots(String),
}

impl OpenError {
    /// The process's exit code: 2 for bad input, 3 for an unfit environment, 1 for the rest.
    pub fn exit_code(&self) -> u8 {
        match self {
            OpenError::Campaign(_) | OpenError::NoSuchProposer { .. } | OpenError::Repo(_) => 2,
            OpenError::Setup(error) => error.exit_code(),
            OpenError::Data(error) => error.exit_code(),
            OpenError::TooWeak(_)
            | OpenError::Run(_)
            | OpenError::Running(_)
            | OpenError::File { .. }
            | OpenError::NoSuchDevice { .. }
            | OpenError::Lots(_) => 3,
            OpenError::Store(_) | OpenError::Propose(_) | OpenError::Resume { .. } | OpenError::RedTeam(_) => 1,
        }
    }
}

/// Opens a night in the repository around `here`.
///
/// # Errors
/// See [`OpenError`]; nothing has begun then.
pub async fn open(
    here: &Path,
    campaign: &Path,
    wishes: &Wishes,
    cut_off: CutOff<'_>,
    watcher: &mut dyn Watcher,
) -> Result<Opened, OpenError> {
    // Times of day are meant as seen from here, however long set-up takes.
    let asked_at = jiff::Zoned::now();
    let repo = Repo::discover(here)?;
    let start = repo.start()?;
    let root = repo.root().to_owned();
    let campaign = campaign::load(&campaign::locate(&root, campaign)?)?;
    let proposer = proposer(&campaign, wishes)?;
    let layout = Layout::new(&root);
    if is_running(&layout)? {
        return Err(OpenError::Running(layout.lock()));
    }
    prepare::check_files(&campaign)?;
    let changes = repo.uncommitted_changes()?;
    drop(repo);
    if !changes.is_empty() {
        watcher.notice(&Notice::Warning {
            text: format!(
                "changes under trainer/ that are not committed ({}) are not part of this night, which starts from {}",
                changes.join(", "),
                start.commit.short()
            ),
        });
    }

    let environment = prepare::environment(&root, &campaign, watcher).await?;
    let store = Store::open_in(&layout).await?;
    let lock = Lock::take(&layout.lock())?;
    let interrupted = wanted_resume(&store, &campaign, wishes, cut_off, watcher).await?;
    let resumed = interrupted.is_some();
    // A night goes on under the rules that it began with.
    let campaign = match &interrupted {
        Some(night) => resumed_campaign(&layout, night, &campaign, watcher)?,
        None => campaign,
    };
    if let Some(night) = &interrupted {
        let checked = resume::same_evaluator(&store, &night.id).await;
        checked.map_err(|why| OpenError::Resume { night: night.id.clone(), why })?;
    }
    let launcher = ready::launcher(layout.lock(), &campaign)?;
    let ended = launcher.end_leftovers()?;
    if ended > 0 {
        let text = format!("ended {ended} processes that a night which was cut off had left running");
        watcher.notice(&Notice::Warning { text });
    }
    launcher.self_check(&layout.state()).await?;
    let Ready { workbench, builder, .. } = ready::ready(&layout, &campaign, &environment, launcher, watcher).await?;
    let first = interrupted.as_ref().map_or(&start.commit, |night| &night.start_commit);
    redteam::before_the_night(&layout, &workbench, &builder, first, resumed, watcher).await?;
    let night = match interrupted {
        Some(night) => night,
        None => {
            let facts = machine_facts(&environment, &workbench);
            new_night(&store, &campaign, wishes, start.commit, facts, &asked_at).await?
        }
    };
    let mut limits = limits(&campaign, &night);
    if resumed {
        // What the person asks for now stands before what was asked for then.
        limits.experiments = wishes.experiments.or(limits.experiments.filter(|_| !wishes.limit_time()));
        if wishes.limit_time() {
            let until = deadline(&asked_at, &campaign, wishes)?;
            limits.seconds = until.map(|at| at.duration_since(night.started_at).as_secs_f64());
        }
    }
    let context = Arc::new(Context::new(night, campaign, layout, store, workbench, builder, proposer));
    let start = if resumed {
        resume::where_it_was(&context)
            .await
            .map_err(|why| OpenError::Resume { night: context.night.id.clone(), why })?
    } else {
        resume::at_the_start(&context)
    };
    let baseline = match resumed {
        true => context.store.trials(&context.id(0)).await?.iter().rev().find_map(|trial| trial.val_bpb()),
        false => None,
    };
    let view = LiveView {
        done: start.settled,
        limit: limits.experiments,
        baseline,
        best: start.champion.val_bpb,
        ..LiveView::default()
    };
    let began = context.night.started_at;
    let offset = if resumed { jiff::Timestamp::now().duration_since(began).as_secs_f64().max(0.0) } else { 0.0 };
    Ok(Opened { context, machine: Machine::new(limits, start), view, offset, resumed, _lock: lock })
}

/// The campaign as it was when the night began; says so when it has changed since.
fn resumed_campaign(
    layout: &Layout,
    night: &NightRecord,
    present: &Campaign,
    watcher: &mut dyn Watcher,
) -> Result<Campaign, OpenError> {
    if night.campaign_sha256 == present.campaign_sha256 {
        return Ok(present.clone());
    }
    let text =
        format!("campaign.toml has changed since night {} began; the night goes on with what it said then", night.id);
    watcher.notice(&Notice::Warning { text });
    Ok(replay::campaign_of(layout, night)?)
}

fn proposer(campaign: &Campaign, wishes: &Wishes) -> Result<Box<dyn Proposer>, OpenError> {
    let mut names = campaign.night.proposers.clone();
    if !wishes.proposers.is_empty() {
        names.clear();
        for name in &wishes.proposers {
            let found = ProposerName::ALL.into_iter().find(|known| known.name() == name);
            names.push(found.ok_or_else(|| OpenError::NoSuchProposer {
                name: name.clone(),
                known: ProposerName::ALL.map(ProposerName::name).join(", "),
            })?);
        }
    }
    let mut proposers: Vec<Box<dyn Proposer>> = Vec::new();
    for name in names {
        proposers.push(match name {
            ProposerName::Playbook => Box::new(Playbook::load()?),
            ProposerName::Tuner => Box::new(Tuner),
        });
    }
    Ok(Box::new(Mix::new(proposers)))
}

/// The night to go on with, if there is one, it has time left and the person wants it. One that is not gone on with is ended.
async fn wanted_resume(
    store: &Store,
    campaign: &Campaign,
    wishes: &Wishes,
    cut_off: CutOff<'_>,
    watcher: &mut dyn Watcher,
) -> Result<Option<NightRecord>, OpenError> {
    let Some(night) = store.unfinished_night(campaign.name.as_str()).await? else { return Ok(None) };
    let over = night.deadline.is_some_and(|deadline| deadline <= jiff::Timestamp::now()) && !wishes.limit_time();
    if over {
        let text = format!("night {} was cut off and its time is over; this is a new one", night.id);
        watcher.notice(&Notice::Warning { text });
        store.end_night(&night.id, NightEnding::Abandoned, "cut off; its time was over").await?;
        return Ok(None);
    }
    let wanted = match cut_off {
        CutOff::Resume => true,
        CutOff::Fresh => false,
        CutOff::Ask(ask) => ask(&night),
    };
    if wanted {
        return Ok(Some(night));
    }
    store.end_night(&night.id, NightEnding::Abandoned, "given up for a new night").await?;
    Ok(None)
}

async fn new_night(
    store: &Store,
    campaign: &Campaign,
    wishes: &Wishes,
    start_commit: crate::flow::CommitId,
    machine: BTreeMap<String, String>,
    asked_at: &jiff::Zoned,
) -> Result<NightRecord, OpenError> {
    let lots = Seeds::draw(SEEDS).map_err(|error| OpenError::Lots(error.to_string()))?;
    let now = jiff::Zoned::now();
    let id = loop {
        let random = seeds::random().map_err(|error| OpenError::Lots(error.to_string()))?;
        let id = seeds::night_id(now.date(), random).map_err(|error| OpenError::Lots(error.to_string()))?;
        if store.night(&id).await?.is_none() {
            break id;
        }
    };
    let file = campaign.folder.join("campaign.toml");
    let campaign_text = std::fs::read_to_string(&file).map_err(|source| OpenError::File {
        action: "read",
        path: file.clone(),
        source,
    })?;
    let started_at = super::perform::now();
    let night = NightRecord {
        id,
        campaign: campaign.name.to_string(),
        start_commit,
        program_sha256: campaign.program_sha256.clone(),
        campaign_sha256: campaign.campaign_sha256.clone(),
        campaign_text,
        started_at,
        deadline: deadline(if wishes.until.is_some() { asked_at } else { &now }, campaign, wishes)?,
        experiment_limit: wishes.experiments.or(if wishes.hours.is_some() || wishes.until.is_some() {
            None
        } else {
            campaign.night.experiments
        }),
        seeds: lots.training().to_vec(),
        proposer_seed: lots.proposer(),
        machine,
        end: None,
    };
    store.begin_night(&night).await?;
    Ok(night)
}

/// When the night has to end: the person's word before the campaign's.
fn deadline(now: &jiff::Zoned, campaign: &Campaign, wishes: &Wishes) -> Result<Option<jiff::Timestamp>, OpenError> {
    let calendar = |error: jiff::Error| OpenError::Lots(error.to_string());
    if let Some(time) = wishes.until {
        let today = now.with().time(time).build().map_err(calendar)?;
        let next = if today > *now { today } else { today.tomorrow().map_err(calendar)? };
        return Ok(Some(next.timestamp()));
    }
    // A number of experiments asked for on the command line is not cut short by the campaign's usual hours.
    let usual = campaign.night.hours.filter(|_| wishes.experiments.is_none());
    let Some(hours) = wishes.hours.or(usual) else { return Ok(None) };
    let span = jiff::SignedDuration::try_from_secs_f64(hours * 3600.0).map_err(calendar)?;
    let at = now.timestamp().checked_add(span).map_err(calendar)?;
    Ok(Some(at.round(jiff::Unit::Millisecond).map_err(calendar)?))
}

fn limits(campaign: &Campaign, night: &NightRecord) -> Limits {
    let budget = match campaign.budget() {
        Budget::Seconds(seconds) => seconds,
        // Not known before the first trial.
        Budget::Tokens(_) => 0.0,
    };
    Limits {
        experiments: night.experiment_limit,
        seconds: night.deadline.map(|at| at.duration_since(night.started_at).as_secs_f64()),
        expected_trial_seconds: budget * 1.2 + 2.0,
        repair_rounds: campaign.rules.repair_rounds,
    }
}

/// What the machine is and how it is used, for the record.
fn machine_facts(environment: &Environment, workbench: &Workbench) -> BTreeMap<String, String> {
    let mut facts = BTreeMap::new();
    let mut note = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            facts.insert(name.to_owned(), value);
        }
    };
    let first = |path: &str, key: &str| {
        let text = std::fs::read_to_string(path).ok()?;
        let line = text.lines().find(|line| line.starts_with(key))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    note("cpu", first("/proc/cpuinfo", "model name"));
    note("cores", std::thread::available_parallelism().ok().map(|cores| cores.to_string()));
    note("memory", first("/proc/meminfo", "MemTotal"));
    note("libtorch", environment.libtorch.as_ref().map(|libtorch| libtorch.version.clone()));
    let gpus: Vec<&str> = environment.gpus.iter().map(|gpu| gpu.name.as_str()).collect();
    note("gpus", (!gpus.is_empty()).then(|| gpus.join(", ")));
    note("device", Some(workbench.setting.device.clone()));
    note("sandbox", Some(workbench.launcher.confinement().describe()));
    note(
        "precision",
        serde_json::to_value(workbench.setting.precision).ok().and_then(|word| word.as_str().map(str::to_owned)),
    );
    note("rustc", Some(environment.toolchain.rustc.version.clone()));
    facts
}
