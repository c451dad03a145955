//! Makes the machine ready for a night: checks everything that can be checked before any work starts, then installs what is
//! missing. It installs into the user's cache only, needs no root, and leaves nothing behind when a check fails.

mod cargo_settings;
mod confined;
mod disk;
mod doctor;
mod error;
mod gpu;
pub mod hub;
mod libtorch;
mod manifest;
mod pins;
mod private;
mod progress;
mod python;
mod sandbox_offer;
mod surroundings;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod toolchain;
mod view;
mod wheels;

use std::path::{Path, PathBuf};

use serde::Serialize;

pub use self::disk::{Bytes, Need, Space, space_at};
pub use self::doctor::{Finding, State, doctor};
pub use self::error::SetupError;
pub use self::gpu::{Gpu, Gpus};
pub use self::libtorch::{LibTorch, Origin, version_of};
pub use self::pins::{Pins, TORCH_SYS_VERSION, TORCH_VERSION};
pub use self::progress::{Event, Progress, Silent};
pub use self::surroundings::Surroundings;
pub(crate) use self::surroundings::last_words;
pub use self::toolchain::{Tool, Toolchain};

use self::libtorch::Found;
use self::manifest::Wants;
use self::python::Python;

/// Whether the CUDA half of libtorch is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum GpuWish {
    /// If there is a GPU that it runs on.
    #[default]
    IfThere,
    /// No, whatever there is.
    No,
    /// Yes; a machine without a usable GPU is an error.
    Yes,
}

/// What set-up is asked to do.
#[derive(Debug, Clone)]
pub struct Options {
    /// Whether the CUDA half of libtorch is wanted.
    pub gpu: GpuWish,
    /// Whether torch's Python sources are needed too: the embedded corpus is made from them.
    pub corpus: bool,
    /// Free space that the work after set-up takes at the repository: builds, data, checkpoints.
    pub repository_space: Bytes,
    /// The process's variables.
    pub surroundings: Surroundings,
}

/// A trainer's build takes about 1 GB per slot and profile, a quickstart night's records and checkpoints less.
pub const REPOSITORY_SPACE: Bytes = Bytes(3_000_000_000);

impl Options {
    /// The usual wishes on this machine.
    pub fn of_process() -> Self {
        Self {
            gpu: GpuWish::IfThere,
            corpus: true,
            repository_space: REPOSITORY_SPACE,
            surroundings: Surroundings::of_process(),
        }
    }
}

/// A machine that is ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Environment {
    /// The libtorch to build against and run with; `None` where the repository's trainer needs none.
    pub libtorch: Option<LibTorch>,
    /// Torch's Python sources, where they were asked for and libtorch is needed.
    pub corpus: Option<PathBuf>,
    /// Rust and C++.
    pub toolchain: Toolchain,
    /// The usable GPUs.
    pub gpus: Vec<Gpu>,
    /// Where fetched things lie.
    pub cache: PathBuf,
    /// Set-up's variables, by which child processes find the same things.
    #[serde(skip)]
    variables: Vec<(String, String)>,
}

impl Environment {
    /// The toolchain's own cargo.
    pub fn cargo(&self) -> &Path {
        &self.toolchain.cargo.path
    }

    /// All variables that a build of the trainer needs; nothing else of this process's environment is needed. A trainer's
    /// process needs none: its run path leads it to libtorch, and beside that it finds the CUDA half.
    pub fn build_env(&self) -> Vec<(String, String)> {
        let mut variables = self.variables.clone();
        if let Some(libtorch) = &self.libtorch {
            variables.push(("LIBTORCH".to_owned(), libtorch.link_dir.to_string_lossy().into_owned()));
        }
        variables
    }
}

/// What is to be done, decided before anything is.
struct Plan {
    cache: PathBuf,
    toolchain: Toolchain,
    gpus: Vec<Gpu>,
    notes: Vec<String>,
    libtorch: Source,
    corpus: Source,
    python: Option<Python>,
}

/// Where a part comes from.
enum Source {
    NotNeeded,
    Found(Box<Found>),
    Fetch(Pins),
}

