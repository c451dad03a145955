//! The hidden command `nocturne attempt`: tries from inside what a sandbox must prevent, and says what succeeded. A confinement
//! is believed only after this has failed in it.

use std::fs;
use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal};
use serde::{Deserialize, Serialize};

use crate::{Policy, Surroundings};

/// What is tried. JSON on the command line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Goals {
    secret: PathBuf,
    outside: PathBuf,
    output: PathBuf,
    tcp: Option<u16>,
    socket: PathBuf,
    abstract_name: String,
    victim: i32,
}

/// What came of it. JSON on standard output.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Told {
    /// What should have failed and did not.
    succeeded: Vec<String>,
    /// What should have succeeded and did not.
    failed: Vec<String>,
}

/// Things that are really there for a confined process to reach for: a file, a folder, sockets, a process.
#[derive(Debug)]
pub struct Ordeal {
    folder: PathBuf,
    goals: Goals,
    victim: Child,
    _listeners: (Option<TcpListener>, Option<UnixListener>, UnixListener),
}

const WAIT: &str = "wait";
const INTRUDER: &str = "intruder";

impl Ordeal {
    /// Lays everything out in a new folder below `within`. `helper` is the `nocturne` executable.
    ///
    /// # Errors
    /// When files, sockets or processes cannot be made.
    pub fn lay_out(within: &Path, helper: &Path) -> io::Result<Ordeal> {
        let folder = (0..1000)
            .map(|n| within.join(format!("nocturne-check-{}-{n}", std::process::id())))
            .find_map(|folder| match fs::create_dir(&folder) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => None,
                result => Some(result.map(|()| folder)),
            })
            .unwrap_or_else(|| Err(io::ErrorKind::AlreadyExists.into()))?;
        let laid_out = Self::fill(&folder, helper);
        if laid_out.is_err() {
            // The first error is the one that is told.
            let _best_effort = fs::remove_dir_all(&folder);
        }
        laid_out
    }

    fn fill(folder: &Path, helper: &Path) -> io::Result<Ordeal> {
        let folder = folder.canonicalize()?;
        let (output, secret, socket) = (folder.join("output"), folder.join("secret"), folder.join("socket"));
        fs::create_dir(&output)?;
        fs::write(&secret, "secret")?;
        let abstract_name = format!("{}{}", crate::cgroup::prefix(&folder.to_string_lossy()), std::process::id());
        // Without a network there is nothing to reach; the other attempts remain.
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).ok();
        let port = tcp.as_ref().and_then(|listener| Some(listener.local_addr().ok()?.port()));
        // A path may be too long for a socket, or its disk know none.
        let by_path = UnixListener::bind(&socket).ok();
        let by_name = UnixListener::bind_addr(&UnixAddress::from_abstract_name(&abstract_name)?)?;
        let victim = Command::new(helper)
            .args(["attempt", WAIT])
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let goals = Goals {
            secret,
            outside: folder.clone(),
            output,
            tcp: port,
            socket,
            abstract_name,
            victim: i32::try_from(victim.id()).unwrap_or(i32::MAX),
        };
        Ok(Ordeal { folder, goals, victim, _listeners: (tcp, by_path, by_name) })
    }

    /// What the confined process may touch: a training's policy, with the helper as its program. With a device, because then
    /// more of /proc and /sys is granted: what holds with one holds without.
    pub fn policy(&self, surroundings: &Surroundings, helper: &Path) -> Policy {
        let mut policy = Policy::train(surroundings, helper, &self.goals.output);
        policy.devices.push("/dev/null".into());
        policy
    }

    /// Where it runs: the one folder that it may write.
    pub fn folder(&self) -> &Path {
        &self.goals.output
    }

    /// Where its standard error may be kept.
    pub fn log(&self) -> PathBuf {
        self.folder.join("log.txt")
    }

    /// Arguments of the helper.
    pub fn arguments(&self) -> Vec<String> {
        vec!["attempt".to_owned(), serde_json::to_string(&self.goals).unwrap_or_default()]
    }

    /// Judges what the confined process printed and what became of what it reached for.
    ///
    /// # Errors
    /// Everything that succeeded and should not have, or the other way round, in words.
    pub fn judge(mut self, printed: &[u8]) -> Result<(), String> {
        let told: Told = serde_json::from_slice(printed)
            .map_err(|error| format!("the confined process did not say what it could do ({error})"))?;
        let mut wrong: Vec<String> =
            told.succeeded.iter().map(|attempt| format!("a confined process could {attempt}")).collect();
        wrong.extend(told.failed.iter().map(|attempt| format!("a confined process could not {attempt}")));
        if !matches!(self.victim.try_wait(), Ok(None)) {
            wrong.push("a confined process could kill another process".to_owned());
        }
        if self.folder.join(INTRUDER).exists() {
            wrong.push("a confined process could write outside of its folder".to_owned());
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join("; ")) }
    }
}

