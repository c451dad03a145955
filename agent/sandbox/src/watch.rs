//! Limits that the kernel does not keep: bytes in the folders that may be written, and, where there is no control group,
//! memory and tasks. Only looks; who asks does the killing.

use std::collections::HashSet;
use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Pid;

use crate::policy::{Policy, Stage};

/// A limit that was passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passed {
    /// Memory of all processes together.
    Memory {
        /// The limit, bytes.
        limit: u64,
    },
    /// Files, those without a name included.
    Output {
        /// What there is, bytes.
        bytes: u64,
        /// The limit, bytes.
        limit: u64,
    },
    /// Processes and threads.
    Tasks {
        /// How many there are.
        tasks: u64,
        /// The limit.
        limit: u64,
    },
    /// Files and folders, and open descriptors.
    Files {
        /// The limit.
        limit: u64,
    },
    /// Folders that cannot be looked into: nested too deeply, or closed to their owner.
    Hidden,
    /// The disk that it writes to is nearly full, whoever filled it.
    Disk {
        /// What is left, bytes.
        left: u64,
    },
}

impl fmt::Display for Passed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Passed::Memory { limit } => write!(f, "it passed its memory limit of {} MiB", limit >> 20),
            Passed::Output { bytes, limit } => {
                write!(f, "it wrote {} MiB of files, more than its output limit of {} MiB", bytes >> 20, limit >> 20)
            }
            Passed::Files { limit } => write!(f, "it made or held open more than {limit} files and folders"),
            Passed::Tasks { tasks, limit } => {
                write!(f, "it had {tasks} processes and threads, more than its task limit of {limit}")
            }
            Passed::Hidden => {
                write!(
                    f,
                    "it made folders that cannot be looked into, more than {MOST_DEPTH} deep or closed to their owner"
                )
            }
            Passed::Disk { left } => write!(f, "the disk that it writes to has only {} MiB left", left >> 20),
        }
    }
}

/// Exit code when the disk was full, which is nobody's fault in there.
pub const FULL_DISK: u8 = 123;

impl Passed {
    /// The exit code that stands for it: that of a kill for memory, as the kernel's own would be; that of a file that grew too
    /// large for output. A full disk is the machine's matter and has a code of its own.
    pub fn exit_code(self) -> u8 {
        match self {
            Passed::Memory { .. } => 128 + 9,
            Passed::Output { .. } | Passed::Hidden | Passed::Files { .. } => 128 + 25,
            Passed::Disk { .. } => FULL_DISK,
            Passed::Tasks { .. } => 124,
        }
    }
}

/// Folders within folders, at most. Cargo's are six deep.
const MOST_DEPTH: usize = 64;

/// An empty file takes its name and a place in the disk's list of files, of which there is a limited number.
const LEAST_FILE: u64 = 4 << 10;

/// Below this many bytes left on a disk that it writes to, a process is ended.
const LEAST_DISK: u64 = 256 << 20;

/// Between one look and the next.
const LEAST_PAUSE: Duration = Duration::from_millis(80);

/// Looks at one confined process tree now and then.
#[derive(Debug)]
pub struct Watch<'a> {
    policy: &'a Policy,
    counted: bool,
    /// Tasks of the whole machine when this one began.
    tasks_before: u64,
    /// Looking must not cost more than a twentieth of the time.
    not_before: Instant,
}

impl<'a> Watch<'a> {
    /// `counted` says that a control group keeps memory and tasks.
    pub fn new(policy: &'a Policy, counted: bool) -> Self {
        Self { policy, counted, tasks_before: tasks_of_the_machine(), not_before: Instant::now() }
    }

    /// Looks at the processes and the folders; `None` when all is within limits or it is too early to look again.
    pub fn look(&mut self, processes: impl FnOnce() -> Vec<Pid>) -> Option<Passed> {
        let began = Instant::now();
        // What multiplies is noticed at once: this costs nothing.
        let many = !self.counted && tasks_of_the_machine() > self.tasks_before + self.policy.limits.tasks;
        if began < self.not_before && !many {
            return None;
        }
        let passed = self.passed(&processes());
        if many {
            // They are others': not again until there are as many more.
            self.tasks_before = tasks_of_the_machine();
        }
        self.not_before = Instant::now() + (began.elapsed() * 20).max(LEAST_PAUSE);
        passed
    }

