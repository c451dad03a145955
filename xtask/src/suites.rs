//! Every test of the workspace, two suites at a time. Suites of nights mostly wait (for trials, for deadlines, for a program that was
//! killed), so that one after the other they leave half of a small machine idle. `cargo test` compiles them and says where they lie; they
//! are started as it starts them.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use serde_json::Value;

use crate::{nvrtc, steps};

/// Suites at a time.
const LANES: usize = 2;

/// They take longest and are begun first, those that mostly wait and those that mostly compute by turns.
const LONG: [&str; 6] = ["models", "cheats", "night", "playbook_compiles", "survival", "honest"];

/// They fill the machine, or look at how long something takes: each runs alone, after all others.
const ALONE: [&str; 6] = ["escapes", "exhaustion", "outside", "processes", "serve", "throughput"];

/// A program of tests.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Suite {
    /// Of the target: a crate's own tests have the crate's name.
    name: String,
    program: PathBuf,
    /// The package's folder.
    folder: PathBuf,
}

/// Variables that suites are given.
type Environment = [(&'static str, OsString)];

/// Runs all suites, with libtorch, and says at the end which of them failed.
pub fn run(libtorch: &Path) -> Result<(), String> {
    let arguments = ["test", "--locked", "--workspace", "--no-run", "--message-format", "json-render-diagnostics"];
    let messages = steps::answer("Compile the tests", steps::cargo()?.args(arguments).env("LIBTORCH", libtorch))?;
    let mut environment = vec![("LIBTORCH", libtorch.as_os_str().to_owned())];
    environment.extend(nvrtc::found().map(|library| (nvrtc::VARIABLE, library.into_os_string())));
    let (beside, alone) = divide(suites(&messages)?);
    let mut failed = side_by_side(beside, LANES, &environment)?;
    failed.extend(side_by_side(alone, 1, &environment)?);
    let mut documented = steps::cargo()?;
    documented.args(["test", "--quiet", "--locked", "--workspace", "--doc"]).env("LIBTORCH", libtorch);
    if let Err(why) = steps::run("Examples in documentation", &mut documented) {
        failed.push(why);
    }
    if failed.is_empty() {
        return Ok(());
    }
    let again = "cargo xtask test -- --workspace --test NAME (--lib for a crate's own tests)";
    Err(format!("these suites failed: {}; run one alone with: {again}", failed.join(", ")))
}

/// The programs of tests that `cargo test --no-run` made, by what it says of them.
fn suites(messages: &str) -> Result<Vec<Suite>, String> {
    let mut found = Vec::new();
    for line in messages.lines() {
        let said: Value =
            serde_json::from_str(line).map_err(|error| format!("cargo said no JSON ({error}): {line}"))?;
        let Some(program) = said["executable"].as_str().filter(|_| said["profile"]["test"] == Value::Bool(true)) else {
            continue;
        };
        let (Some(name), Some(folder)) =
            (said["target"]["name"].as_str(), said["manifest_path"].as_str().and_then(|path| Path::new(path).parent()))
        else {
            return Err(format!("cargo does not say what it compiled: {line}"));
        };
        found.push(Suite { name: name.to_owned(), program: program.into(), folder: folder.to_owned() });
    }
    if found.is_empty() { Err("cargo compiled no tests".to_owned()) } else { Ok(found) }
}

/// What may run beside others, the longest first, and what must run alone.
fn divide(suites: Vec<Suite>) -> (VecDeque<Suite>, VecDeque<Suite>) {
    let (alone, mut beside): (Vec<Suite>, Vec<Suite>) =
        suites.into_iter().partition(|suite| ALONE.contains(&suite.name.as_str()));
    beside.sort_by_key(|suite| LONG.iter().position(|name| *name == suite.name).unwrap_or(LONG.len()));
    (beside.into(), alone.into())
}

/// Runs suites, so many at a time, and prints what each has said when it ends. Returns the names of those that failed.
fn side_by_side(suites: VecDeque<Suite>, lanes: usize, environment: &Environment) -> Result<Vec<String>, String> {
    let waiting = Mutex::new(suites);
    let lane = || -> Result<Vec<String>, String> {
        let mut failed = Vec::new();
        loop {
            let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            let Some(suite) = next else { return Ok(failed) };
            if !passes(&suite, environment)? {
                failed.push(suite.name);
            }
        }
    };
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..lanes).map(|_| scope.spawn(lane)).collect();
        let mut failed = Vec::new();
        for lane in running {
            failed.extend(lane.join().map_err(|_| "what runs the tests panicked".to_owned())??);
        }
        Ok(failed)
    })
}

