//! Landlock: which files a process may open, for what; no TCP; no signals and no abstract sockets out of the sandbox.
//!
//! Everything that the machine's version of landlock knows is handled and required. A rule whose path is not there is an error.

use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetStatus, Scope,
};

use crate::policy::{Policy, Stage};
use crate::view;

/// The least version at which landlock alone is a confinement: abstract sockets and signals are scoped.
pub(crate) const LEAST_ALONE: u32 = 6;

/// Landlock could not be put in force.
#[derive(Debug, thiserror::Error)]
pub enum FenceError {
    /// The kernel refused.
    #[error("landlock cannot be put in force: {0}")]
    Landlock(#[from] landlock::RulesetError),
    /// A path cannot be opened.
    #[error("landlock cannot name {}: {source}", path.display())]
    Path {
        /// Which one.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The kernel took the rules and did not apply all of them.
    #[error("landlock was put in force in part only ({0})")]
    Partial(String),
}

/// What a process may do below a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Grant {
    /// Read files and list folders.
    Read,
    /// The same, and execute.
    Run,
    /// Read and write what is there, a device's ioctls included; make nothing.
    Device,
    /// Read and write what is there: no devices' ioctls.
    Use,
    /// Make, write and remove files and folders.
    Output,
    /// The same, links and pipes included, and execute them.
    Workshop,
    /// The same as a workshop, but nothing may be executed.
    Temporary,
}

/// The version that the kernel offers; 0 for none.
pub(crate) fn version() -> Result<u32, std::io::Error> {
    const LANDLOCK_CREATE_RULESET_VERSION: u32 = 1;
    // SAFETY: with this flag the call reads no memory (null pointer, size 0) and returns a version.
    let version = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<libc::c_void>(),
            0_usize,
            LANDLOCK_CREATE_RULESET_VERSION,
        )
    };
    u32::try_from(version).map_err(|_| std::io::Error::last_os_error())
}

/// Confines this thread and all that it starts. `inside` says that the file system is a view of its own already.
pub(crate) fn restrict(policy: &Policy, version: u32, inside: bool) -> Result<(), FenceError> {
    let abi = ABI::from(i32::try_from(version).unwrap_or(i32::MAX));
    let mut ruleset = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    ruleset = ruleset.handle_access(AccessFs::from_all(abi))?;
    let net = AccessNet::from_all(abi);
    if !net.is_empty() {
        ruleset = ruleset.handle_access(net)?;
    }
    let scope = Scope::from_all(abi);
    if !scope.is_empty() {
        ruleset = ruleset.scope(scope)?;
    }
    let mut created = ruleset.create()?;
    for (path, grant) in grants(policy, inside) {
        let handle = PathFd::new(&path).map_err(|error| FenceError::Path {
            path: path.clone(),
            source: std::io::Error::other(error.to_string()),
        })?;
        let mut rights = rights(grant, abi);
        if !path.is_dir() {
            rights &= AccessFs::from_file(abi);
        }
        created = created.add_rule(PathBeneath::new(handle, rights))?;
    }
    let status = created.restrict_self()?;
    if status.ruleset != RulesetStatus::FullyEnforced || !status.no_new_privs {
        return Err(FenceError::Partial(format!("{:?}", status.ruleset)));
    }
    Ok(())
}

