//! `cargo xtask simulate-nights`: the tables of docs/decisions.md.

use crate::steps;

/// Runs the simulation, optimised; `more` are its arguments.
pub fn nights(more: &[&str]) -> Result<(), String> {
    let example = ["run", "--quiet", "--release", "--locked", "--package", "nocturne", "--example", "simulate_nights"];
    steps::run("Simulate nights", steps::cargo()?.args(example).arg("--").args(more))
}
