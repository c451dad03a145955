//! `cargo xtask test`, `clippy`, `evaluator` and `ci`.

use std::process::Command;

use crate::steps;

/// Every test of the workspace, or what `more` selects.
pub fn test(more: &[&str]) -> Result<(), String> {
    let libtorch = steps::libtorch(&steps::agent()?)?;
    let selection: &[&str] = if more.is_empty() { &["--workspace"] } else { more };
    let mut tests = steps::cargo()?;
    tests.args(["test", "--locked"]).args(selection).env("LIBTORCH", libtorch);
    crate::nvrtc::offer(&mut tests);
    steps::run("Test", &mut tests)
}

/// Clippy over everything, warnings being errors. It shares the compiled binding to libtorch (90 s) with the tests.
pub fn clippy() -> Result<(), String> {
    let libtorch = steps::libtorch(&steps::agent()?)?;
    let arguments = ["clippy", "--locked", "--workspace", "--all-targets", "--quiet", "--", "--deny", "warnings"];
    steps::run("Clippy", steps::cargo()?.args(arguments).env("LIBTORCH", libtorch))
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
