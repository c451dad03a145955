//! The helper process between the agent and everything that runs edited code (`nocturne supervise`, hidden).
//!
//! It starts one command, confined if it has a policy, in a process group of its own and waits. Whatever happens (the command
//! ends, passes a limit, the agent asks it to stop, the agent is killed), nothing that the command started outlives the helper:
//! it is a *subreaper*, so orphans become its children, and it kills until it has none.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitCode, ExitStatus};
use std::time::Duration;

use rustix::process::{Pid, Signal};
use sandbox::{Confinement, Group, Level, Link, Passed, Policy, Watch};
use serde::{Deserialize, Serialize};
use tokio::process::Child;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

use super::core_set::CoreSet;
use super::process::TAG_VARIABLE;
use super::tree::{Tree, descendants, signal_group};

/// How a command is confined, and to what. Goes to the helper as JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Confined {
    /// The machine's mechanisms.
    pub confinement: Confinement,
    /// What the command may touch.
    pub policy: Policy,
}

/// What the helper is told on its command line.
#[derive(Debug, Clone)]
pub struct Orders {
    /// The agent's process id; the helper stops at once when its parent is another.
    pub parent: u32,
    /// Added to the command's niceness. What is nicer than the agent is the first to go where memory runs out.
    pub nice: i32,
    /// These cores are all that the command may use; `None`: all that the helper may.
    pub cores: Option<CoreSet>,
    /// Seconds between SIGTERM and SIGKILL when the agent asks to stop.
    pub grace_seconds: f64,
    /// [`Confined`] as JSON; without, the command runs as it is.
    pub confined: Option<String>,
    /// The command and its arguments.
    pub command: Vec<OsString>,
}

/// Exit code of the helper when it could not do its work at all; what went wrong stands on standard error. A command that ends
/// with this code itself is told as 1.
pub const COULD_NOT_START: u8 = 125;

/// Added to what the kernel goes by when memory runs out, of a thousand.
const FIRST_TO_GO: &str = "500";

/// How often limits are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// The same where nothing else limits how many processes there are: hundreds can be started in this time.
const LOOK_EVERY_UNCOUNTED: Duration = Duration::from_millis(10);

/// Runs the helper. Its exit code is the command's, or 128 and the number of the signal that ended it.
pub fn main(orders: Orders) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return could_not_start("cannot start the runtime", &error),
    };
    let supervised = std::panic::AssertUnwindSafe(|| runtime.block_on(supervise(&orders)));
    match std::panic::catch_unwind(supervised) {
        Ok(Ok(code)) => ExitCode::from(code),
        Ok(Err(failure)) => could_not_start(failure.what, &*failure.why),
        // A panic's own exit code would be taken for that of the command, and the command's model would have to answer for it.
        Err(_) => could_not_start("went wrong itself", &"the reason stands above"),
    }
}

/// Why the command could not be started.
struct CouldNot {
    what: &'static str,
    why: Box<dyn std::fmt::Display>,
}

fn could_not<E: std::fmt::Display + 'static>(what: &'static str) -> impl FnOnce(E) -> CouldNot {
    move |error| CouldNot { what, why: Box::new(error) }
}