    fn passed(&self, processes: &[Pid]) -> Option<Passed> {
        let limits = &self.policy.limits;
        let devices: HashSet<u64> =
            self.policy.write.iter().filter_map(|folder| Some(fs::metadata(folder).ok()?.dev())).collect();
        let Some(nameless) = nameless(processes, self.most_files()) else {
            return Some(Passed::Files { limit: self.most_files() });
        };
        if !self.counted {
            let paths = processes.iter().map(|pid| format!("/proc/{}", pid.as_raw_nonzero()));
            let (mut tasks_now, mut memory) = (0, 0);
            for path in paths {
                tasks_now += tasks(Path::new(&path)).unwrap_or(0);
                memory += memory_of(Path::new(&path)).unwrap_or(0);
            }
            memory +=
                nameless.iter().filter(|file| !devices.contains(&file.device)).map(|file| file.bytes).sum::<u64>();
            if let Some(limit) = limits.memory_bytes.filter(|limit| memory > *limit) {
                return Some(Passed::Memory { limit });
            }
            if tasks_now > limits.tasks {
                return Some(Passed::Tasks { tasks: tasks_now, limit: limits.tasks });
            }
        }
        self.output(&nameless, &devices)
    }

    /// Files and folders that there may be. A compiler makes some ten thousand.
    fn most_files(&self) -> u64 {
        if self.policy.stage == Stage::Build { 1 << 18 } else { 1 << 16 }
    }

    /// What is in the folders now, for after the end: what was written last may not have been seen yet.
    pub fn look_at_output(&self) -> Option<Passed> {
        self.output(&[], &HashSet::new())
    }

    fn output(&self, nameless: &[Nameless], devices: &HashSet<u64>) -> Option<Passed> {
        let limits = &self.policy.limits;
        let mut found =
            Found { bytes: 0, entries: 0, most_bytes: limits.output_bytes, most_entries: self.most_files() };
        for folder in &self.policy.write {
            if found.look_below(folder, MOST_DEPTH).is_none() {
                return Some(Passed::Hidden);
            }
        }
        if found.entries > found.most_entries {
            return Some(Passed::Files { limit: found.most_entries });
        }
        let mut bytes = found.bytes;
        bytes += nameless.iter().filter(|file| devices.contains(&file.device)).map(|file| file.bytes).sum::<u64>();
        if bytes > limits.output_bytes {
            return Some(Passed::Output { bytes, limit: limits.output_bytes });
        }
        let left = self.policy.write.iter().filter_map(|folder| {
            // Some file systems have no size.
            let disk = rustix::fs::statvfs(folder).ok().filter(|disk| disk.f_blocks > 0)?;
            Some(disk.f_bavail * disk.f_frsize)
        });
        left.min().filter(|left| *left < LEAST_DISK).map(|left| Passed::Disk { left })
    }
}

/// What the files below folders take up, as far as it was looked: no further than to the first limit that is passed, so that
/// looking ends soon whatever there is.
struct Found {
    bytes: u64,
    entries: u64,
    most_bytes: u64,
    most_entries: u64,
}

impl Found {
    /// `None` when a folder cannot be looked into or lies deeper than `depth`. What vanishes meanwhile counts nothing; links
    /// are not followed.
    fn look_below(&mut self, folder: &Path, depth: usize) -> Option<()> {
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Some(()),
            Err(_) => return None,
        };
        for entry in entries.flatten() {
            if self.bytes > self.most_bytes || self.entries > self.most_entries {
                return Some(());
            }
            self.entries += 1;
            let Ok(metadata) = entry.metadata() else { continue };
            self.bytes += (metadata.blocks() * 512).max(LEAST_FILE);
            if metadata.is_dir() {
                self.look_below(&entry.path(), depth.checked_sub(1)?)?;
            }
        }
        Some(())
    }
}

/// A file that is open and has no name any more.
struct Nameless {
    device: u64,
    bytes: u64,
}

/// `None` when there are more descriptors than `most`: looking must end soon.
fn nameless(processes: &[Pid], most: u64) -> Option<Vec<Nameless>> {
    let mut left = most;
    let mut seen = HashSet::new();
    let mut files = Vec::new();
    for pid in processes {
        let Ok(entries) = fs::read_dir(format!("/proc/{}/fd", pid.as_raw_nonzero())) else { continue };
        for entry in entries.flatten() {
            left = left.checked_sub(1)?;
            let Ok(metadata) = fs::metadata(entry.path()) else { continue };
            if metadata.is_file() && metadata.nlink() == 0 && seen.insert((metadata.dev(), metadata.ino())) {
                files.push(Nameless { device: metadata.dev(), bytes: metadata.blocks() * 512 });
            }
        }
    }
    Some(files)
}

/// Processes and threads of the whole machine, from /proc/loadavg.
fn tasks_of_the_machine() -> u64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let tasks = text.split_whitespace().nth(3).and_then(|pair| pair.split_once('/')?.1.parse().ok());
    tasks.unwrap_or(0)
}