/// Checks the machine, installs what is missing and says where everything is. `repository` is the root of the person's clone.
/// Cancelling (dropping the future) leaves nothing running; the next call takes up what was downloaded.
pub async fn ensure(
    repository: &Path,
    options: &Options,
    progress: &mut dyn Progress,
) -> Result<Environment, SetupError> {
    let plan = check(repository, options, &space_at).await?;
    for note in &plan.notes {
        progress.report(Event::Note(note.clone()));
    }
    let mut announce = || progress.report(Event::Stage("Downloading crates".to_owned()));
    toolchain::fetch_dependencies(&options.surroundings, &plan.toolchain, repository, &mut announce).await?;
    let libtorch = plan.obtain(&plan.libtorch, &options.surroundings, progress).await?;
    let corpus = plan.obtain(&plan.corpus, &options.surroundings, progress).await?;
    let corpus = corpus.or(libtorch.clone().filter(|libtorch| options.corpus && libtorch.has_sources));
    libtorch::remove_dead_views(&plan.cache);
    Ok(Environment {
        libtorch,
        corpus: corpus.map(|libtorch| libtorch.root),
        variables: plan.variables(&options.surroundings),
        toolchain: plan.toolchain,
        gpus: plan.gpus,
        cache: plan.cache,
    })
}

/// Everything that can be known without changing anything.
async fn check(
    repository: &Path,
    options: &Options,
    space_at: &dyn Fn(&Path) -> std::io::Result<Space>,
) -> Result<Plan, SetupError> {
    let surroundings = &options.surroundings;
    let wants = Wants::read(repository)?;
    let toolchain = Toolchain::find(surroundings, repository, wants.oldest_rust.as_deref()).await?;
    let cache = surroundings.cache()?;
    let mut notes = Vec::new();
    let gpus = find_gpus(options, &mut notes).await?;
    let mut plan =
        Plan { cache, toolchain, gpus, notes, libtorch: Source::NotNeeded, corpus: Source::NotNeeded, python: None };
    if wants.libtorch {
        plan.choose_libtorch(options).await?;
    }
    plan.check_cache().await?;
    let mut needs = vec![Need {
        folder: repository.to_owned(),
        bytes: options.repository_space,
        purpose: "builds, data and checkpoints".to_owned(),
        remedy: "work in a clone on a bigger disk",
    }];
    for pins in [&plan.libtorch, &plan.corpus].into_iter().filter_map(Source::pins) {
        needs.push(Need {
            folder: plan.cache.clone(),
            bytes: pins.space(),
            purpose: format!("libtorch {TORCH_VERSION}"),
            remedy: "put the cache elsewhere with NOCTURNE_CACHE=/some/folder",
        });
    }
    disk::check(&needs, space_at)?;
    if plan.libtorch.pins().or(plan.corpus.pins()).is_some()
        && let Some(python) = &plan.python
    {
        python.pip(surroundings).await?;
    }
    Ok(plan)
}

async fn find_gpus(options: &Options, notes: &mut Vec<String>) -> Result<Vec<Gpu>, SetupError> {
    if options.gpu == GpuWish::No {
        return Ok(Vec::new());
    }
    let why = match Gpus::find(&options.surroundings).await {
        Gpus::Usable(gpus) => return Ok(gpus),
        Gpus::Unusable(why) => why,
        Gpus::None if options.gpu == GpuWish::IfThere => return Ok(Vec::new()),
        Gpus::None => "nvidia-smi was not found on PATH".to_owned(),
    };
    if options.gpu == GpuWish::Yes {
        return Err(SetupError::NoGpu { detail: why });
    }
    notes.push(format!("The GPU is left alone ({why}); working on the CPU"));
    Ok(Vec::new())
}

impl Source {
    fn pins(&self) -> Option<&Pins> {
        match self {
            Source::Fetch(pins) => Some(pins),
            _ => None,
        }
    }
}

