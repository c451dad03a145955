//! The `trainer` command: hands the candidate to the harness.

use std::process::ExitCode;

fn main() -> ExitCode {
    harness::run_main::<trainer::candidate::Trainer>()
}
