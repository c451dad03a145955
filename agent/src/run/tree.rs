//! All processes that descend from the helper: finding them, killing them, reaping them.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions};
use sandbox::Group;

/// What the helper has started.
#[derive(Debug)]
pub struct Tree {
    /// The process group of the direct child.
    pub group: Option<Pid>,
    /// The control group that all of it is in.
    pub counted: Option<Group>,
    /// The direct child's death ends a process namespace that all of it is in.
    pub namespace: bool,
}

/// More rounds than this of killing what was started meanwhile are never needed; should they be, there is a next time.
const MOST_ROUNDS: usize = 100;

impl Tree {
    /// Kills everything that there is now. A process that has been sent SIGKILL starts no other, and what it has started
    /// becomes this process's child, so each round leaves less.
    pub fn kill(&self) {
        if let Some(group) = &self.counted {
            group.kill();
        }
        // One call reaches a whole group at one instant, however fast it multiplies.
        signal_group(self.group, Signal::KILL);
        if self.namespace {
            // The kernel ends a process namespace with its first process, which is in that group.
            return;
        }
        let own = rustix::process::getpid();
        let own_group = own_group();
        let mut killed = HashSet::new();
        for _ in 0..MOST_ROUNDS {
            let new: Vec<Process> = descendants(own).into_iter().filter(|process| killed.insert(process.pid)).collect();
            if new.is_empty() {
                return;
            }
            let groups: HashSet<Pid> = new.iter().filter_map(|process| process.group).collect();
            for group in groups.into_iter().filter(|group| Some(*group) != own_group) {
                signal_group(Some(group), Signal::KILL);
            }
            for process in new {
                // Gone already is as good as killed.
                let _gone = rustix::process::kill_process(process.pid, Signal::KILL);
            }
        }
    }

    /// Kills and reaps until nothing is left, and removes the control group.
    ///
    /// # Errors
    /// What is still there after some seconds.
    pub fn end(self) -> Result<(), String> {
        let give_up = Instant::now() + Duration::from_secs(10);
        signal_group(self.group, Signal::KILL);
        loop {
            // Reaped first: in the usual case nothing is left to be killed.
            match rustix::process::wait(WaitOptions::NOHANG) {
                Ok(Some(_)) => continue,
                Ok(None) => {}
                // No children left: done.
                Err(_) => break,
            }
            if Instant::now() > give_up {
                return Err("some descendants do not end although they were killed".to_owned());
            }
            self.kill();
            std::thread::sleep(Duration::from_millis(1));
        }
        self.counted.map_or(Ok(()), |group| group.end().map_err(|error| error.to_string()))
    }
}

/// A process of the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process {
    /// Its id.
    pub pid: Pid,
    /// Its process group.
    pub group: Option<Pid>,
}

/// All processes below `root`, from /proc. There may be tens of thousands.
pub fn descendants(root: Pid) -> Vec<Process> {
    let mut children: HashMap<i32, Vec<Process>> = HashMap::new();
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    for entry in entries.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
        if let (Some(pid), Some((parent, group))) = (Pid::from_raw(pid), parent_and_group(&stat)) {
            children.entry(parent).or_default().push(Process { pid, group });
        }
    }
    let mut found = children.remove(&root.as_raw_nonzero().get()).unwrap_or_default();
    let mut next = 0;
    while let Some(process) = found.get(next) {
        found.extend(children.remove(&process.pid.as_raw_nonzero().get()).unwrap_or_default());
        next += 1;
    }
    found
}

/// This process's group; `None` where its leader is outside of this process namespace, as in a container that was entered. The
/// kernel's number for that is 0, which rustix's `getpgrp` takes for impossible.
fn own_group() -> Option<Pid> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    parent_and_group(&stat)?.1
}

/// The fourth and fifth field of /proc/PID/stat; the second is the program's name in parentheses and may contain anything. The group
/// of a process that is being reaped is -1, of a kernel thread 0: neither is one that could be signalled.
fn parent_and_group(stat: &str) -> Option<(i32, Option<Pid>)> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace().skip(1);
    let (parent, group): (i32, i32) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some((parent, if group > 0 { Pid::from_raw(group) } else { None }))
}

/// Signals a process group.
pub fn signal_group(group: Option<Pid>, signal: Signal) {
    if let Some(group) = group {
        // Gone already is as good as signalled.
        let _gone = rustix::process::kill_process_group(group, signal);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_cannot_lie_about_its_parent_through_its_name() {
        for (stat, known) in [
            ("12 (trainer) S 7 12 13 0", Some((7, Pid::from_raw(12)))),
            ("12 (a) S 1 (b) R 9 12", Some((9, Pid::from_raw(12)))),
            ("12 (a b) c) S 33 12", Some((33, Pid::from_raw(12)))),
            // Reaped while it was looked at; a kernel thread.
            ("12 (trainer) X 0 -1 -1 0", Some((0, None))),
            ("12 (kworker) I 2 0 0 0", Some((2, None))),
            ("", None),
            ("12 (x", None),
        ] {
            assert_eq!(parent_and_group(stat), known, "{stat}");
        }
    }

    #[test]
    fn this_process_descends_from_its_parent() {
        let parent = rustix::process::getppid().unwrap();
        assert!(descendants(parent).iter().any(|process| process.pid == rustix::process::getpid()));
    }
}
