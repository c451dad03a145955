//! The helper process between the agent and everything that runs edited code (`nocturne supervise`, hidden).
//!
//! It starts one command in a process group of its own and waits. Whatever happens (the command ends, the agent asks it to
//! stop, the agent is killed), nothing that the command started outlives the helper: it is a *subreaper*, so orphans become
//! its children, and it kills until it has none.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitCode, ExitStatus};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions};
use tokio::signal::unix::{SignalKind, signal};

/// What the helper is told on its command line.
#[derive(Debug, Clone)]
pub struct Orders {
    /// The agent's process id; the helper stops at once when its parent is another.
    pub parent: u32,
    /// Added to the command's niceness.
    pub nice: i32,
    /// Seconds between SIGTERM and SIGKILL when the agent asks to stop.
    pub grace_seconds: f64,
    /// The command and its arguments.
    pub command: Vec<OsString>,
}

/// Exit code of the helper when it could not do its work at all; what went wrong stands on standard error.
pub const COULD_NOT_START: u8 = 125;

/// Runs the helper. Its exit code is the command's, or 128 and the number of the signal that ended it.
pub fn main(orders: Orders) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return could_not_start("cannot start the runtime", &error),
    };
    runtime.block_on(supervise(&orders))
}

async fn supervise(orders: &Orders) -> ExitCode {
    // Before anything else is started: from here on the agent's death reaches us as SIGTERM.
    if let Err(error) = rustix::process::set_parent_process_death_signal(Some(Signal::TERM)) {
        return could_not_start("cannot tie itself to the agent", &error);
    }
    let (mut terminate, mut interrupt) = match (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
        (Ok(terminate), Ok(interrupt)) => (terminate, interrupt),
        (Err(error), _) | (_, Err(error)) => return could_not_start("cannot listen for signals", &error),
    };
    // The agent may have died before the line above took effect.
    if orphaned(orders.parent) {
        return ExitCode::from(COULD_NOT_START);
    }
    if let Err(error) = rustix::process::set_child_subreaper(Some(rustix::process::getpid())) {
        return could_not_start("cannot become the reaper of its descendants", &error);
    }
    if orders.nice != 0
        && let Err(error) = rustix::process::nice(orders.nice)
    {
        return could_not_start("cannot lower its priority", &error);
    }
    let Some((program, arguments)) = orders.command.split_first() else {
        eprintln!("nocturne supervise: no command given");
        return ExitCode::from(COULD_NOT_START);
    };
    let mut child = match tokio::process::Command::new(program).args(arguments).process_group(0).spawn() {
        Ok(child) => child,
        Err(error) => return could_not_start(&format!("cannot start {}", program.to_string_lossy()), &error),
    };
    let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);

    let status = loop {
        tokio::select! {
            status = child.wait() => break status,
            // A terminal's Ctrl-C is the agent's business.
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {
                if !orphaned(orders.parent) {
                    signal_group(group, Signal::TERM);
                    let grace = Duration::from_secs_f64(orders.grace_seconds);
                    if let Ok(status) = tokio::time::timeout(grace, child.wait()).await {
                        break status;
                    }
                }
                signal_group(group, Signal::KILL);
                break child.wait().await;
            }
        }
    };
    signal_group(group, Signal::KILL);
    end_descendants();
    match status {
        Ok(status) => exit_code(status),
        Err(error) => could_not_start("cannot wait for the command", &error),
    }
}

/// Kills and reaps until there is nothing left that descends from this process.
fn end_descendants() {
    let give_up = Instant::now() + Duration::from_secs(10);
    loop {
        for pid in descendants(rustix::process::getpid()) {
            // Gone already is as good as killed.
            let _gone = rustix::process::kill_process(pid, Signal::KILL);
        }
        match rustix::process::waitpid(None, WaitOptions::NOHANG) {
            Ok(Some(_)) => continue,
            Ok(None) => {}
            // No children left: done.
            Err(_) => return,
        }
        if Instant::now() > give_up {
            eprintln!("nocturne supervise: some descendants do not end although they were killed");
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// All processes below `root`, from /proc.
pub fn descendants(root: Pid) -> Vec<Pid> {
    let mut parent_of = Vec::new();
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    for entry in entries.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
        if let Some(parent) = parent_in_stat(&stat) {
            parent_of.push((pid, parent));
        }
    }
    let mut found = vec![root.as_raw_nonzero().get()];
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        found.extend(parent_of.iter().filter(|(_, p)| *p == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    found.into_iter().skip(1).filter_map(Pid::from_raw).collect()
}

/// The fourth field of /proc/PID/stat; the second is the program's name in parentheses and may contain anything.
fn parent_in_stat(stat: &str) -> Option<i32> {
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_whitespace().nth(1)?.parse().ok()
}

fn orphaned(parent: u32) -> bool {
    rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get()) != i32::try_from(parent).ok()
}

fn signal_group(group: Option<Pid>, signal: Signal) {
    if let Some(group) = group {
        // Gone already is as good as signalled.
        let _gone = rustix::process::kill_process_group(group, signal);
    }
}

fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(i32::from(u8::MAX));
    ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))
}

fn could_not_start(what: &str, error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("nocturne supervise: {what}: {error}");
    ExitCode::from(COULD_NOT_START)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_cannot_lie_about_its_parent_through_its_name() {
        for (stat, parent) in [
            ("12 (trainer) S 7 12 12 0", Some(7)),
            ("12 (a) S 1 (b) R 9 12", Some(9)),
            ("12 (a b) c) S 33 12", Some(33)),
            ("", None),
            ("12 (x", None),
        ] {
            assert_eq!(parent_in_stat(stat), parent, "{stat}");
        }
    }

    #[test]
    fn this_process_descends_from_its_parent() {
        let parent = rustix::process::getppid().unwrap();
        assert!(descendants(parent).contains(&rustix::process::getpid()));
    }
}