/// Runs a suite; whether it passes.
fn passes(suite: &Suite, environment: &Environment) -> Result<bool, String> {
    let began = Instant::now();
    let output = Command::new(&suite.program)
        .current_dir(&suite.folder)
        .env("CARGO_MANIFEST_DIR", &suite.folder)
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("cannot start the tests {}: {error}", suite.program.display()))?;
    let passed = output.status.success();
    let verdict = if passed { "passed".to_owned() } else { format!("FAILED ({})", output.status) };
    let mut said = format!("==> Tests of {}: {verdict} after {:.0} s\n", suite.name, began.elapsed().as_secs_f64());
    let words = [&output.stdout, &output.stderr].map(|part| String::from_utf8_lossy(part));
    // Of a suite that passes, nobody needs the list of its tests.
    for line in words.iter().flat_map(|part| part.lines()).filter(|line| !passed || line.starts_with("test result")) {
        said += line;
        said += "\n";
    }
    eprint!("{said}");
    Ok(passed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn artifact(name: &str, is_test: bool, program: Value) -> String {
        let said = serde_json::json!({
            "reason": "compiler-artifact", "manifest_path": "/w/agent/Cargo.toml", "target": { "name": name },
            "profile": { "test": is_test }, "executable": program,
        });
        said.to_string()
    }

    #[test]
    fn programs_of_tests_are_found_and_nothing_else() {
        let messages = [
            artifact("nocturne", false, "/t/nocturne".into()),
            artifact("night", true, "/t/night-1".into()),
            artifact("scale", true, Value::Null),
            r#"{"reason":"build-finished","success":true}"#.to_owned(),
        ];
        let night = Suite { name: "night".to_owned(), program: "/t/night-1".into(), folder: "/w/agent".into() };
        assert_eq!(suites(&messages.join("\n")), Ok(vec![night]));
        assert!(suites(&messages[3]).is_err() && suites("Compiling").is_err());
    }

    #[test]
    fn the_longest_come_first_and_what_fills_the_machine_last() {
        let all = ["aaa", "night", "exhaustion", "models"].map(|name| Suite {
            name: name.to_owned(),
            program: name.into(),
            folder: "/".into(),
        });
        let (beside, alone) = divide(all.to_vec());
        assert_eq!(beside.iter().map(|suite| suite.name.as_str()).collect::<Vec<_>>(), ["models", "night", "aaa"]);
        assert_eq!(alone.iter().map(|suite| suite.name.as_str()).collect::<Vec<_>>(), ["exhaustion"]);
    }

    #[test]
    fn a_suite_that_fails_is_named_and_the_others_run() {
        let suite = |name: &str, program: &str| Suite {
            name: name.to_owned(),
            program: program.into(),
            folder: std::env::temp_dir(),
        };
        let suites = [suite("bad", "false"), suite("good", "true"), suite("worse", "false")];
        let mut failed = side_by_side(suites.to_vec().into(), 2, &[]).unwrap_or_default();
        failed.sort();
        assert_eq!(failed, ["bad", "worse"]);
        assert!(side_by_side([suite("none", "/nowhere/at-all")].to_vec().into(), 1, &[]).is_err());
    }
}
