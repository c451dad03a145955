//! The repository of a pretended night: the pretended trainer beside this file, a campaign `pretend` and a first commit. The agent's tests and
//! `cargo xtask` (which includes this file) make it, so it uses the standard library alone.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// What differs between the campaigns of those who make one.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Seconds of training of a trial.
    pub seconds: f64,
    /// Seconds that a run may take beyond them.
    pub grace_seconds: u32,
}

/// Texts of the campaign's data.
const TEXTS: u32 = 400;

const WORKSPACE: &str = "[workspace]
resolver = \"3\"
members = [\"trainer\"]

[profile.trainer]
inherits = \"release\"
incremental = true
";

/// Makes the repository in a folder; `trainer` is the folder of the pretended trainer.
///
/// # Errors
/// A file that cannot be written or read, or what git said.
pub fn make(folder: &Path, trainer: &Path, patience: Patience) -> Result<(), String> {
    copy(&trainer.join("src"), &folder.join("trainer/src"))?;
    let manifest = trainer.join("Cargo.toml.txt");
    let manifest =
        fs::read_to_string(&manifest).map_err(|error| format!("cannot read {}: {error}", manifest.display()))?;
    let campaign = campaign(patience);
    for (path, text) in [
        ("trainer/Cargo.toml", manifest.as_str()),
        ("Cargo.toml", WORKSPACE),
        ("Cargo.lock", "version = 4\n\n[[package]]\nname = \"trainer\"\nversion = \"0.1.0\"\n"),
        (".gitignore", "/target\n/.nocturne\nexperiments/*/nights/\n"),
        ("experiments/pretend/campaign.toml", campaign.as_str()),
        ("experiments/pretend/program.md", "Pretend to lower the loss.\n"),
    ] {
        write(&folder.join(path), text)?;
    }
    for number in 0..TEXTS {
        let words: Vec<String> = (0..60).map(|i| format!("word{}", (number * 31 + i * i * 7) % 97)).collect();
        let path = folder.join(format!("experiments/pretend/text/{number:03}.txt"));
        write(&path, &format!("{} {number}\n", words.join(" ")))?;
    }
    git(folder, &["init", "--quiet", "--initial-branch", "main"])?;
    git(folder, &["add", "--all"])?;
    git(folder, &["commit", "--quiet", "--message", "Begin"]).map(drop)
}

fn campaign(patience: Patience) -> String {
    let Patience { seconds, grace_seconds } = patience;
    format!(
        r#"title = "A pretended campaign"
scale = "cpu"

[budget]
seconds = {seconds}

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
grace_seconds = {grace_seconds}
disk_reserve_gb = 0.1
most_foreign_load = 1

[rules]
champion_seeds = 2
most_trials = 2
morning_pairs = 2
drift_every = 0
"#
    )
}

/// Runs git in a folder as a person, without any configuration of the machine's; what it prints.
///
/// # Errors
/// It cannot be started, or fails.
pub fn git(folder: &Path, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new("git")
        .args(["-c", "user.name=A Person", "-c", "user.email=person@example.org"])
        .args(arguments)
        .current_dir(folder)
        // `git status` would otherwise refresh the index, which tests compare.
        .env("GIT_OPTIONAL_LOCKS", "0")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null")
        .output()
        .map_err(|error| format!("cannot start git: {error}"))?;
    let Output { status, stdout, stderr } = output;
    if !status.success() {
        return Err(format!("git {arguments:?}: {}", String::from_utf8_lossy(&stderr)));
    }
    String::from_utf8(stdout).map_err(|error| format!("git {arguments:?} printed no text: {error}"))
}

/// Writes a file and the folders above it.
///
/// # Errors
/// The system's.
pub fn write(path: &Path, text: &str) -> Result<(), String> {
    let failed = |error| format!("cannot write {}: {error}", path.display());
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    fs::write(path, text).map_err(failed)
}

fn copy(from: &Path, to: &Path) -> Result<(), String> {
    let failed = |error| format!("cannot copy {} to {}: {error}", from.display(), to.display());
    fs::create_dir_all(to).map_err(failed)?;
    for entry in fs::read_dir(from).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let into: PathBuf = to.join(entry.file_name());
        if entry.file_type().map_err(failed)?.is_dir() {
            copy(&entry.path(), &into)?;
        } else {
            fs::copy(entry.path(), into).map_err(failed)?;
        }
    }
    Ok(())
}