/// Every path and what is granted below it. Of the system's own paths only those that there are.
fn grants(policy: &Policy, inside: bool) -> Vec<(PathBuf, Grant)> {
    let there = |path: &str| Some(PathBuf::from(path)).filter(|path| path.exists());
    let mut grants: Vec<(PathBuf, Grant)> = Vec::new();
    grants.extend(view::SYSTEM.iter().filter_map(|path| there(path)).map(|path| (path, Grant::Run)));
    grants.extend(view::SETTINGS.iter().filter_map(|path| there(path)).map(|path| (path, Grant::Read)));
    grants.extend(view::HARMLESS_DEVICES.iter().filter_map(|path| there(path)).map(|path| (path, Grant::Use)));
    if policy.devices.is_empty() {
        grants.push(("/proc".into(), Grant::Read));
        grants.extend(there(view::PROCESSORS).map(|path| (path, Grant::Read)));
    } else {
        // A GPU's driver names its threads by writing to /proc. Without namespaces that is everybody's /proc, where a process
        // gets to write to its own files only; those of its children are not known yet. In a view of its own everything in
        // /proc that is no process is mounted to be read only.
        grants.push(("/proc".into(), if inside { Grant::Use } else { Grant::Read }));
        if !inside {
            grants.push((own_processes(), Grant::Use));
        }
        grants.extend(there("/sys").map(|path| (path, Grant::Read)));
    }
    if inside {
        grants.extend(["/tmp", "/dev/shm"].map(|path| (path.into(), Grant::Temporary)));
    }
    grants.extend(policy.read.iter().map(|path| (path.clone(), Grant::Run)));
    grants.extend(policy.devices.iter().map(|path| (path.clone(), Grant::Device)));
    let folder = if policy.stage == Stage::Build { Grant::Workshop } else { Grant::Output };
    grants.extend(policy.write.iter().map(|path| (path.clone(), folder)));
    grants
}

/// `/proc/PID` of this process, which stays the same when it executes another program.
fn own_processes() -> PathBuf {
    Path::new("/proc").join(std::process::id().to_string())
}

/// A grant in landlock's words, as far as this version knows them.
fn rights(grant: Grant, abi: ABI) -> BitFlags<AccessFs> {
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let write = AccessFs::WriteFile | AccessFs::Truncate;
    let make = AccessFs::MakeReg | AccessFs::MakeDir | AccessFs::RemoveFile | AccessFs::RemoveDir;
    let links = AccessFs::MakeSym | AccessFs::MakeFifo | AccessFs::Refer;
    let wanted = match grant {
        Grant::Read => read,
        Grant::Run => read | AccessFs::Execute,
        Grant::Device => read | write | AccessFs::IoctlDev,
        Grant::Use => read | write,
        Grant::Output => read | write | make,
        Grant::Workshop => read | write | make | links | AccessFs::Execute,
        Grant::Temporary => read | write | make | links,
    };
    wanted & AccessFs::from_all(abi)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::tests::policy;

    #[test]
    fn outputs_are_never_executed_and_hold_no_links() {
        let folder = tempfile::tempdir().unwrap();
        let (build, train) = (policy(folder.path(), Stage::Build), policy(folder.path(), Stage::Train));
        let of = |policy: &Policy| grants(policy, true).pop().unwrap();
        assert_eq!(of(&train), (train.write[0].clone(), Grant::Output));
        assert_eq!(of(&build), (build.write[0].clone(), Grant::Workshop));
        let output = rights(Grant::Output, ABI::V7);
        assert!(!output.intersects(AccessFs::Execute | AccessFs::MakeSym | AccessFs::MakeSock | AccessFs::MakeChar));
        assert!(rights(Grant::Workshop, ABI::V7).contains(AccessFs::Execute));
    }

    #[test]
    fn what_an_old_version_does_not_know_is_not_asked_of_it() {
        for (abi, knows) in [(ABI::V1, false), (ABI::V5, true)] {
            assert_eq!(rights(Grant::Device, abi).contains(AccessFs::IoctlDev), knows);
        }
    }

    #[test]
    fn processes_are_written_to_only_where_a_gpu_needs_it() {
        let folder = tempfile::tempdir().unwrap();
        let mut policy = policy(folder.path(), Stage::Serve);
        let on_proc = |policy: &Policy, inside: bool| {
            grants(policy, inside).into_iter().find(|(path, _)| path == Path::new("/proc")).map(|(_, grant)| grant)
        };
        assert_eq!(on_proc(&policy, true), Some(Grant::Read));
        policy.devices = vec!["/dev/null".into()];
        assert_eq!(on_proc(&policy, true), Some(Grant::Use));
        assert_eq!(on_proc(&policy, false), Some(Grant::Read));
    }
}
