//! A repository with a pretended trainer, for nights that take seconds: real compiler, real git, real SQLite, real processes.
#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that fails may panic")]

mod repository;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use self::repository::Patience;

/// A repository in a temporary folder.
pub struct Fixture {
    folder: tempfile::TempDir,
}

impl Fixture {
    /// With a campaign `pretend` and a first commit.
    pub fn new() -> Self {
        let fixture = Self { folder: tempfile::tempdir().unwrap() };
        let trainer = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/trainer");
        repository::make(&fixture.root(), &trainer, Patience { seconds: 0.3, grace_seconds: 2 }).unwrap();
        fixture
    }

    /// The repository's root.
    pub fn root(&self) -> PathBuf {
        self.folder.path().join("repository")
    }

    /// Writes a file below the root.
    pub fn write(&self, path: &str, text: &str) {
        repository::write(&self.root().join(path), text).unwrap();
    }

    /// Replaces text that must be there in a file below the root.
    pub fn replace(&self, path: &str, from: &str, to: &str) {
        let text = fs::read_to_string(self.root().join(path)).unwrap();
        assert!(text.contains(from), "{path} has no {from:?}");
        self.write(path, &text.replace(from, to));
    }

    /// Commits everything.
    pub fn commit(&self, message: &str) {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message", message]);
    }

    /// Makes whatever changes a number of the pretended recipe an improvement, and commits that.
    pub fn plant_gains(&self) {
        let far = "let far = |value: f64, from: f64| (value / from).ln().abs();";
        let sum = "far(self.matrix_rate, 0.04) + far(self.embedding_rate, 0.6) + far(self.softcap, 15.0) + far(self.warmdown, 0.5) \
                   + far(self.shape.depth as f64 * self.shape.dim as f64, 1024.0) + far(self.shape.head_dim as f64, 64.0) \
                   + far(self.shape.tokens_per_step as f64, 4096.0) + far(self.shape.micro_batch_rows as f64, 16.0)";
        let function = "pub fn loss(&self) -> f64 {";
        let planted = format!(
            "{function}\n        {far}\n        2.6 - 0.2 * ({sum})\n    }}\n\n    #[allow(dead_code)]\n    fn loss_before(&self) -> f64 {{"
        );
        self.replace("trainer/src/candidate/recipe.rs", function, &planted);
        self.commit("Plant gains");
    }

    /// Runs git, which must succeed, and returns what it prints.
    pub fn git(&self, arguments: &[&str]) -> String {
        repository::git(&self.root(), arguments).unwrap()
    }

    /// `nocturne` with arguments, in the repository, with a cache of its own and no configuration of ours.
    pub fn nocturne(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nocturne"));
        command
            .args(arguments)
            .current_dir(self.root())
            .env("NOCTURNE_CACHE", self.folder.path().join("cache"))
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_SYSTEM", "/dev/null")
            .env_remove("LIBTORCH")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs `nocturne` to its end.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.nocturne(arguments).output().unwrap()
    }

    /// Runs `nocturne`, which must succeed, and parses what it prints.
    pub fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(arguments);
        assert!(output.status.success(), "nocturne {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
            panic!("nocturne {arguments:?} printed no JSON ({error}): {}", String::from_utf8_lossy(&output.stdout))
        })
    }

    /// Process ids of whatever a night of this repository started and that still lives.
    pub fn alive(&self) -> Vec<u32> {
        let needle = format!("NOCTURNE_RUN={}", self.root().join(".nocturne/lock").display());
        let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
        entries
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
            .filter(|pid| {
                let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
                environment.split(|byte| *byte == 0).any(|variable| variable == needle.as_bytes())
            })
            .collect()
    }

    /// Waits until nothing that a night started lives any more; fails after 30 seconds.
    pub fn assert_no_process_left(&self) {
        let give_up = Instant::now() + Duration::from_secs(30);
        loop {
            let left = self.alive();
            if left.is_empty() {
                return;
            }
            assert!(Instant::now() < give_up, "still there: {left:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
