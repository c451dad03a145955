//! Running one program after another and saying what is going on.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// The root of the workspace.
pub fn root() -> Result<&'static Path, String> {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().ok_or_else(|| "xtask lies in no workspace".to_owned())
}

/// The cargo that started this program.
pub fn cargo() -> Result<Command, String> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root()?);
    // What `cargo run` tells this program of its own package is nothing to the packages that it builds.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(name);
        }
    }
    Ok(command)
}

/// Runs a command with its output on this terminal.
pub fn run(title: &str, command: &mut Command) -> Result<(), String> {
    eprintln!("==> {title}");
    let began = Instant::now();
    let status = command.status().map_err(|error| format!("{title}: cannot start {}: {error}", name(command)))?;
    eprintln!(
        "==> {title}: {} after {:.0} s",
        if status.success() { "done" } else { "failed" },
        began.elapsed().as_secs_f64()
    );
    if status.success() { Ok(()) } else { Err(format!("{title} failed ({status})")) }
}

/// Runs a command and returns what it prints; its errors go to this terminal.
pub fn answer(title: &str, command: &mut Command) -> Result<String, String> {
    eprintln!("==> {title}");
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("{title}: cannot start {}: {error}", name(command)))?;
    if !output.status.success() {
        return Err(format!("{title} failed ({})", output.status));
    }
    String::from_utf8(output.stdout).map_err(|_| format!("{title}: its output is not text"))
}

/// Builds the agent (the usual, unoptimised way) and returns the program.
pub fn agent() -> Result<PathBuf, String> {
    // `--workspace` and an example choose the features of the dependencies: only with something that may use the packages of tests are they
    // those of the tests, and then the agent and what it needs are not compiled twice. Neither of the two needs libtorch.
    let arguments = ["build", "--quiet", "--locked", "--workspace", "--bin", "nocturne", "--example", "terminal"];
    run("Build the agent", cargo()?.args(arguments))?;
    Ok(target()?.join("debug").join("nocturne"))
}

/// Builds an example of the agent's, with the features that [`agent`] has, and returns the program. `cargo test` builds it too.
pub fn example(name: &str) -> Result<PathBuf, String> {
    let arguments = ["build", "--quiet", "--locked", "--workspace", "--example", name];
    run(&format!("Build the example {name}"), cargo()?.args(arguments))?;
    Ok(target()?.join("debug/examples").join(name))
}

/// Builds the agent as people have it, optimised, and returns the program.
pub fn optimised_agent() -> Result<PathBuf, String> {
    let arguments = ["build", "--quiet", "--locked", "--release", "--package", "nocturne", "--bin", "nocturne"];
    run("Build the agent, optimised", cargo()?.args(arguments))?;
    Ok(target()?.join("release").join("nocturne"))
}

/// Where cargo builds.
fn target() -> Result<PathBuf, String> {
    Ok(match std::env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => root()?.join(folder),
        None => root()?.join("target"),
    })
}

/// Has the agent find or install libtorch and returns what `LIBTORCH` must be.
pub fn libtorch(agent: &Path) -> Result<PathBuf, String> {
    let said = answer(
        "Find or install libtorch",
        Command::new(agent).args(["setup", "--print-libtorch"]).current_dir(root()?),
    )?;
    let folder = PathBuf::from(said.trim());
    if folder.join("lib").is_dir() && folder.join("include").is_dir() {
        Ok(folder)
    } else {
        Err(format!("`nocturne setup --print-libtorch` printed {:?}, which is no libtorch", said.trim()))
    }
}

fn name(command: &Command) -> String {
    let program: &OsStr = command.get_program();
    program.to_string_lossy().into_owned()
}