impl Plan {
    async fn choose_libtorch(&mut self, options: &Options) -> Result<(), SetupError> {
        let surroundings = &options.surroundings;
        let cuda = !self.gpus.is_empty();
        let architecture = std::env::consts::ARCH;
        let pins =
            (cfg!(target_os = "linux") && cfg!(target_env = "gnu")).then(|| Pins::of(architecture, cuda)).flatten();
        let pins_needed = || SetupError::NoWheel {
            version: TORCH_VERSION,
            architecture: architecture.to_owned(),
            system: format!(
                "{} ({})",
                std::env::consts::OS,
                if cfg!(target_env = "gnu") { "glibc" } else { "no glibc" }
            ),
        };
        let mut found = libtorch::locate(surroundings, &self.cache, pins.as_ref())?;
        if found.is_none() {
            let python = Python::find(surroundings).await?;
            found = python.torch.as_ref().and_then(|torch| libtorch::from_python(torch, &self.cache, cuda));
            if let Some(torch) = python.torch.as_ref().filter(|_| found.is_none()) {
                self.notes.push(format!(
                    "{} has torch {}, which does not fit; {TORCH_VERSION}{} is fetched",
                    python.path.display(),
                    torch.version,
                    if cuda { " with CUDA" } else { "" }
                ));
            }
            self.python = Some(python);
        }
        let has_sources = found.as_ref().is_none_or(|found| found.libtorch.has_sources);
        if let Some(found) = found.as_ref().filter(|found| cuda && !found.libtorch.cuda) {
            let folder = found.libtorch.root.display();
            self.notes.push(format!("{folder} has no CUDA half, so the GPU is left alone; unset LIBTORCH to use it"));
            self.gpus.clear();
        }
        self.libtorch = match found {
            Some(found) => Source::Found(Box::new(found)),
            None => Source::Fetch(pins.ok_or_else(pins_needed)?),
        };
        if options.corpus && !has_sources {
            // A C++ distribution has no Python sources in it: they come with the light wheels, once.
            let pins = Pins::of(architecture, false).ok_or_else(pins_needed)?;
            self.corpus = match LibTorch::installed(&self.cache, &pins) {
                Some(libtorch) => Source::Found(Box::new(Found::whole(libtorch))),
                None => {
                    self.python = Some(Python::find(surroundings).await?);
                    Source::Fetch(pins)
                }
            };
        }
        Ok(())
    }

    /// Whether the cache can be written, where it must be. Leaves nothing behind.
    async fn check_cache(&self) -> Result<(), SetupError> {
        let writes = [&self.libtorch, &self.corpus].into_iter().any(|source| match source {
            Source::NotNeeded => false,
            Source::Found(found) => found.needs_view(),
            Source::Fetch(_) => true,
        });
        if !writes {
            return Ok(());
        }
        let unfit = |detail: String| SetupError::Cache { folder: self.cache.clone(), detail };
        let existing = disk::nearest_existing(&self.cache);
        if !existing.is_dir() {
            return Err(unfit(format!("{} is not a folder", existing.display())));
        }
        // An unnamed file: it is gone with the handle, whatever happens.
        tempfile::tempfile_in(existing)
            .map(drop)
            .map_err(|error| unfit(format!("nothing can be written in {}: {error}", existing.display())))
    }

    async fn obtain(
        &self,
        source: &Source,
        surroundings: &Surroundings,
        progress: &mut dyn Progress,
    ) -> Result<Option<LibTorch>, SetupError> {
        match (source, &self.python) {
            (Source::Found(found), _) => {
                let _lock = match found.needs_view() {
                    true => Some(wheels::lock(&self.cache, progress).await?),
                    false => None,
                };
                found.as_ref().clone().settle().map(Some)
            }
            (Source::Fetch(pins), Some(python)) => {
                wheels::install(&self.cache, pins, python, surroundings, progress).await.map(Some)
            }
            (Source::Fetch(_), None) | (Source::NotNeeded, _) => Ok(None),
        }
    }

    fn variables(&self, surroundings: &Surroundings) -> Vec<(String, String)> {
        let in_home = |folder: &str| surroundings.home.as_ref().map(|home| home.join(folder));
        let cargo_home = surroundings.cargo_home.clone().or_else(|| in_home(".cargo"));
        let rustup_home = surroundings.rustup_home.clone().or_else(|| in_home(".rustup"));
        let mut variables = vec![("PATH".to_owned(), self.toolchain.path(surroundings))];
        for (name, value) in [("CARGO_HOME", cargo_home), ("RUSTUP_HOME", rustup_home)] {
            variables.extend(value.map(|value| (name.to_owned(), value.into_os_string())));
        }
        variables.extend(surroundings.cxx.clone().map(|cxx| ("CXX".to_owned(), cxx)));
        variables.into_iter().map(|(name, value)| (name, value.to_string_lossy().into_owned())).collect()
    }
}
