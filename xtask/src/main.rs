//! Chores of this repository.

mod sqlx;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["prepare-sql"] => sqlx::prepare(false),
        ["prepare-sql", "--check"] => sqlx::prepare(true),
        _ => {
            eprintln!("usage: cargo xtask prepare-sql [--check]");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("error: {problem}");
            ExitCode::FAILURE
        }
    }
}