async fn supervise(orders: &Orders) -> Result<u8, CouldNot> {
    // Before anything else is started: from here on the agent's death reaches us as SIGTERM.
    rustix::process::set_parent_process_death_signal(Some(Signal::TERM))
        .map_err(could_not("cannot tie itself to the agent"))?;
    let mut terminate = signal(SignalKind::terminate()).map_err(could_not("cannot listen for signals"))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(could_not("cannot listen for signals"))?;
    // The agent may have died before the line above took effect.
    if orphaned(orders.parent) {
        return Ok(COULD_NOT_START);
    }
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .map_err(could_not("cannot become the reaper of its descendants"))?;
    if orders.nice != 0 {
        rustix::process::nice(orders.nice).map_err(could_not("cannot lower its priority"))?;
    }
    if orders.nice > 0 {
        // What gives way to others on the processor does so where memory runs out. An evaluation does neither: it would count against its model.
        std::fs::write("/proc/self/oom_score_adj", FIRST_TO_GO).map_err(could_not("cannot offer its memory first"))?;
    }
    if let Some(cores) = &orders.cores {
        cores.keep_to().map_err(could_not("cannot keep to the cores that are its own"))?;
    }
    let confined = match &orders.confined {
        Some(text) => Some(serde_json::from_str::<Confined>(text).map_err(could_not("cannot read its orders"))?),
        None => None,
    };
    let Started { mut child, link, tree } = start(orders, confined.as_ref())?;
    // What multiplies must not keep the helper from ending it. Only root may do so; others have a limit on their tasks.
    let _allowed = rustix::process::setpriority_process(None, -15);
    let memory_limit = confined.as_ref().and_then(|confined| confined.policy.limits.memory_bytes).unwrap_or(0);
    let over_memory = |tree: &Tree| {
        let killed = tree.counted.as_ref().is_some_and(|group| group.memory_kills() > 0);
        killed.then_some(Passed::Memory { limit: memory_limit })
    };
    let mut watch = confined.as_ref().map(|confined| Watch::new(&confined.policy, tree.counted.is_some()));
    let every = if tree.counted.is_some() { LOOK_EVERY } else { LOOK_EVERY_UNCOUNTED };
    let mut ticks = tokio::time::interval_at(Instant::now() + every, every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut passed = None;
    // When everything is to be killed, once it has been asked to end.
    let mut kill_at: Option<Instant> = None;
    let status = loop {
        tokio::select! {
            status = child.wait() => break status,
            // A terminal's Ctrl-C is the agent's business.
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {
                if orphaned(orders.parent) {
                    kill_at = Some(Instant::now());
                } else if kill_at.is_none() {
                    if !link.as_ref().is_some_and(Link::terminate) {
                        signal_group(tree.group, Signal::TERM);
                    }
                    kill_at = Some(Instant::now() + Duration::from_secs_f64(orders.grace_seconds));
                }
            }
            () = tokio::time::sleep_until(kill_at.unwrap_or_else(Instant::now)), if kill_at.is_some() => {
                tree.kill();
                // Again, should that not have been enough.
                kill_at = Some(Instant::now() + LOOK_EVERY);
            }
            // Once it is being ended, nothing may delay that; what it wrote is looked at in the end.
            _ = ticks.tick(), if watch.is_some() && passed.is_none() && kill_at.is_none() => {
                let looked = watch.as_mut().and_then(|watch| watch.look(processes_below));
                passed = over_memory(&tree).or(looked);
                if passed.is_some() {
                    kill_at = Some(Instant::now());
                }
            }
        }
    };
    let passed = passed.or_else(|| over_memory(&tree));
    let ended = tree.end();
    let passed = passed.or_else(|| watch.as_ref().and_then(Watch::look_at_output));
    if let Err(left) = ended {
        eprintln!("nocturne supervise: {left}");
    }
    if let Some(passed) = passed {
        eprintln!("nocturne supervise: ended because {passed}");
        return Ok(passed.exit_code());
    }
    let status = status.map_err(could_not("cannot wait for the command"))?;
    match link.map_or(Ok(()), Link::outcome) {
        // Killed before it came to anything.
        Err(why) if why.is_empty() && kill_at.is_some() => Ok(128 + 9),
        Err(why) if why.is_empty() => Err(could_not("cannot confine the command")(status)),
        Err(why) => Err(could_not("cannot start the command confined")(why)),
        Ok(()) => Ok(exit_code(status)),
    }
}

/// A command that runs.
struct Started {
    child: Child,
    link: Option<Link>,
    tree: Tree,
}

fn start(orders: &Orders, confined: Option<&Confined>) -> Result<Started, CouldNot> {
    let Some((program, arguments)) = orders.command.split_first() else {
        return Err(could_not("cannot start")("no command given"));
    };
    let Some(Confined { confinement, policy }) = confined else {
        let mut command = std::process::Command::new(program);
        command.args(arguments);
        return spawn(command, None, None, false);
    };
    let counted = match confinement.cgroup() {
        Some(cgroup) => {
            let tag = std::env::var(TAG_VARIABLE).unwrap_or_default();
            let name = format!("{}{}", sandbox::group_prefix(&tag), std::process::id());
            Some(Group::create(cgroup, &name, &policy.limits).map_err(could_not("cannot limit memory and tasks"))?)
        }
        None => None,
    };
    let helper = std::env::current_exe().map_err(could_not("cannot find its own executable"))?;
    let folder = std::env::current_dir().map_err(could_not("cannot tell the current folder"))?;
    let namespace = confinement.level() == Level::Namespaces;
    match sandbox::prepare(&helper, confinement, policy, &folder, counted.as_ref(), &orders.command) {
        Ok(prepared) => spawn(prepared.command, Some(prepared.link), counted, namespace),
        Err(error) => {
            end_group(counted);
            Err(could_not("cannot confine the command")(error))
        }
    }
}

fn spawn(
    command: std::process::Command,
    link: Option<Link>,
    counted: Option<Group>,
    namespace: bool,
) -> Result<Started, CouldNot> {
    let program = command.get_program().to_string_lossy().into_owned();
    let mut command = tokio::process::Command::from(command);
    // A confined command makes a session of its own, which the leader of a group cannot.
    if link.is_none() {
        command.process_group(0);
    }
    match command.spawn() {
        Ok(child) => {
            let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
            Ok(Started { child, link, tree: Tree { group, counted, namespace } })
        }
        Err(error) => {
            end_group(counted);
            Err(could_not("cannot start")(format!("{program}: {error}")))
        }
    }
}

fn end_group(group: Option<Group>) {
    if let Some(Err(error)) = group.map(Group::end) {
        eprintln!("nocturne supervise: {error}");
    }
}

fn processes_below() -> Vec<Pid> {
    descendants(rustix::process::getpid()).into_iter().map(|process| process.pid).collect()
}

fn orphaned(parent: u32) -> bool {
    rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get()) != i32::try_from(parent).ok()
}

fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(i32::from(u8::MAX));
    match u8::try_from(code).unwrap_or(u8::MAX) {
        // Only the helper itself may say this.
        COULD_NOT_START | sandbox::FULL_DISK => 1,
        code => code,
    }
}

fn could_not_start(what: &str, error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("nocturne supervise: {what}: {error}");
    ExitCode::from(COULD_NOT_START)
}
