//! The supervisor's side of starting a confined command: what is executed, and the pipes to it.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::pipe::PipeFlags;

use crate::cgroup::{Group, GroupError};
use crate::confine::{Orders, READY};
use crate::view::{View, ViewError};
use crate::{Confinement, Mechanism, Policy, bubblewrap, init};

/// A confined command cannot be prepared.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Something that the policy names is not there.
    #[error(transparent)]
    View(#[from] ViewError),
    /// The control group cannot be joined.
    #[error(transparent)]
    Group(#[from] GroupError),
    /// The orders cannot be written.
    #[error("the orders to the confining helper cannot be written: {0}")]
    Orders(#[from] serde_json::Error),
    /// No pipes.
    #[error("cannot make the pipes to the confining helper: {0}")]
    Pipe(io::Error),
}

/// A confined command, ready to be started once.
#[derive(Debug)]
pub struct Prepared {
    /// To be spawned, and dropped right after: it holds the other ends of the link's pipes.
    pub command: Command,
    /// How the started command is spoken to.
    pub link: Link,
}

/// The supervisor's ends of the pipes to a confined command.
#[derive(Debug)]
pub struct Link {
    report: OwnedFd,
    control: Option<OwnedFd>,
}

/// Prepares `command` (program and arguments) to run in `folder` as the policy says. `helper` is the `nocturne` executable.
///
/// # Errors
/// See [`StartError`].
pub fn prepare(
    helper: &Path,
    confinement: &Confinement,
    policy: &Policy,
    folder: &Path,
    group: Option<&Group>,
    command: &[OsString],
) -> Result<Prepared, StartError> {
    let pipe = || rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(|error| StartError::Pipe(error.into()));
    let (report, their_report) = pipe()?;
    let between = matches!(confinement.mechanism(), Mechanism::Namespaces | Mechanism::Bubblewrap(_));
    let (control, their_control) = match between {
        true => {
            let (theirs, own) = pipe()?;
            (Some(own), Some(theirs))
        }
        false => (None, None),
    };
    let orders = serde_json::to_string(&Orders {
        confinement: confinement.clone(),
        policy: policy.clone(),
        parent: std::process::id(),
        counted: group.is_some(),
        folder: folder.to_owned(),
        report: their_report.as_raw_fd(),
        control: their_control.as_ref().map(AsRawFd::as_raw_fd),
    })?;
    let mut started = match confinement.mechanism() {
        Mechanism::Bubblewrap(found) => {
            let mut started = Command::new(&found.program);
            started.args(bubblewrap::arguments(&View::of(policy)?, helper)).arg("--").arg(bubblewrap::HELPER);
            started
        }
        Mechanism::Off | Mechanism::Landlock | Mechanism::Namespaces => Command::new(helper),
    };
    started.arg("confine").arg(orders).arg("--").args(command);
    let doors = match group {
        Some(group) => group.doors()?,
        None => Vec::new(),
    };
    let inherited: Vec<OwnedFd> = std::iter::once(their_report).chain(their_control).collect();
    let before = move || {
        // Whoever shares the agent's session shares its terminal. Also makes a group, which is the command's.
        rustix::process::setsid()?;
        for door in &doors {
            (&*door).write_all(b"0")?;
        }
        inherited.iter().try_for_each(init::inherit)
    };
    // SAFETY: between fork and exec it only writes to and sets flags of descriptors that are open already: no allocation, no lock.
    unsafe { started.pre_exec(before) };
    Ok(Prepared { command: started, link: Link { report, control } })
}

impl Link {
    /// Asks the command's group to end. False where nothing stands between and the group must be signalled directly.
    pub fn terminate(&self) -> bool {
        let Some(control) = &self.control else { return false };
        // Nobody listens: it has ended, which is what is asked for.
        let _gone = rustix::io::write(control, &[init::TERMINATE]);
        true
    }

    /// Whether the command was started, once everything has ended.
    ///
    /// # Errors
    /// Why it was not.
    pub fn outcome(self) -> Result<(), String> {
        let told = self.told().map_err(|error| format!("the confining helper's report cannot be read: {error}"))?;
        if told == READY {
            return Ok(());
        }
        let text = told.strip_prefix(READY).unwrap_or(&told);
        Err(String::from_utf8_lossy(text).into_owned())
    }

    /// What the helper wrote, up to its end: everything has ended, so that is there. What does not end although it was killed
    /// may still hold the pipe, and is not waited for long.
    fn told(self) -> io::Result<Vec<u8>> {
        const MOST: usize = 16 << 10;
        const PATIENCE: Duration = Duration::from_secs(2);
        let mut report = std::fs::File::from(self.report);
        rustix::io::ioctl_fionbio(&report, true)?;
        let (mut told, give_up) = (Vec::new(), Instant::now() + PATIENCE);
        let mut buffer = [0; 4096];
        while told.len() < MOST {
            match report.read(&mut buffer) {
                Ok(0) => break,
                Ok(got) => told.extend(buffer.iter().take(got)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && Instant::now() < give_up => {
                    std::thread::sleep(Duration::from_millis(1));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && told == READY => break,
                Err(error) => return Err(error),
            }
        }
        Ok(told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_that_never_ends_is_not_waited_for() {
        for (text, started) in [(READY, true), (b"", false)] {
            let (report, held) = rustix::pipe::pipe().unwrap();
            rustix::io::write(&held, text).unwrap();
            assert_eq!(Link { report, control: None }.outcome().is_ok(), started);
            drop(held);
        }
    }
}
