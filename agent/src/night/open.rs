//! Opening a night: everything between the person's command and the first effect. All that can be wrong is found out before
//! anything is installed, written or started.

use std::path::Path;
use std::sync::Arc;

use super::asking::{self, Asking};
use super::begin::{self, deadline, limits, machine_facts, new_night};
use super::context::Context;
use super::cores::Cores;
use super::device::choose_all;
use super::lock::{Lock, is_running};
use super::machine::Machine;
use super::opening::Opening;
use super::ready::{self, Ready};
use super::redteam;
use super::{kernels, replaying, resume, retreat};
use crate::campaign::{self, Campaign, ProposerName};
use crate::flow::NightId;
use crate::layout::Layout;
use crate::prepare;
use crate::propose::{Combine, Identical, Mix, Playbook, Proposer, Tuner};
use crate::records::{NightEnding, NightRecord, OpeningStage};
use crate::replay;
use crate::repo::Repo;
use crate::store::Store;
use crate::terminal::{LiveView, Notice};

use super::live::Watcher;

pub use super::open_error::OpenError;

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
    /// Let models answer from this night's record instead of asking them.
    pub replay: Option<String>,
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
    let mut opening = Opening::begins();
    let repo = Repo::discover(here)?;
    let start = repo.start()?;
    let root = repo.root().to_owned();
    let campaign = campaign::load(&campaign::locate(&root, campaign)?)?;
    let replay = wishes.replay.as_deref().map(|night| night.parse::<NightId>()).transpose();
    let replay = replay.map_err(OpenError::NotANight)?;
    let layout = Layout::new(&root);
    if let Some(other) = &replay {
        replaying::check_replay(&layout, &campaign, other).await?;
    }
    // Who answers from a record needs neither key nor server, also where the night goes on without being told so again.
    let may_go_on = !matches!(cut_off, CutOff::Fresh);
    let replays = replay.is_some() || (may_go_on && replaying::unfinished_replays(&layout, &campaign).await?);
    let names = proposer_names(&campaign, wishes, replays)?;
    if asking::asks(&names) && !replays {
        asking::servers(&campaign)?;
    }
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
    let store = Arc::new(Store::open_in(&layout).await?);
    let lock = Lock::take(&layout.lock())?;
    let interrupted = wanted_resume(&store, &campaign, wishes, cut_off, watcher).await?;
    let resumed = interrupted.is_some();
    // A night goes on under the rules that it began with.
    let campaign = match &interrupted {
        Some(night) => resumed_campaign(&layout, night, &campaign, watcher)?,
        None => campaign,
    };
    if let Some(night) = &interrupted {
        let mut checked = resume::same_evaluator(&store, &night.id).await;
        if checked.is_ok() {
            checked = resume::same_rule(&store, &night.id).await;
        }
        checked.map_err(|why| OpenError::Resume { night: night.id.clone(), why })?;
    }
    let mut devices = choose_all(&campaign, &environment)?;
    let cores = Cores::of(&campaign, &devices)?;
    let launcher = ready::launcher(layout.lock(), &campaign)?;
    let ended = launcher.end_leftovers()?;
    if ended > 0 {
        let text = format!("ended {ended} processes that a night which was cut off had left running");
        watcher.notice(&Notice::Warning { text });
    }
    launcher.self_check(&layout.state()).await?;
    opening.ends(OpeningStage::SettingUp);
    let Ready { mut workbench, builder, .. } =
        ready::ready(&layout, &campaign, &environment, launcher, watcher).await?;
    // Each of the trials that train at once has its share, so that none takes another's.
    if campaign.sandbox.memory_gb.is_none() {
        let share = |bytes: u64| bytes / (devices.len() as u64).max(1);
        workbench.surroundings.memory_bytes = workbench.surroundings.memory_bytes.map(share);
    }
    opening.ends(OpeningStage::Data);
    let first = interrupted.as_ref().map_or(&start.commit, |night| &night.start_commit);
    let bench = (&workbench, devices.as_slice());
    redteam::before_the_night(&layout, bench, &builder, first, resumed, &mut opening, watcher).await?;
    let kernels = layout.kernels();
    kernels::before_the_night(&redteam::start(&layout), &kernels, &mut workbench, &mut devices, watcher).await;
    let facts = machine_facts(&environment, &workbench, devices.len());
    let night = match interrupted {
        Some(night) => {
            let same = resume::same_machine(&night.machine, &facts);
            same.map_err(|why| OpenError::Resume { night: night.id.clone(), why })?;
            night
        }
        None => {
            // The night that would have answered from a record is not gone on with.
            if replay.is_none() {
                let names = proposer_names(&campaign, wishes, false)?;
                if asking::asks(&names) {
                    asking::servers(&campaign)?;
                }
            }
            let seed = match &replay {
                // Who is asked in which turn is drawn as it was then.
                Some(other) => store.night(other).await?.map(|night| night.proposer_seed),
                None => None,
            };
            let night = new_night(&store, &campaign, wishes, start.commit, facts, (&asked_at, seed)).await?;
            if let Some(other) = &replay {
                replaying::note_replay(&store, &night.id, other).await?;
            }
            night
        }
    };
    let replaying = replaying::replay_of(&store, &night.id).await?;
    if resumed && replay.is_some() && replay != replaying {
        let text = format!("night {} goes on as it began; --replay is for new nights", night.id);
        watcher.notice(&Notice::Warning { text });
    }
    let replay = replaying;
    let names = proposer_names(&campaign, wishes, replay.is_some())?;
    let harness = Repo::discover(&root)?.harness_files(&night.start_commit)?;
    let place = asking::Place {
        campaign: &campaign,
        layout: &layout,
        store: &store,
        night: &night.id,
        harness,
        replay: replay.as_ref(),
        launcher: &workbench.launcher,
    };
    let proposer = proposer(&names, place).await?;
    let mut limits = limits(&campaign, &night);
    if resumed {
        // What the person asks for now stands before what was asked for then.
        limits.experiments = wishes.experiments.or(limits.experiments.filter(|_| !wishes.limit_time()));
        if wishes.limit_time() {
            let until = deadline(&asked_at, &campaign, wishes)?;
            limits.seconds = until.map(|at| at.duration_since(night.started_at).as_secs_f64());
        }
    }
    let stations = begin::stations(&campaign, &workbench, devices);
    let context = Context::new(night, campaign, layout, store, workbench, builder, proposer, (stations, cores));
    let context = Arc::new(context);
    context.asking.try_outs().bind(&context);
    // Ideas that a night took from the person's queue and made nothing of.
    context.store.put_back_queued(context.campaign.name.as_str()).await?;
    let mut start = if resumed {
        resume::where_it_was(&context)
            .await
            .map_err(|why| OpenError::Resume { night: context.night.id.clone(), why })?
    } else {
        resume::at_the_start(&context)
            .await
            .map_err(|why| OpenError::Resume { night: context.night.id.clone(), why })?
    };
    start.turn = context.asking.first_turn(start.turn, start.next_number);
    retreat::catch_up(&context, watcher).await?;
    let baseline = match resumed {
        true => context.store.trials(&context.id(0)).await?.iter().rev().find_map(|trial| trial.val_bpb()),
        false => None,
    };
    let done = start.settled;
    let mut rules = context.campaign.rules.clone();
    // Near misses wait only where somebody takes them up again.
    rules.combine &= names.contains(&ProposerName::Combine);
    let machine = Machine::new(limits, rules, start);
    let view =
        LiveView { done, limit: limits.experiments, baseline, best: machine.champion().val_bpb, ..LiveView::default() };
    opening.ends(OpeningStage::SettingUp);
    opening.record(&context.store, &context.night.id).await?;
    let began = context.night.started_at;
    let offset = if resumed { jiff::Timestamp::now().duration_since(began).as_secs_f64().max(0.0) } else { 0.0 };
    Ok(Opened { context, machine, view, offset, resumed, _lock: lock })
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

