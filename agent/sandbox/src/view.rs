//! The file system that a process in namespaces of its own gets to see, as a list of what is mounted where, in order.
//!
//! [`View::of`] looks at what of the system's own folders there is; everything else is decided without IO.

use std::path::{Component, Path, PathBuf};

use crate::policy::{Policy, Stage};

/// The system's folders that programs need; whatever of them there is, is shown.
pub(crate) const SYSTEM: [&str; 7] = ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/nix/store"];

/// The system's settings that programs need: how libraries are found, which program a name stands for, the time zone.
pub(crate) const SETTINGS: [&str; 5] =
    ["/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/alternatives", "/etc/localtime"];

/// Devices that are none: every process may have them.
pub(crate) const HARMLESS_DEVICES: [&str; 5] = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"];

/// Where libtorch counts processors and caches.
pub(crate) const PROCESSORS: &str = "/sys/devices/system/cpu";

/// Parts of /sys that a GPU's driver does not need and that may tell or do too much.
const HIDDEN_OF_SYS: [&str; 5] =
    ["/sys/fs", "/sys/firmware", "/sys/kernel/debug", "/sys/kernel/tracing", "/sys/kernel/security"];

const MIB: u64 = 1 << 20;

/// One thing to be mounted or made; paths are those inside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Mount {
    /// An empty folder in memory of at most so many bytes.
    Memory(PathBuf, u64),
    /// A file or folder of the machine, at its own path, to read and execute.
    Read(PathBuf),
    /// A folder of the machine, at its own path, to read and write.
    Write(PathBuf),
    /// A device file of the machine, at its own path.
    Device(PathBuf),
    /// A symbolic link, and where it points to.
    Link(PathBuf, PathBuf),
    /// A fresh /proc.
    Processes,
    /// An entry of /proc that is no process: the kernel's own, for everybody. Whoever is root outside could write it even
    /// without capabilities, so it is there to be read only.
    Kernel(PathBuf),
    /// From here on nothing more may be made in this folder in memory.
    Seal(PathBuf),
}

/// What a process gets to see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct View {
    /// In the order in which it is mounted.
    pub(crate) mounts: Vec<Mount>,
}

/// Something of a policy cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum ViewError {
    /// A path of the policy is not there.
    #[error("the policy names {}, which cannot be used: {source}", path.display())]
    Missing {
        /// Which one.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A path of the policy is relative, or has `..` in it.
    #[error("the policy names {}, which is not an absolute path without `..`", path.display())]
    NotAbsolute {
        /// Which one.
        path: PathBuf,
    },
    /// What the kernel shows of itself cannot be listed, so it cannot be protected.
    #[error("/proc cannot be listed: {source}; is it mounted?")]
    Kernel {
        /// The system's reason.
        source: std::io::Error,
    },
    /// A path of the policy would show all.
    #[error("the policy names {}, which would show the whole machine", path.display())]
    TooMuch {
        /// Which one.
        path: PathBuf,
    },
}

impl View {
    /// The view that a policy grants on this machine.
    ///
    /// # Errors
    /// When a path of the policy is not there or not absolute.
    pub(crate) fn of(policy: &Policy) -> Result<View, ViewError> {
        check(policy)?;
        let mut mounts = Vec::new();
        for path in SYSTEM.iter().map(Path::new) {
            match std::fs::read_link(path) {
                Ok(target) => mounts.push(Mount::Link(path.to_owned(), target)),
                Err(_) if path.is_dir() => mounts.push(Mount::Read(path.to_owned())),
                Err(_) => {}
            }
        }
        // Links among them point into /usr, so these are shown as what they are.
        mounts.extend(SETTINGS.iter().filter(|path| Path::new(path).exists()).map(|path| Mount::Read(path.into())));
        mounts.push(Mount::Processes);
        mounts.extend(kernels_own(Path::new("/proc"))?.into_iter().map(Mount::Kernel));
        mounts.push(Mount::Memory("/dev".into(), MIB));
        mounts.extend(HARMLESS_DEVICES.iter().map(|path| Mount::Device(path.into())));
        mounts.extend(policy.devices.iter().cloned().map(Mount::Device));
        for (link, target) in [("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")] {
            mounts.push(Mount::Link(format!("/dev/{link}").into(), format!("/proc/self/fd{target}").into()));
        }
        mounts.push(Mount::Memory("/dev/shm".into(), 64 * MIB));
        // A linker's temporary files are as large as what it links.
        let temporary = if policy.stage == Stage::Build { 1024 * MIB } else { 64 * MIB };
        mounts.push(Mount::Memory("/tmp".into(), temporary));
        if policy.devices.is_empty() {
            mounts.extend(Some(PROCESSORS).filter(|path| Path::new(path).is_dir()).map(|p| Mount::Read(p.into())));
        } else {
            mounts.extend(Some("/sys").filter(|path| Path::new(path).is_dir()).map(|path| Mount::Read(path.into())));
            let hidden = HIDDEN_OF_SYS.iter().filter(|path| Path::new(path).is_dir());
            mounts.extend(hidden.map(|path| Mount::Memory(path.into(), 0)));
        }
        mounts.extend(granted(policy));
        mounts.push(Mount::Seal("/dev".into()));
        mounts.push(Mount::Seal("/".into()));
        Ok(View { mounts })
    }
}

