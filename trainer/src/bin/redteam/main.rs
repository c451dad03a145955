//! The red team: models that cheat, each in its own way, behind the same harness as every experiment. Before a night begins
//! the agent trains and evaluates them like experiments; if one of them passes, the night does not start.
//!
//! Nothing in here is edited by experiments, and nothing depends on the candidate: what is tried is the evaluator.

mod model;

use std::process::ExitCode;

fn main() -> ExitCode {
    harness::run_main::<model::RedTeam>()
}
