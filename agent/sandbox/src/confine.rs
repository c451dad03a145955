//! The hidden command `nocturne confine`: confines itself, then executes the command. Single-threaded, without a runtime.
//!
//! With namespaces it is two or three processes: one that waits outside (bubblewrap, or this helper), the first process of the
//! namespaces ([`init`]), and the command. Without, it becomes the command itself.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use rustix::process::{DumpableBehavior, Signal};
use rustix::thread::{CapabilitySet, CapabilitySets};
use serde::{Deserialize, Serialize};

use crate::init::{self, Side};
use crate::seccomp::{self, Strictness};
use crate::view::{self, View};
use crate::{Confinement, Mechanism, Policy, fence, limits, native};

/// What `nocturne confine` is told, as JSON on its command line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Orders {
    pub(crate) confinement: Confinement,
    pub(crate) policy: Policy,
    /// The supervisor's process id: without it nobody is there to end this.
    pub(crate) parent: u32,
    /// Whether the command's memory and tasks are counted by a control group.
    pub(crate) counted: bool,
    /// Where the command runs.
    pub(crate) folder: PathBuf,
    /// Number of the descriptor on which it tells how far it came.
    pub(crate) report: i32,
    /// Number of the descriptor on which it is asked to end the command, where it stays between.
    pub(crate) control: Option<i32>,
}

/// What is reported right before the command is executed. Anything else is what went wrong.
pub(crate) const READY: &[u8] = b"r";

/// Exit code when the command could not be started; why stands in the report.
pub(crate) const COULD_NOT_START: u8 = 125;