impl Drop for Ordeal {
    fn drop(&mut self) {
        // What cannot be cleaned up is in a folder for temporary files.
        let _gone = self.victim.kill();
        let _gone = self.victim.wait();
        let _gone = fs::remove_dir_all(&self.folder);
    }
}

/// Runs the hidden command.
pub fn main(goals: &str) -> ExitCode {
    if goals == WAIT {
        // Ends with its parent.
        let _end = io::stdin().read(&mut [0]);
        return ExitCode::SUCCESS;
    }
    let told = serde_json::from_str::<Goals>(goals).map(|goals| attempt(&goals));
    match told.and_then(|told| serde_json::to_string(&told)) {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("nocturne attempt: {error}");
            ExitCode::FAILURE
        }
    }
}

fn attempt(goals: &Goals) -> Told {
    let mut told = Told::default();
    if let Err(error) = fs::write(goals.output.join("allowed"), "x") {
        told.failed.push(format!("write into its own folder ({error})"));
    }
    let mut forbidden = |what: &str, succeeded: bool| {
        if succeeded {
            told.succeeded.push(what.to_owned());
        }
    };
    forbidden("read a file outside of its policy", fs::read(&goals.secret).is_ok());
    let listed =
        fs::read_dir(&goals.outside).is_ok_and(|entries| entries.flatten().any(|entry| entry.file_name() != "output"));
    forbidden("list a folder outside of its policy", listed);
    // Whether it came out is seen outside: in a view of its own a folder of this name may be there that is nobody else's.
    let _seen_outside = fs::write(goals.outside.join(INTRUDER), "x");
    let patience = Duration::from_secs(1);
    let connects = |port| TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), patience).is_ok();
    forbidden("connect by TCP", goals.tcp.is_some_and(connects));
    forbidden("listen by TCP", TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).is_ok());
    forbidden("make a UDP socket", UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).is_ok());
    forbidden("connect to a socket outside of its policy", UnixStream::connect(&goals.socket).is_ok());
    let by_name = UnixAddress::from_abstract_name(&goals.abstract_name);
    forbidden("connect to an abstract socket", by_name.is_ok_and(|name| UnixStream::connect_addr(&name).is_ok()));
    // In namespaces the number may be its own.
    let victim = Pid::from_raw(goals.victim).filter(|victim| *victim != rustix::process::getpid());
    forbidden(
        "kill another process",
        victim.is_some_and(|pid| rustix::process::kill_process(pid, Signal::KILL).is_ok()),
    );
    forbidden("make namespaces", namespaces());
    for setting in SETTINGS {
        // Only opened. Where even this user outside may not, there is nothing to show.
        let opened = fs::OpenOptions::new().write(true).open(setting).is_ok();
        forbidden(&format!("write the kernel's setting {setting}"), opened);
    }
    told
}

/// Settings of the whole machine, of each kind that there is in /proc and /sys: one that runs programs as root, one that stops
/// the machine, devices.
const SETTINGS: [&str; 5] = [
    "/proc/sys/kernel/core_pattern",
    "/proc/sys/vm/overcommit_memory",
    "/proc/sysrq-trigger",
    "/proc/irq/default_smp_affinity",
    "/sys/kernel/mm/transparent_hugepage/enabled",
];

fn namespaces() -> bool {
    // SAFETY: a user namespace concerns no descriptors; there is one thread.
    unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWUSER) }.is_ok()
}
