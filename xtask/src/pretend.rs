//! A repository with the pretended trainer of the agent's tests: real nights (real compiler, real git, real processes, real database)
//! whose trainer only counts, so that they need no libtorch and take a minute.

#[path = "../../agent/tests/support/repository.rs"]
mod repository;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use self::repository::Patience;
use crate::scale::remove;
use crate::steps;

/// Trials that are long enough to be looked at, on machines that have other work.
const PATIENCE: Patience = Patience { seconds: 3.0, grace_seconds: 30 };

/// A repository that nights can be run in.
pub struct Pretended {
    /// Where.
    pub folder: PathBuf,
    cache: PathBuf,
}

impl Pretended {
    /// Makes `target/NAME` anew.
    pub fn new(name: &str) -> Result<Self, String> {
        let root = steps::root()?;
        let folder = root.join("target").join(name);
        remove(&folder)?;
        repository::make(&folder, &root.join("agent/tests/support/trainer"), PATIENCE)?;
        Ok(Self { folder, cache: root.join("target").join(format!("{name}-cache")) })
    }

    /// Starts a night of so many experiments. What it prints is its own.
    pub fn night(&self, agent: &Path, experiments: u32) -> Result<Child, String> {
        let mut command = Command::new(agent);
        let count = experiments.to_string();
        command.args(["night", "experiments/pretend", "--json", "--experiments", &count]).current_dir(&self.folder);
        command.env("NOCTURNE_CACHE", &self.cache).env_remove("LIBTORCH").stdin(Stdio::null()).stdout(Stdio::null());
        command.spawn().map_err(|error| format!("cannot start {}: {error}", agent.display()))
    }
}
