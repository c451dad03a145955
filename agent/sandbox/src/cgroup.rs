//! Control groups: memory and tasks of all processes of a sandbox together, counted and limited by the kernel.
//!
//! A group is made per confined process by the supervisor and removed at its end. What killed supervisors left behind is found
//! by its name.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use crate::offer::Cgroup;
use crate::policy::Limits;

/// A control group cannot be made or used.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}: {source}", path.display())]
pub struct GroupError {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> GroupError {
    move |source| GroupError { action, path: path.to_owned(), source }
}

/// Processes of the confinement itself, which count too: what waits outside and what tends inside.
const OWN_TASKS: u64 = 4;

/// A group of its own for one confined process and all that it starts.
#[derive(Debug)]
pub struct Group {
    /// One folder for version 2; those of `memory` and `pids` for version 1.
    folders: Vec<PathBuf>,
    unified: bool,
}

/// The beginning of the names of all groups that belong to a tag.
pub fn prefix(tag: &str) -> String {
    // FNV-1a: names must only be told apart, and stay the same between versions of this program.
    let hash = tag
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    format!("nocturne-{hash:016x}-")
}

impl Group {
    /// Makes a group with a policy's limits.
    ///
    /// # Errors
    /// When the machine does not let it be made; nothing is left behind then.
    pub fn create(cgroup: &Cgroup, name: &str, limits: &Limits) -> Result<Group, GroupError> {
        let (parents, unified) = match cgroup {
            Cgroup::V2 { parent } => (vec![parent], true),
            Cgroup::V1 { memory, pids } => (vec![memory, pids], false),
        };
        let mut group = Group { folders: Vec::new(), unified };
        let made = parents.iter().try_for_each(|parent| {
            let folder = parent.join(name);
            fs::create_dir(&folder).map_err(failed("make the control group", &folder))?;
            group.folders.push(folder);
            Ok(())
        });
        if let Err(error) = made.and_then(|()| group.limit(limits)) {
            group.remove();
            return Err(error);
        }
        Ok(group)
    }

    fn limit(&self, limits: &Limits) -> Result<(), GroupError> {
        let tasks = (limits.tasks + OWN_TASKS).to_string();
        self.write("pids.max", &tasks)?;
        let Some(bytes) = limits.memory_bytes.map(|bytes| bytes.to_string()) else { return Ok(()) };
        if self.unified {
            self.write("memory.max", &bytes)?;
            self.write_if_there("memory.swap.max", "0")?;
            self.write_if_there("memory.oom.group", "1")
        } else {
            self.write("memory.limit_in_bytes", &bytes)?;
            // There only where swap is counted.
            self.write_if_there("memory.memsw.limit_in_bytes", &bytes)
        }
    }

    /// The files to which a process writes `0` to join.
    pub(crate) fn doors(&self) -> Result<Vec<File>, GroupError> {
        let open = |folder: &PathBuf| {
            let file = folder.join("cgroup.procs");
            File::options().write(true).open(&file).map_err(failed("open", &file))
        };
        self.folders.iter().map(open).collect()
    }

    /// How many of its processes the kernel has killed because of its memory limit.
    pub fn memory_kills(&self) -> u64 {
        let file = if self.unified { "memory.events" } else { "memory.oom_control" };
        let Some(text) = self.file(file).and_then(|file| fs::read_to_string(file).ok()) else { return 0 };
        let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        count.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
    }

    /// Kills all its processes once; no new ones can be started from then on.
    pub fn kill(&self) {
        if self.unified && self.write_if_there("cgroup.kill", "1").is_ok() && self.file("cgroup.kill").is_some() {
            return;
        }
        // A process that is not killed yet cannot start others.
        let _old_kernel = self.write_if_there("pids.max", "0");
        for pid in self.processes() {
            // Gone already is as good as killed.
            let _gone = rustix::process::kill_process(pid, Signal::KILL);
        }
    }

