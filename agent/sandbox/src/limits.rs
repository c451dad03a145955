//! Limits that a process carries along: files, descriptors, core dumps, tasks, and its data where nobody else counts memory.

use rustix::process::{Resource, Rlimit};

use crate::policy::Policy;

/// A limit cannot be set.
#[derive(Debug, thiserror::Error)]
#[error("cannot limit {what}: {source}")]
pub struct LimitError {
    what: &'static str,
    source: rustix::io::Errno,
}

/// What is known of the surroundings when limits are set.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known {
    /// A control group counts memory and tasks.
    pub(crate) counted: bool,
    /// The user's processes in this user namespace are the sandbox's alone.
    pub(crate) own_users: bool,
}

/// Sets the limits of a policy for this process and all that it starts.
pub(crate) fn set(policy: &Policy, known: Known) -> Result<(), LimitError> {
    let limits = policy.limits;
    lower("core dumps", Resource::Core, 0)?;
    lower("the size of files", Resource::Fsize, limits.file_bytes)?;
    lower("descriptors", Resource::Nofile, limits.descriptors)?;
    // A GPU's driver reserves far more addresses than it uses, so only a control group can count its memory.
    if let (false, true, Some(bytes)) = (known.counted, policy.devices.is_empty(), limits.memory_bytes) {
        lower("memory", Resource::Data, bytes)?;
    }
    if !rustix::process::getuid().is_root() {
        // The kernel counts all tasks of the user.
        let others = if known.own_users { 0 } else { tasks_of_this_user() };
        lower("tasks", Resource::Nproc, limits.tasks + others)?;
    }
    Ok(())
}

fn lower(what: &'static str, resource: Resource, most: u64) -> Result<(), LimitError> {
    let old = rustix::process::getrlimit(resource);
    let most = old.maximum.map_or(most, |maximum| maximum.min(most));
    let new = Rlimit { current: Some(most), maximum: Some(most) };
    rustix::process::setrlimit(resource, new).map_err(|source| LimitError { what, source })
}

fn tasks_of_this_user() -> u64 {
    use std::os::unix::fs::MetadataExt;
    let user = rustix::process::getuid().as_raw();
    let Ok(entries) = std::fs::read_dir("/proc") else { return 0 };
    entries
        .flatten()
        .filter(|entry| entry.metadata().is_ok_and(|metadata| metadata.uid() == user))
        .filter_map(|entry| crate::watch::tasks(&entry.path()))
        .sum()
}
