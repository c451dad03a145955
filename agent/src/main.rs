//! The `nocturne` command: parse, call, print. Everything else is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    nocturne::cli::main()
}
