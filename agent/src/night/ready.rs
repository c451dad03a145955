//! From a prepared machine to processes that can be run on it: what a night, `replay` and `sample` have in common.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::cores::threads_of_a_trial;
use super::device::{Chosen, choose};
use super::live::Watcher;
use super::open::OpenError;
use super::workbench::{Workbench, own_sha256};
use crate::build::Builder;
use crate::campaign::{Campaign, Sandbox};
use crate::layout::Layout;
use crate::prepare::{self, DataError, Prepared};
use crate::run::Launcher;
use crate::setup::Environment;

/// All that training, evaluating and building need.
pub struct Ready {
    /// How trainers run and are evaluated.
    pub workbench: Workbench,
    /// Builds trainers.
    pub builder: Builder,
    /// The campaign's data.
    pub data: Prepared,
}

/// Starts helpers of this very executable, confined as strongly as this machine allows and at least as the campaign demands.
/// `tag` names what they carry in their environment: the night's lock file, or another name for what no night may end.
///
/// # Errors
/// When the machine offers less than the campaign accepts, or the system does not say where this executable lies.
pub fn launcher(tag: PathBuf, campaign: &Campaign) -> Result<Launcher, OpenError> {
    launcher_of(tag, campaign.sandbox.least)
}

/// [`launcher`], confined at least so strongly.
///
/// # Errors
/// The same.
pub fn launcher_of(tag: PathBuf, least: sandbox::Level) -> Result<Launcher, OpenError> {
    let own = own_executable()?;
    let offer = sandbox::probe(&own);
    let confinement = sandbox::Confinement::new(&offer, least)?;
    Ok(Launcher::new(own, &tag, confinement))
}

/// This executable.
fn own_executable() -> Result<PathBuf, OpenError> {
    std::env::current_exe().map_err(|source| OpenError::File {
        action: "find",
        path: PathBuf::from("/proc/self/exe"),
        source,
    })
}

/// Prepares the campaign's data and puts together what its trainers run with.
///
/// # Errors
/// See [`OpenError`].
pub async fn ready(
    layout: &Layout,
    campaign: &Campaign,
    environment: &Environment,
    launcher: Launcher,
    watcher: &mut dyn Watcher,
) -> Result<Ready, OpenError> {
    let Chosen { device, environment: variables, .. } = choose(campaign, environment)?;
    let setting = campaign.setting(threads_of_a_trial(campaign), device);
    let data = prepare::data(layout, campaign, environment, watcher).await?;
    let surroundings = surroundings(layout, &campaign.sandbox, environment, &launcher, &setting.device)?;
    let builder = builder_in(layout, environment, launcher.clone(), &surroundings)?;
    let evaluator_sha256 = own_sha256().map_err(|source| OpenError::File {
        action: "read",
        path: PathBuf::from("/proc/self/exe"),
        source,
    })?;
    let workbench = Workbench {
        tolerance: crate::verify::tolerance::tolerance(&setting.device, setting.precision),
        launcher,
        surroundings,
        environment: variables,
        devices: campaign.machine.devices,
        setting,
        shards: data.folder.clone(),
        documents: Arc::new(data::Shards::open(&data.folder).map_err(DataError::from)?),
        held_out: Arc::clone(&data.held_out),
        sealed: Arc::clone(&data.sealed),
        cuts: campaign.evaluation.cuts as usize,
        evaluator_sha256,
    };
    Ok(Ready { workbench, builder, data })
}

/// What builds need, and nothing else: no data are prepared.
///
/// # Errors
/// See [`OpenError`].
pub fn builder(
    layout: &Layout,
    campaign: &Campaign,
    environment: &Environment,
    launcher: Launcher,
) -> Result<Builder, OpenError> {
    let Chosen { device, .. } = choose(campaign, environment)?;
    let surroundings = surroundings(layout, &campaign.sandbox, environment, &launcher, &device)?;
    builder_in(layout, environment, launcher, &surroundings)
}

/// What confined processes get to see of this machine.
///
/// # Errors
/// See [`Environment::confined`].
pub fn surroundings(
    layout: &Layout,
    rules: &Sandbox,
    environment: &Environment,
    launcher: &Launcher,
    device: &str,
) -> Result<sandbox::Surroundings, OpenError> {
    let (memory, level) = (rules.memory_bytes(), launcher.confinement().level());
    Ok(environment.confined(layout.root(), device, memory, level)?)
}

/// [`builder`], where it is known what builds get to see.
///
/// # Errors
/// When the cargo home of builds cannot be made.
pub fn builder_in(
    layout: &Layout,
    environment: &Environment,
    launcher: Launcher,
    surroundings: &sandbox::Surroundings,
) -> Result<Builder, OpenError> {
    let cargo_home = layout.slot("cargo-home");
    environment.make_cargo_home(&cargo_home)?;
    Ok(Builder::new(
        launcher,
        environment.cargo().to_owned(),
        environment.confined_build_env(&cargo_home),
        sandbox::Surroundings { toolchain: with(&surroundings.toolchain, &cargo_home), ..surroundings.clone() },
        layout.slots(),
    ))
}

fn with(paths: &[PathBuf], another: &Path) -> Vec<PathBuf> {
    paths.iter().cloned().chain([another.to_owned()]).collect()
}
