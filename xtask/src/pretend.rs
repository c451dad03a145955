//! A repository with the pretended trainer of the agent's tests: real nights (real compiler, real git, real processes, real database)
//! whose trainer only counts, so that they need no libtorch and take a minute.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::scale::remove;
use crate::steps;

/// A campaign whose trials are long enough to be looked at, on machines that have other work.
const CAMPAIGN: &str = r#"title = "A pretended campaign"
scale = "cpu"

[budget]
seconds = 3

[night]
experiments = 3
proposers = ["tuner"]

[data]
files = ["text"]
vocabulary = 300
context = 16
search_rows = 8
sealed_rows = 8

[machine]
device = "cpu"
grace_seconds = 30
disk_reserve_gb = 0.1
most_foreign_load = 1

[rules]
champion_seeds = 2
most_trials = 2
morning_pairs = 2
drift_every = 0
"#;

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
        let trainer = root.join("agent/tests/support/trainer");
        copy(&trainer.join("src"), &folder.join("trainer/src"))?;
        let manifest = fs::read(trainer.join("Cargo.toml.txt"))
            .map_err(|error| format!("cannot read {}: {error}", trainer.display()))?;
        let repository = Self { folder, cache: root.join("target").join(format!("{name}-cache")) };
        repository.write("trainer/Cargo.toml", &manifest)?;
        let workspace = "[workspace]\nresolver = \"3\"\nmembers = [\"trainer\"]\n\n[profile.trainer]\ninherits = \"release\"\nincremental = true\n";
        repository.write("Cargo.toml", workspace.as_bytes())?;
        repository.write("Cargo.lock", b"version = 4\n\n[[package]]\nname = \"trainer\"\nversion = \"0.1.0\"\n")?;
        repository.write(".gitignore", b"/target\n/.nocturne\nexperiments/*/nights/\n")?;
        repository.write("experiments/pretend/campaign.toml", CAMPAIGN.as_bytes())?;
        repository.write("experiments/pretend/program.md", b"Pretend to lower the loss.\n")?;
        for number in 0..400_u32 {
            let words: Vec<String> = (0..60).map(|i| format!("word{}", (number * 31 + i * i * 7) % 97)).collect();
            let text = format!("{} {number}\n", words.join(" "));
            repository.write(&format!("experiments/pretend/text/{number:03}.txt"), text.as_bytes())?;
        }
        for arguments in [
            &["init", "--quiet", "--initial-branch", "main"][..],
            &["add", "--all"],
            &["commit", "--quiet", "--message", "Begin"],
        ] {
            let identity = ["-c", "user.name=A Person", "-c", "user.email=person@example.org"];
            steps::run("git", Command::new("git").args(identity).args(arguments).current_dir(&repository.folder))?;
        }
        Ok(repository)
    }

    /// Starts a night of so many experiments. What it prints is its own.
    pub fn night(&self, agent: &Path, experiments: u32) -> Result<Child, String> {
        let mut command = Command::new(agent);
        let count = experiments.to_string();
        command.args(["night", "experiments/pretend", "--json", "--experiments", &count]).current_dir(&self.folder);
        command.env("NOCTURNE_CACHE", &self.cache).env_remove("LIBTORCH").stdin(Stdio::null()).stdout(Stdio::null());
        command.spawn().map_err(|error| format!("cannot start {}: {error}", agent.display()))
    }

    fn write(&self, path: &str, content: &[u8]) -> Result<(), String> {
        let path = self.folder.join(path);
        let failed = |error| format!("cannot write {}: {error}", path.display());
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(failed)?;
        }
        fs::write(&path, content).map_err(failed)
    }
}

fn copy(from: &Path, to: &Path) -> Result<(), String> {
    let failed = |error| format!("cannot copy {} to {}: {error}", from.display(), to.display());
    fs::create_dir_all(to).map_err(failed)?;
    for entry in fs::read_dir(from).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let to = to.join(entry.file_name());
        if entry.file_type().map_err(failed)?.is_dir() {
            copy(&entry.path(), &to)?;
        } else {
            fs::copy(entry.path(), &to).map_err(failed)?;
        }
    }
    Ok(())
}
