//! A new night: its name, its lots, its limits, and what the machine is.

use std::collections::BTreeMap;
use std::sync::Arc;

use protocol::Budget;

use super::cores::cores_of_a_trial;
use super::device::{Chosen, Station, VISIBLE_DEVICES};
use super::messages::Limits;
use super::open::{OpenError, Wishes};
use super::workbench::Workbench;
use crate::campaign::Campaign;
use crate::conditions::read::Reader;
use crate::conditions::watch::Patience;
use crate::conditions::{self, Conditions};
use crate::flow::CommitId;
use crate::hash::sha256_file;
use crate::records::NightRecord;
use crate::seeds::{self, Seeds};
use crate::setup::{Environment, Surroundings};
use crate::stats::race::SEARCH_SEEDS;
use crate::store::Store;

/// Training seeds drawn for a night: one half for the search, the other, which nothing is decided by, for the morning.
const SEEDS: usize = 2 * SEARCH_SEEDS as usize;

pub(super) async fn new_night(
    store: &Store,
    campaign: &Campaign,
    wishes: &Wishes,
    start_commit: CommitId,
    machine: BTreeMap<String, String>,
    (asked_at, proposer_seed): (&jiff::Zoned, Option<u64>),
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
        proposer_seed: proposer_seed.unwrap_or_else(|| lots.proposer()),
        machine,
        end: None,
    };
    store.begin_night(&night).await?;
    Ok(night)
}

/// When the night has to end: the person's word before the campaign's.
pub(super) fn deadline(
    now: &jiff::Zoned,
    campaign: &Campaign,
    wishes: &Wishes,
) -> Result<Option<jiff::Timestamp>, OpenError> {
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

pub(super) fn limits(campaign: &Campaign, night: &NightRecord) -> Limits {
    let budget = match campaign.budget() {
        Budget::Seconds(seconds) => seconds,
        // Not known before the first trial.
        Budget::Tokens(_) => 0.0,
    };
    Limits {
        experiments: night.experiment_limit,
        seconds: night.deadline.map(|at| at.duration_since(night.started_at).as_secs_f64()),
        expected_trial_seconds: budget * 1.2 + 2.0,
    }
}

/// The devices, with what watches each of them while trials run on it: what disturbs one trial need not disturb its neighbour.
pub(super) fn stations(campaign: &Campaign, workbench: &Workbench, devices: Vec<Chosen>) -> Vec<Station> {
    let many = devices.len();
    let station = |Chosen { name, environment, .. }| {
        let conditions = conditions(campaign, workbench, &environment, many);
        Station { name, environment, conditions }
    };
    devices.into_iter().map(station).collect()
}

fn conditions(
    campaign: &Campaign,
    workbench: &Workbench,
    environment: &[(String, String)],
    devices: usize,
) -> Arc<Conditions> {
    let on_gpu = workbench.on_gpu();
    let visible = environment.iter().find(|(name, _)| name == VISIBLE_DEVICES).map(|(_, gpu)| gpu.clone());
    // A trial that has a group of cores keeps to it; of others, what is left over is judged by all that trials use at once.
    let pinned = devices > 1 && !on_gpu;
    let together = if pinned { 1 } else { devices };
    let limits = conditions::Limits {
        most_foreign_load: campaign.machine.most_foreign_load,
        cores: (together * cores_of_a_trial(workbench)) as f64,
        pinned,
        memory_bytes: workbench.surroundings.memory_bytes.map(|bytes| bytes.saturating_mul(devices as u64)),
    };
    let reader = Reader::new(Surroundings::of_process(), visible.filter(|_| on_gpu));
    Conditions::new(reader, campaign.budget(), limits, Patience::default())
}

/// What the machine is and how it is used, for the record.
pub(super) fn machine_facts(
    environment: &Environment,
    workbench: &Workbench,
    devices: usize,
) -> BTreeMap<String, String> {
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
    // The manifest lists the hash of every file of the prepared data.
    let data = sha256_file(&workbench.shards.join(data::files::MANIFEST)).ok();
    note("data", data.and_then(|sha256| Some(sha256.get(..16)?.to_owned())));
    // Trials that share a machine with others are slower than trials that have it to themselves: such nights do not compare.
    let device = &workbench.setting.device;
    note("device", Some(if devices > 1 { format!("{devices} x {device}") } else { device.clone() }));
    note("sandbox", Some(workbench.launcher.confinement().describe()));
    note(
        "precision",
        serde_json::to_value(workbench.setting.precision).ok().and_then(|word| word.as_str().map(str::to_owned)),
    );
    note("rustc", Some(environment.toolchain.rustc.version.clone()));
    facts
}
