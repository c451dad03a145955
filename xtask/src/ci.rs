//! `cargo xtask test`, `clippy`, `evaluator` and `ci`.

use std::process::Command;

use crate::{nvrtc, sqlx, steps, suites};

/// Every test of the workspace, or what `more` selects.
pub fn test(more: &[&str]) -> Result<(), String> {
    let libtorch = steps::libtorch(&steps::agent()?)?;
    if more.is_empty() {
        return suites::run(&libtorch);
    }
    let mut tests = steps::cargo()?;
    tests.args(["test", "--locked"]).args(more).env("LIBTORCH", libtorch);
    tests.envs(nvrtc::found().map(|library| (nvrtc::VARIABLE, library)));
    steps::run("Test", &mut tests)
}

/// Clippy over everything, warnings being errors. It shares the compiled binding to libtorch (90 s) with the tests. With `and_sql` it says
/// besides whether the prepared SQL is up to date, as `prepare-sql --check` does, for which the agent would have to be checked once more.
pub fn clippy(and_sql: bool) -> Result<(), String> {
    let libtorch = steps::libtorch(&steps::agent()?)?;
    let mut clippy = steps::cargo()?;
    clippy.args(["clippy", "--locked", "--workspace", "--all-targets", "--quiet", "--", "--deny", "warnings"]);
    clippy.env("LIBTORCH", libtorch);
    if and_sql {
        sqlx::compare(true, |asking| steps::run("Clippy, asking the database", asking.told_to(&mut clippy)))
    } else {
        steps::run("Clippy", &mut clippy)
    }
}

/// Cheats and honest architectures before the evaluator, those parts included that take too long for every day.
pub fn evaluator() -> Result<(), String> {
    let libtorch = steps::libtorch(&steps::agent()?)?;
    let tests = ["test", "--locked", "--package", "nocturne", "--test", "cheats", "--test", "honest"];
    let arguments = ["--", "--include-ignored", "--nocapture", "--test-threads", "1"];
    steps::run("Evaluator", steps::cargo()?.args(tests).args(arguments).env("LIBTORCH", libtorch))
}

/// All that must hold before a change lands: the list is `.ci/run`.
pub fn all() -> Result<(), String> {
    let root = steps::root()?;
    steps::run("All checks", Command::new("bash").arg(root.join(".ci/run")).current_dir(root))
}