/// All entries of /proc that are neither a process nor a link to one's own, in order.
fn kernels_own(proc: &Path) -> Result<Vec<PathBuf>, ViewError> {
    let failed = |source| ViewError::Kernel { source };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(proc).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let is_process = entry.file_name().to_string_lossy().bytes().all(|byte| byte.is_ascii_digit());
        // A process may be gone by now; what cannot be told apart is protected.
        if !is_process && !entry.file_type().is_ok_and(|kind| kind.is_symlink()) {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

/// What the policy itself grants, outer folders before what lies within them.
fn granted(policy: &Policy) -> Vec<Mount> {
    let read = policy.read.iter().map(|path| (path, false));
    let write = policy.write.iter().map(|path| (path, true));
    let mut paths: Vec<(&PathBuf, bool)> = read.chain(write).collect();
    paths.sort_by_key(|(path, writable)| (path.components().count(), *writable));
    paths.into_iter().map(|(p, w)| if w { Mount::Write(p.clone()) } else { Mount::Read(p.clone()) }).collect()
}

/// Whether every path of a policy is absolute and there.
pub(crate) fn check(policy: &Policy) -> Result<(), ViewError> {
    for path in policy.read.iter().chain(&policy.write).chain(&policy.devices) {
        let plain = path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
        if !path.is_absolute() || !plain {
            return Err(ViewError::NotAbsolute { path: path.clone() });
        }
        if path.parent().is_none() || path == Path::new("/proc") || path == Path::new("/sys") {
            return Err(ViewError::TooMuch { path: path.clone() });
        }
        std::fs::metadata(path).map_err(|source| ViewError::Missing { path: path.clone(), source })?;
    }
    for path in &policy.write {
        if !path.is_dir() {
            let source = std::io::Error::from(std::io::ErrorKind::NotADirectory);
            return Err(ViewError::Missing { path: path.clone(), source });
        }
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::policy::Surroundings;

    /// A policy whose folders are there.
    pub(crate) fn policy(folder: &Path, stage: Stage) -> Policy {
        let (source, target) = (folder.join("slot/source"), folder.join("slot/target"));
        std::fs::create_dir_all(&source).unwrap();
        std::fs::create_dir_all(&target).unwrap();
        let surroundings = Surroundings { libraries: vec![folder.join("slot")], ..Surroundings::default() };
        match stage {
            Stage::Build => Policy::build(&surroundings, &source, &target),
            Stage::Train => Policy::train(&surroundings, &source, &target),
            Stage::Serve => Policy::serve(&surroundings, &source),
        }
    }

    #[test]
    fn writable_folders_lie_over_what_is_only_read_and_all_is_sealed_last() {
        let folder = tempfile::tempdir().unwrap();
        let view = View::of(&policy(folder.path(), Stage::Build)).unwrap();
        let at = |mount: &Mount| view.mounts.iter().position(|other| other == mount).unwrap();
        let slot = at(&Mount::Read(folder.path().join("slot")));
        assert!(slot < at(&Mount::Read(folder.path().join("slot/source"))));
        assert!(slot < at(&Mount::Write(folder.path().join("slot/target"))));
        // What a policy names may lie in /tmp.
        assert!(at(&Mount::Memory("/tmp".into(), 1024 * MIB)) < slot);
        assert_eq!(view.mounts.last(), Some(&Mount::Seal("/".into())));
    }

    #[test]
    fn all_of_proc_but_processes_is_only_read() {
        let folder = tempfile::tempdir().unwrap();
        let view = View::of(&policy(folder.path(), Stage::Serve)).unwrap();
        let at = |mount: &Mount| view.mounts.iter().position(|other| other == mount);
        let processes = at(&Mount::Processes).unwrap();
        for name in ["sys", "meminfo", "sysrq-trigger", "irq", "bus", "fs", "tty", "driver"] {
            let path = Path::new("/proc").join(name);
            let there = at(&Mount::Kernel(path.clone())).map(|at| at > processes);
            assert_eq!(there, path.exists().then_some(true), "{name}");
        }
        for path in ["/proc/self", "/proc/thread-self", "/proc/net", "/proc/mounts", "/proc/1"] {
            assert_eq!(at(&Mount::Kernel(path.into())), None, "{path}");
        }
    }

    #[test]
    fn sys_is_shown_only_for_devices() {
        let folder = tempfile::tempdir().unwrap();
        let mut policy = policy(folder.path(), Stage::Serve);
        assert!(!View::of(&policy).unwrap().mounts.contains(&Mount::Read("/sys".into())));
        policy.devices = vec!["/dev/null".into()];
        assert!(View::of(&policy).unwrap().mounts.contains(&Mount::Read("/sys".into())));
    }

    #[test]
    fn what_is_not_there_or_shows_everything_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let sound = policy(folder.path(), Stage::Train);
        for (path, word) in [
            ("/no/such/thing", "/no/such/thing"),
            ("relative", "absolute"),
            ("/usr/../etc", "absolute"),
            ("/", "whole machine"),
            ("/proc", "whole machine"),
        ] {
            let policy = Policy { read: vec![path.into()], ..sound.clone() };
            let error = View::of(&policy).unwrap_err().to_string();
            assert!(error.contains(word), "{path}: {error}");
        }
        let policy = Policy { write: vec!["/etc/passwd".into()], ..sound };
        assert!(View::of(&policy).is_err());
    }
}