/// Processes and threads of one process: its threads.
pub(crate) fn tasks(process: &Path) -> Option<u64> {
    status(process, "Threads:")
}

/// Memory that one process alone has to answer for, bytes: not the files that it has mapped.
fn memory_of(process: &Path) -> Option<u64> {
    let [anonymous, shared, swapped] =
        ["RssAnon:", "RssShmem:", "VmSwap:"].map(|name| status(process, name).unwrap_or(0));
    Some((anonymous + shared + swapped) * 1024)
}

/// A number of /proc/PID/status.
fn status(process: &Path, name: &str) -> Option<u64> {
    let text = fs::read_to_string(process.join("status")).ok()?;
    text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::tests::policy;

    #[test]
    fn output_counts_what_files_take_up_in_all_folders_below() {
        let folder = tempfile::tempdir().unwrap();
        let mut policy = policy(folder.path(), Stage::Train);
        policy.limits.output_bytes = 1 << 20;
        assert_eq!(Watch::new(&policy, true).look(Vec::new), None);
        let deep = policy.write[0].join("a/b");
        fs::create_dir_all(&deep).unwrap();
        fs::write(deep.join("file"), vec![1; 2 << 20]).unwrap();
        let Some(Passed::Output { bytes, limit }) = Watch::new(&policy, true).look(Vec::new) else { panic!() };
        assert!(bytes >= 2 << 20 && limit == 1 << 20);
    }

    #[test]
    fn empty_files_count_and_what_cannot_be_looked_into_is_too_much() {
        let folder = tempfile::tempdir().unwrap();
        let mut policy = policy(folder.path(), Stage::Train);
        policy.limits.output_bytes = 1 << 20;
        for number in 0..300 {
            fs::write(policy.write[0].join(number.to_string()), "").unwrap();
        }
        assert!(matches!(Watch::new(&policy, true).look_at_output(), Some(Passed::Output { .. })));
        policy.limits.output_bytes = 1 << 30;
        assert_eq!(Watch::new(&policy, true).look_at_output(), None);
        fs::create_dir_all(policy.write[0].join("d/".repeat(MOST_DEPTH + 2))).unwrap();
        assert_eq!(Watch::new(&policy, true).look_at_output(), Some(Passed::Hidden));
    }

    #[test]
    fn looking_ends_at_the_first_limit_that_is_passed() {
        let folder = tempfile::tempdir().unwrap();
        for number in 0..100 {
            fs::write(folder.path().join(number.to_string()), "x").unwrap();
        }
        for (most_bytes, most_entries, entries) in [(u64::MAX, 9, 10), (LEAST_FILE, 1_000, 2), (u64::MAX, 1_000, 100)] {
            let mut found = Found { bytes: 0, entries: 0, most_bytes, most_entries };
            found.look_below(folder.path(), MOST_DEPTH).unwrap();
            assert_eq!(found.entries, entries);
        }
    }

    #[test]
    fn a_full_disk_is_not_laid_to_the_charge_of_what_runs() {
        assert_eq!(Passed::Disk { left: 0 }.exit_code(), FULL_DISK);
        assert_ne!(Passed::Hidden.exit_code(), FULL_DISK);
    }

    #[test]
    fn a_file_that_has_lost_its_name_still_counts() {
        let folder = tempfile::tempdir().unwrap();
        let mut policy = policy(folder.path(), Stage::Train);
        policy.limits.output_bytes = 1 << 20;
        let file = policy.write[0].join("file");
        fs::write(&file, vec![1; 2 << 20]).unwrap();
        let _open = fs::File::open(&file).unwrap();
        fs::remove_file(&file).unwrap();
        let own = || vec![rustix::process::getpid()];
        assert!(matches!(Watch::new(&policy, true).look(own), Some(Passed::Output { .. })));
    }

    #[test]
    fn memory_and_tasks_count_only_where_no_group_counts_them() {
        let folder = tempfile::tempdir().unwrap();
        let mut policy = policy(folder.path(), Stage::Serve);
        let own = || vec![rustix::process::getpid()];
        policy.limits.memory_bytes = Some(1);
        assert!(matches!(Watch::new(&policy, false).look(own), Some(Passed::Memory { limit: 1 })));
        assert_eq!(Watch::new(&policy, true).look(own), None);
        policy.limits.memory_bytes = None;
        policy.limits.tasks = 0;
        assert!(matches!(Watch::new(&policy, false).look(own), Some(Passed::Tasks { .. })));
    }
}