/// Why the command could not be started.
#[derive(Debug, thiserror::Error)]
enum ConfineError {
    #[error("the orders cannot be read: {0}")]
    Orders(#[from] serde_json::Error),
    #[error("no command given")]
    NoCommand,
    #[error(transparent)]
    View(#[from] view::ViewError),
    #[error(transparent)]
    Native(#[from] native::NativeError),
    #[error(transparent)]
    Limit(#[from] limits::LimitError),
    #[error(transparent)]
    Fence(#[from] fence::FenceError),
    #[error(transparent)]
    Seccomp(#[from] seccomp::SeccompError),
    #[error("cannot {0}: {1}")]
    System(&'static str, std::io::Error),
    #[error("the folder {} that it is to run in is not there in the sandbox: {source}; the policy must grant it", path.display())]
    Folder { path: PathBuf, source: std::io::Error },
    #[error("cannot start {}: {source}; is it there, executable and granted by the policy?", path.display())]
    Execute { path: PathBuf, source: std::io::Error },
}

fn system<E: Into<std::io::Error>>(action: &'static str) -> impl FnOnce(E) -> ConfineError {
    move |error| ConfineError::System(action, error.into())
}

/// The pipe to the supervisor. It sees the pipe's end when nobody here holds it any more: then the command has started, or
/// not, according to what was written.
struct Report(Option<OwnedFd>);

impl Report {
    fn ready(&self) -> std::io::Result<()> {
        let report = self.0.as_ref().ok_or(std::io::ErrorKind::BrokenPipe)?;
        rustix::io::write(report, READY)?;
        Ok(())
    }

    fn let_go(&mut self) {
        self.0 = None;
    }

    fn failed(&mut self, error: &ConfineError) {
        let text = error.to_string();
        let told = self.0.take().is_some_and(|report| rustix::io::write(&report, text.as_bytes()).is_ok());
        if !told {
            eprintln!("nocturne confine: {text}");
        }
    }
}

/// Runs the hidden command. `orders` is JSON that the supervisor made.
pub fn main(orders: &str, command: &[OsString]) -> ExitCode {
    let mut report = Report(None);
    let code = serde_json::from_str::<Orders>(orders).map_err(ConfineError::from).and_then(|orders| {
        report.0 = Some(init::inherited(orders.report).map_err(system("report to the supervisor"))?);
        run(&orders, command, &mut report)
    });
    ExitCode::from(u8::try_from(told(code, &mut report)).unwrap_or(u8::MAX))
}

/// The exit code; what went wrong is reported.
fn told(code: Result<i32, ConfineError>, report: &mut Report) -> i32 {
    code.unwrap_or_else(|error| {
        report.failed(&error);
        i32::from(COULD_NOT_START)
    })
}

/// Ends a forked process without running what its parent has registered for its own end.
fn leave_with(code: Result<i32, ConfineError>, report: &mut Report) -> ! {
    let code = told(code, report);
    // SAFETY: ends this process at once; nothing of it is used afterwards.
    unsafe { libc::_exit(code) }
}

fn run(orders: &Orders, command: &[OsString], report: &mut Report) -> Result<i32, ConfineError> {
    let control = match orders.control {
        Some(number) => Some(init::inherited(number).map_err(system("listen to the supervisor"))?),
        None => None,
    };
    // Bubblewrap stands between, and sees to this itself.
    let parent =
        if matches!(orders.confinement.mechanism(), Mechanism::Bubblewrap(_)) { None } else { Some(orders.parent) };
    die_with_parent(parent)?;
    match orders.confinement.mechanism() {
        Mechanism::Off | Mechanism::Landlock => {
            view::check(&orders.policy)?;
            become_command(orders, command, report)
        }
        Mechanism::Bubblewrap(_) => stay_between(orders, command, report, control),
        Mechanism::Namespaces => {
            let view = View::of(&orders.policy)?;
            native::leave()?;
            match init::fork().map_err(system("start the first process of the namespaces"))? {
                Side::Parent(first) => {
                    // The pipes are the others' from here on.
                    report.let_go();
                    drop(control);
                    Ok(init::wait_for(first).map_err(system("wait for the first process of the namespaces"))?)
                }
                Side::Child => {
                    // The parent has no number in here; the supervisor's end closes the control pipe.
                    let code = die_with_parent(None)
                        .and_then(|()| Ok(native::settle(&view)?))
                        .and_then(|()| stay_between(orders, command, report, control));
                    leave_with(code, report)
                }
            }
        }
    }
}

/// The first process of the namespaces: starts the command and tends it.
fn stay_between(
    orders: &Orders,
    command: &[OsString],
    report: &mut Report,
    control: Option<OwnedFd>,
) -> Result<i32, ConfineError> {
    let no_control = || ConfineError::System("listen to the supervisor", std::io::ErrorKind::InvalidInput.into());
    let control = control.ok_or_else(no_control)?;
    let own = std::process::id();
    match init::fork().map_err(system("start the command's process"))? {
        Side::Child => {
            let code = die_with_parent(Some(own))
                .and_then(|()| rustix::process::setsid().map_err(system("make a session for the command")))
                .map(drop)
                .and_then(|()| become_command(orders, command, report));
            leave_with(code, report)
        }
        Side::Parent(pid) => {
            report.let_go();
            // Nobody inside may look into this process.
            rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
                .map_err(system("hide the first process"))?;
            Ok(init::tend(pid, &control).map_err(system("tend the command"))?)
        }
    }
}

/// Ends this process when the one that started it ends, `parent`. It may have ended before this takes effect.
fn die_with_parent(parent: Option<u32>) -> Result<(), ConfineError> {
    let action = "tie itself to its parent";
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).map_err(system(action))?;
    let now = rustix::process::getppid().and_then(|pid| u32::try_from(pid.as_raw_nonzero().get()).ok());
    match parent.is_none_or(|parent| now == Some(parent)) {
        true => Ok(()),
        false => Err(ConfineError::System(action, std::io::Error::other("it has ended"))),
    }
}

/// Gives up everything that the policy does not grant and executes the command. Returns only when that fails.
fn become_command(orders: &Orders, command: &[OsString], report: &Report) -> Result<i32, ConfineError> {
    let (program, arguments) = command.split_first().ok_or(ConfineError::NoCommand)?;
    let (policy, confinement) = (&orders.policy, &orders.confinement);
    let inside = confinement.level() == crate::Level::Namespaces;
    std::env::set_current_dir(&orders.folder)
        .map_err(|source| ConfineError::Folder { path: orders.folder.clone(), source })?;
    limits::set(policy, limits::Known { counted: orders.counted, own_users: inside })?;
    let filters = seccomp::filters(Strictness { stage: policy.stage, namespaces: inside })?;
    let mut command = Command::new(program);
    command.args(arguments);
    if *confinement.mechanism() != Mechanism::Off {
        drop_capabilities()?;
    }
    rustix::thread::set_no_new_privs(true).map_err(system("give up new privileges"))?;
    match confinement.mechanism() {
        Mechanism::Off => {}
        Mechanism::Landlock => {
            fence::restrict(policy, confinement.landlock(), false)?;
            // The machine's own folder for temporary files is out of reach.
            match policy.write.first() {
                Some(folder) => command.env("TMPDIR", folder),
                None => command.env_remove("TMPDIR"),
            };
        }
        Mechanism::Namespaces | Mechanism::Bubblewrap(_) => {
            // Without it, what is handed over to be read could be opened again to be written, by its name in /proc/self/fd.
            if confinement.landlock() == 0 {
                return Err(ConfineError::System(
                    "confine itself without landlock",
                    std::io::ErrorKind::Unsupported.into(),
                ));
            }
            fence::restrict(policy, confinement.landlock(), true)?;
            command.env("TMPDIR", "/tmp");
        }
    }
    init::close_on_exec().map_err(system("close descriptors"))?;
    report.ready().map_err(system("report to the supervisor"))?;
    if *confinement.mechanism() != Mechanism::Off {
        seccomp::install(&filters)?;
    }
    Err(ConfineError::Execute { path: program.into(), source: command.exec() })
}

/// Gives up all capabilities, so that being root means nothing, for this process and all that it starts.
fn drop_capabilities() -> Result<(), ConfineError> {
    let action = "give up capabilities";
    let held = rustix::thread::capabilities(None).map_err(system(action))?;
    if held.effective.contains(CapabilitySet::SETPCAP) {
        for bit in 0..64 {
            let capability = CapabilitySet::from_bits_retain(1 << bit);
            match rustix::thread::remove_capability_from_bounding_set(capability) {
                // Past the last one that the kernel knows.
                Err(rustix::io::Errno::INVAL) => break,
                result => result.map_err(system(action))?,
            }
        }
    }
    match rustix::thread::clear_ambient_capability_set() {
        // Before Linux 4.3 there were none.
        Err(rustix::io::Errno::INVAL) => {}
        result => result.map_err(system(action))?,
    }
    let none = CapabilitySet::empty();
    let sets = CapabilitySets { effective: none, permitted: none, inheritable: none };
    rustix::thread::set_capabilities(None, sets).map_err(system(action))
}