/// Who is to be asked. `replays`: those whose answers are on record.
fn proposer_names(campaign: &Campaign, wishes: &Wishes, replays: bool) -> Result<Vec<ProposerName>, OpenError> {
    let mut names = campaign.night.proposers.clone();
    if replays {
        names = vec![ProposerName::Models, ProposerName::Agents];
    }
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
    // What is on record is heard in its order, whoever else proposes: one kind of it left out would stop the others.
    for on_record in [ProposerName::Models, ProposerName::Agents] {
        if replays && !names.contains(&on_record) {
            names.push(on_record);
        }
    }
    for (proposer, list, none) in [
        (ProposerName::Models, "models", campaign.models.is_empty()),
        (ProposerName::Agents, "coding_agents", campaign.coding_agents.is_empty()),
    ] {
        if names.contains(&proposer) && none && !replays {
            return Err(OpenError::NobodyToAsk { name: proposer.name(), list });
        }
    }
    Ok(names)
}

async fn proposer(names: &[ProposerName], place: asking::Place<'_>) -> Result<(Box<dyn Proposer>, Asking), OpenError> {
    let mut proposers: Vec<Box<dyn Proposer>> = Vec::new();
    for name in names {
        proposers.push(match name {
            ProposerName::Playbook => Box::new(Playbook::load()?),
            ProposerName::Tuner => Box::new(Tuner),
            ProposerName::Combine => Box::new(Combine),
            ProposerName::Identical => Box::new(Identical),
            ProposerName::Models | ProposerName::Agents => continue,
        });
    }
    let (asking, readers) = Asking::of(&place, names).await?;
    proposers.extend(readers);
    Ok((Box::new(Mix::new(proposers)), asking))
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
