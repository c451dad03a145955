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

/// More rounds than this of stopping what was started meanwhile are never needed.
const MOST_ROUNDS: usize = 100;

impl Tree {
    /// Kills everything once.
    pub fn kill(&self) {
        if let Some(group) = &self.counted {
            group.kill();
        }
        signal_group(self.group, Signal::KILL);
        let own = rustix::process::getpid();
        if self.counted.is_none() && !self.namespace {
            // What multiplies faster than it is killed is stopped first: who is stopped starts nothing.
            let mut stopped = HashSet::new();
            for _ in 0..MOST_ROUNDS {
                let new: Vec<Pid> = descendants(own).into_iter().filter(|pid| stopped.insert(*pid)).collect();
                if new.is_empty() {
                    break;
                }
                signal_each(&new, Signal::STOP);
            }
        }
        signal_each(&descendants(own), Signal::KILL);
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
            std::thread::sleep(Duration::from_millis(2));
        }
        self.counted.map_or(Ok(()), |group| group.end().map_err(|error| error.to_string()))
    }
}

/// All processes below `root`, from /proc.
pub fn descendants(root: Pid) -> Vec<Pid> {
    let mut children_of: HashMap<i32, Vec<i32>> = HashMap::new();
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    for entry in entries.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
        if let Some(parent) = parent_in_stat(&stat) {
            children_of.entry(parent).or_default().push(pid);
        }
    }
    let mut found = vec![root.as_raw_nonzero().get()];
    let mut next = 0;
    while let Some(parent) = found.get(next) {
        found.extend(children_of.remove(parent).into_iter().flatten());
        next += 1;
    }
    found.into_iter().skip(1).filter_map(Pid::from_raw).collect()
}

/// The fourth field of /proc/PID/stat; the second is the program's name in parentheses and may contain anything.
fn parent_in_stat(stat: &str) -> Option<i32> {
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_whitespace().nth(1)?.parse().ok()
}

/// Signals a process group.
pub fn signal_group(group: Option<Pid>, signal: Signal) {
    if let Some(group) = group {
        // Gone already is as good as signalled.
        let _gone = rustix::process::kill_process_group(group, signal);
    }
}

fn signal_each(processes: &[Pid], signal: Signal) {
    for pid in processes {
        // Gone already is as good as signalled.
        let _gone = rustix::process::kill_process(*pid, signal);
    }
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
