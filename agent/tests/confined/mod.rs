//! What tests of confinement share: hostile programs, every mechanism of this machine, and a second run as an ordinary user.
#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that fails may panic")]

pub mod compiler;
pub mod outside;

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use sandbox::Confinement;

/// Where a run as an ordinary user finds what was built for it.
const FILES: &str = "NOCTURNE_TEST_FILES";

/// `nobody` on most systems; all that matters is that it is not root.
const ORDINARY: u32 = 65_534;

/// The agent's executable.
pub fn nocturne() -> PathBuf {
    match std::env::var_os(FILES) {
        Some(folder) => Path::new(&folder).join("nocturne"),
        None => env!("CARGO_BIN_EXE_nocturne").into(),
    }
}

/// A program of `tests/hostile`, compiled by rustc alone.
pub fn hostile(name: &str) -> PathBuf {
    static COMPILED: OnceLock<PathBuf> = OnceLock::new();
    let compile = || {
        if let Some(folder) = std::env::var_os(FILES) {
            return Path::new(&folder).join(name);
        }
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hostile").join(name).with_extension("rs");
        let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let unfinished = program.with_extension(std::process::id().to_string());
        let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let output = Command::new(rustc)
            .args(["--edition", "2024", "-Copt-level=1", "-Cdebug-assertions=no", "-o"])
            .args([&unfinished, &source])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        // Another run of the tests may be executing the old one.
        fs::rename(&unfinished, &program).unwrap();
        program
    };
    let compiled = COMPILED.get_or_init(compile);
    assert!(compiled.ends_with(name), "a test file has one hostile program");
    compiled.clone()
}

/// The mechanism of this name, or `None` with a word on why it is left out.
pub fn mechanism(test: &str, name: &str) -> Option<Confinement> {
    static OFFER: OnceLock<sandbox::Offer> = OnceLock::new();
    let offer = OFFER.get_or_init(|| sandbox::probe(&nocturne()));
    let found = Confinement::every(offer).into_iter().find(|(known, _)| *known == name);
    match found.unwrap_or_else(|| panic!("there is no mechanism {name}")).1 {
        Ok(confinement) => Some(confinement),
        Err(reason) => {
            skipped(test, &format!("{name} is not offered here: {}", reason.why));
            None
        }
    }
}

/// Says that a test did not test anything, and why.
pub fn skipped(test: &str, why: &str) {
    eprintln!("skipped: {test}{}: {why}", if is_root() { "" } else { " (ordinary user)" });
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

pub fn who() -> &'static str {
    if is_root() { "root" } else { "an ordinary user" }
}

/// Runs every other test of this test executable again as a user without privileges. `program` is its hostile program.
pub fn run_again_as_an_ordinary_user(test: &str, program: &str) {
    if !is_root() {
        return skipped(test, "the tests were run by an ordinary user in the first place");
    }
    let folder = tempfile::Builder::new().prefix("nocturne-ordinary-").tempdir().unwrap();
    let own = folder.path().join("own");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(&own).unwrap();
    chown(&own, Some(ORDINARY), Some(ORDINARY)).unwrap();
    let tests = folder.path().join("tests");
    for (from, to) in [
        (std::env::current_exe().unwrap(), tests.clone()),
        (nocturne(), folder.path().join("nocturne")),
        (hostile(program), folder.path().join(program)),
        (hostile(program), folder.path().join(outside::SETUID)),
    ] {
        fs::copy(from, to).unwrap();
    }
    // Copied, because a link would change the original's mode.
    fs::set_permissions(folder.path().join(outside::SETUID), fs::Permissions::from_mode(0o6755)).unwrap();
    let child = Command::new(&tests)
        .args(["--skip", test, "--nocapture"])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("TMPDIR", &own)
        .env("HOME", &own)
        .env(FILES, folder.path())
        // What the agent's own environment holds must not reach anybody else.
        .env("AGENT_KEY", outside::MARKER)
        .current_dir("/")
        .uid(ORDINARY)
        .gid(ORDINARY)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let child = match child {
        Ok(child) => child,
        Err(error) => return skipped(test, &format!("root may not become another user here: {error}")),
    };
    let output = child.wait_with_output().unwrap();
    let words = format!("{}{}", String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout));
    eprint!("{words}");
    assert!(output.status.success(), "as an ordinary user: {words}");
}