    /// Kills until it is empty, and removes it. Says what is still there after some seconds.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn end(self) -> Result<(), GroupError> {
        let give_up = Instant::now() + Duration::from_secs(5);
        loop {
            if !self.processes().is_empty() {
                self.kill();
            }
            let Some((folder, error)) = self.remove() else { return Ok(()) };
            if Instant::now() > give_up {
                return Err(failed("remove the control group", &folder)(error));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Removes its folders; the first that cannot be removed, if any.
    fn remove(&self) -> Option<(PathBuf, io::Error)> {
        self.folders.iter().rev().find_map(|folder| match fs::remove_dir(folder) {
            Ok(()) => None,
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => Some((folder.clone(), error)),
        })
    }

    /// The processes in it.
    pub fn processes(&self) -> Vec<Pid> {
        let read = |folder: &PathBuf| fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
        let mut pids: Vec<i32> = self
            .folders
            .iter()
            .flat_map(|folder| read(folder).lines().filter_map(|l| l.parse().ok()).collect::<Vec<_>>())
            .collect();
        pids.sort_unstable();
        pids.dedup();
        pids.into_iter().filter_map(Pid::from_raw).collect()
    }

    fn file(&self, name: &str) -> Option<PathBuf> {
        self.folders.iter().map(|folder| folder.join(name)).find(|file| file.exists())
    }

    fn write(&self, name: &str, text: &str) -> Result<(), GroupError> {
        let file = self.file(name).ok_or_else(|| {
            let first = self.folders.first().cloned().unwrap_or_default();
            failed("find", &first.join(name))(io::ErrorKind::NotFound.into())
        })?;
        fs::write(&file, text).map_err(failed("write", &file))
    }

    fn write_if_there(&self, name: &str, text: &str) -> Result<(), GroupError> {
        if self.file(name).is_some() { self.write(name, text) } else { Ok(()) }
    }
}

/// Ends and removes every group whose name begins so. Returns how many processes were in them.
///
/// # Errors
/// When one cannot be removed.
pub fn end_groups(cgroup: &Cgroup, prefix: &str) -> Result<usize, GroupError> {
    let (parents, unified) = match cgroup {
        Cgroup::V2 { parent } => (vec![parent], true),
        Cgroup::V1 { memory, pids } => (vec![memory, pids], false),
    };
    let mut ended = 0;
    for parent in parents {
        let entries = fs::read_dir(parent).map_err(failed("read", parent))?;
        for entry in entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix)) {
            let group = Group { folders: vec![entry.path()], unified };
            ended += group.processes().len();
            group.end()?;
        }
    }
    Ok(ended)
}

/// Where groups could be made, the most likely first; nothing is tried yet.
pub(crate) fn candidates(own: &str, mounts: &str) -> Vec<Cgroup> {
    let mut found = Vec::new();
    let mounted = |kind: &str, option: &str| {
        mounts.lines().find_map(|line| {
            let mut words = line.split(' ');
            let (_, place, is, options) = (words.next()?, words.next()?, words.next()?, words.next()?);
            (is == kind && (option.is_empty() || options.split(',').any(|o| o == option))).then(|| PathBuf::from(place))
        })
    };
    let path_of = |controller: &str| {
        own.lines().find_map(|line| {
            let mut parts = line.splitn(3, ':');
            let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
            controllers.split(',').any(|c| c == controller).then(|| path.trim_start_matches('/').to_owned())
        })
    };
    if let (Some(place), Some(path)) = (mounted("cgroup2", ""), path_of("")) {
        // Processes stand in leaves only, so the group that this process is in is seldom one that can have groups below.
        found.extend(
            place
                .join(path)
                .ancestors()
                .take_while(|folder| folder.starts_with(&place))
                .map(|folder| Cgroup::V2 { parent: folder.to_owned() }),
        );
    }
    if let (Some(memory), Some(pids), Some(in_memory), Some(in_pids)) =
        (mounted("cgroup", "memory"), mounted("cgroup", "pids"), path_of("memory"), path_of("pids"))
    {
        found.push(Cgroup::V1 { memory: memory.join(in_memory), pids: pids.join(in_pids) });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_tags_apart_and_stay_the_same() {
        assert_eq!(prefix(""), "nocturne-cbf29ce484222325-");
        assert_ne!(prefix("/a/lock"), prefix("/b/lock"));
    }

    #[test]
    fn places_for_groups_are_found_in_both_versions() {
        let old = "9:name=systemd:/\n8:pids:/x\n4:memory:/y/z\n0::/\n";
        let mounts = "cgroup /c/memory cgroup rw,relatime,memory 0 0\ncgroup /c/pids cgroup rw,pids 0 0\n";
        let v1 = Cgroup::V1 { memory: "/c/memory/y/z".into(), pids: "/c/pids/x".into() };
        assert_eq!(candidates(old, mounts), [v1]);
        let new = "0::/user.slice/a.scope\n";
        let parents: Vec<Cgroup> =
            ["/s/user.slice/a.scope", "/s/user.slice", "/s"].map(|parent| Cgroup::V2 { parent: parent.into() }).into();
        assert_eq!(candidates(new, "cgroup2 /s cgroup2 rw 0 0\n"), parents);
        assert!(candidates("", "").is_empty());
    }

    /// Plain folders stand for the kernel's.
    #[test]
    fn limits_are_written_where_the_version_has_them() {
        let folder = tempfile::tempdir().unwrap();
        let limits = Limits { memory_bytes: Some(1000), tasks: 10, file_bytes: 1, output_bytes: 1, descriptors: 1 };
        let group = Group { folders: vec![folder.path().to_owned()], unified: true };
        assert!(group.limit(&limits).unwrap_err().to_string().contains("pids.max"));
        for file in ["pids.max", "memory.max", "memory.swap.max"] {
            fs::write(folder.path().join(file), "").unwrap();
        }
        group.limit(&limits).unwrap();
        let read = |file| fs::read_to_string(folder.path().join(file)).unwrap();
        assert_eq!(
            (read("pids.max"), read("memory.max"), read("memory.swap.max")),
            ("14".into(), "1000".into(), "0".into())
        );
        fs::write(folder.path().join("memory.events"), "low 0\noom 3\noom_kill 2\n").unwrap();
        assert_eq!(group.memory_kills(), 2);
    }
}
