//! Other processes: looking into them, disturbing them, outliving them.

use std::fs;
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::FileExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::attempts::{Attempt, Control, Found, attempt};
use crate::files::{below, holds_marker, read};
use crate::world::World;
use crate::{MARKER, sys, victim};

pub fn attempts() -> Vec<Attempt> {
    let all: [(&str, Control, fn(&World) -> Found); 37] = [
        ("ptrace-seize", Control::Must, ptrace),
        ("process-vm-readv", Control::Must, read_memory),
        ("proc-mem", Control::Must, |world| memory_file(world, "/proc/VICTIM/mem")),
        ("proc-task-mem", Control::Must, |world| memory_file(world, "/proc/VICTIM/task/VICTIM/mem")),
        ("proc-environ", Control::Must, |world| read(&of_victim(world, "environ"))),
        ("proc-cmdline", Control::Must, |world| read(&of_victim(world, "cmdline"))),
        ("proc-maps", Control::Must, |world| Found::of(fs::read(of_victim(world, "maps")).and_then(not_empty))),
        ("proc-root", Control::Must, |world| read(&below(&of(world, "root"), world.secret("home")))),
        ("proc-cwd", Control::Must, |world| {
            read(&Path::new(&of(world, "cwd")).join(world.secret("home").file_name().unwrap_or_default()))
        }),
        ("proc-fd", Control::Must, |world| read(&of_victim(world, "fd/0").with_file_name(world.get("victim-fd")))),
        ("proc-exe-of-the-agent", Control::Never, |world| {
            let path = format!("/proc/{}/exe", world.get("agent"));
            Found::of(fs::OpenOptions::new().append(true).open(path))
        }),
        ("proc-environ-of-the-first", Control::Never, |_| read(Path::new("/proc/1/environ"))),
        ("proc-environ-of-anybody", Control::Must, environ_of_anybody),
        ("proc-environ-of-the-agent", Control::Must, |world| {
            Found::of(fs::read(format!("/proc/{}/environ", world.get("agent"))).and_then(not_empty))
        }),
        ("proc-oom-of-the-agent", Control::Never, |world| {
            Found::of(fs::write(format!("/proc/{}/oom_score_adj", world.get("agent")), "1000"))
        }),
        ("pidfd-descriptor", Control::Must, pidfd_descriptor),
        ("pidfd-of-the-peer-of-standard-input", Control::Never, pidfd_of_peer),
        ("signal", Control::Must, |world| signalled(world, 40, |pid| sys::check(unsafe { sys::kill(pid, 40) }))),
        ("signal-by-queue", Control::Must, |world| {
            signalled(world, 41, |pid| sys::check(unsafe { sys::sigqueue(pid, 41, 0) }))
        }),
        ("signal-by-pidfd", Control::Must, |world| {
            signalled(world, 42, |pid| {
                let fd = sys::call(sys::PIDFD_OPEN, &[pid.into(), 0])?;
                sys::call(sys::PIDFD_SEND_SIGNAL, &[fd, 42, 0, 0])
            })
        }),
        ("signal-by-owner-of-a-pipe", Control::Must, |world| signalled(world, 43, |pid| by_owner(pid, 43))),
        ("signal-to-a-group", Control::Must, |world| {
            signalled(world, sys::SIGURG, |_| sys::check(unsafe { sys::kill(-world.pid("group"), sys::SIGURG) }))
        }),
        ("signal-to-everybody", Control::Never, |world| {
            signalled(world, sys::SIGWINCH, |_| sys::check(unsafe { sys::kill(-1, sys::SIGWINCH) }))
        }),
        ("signal-to-the-agent", Control::Must, |world| {
            Found::of(sys::check(unsafe { sys::kill(world.pid("agent"), 0) }))
        }),
        ("signal-to-the-parent", Control::Must, signal_parent),
        ("priority-of-another", Control::Must, |world| {
            changed(world, "priority", sys::check(unsafe { sys::setpriority(0, world.pid("victim") as u32, 15) }))
        }),
        ("priority-with-high-bits", Control::Never, |world| {
            const SETPRIORITY: i64 = if cfg!(target_arch = "x86_64") { 141 } else { 140 };
            changed(world, "priority", sys::call(SETPRIORITY, &[1 << 32, i64::from(world.pid("victim")) | 1 << 32, 15]))
        }),
        ("processors-of-another", Control::May, |world| {
            changed(world, "processors", sys::check(unsafe { sys::sched_setaffinity(world.pid("victim"), 8, &1) }))
        }),
        ("limits-of-another", Control::Must, |world| {
            let limit = sys::Limit { soft: 77, hard: 77 };
            let set = sys::check(unsafe { sys::prlimit(world.pid("victim"), 7, &limit, std::ptr::null_mut()) });
            changed(world, "limits", set)
        }),
        ("limits-with-high-bits", Control::Never, |world| {
            let limit = sys::Limit { soft: 77, hard: 77 };
            let pid = i64::from(world.pid("victim")) | 1 << 32;
            let address = std::ptr::from_ref(&limit).addr() as i64;
            changed(world, "limits", sys::call(sys::number::PRLIMIT64, &[pid, 7, address, 0]))
        }),
        ("disk-priority-of-another", Control::May, |world| {
            Found::of(sys::call(sys::number::IOPRIO_SET, &[1, world.number("victim"), 3 << 13]))
        }),
        ("own-memory-of-a-readable-file", Control::Never, own_memory_private),
        ("own-memory-of-a-shared-file", Control::Never, own_memory_shared),
        ("own-executable", Control::Never, |world| {
            let opened = fs::OpenOptions::new().append(true).open("/proc/self/exe");
            Found::done(opened, world.get("executable"))
        }),
        ("session-of-the-agent", Control::Must, session),
        ("terminal", Control::May, terminal),
        ("outlive-the-helper", Control::Must, outlive),
    ];
    all.into_iter().map(|(name, control, make)| attempt(name, control, make)).collect()
}

fn of(world: &World, file: &str) -> String {
    format!("/proc/{}/{file}", world.get("victim"))
}

fn of_victim(world: &World, file: &str) -> PathBuf {
    PathBuf::from(of(world, file))
}

fn not_empty(bytes: Vec<u8>) -> io::Result<()> {
    if bytes.is_empty() { Err(io::Error::other("it is empty")) } else { Ok(()) }
}

fn ptrace(world: &World) -> Found {
    const PTRACE_SEIZE: i64 = 0x4206;
    // SAFETY: no memory is involved.
    Found::of(sys::check(unsafe { sys::ptrace(PTRACE_SEIZE, i64::from(world.pid("victim")), 0_i64, 0_i64) }))
}

fn read_memory(world: &World) -> Found {
    let mut bytes = vec![0_u8; MARKER.len()];
    let to = sys::Slice { start: bytes.as_mut_ptr().cast(), bytes: bytes.len() };
    let from =
        sys::Slice { start: std::ptr::without_provenance_mut(world.number("address") as usize), bytes: bytes.len() };
    // SAFETY: the local buffer is as long as it says; the other address is not ours.
    match sys::check(unsafe { sys::process_vm_readv(world.pid("victim"), &to, 1, &from, 1, 0) } as i64) {
        Ok(_) => Found::when(holds_marker(&bytes), "its memory was read"),
        Err(error) => Found::Held(error.to_string()),
    }
}

fn memory_file(world: &World, path: &str) -> Found {
    let mut bytes = vec![0_u8; MARKER.len()];
    let opened = fs::File::open(path.replace("VICTIM", world.get("victim")));
    match opened.and_then(|file| file.read_at(&mut bytes, world.number("address") as u64)) {
        Ok(_) => Found::when(holds_marker(&bytes), "its memory was read"),
        Err(error) => Found::Held(error.to_string()),
    }
}

fn environ_of_anybody(_: &World) -> Found {
    let entries = match fs::read_dir("/proc") {
        Ok(entries) => entries,
        Err(error) => return Found::Held(error.to_string()),
    };
    let found =
        entries.flatten().find(|entry| holds_marker(&fs::read(entry.path().join("environ")).unwrap_or_default()));
    Found::when(found.is_some(), "looked at everybody")
}

/// Copies the bystander's descriptor of a secret file into this process.
fn pidfd_descriptor(world: &World) -> Found {
    let got = sys::call(sys::PIDFD_OPEN, &[world.number("victim"), 0])
        .and_then(|pidfd| sys::call(sys::PIDFD_GETFD, &[pidfd, world.number("victim-fd"), 0]));
    Found::of(got)
}

/// A socket tells who made it, as a descriptor of that process, whatever the namespace.
fn pidfd_of_peer(_: &World) -> Found {
    const SOL_SOCKET: i32 = 1;
    const SO_PEERPIDFD: i32 = 77;
    let mut pidfd = -1_i32;
    let mut bytes = 4;
    // SAFETY: the buffer is as long as it says.
    let got =
        unsafe { sys::getsockopt(0, SOL_SOCKET, SO_PEERPIDFD, std::ptr::from_mut(&mut pidfd).cast(), &mut bytes) };
    if let Err(error) = sys::check(got) {
        return Found::Held(format!("no peer is told: {error}"));
    }
    // The peer may be this process itself, where the helper made the socket.
    let signalled = sys::call(sys::PIDFD_SEND_SIGNAL, &[pidfd.into(), 0, 0, 0]);
    let copied = sys::call(sys::PIDFD_GETFD, &[pidfd.into(), 0, 0]);
    match (signalled, copied) {
        (Err(signalled), Err(copied)) => Found::Held(format!("signal: {signalled}; descriptor: {copied}")),
        (signalled, copied) => Found::Escaped(format!("signal: {signalled:?}; descriptor: {copied:?}")),
    }
}

/// Sends a signal to the bystander, who leaves a file when it arrives.
fn signalled(world: &World, signal: i32, send: impl Fn(i32) -> io::Result<i64>) -> Found {
    debug_assert!(victim::SIGNALS.contains(&signal));
    let note = Path::new(world.get("notes")).join(format!("signal-{signal}"));
    Found::done(send(world.pid("victim")), note.to_string_lossy())
}

/// What the bystander says about itself in the end.
fn changed(world: &World, what: &str, result: io::Result<i64>) -> Found {
    let note = Path::new(world.get("notes")).join(format!("changed-{what}"));
    Found::done(result, note.to_string_lossy())
}

/// Makes the bystander the owner of a pipe, who is then told by a signal of this process's choice that there is something.
fn by_owner(pid: i32, signal: i32) -> io::Result<i64> {
    const F_SETFL: i32 = 4;
    const F_SETOWN: i32 = 8;
    const F_SETSIG: i32 = 10;
    const O_ASYNC: i32 = 0o20000;
    let (from, mut to) = io::pipe()?;
    let fd = from.as_raw_fd();
    // SAFETY: no memory is involved.
    unsafe {
        sys::check(sys::fcntl(fd, F_SETSIG, signal))?;
        sys::check(sys::fcntl(fd, F_SETOWN, pid))?;
        sys::check(sys::fcntl(fd, F_SETFL, O_ASYNC))?;
    }
    io::Write::write_all(&mut to, b"x")?;
    Ok(0)
}

/// The parent of the whole program, which this attempt's parent is.
fn signal_parent(world: &World) -> Found {
    // SAFETY: no memory is involved.
    let program = unsafe { sys::getppid() };
    let stat = fs::read_to_string(format!("/proc/{program}/stat")).unwrap_or_default();
    let parent = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse::<i32>().ok());
    match parent {
        None => Found::Held("it is not told".to_owned()),
        // The first process of a namespace of its own ends with that namespace; it is nobody outside.
        Some(parent @ (0 | 1)) if !world.is_control() => {
            Found::Held(format!("it is {parent}, in a namespace of its own"))
        }
        // SAFETY: no memory is involved.
        Some(parent) => Found::of(sys::check(unsafe { sys::kill(parent, 0) })),
    }
}

/// Maps a file's first page.
fn map(path: &Path, shared: bool) -> io::Result<u64> {
    let file = fs::File::open(path)?;
    // SAFETY: a new mapping; nothing is read through it.
    let at = unsafe { sys::mmap(std::ptr::null_mut(), 4096, 1, if shared { 1 } else { 2 }, file.as_raw_fd(), 0) };
    if at.addr() == usize::MAX { Err(io::Error::last_os_error()) } else { Ok(at.addr() as u64) }
}

/// /proc/self/mem writes where the page tables say no. In a private mapping that changes this process's copy, which is no
/// escape; held is that the file stays as it is.
fn own_memory(world: &World, shared: bool) -> Found {
    let written = map(world.secret("executable"), shared).and_then(|at| {
        fs::OpenOptions::new().read(true).write(true).open("/proc/self/mem")?.write_all_at(b"overwritten", at)
    });
    Found::done(written, world.get("executable"))
}

fn own_memory_private(world: &World) -> Found {
    own_memory(world, false)
}

fn own_memory_shared(world: &World) -> Found {
    own_memory(world, true)
}

/// Who shares the agent's session shares its terminal, and what it types there reaches the person's shell.
fn session(world: &World) -> Found {
    // SAFETY: no memory is involved.
    let session = unsafe { sys::getsid(0) };
    // 0: the session's leader is not in this namespace, so the session is one of outside.
    Found::when(session <= 0 || session == world.pid("session"), format!("the session is {session}"))
}

fn terminal(_: &World) -> Found {
    const TIOCSTI: i64 = 0x5412;
    let mut tried = Vec::new();
    for path in ["/dev/tty", "/dev/console", "/dev/tty1", "/dev/pts/0"] {
        match fs::OpenOptions::new().read(true).write(true).open(path) {
            Ok(_) => return Found::Escaped(format!("{path} opens")),
            Err(error) => tried.push(format!("{path}: {error}")),
        }
    }
    for fd in 0..3 {
        // SAFETY: one byte is read by the call.
        if unsafe { sys::isatty(fd) } == 1
            && sys::call(sys::number::IOCTL, &[fd.into(), TIOCSTI, c"x".as_ptr().addr() as i64]).is_ok()
        {
            return Found::Escaped(format!("descriptor {fd} takes what is typed"));
        }
    }
    Found::Held(tried.join("; "))
}

/// Leaves group and session, has no parent to die with, collects orphans, and sleeps.
fn outlive(world: &World) -> Found {
    const PR_SET_PDEATHSIG: i32 = 1;
    const PR_SET_CHILD_SUBREAPER: i32 = 36;
    let mut command = Command::new("/proc/self/exe");
    command.arg("idle").arg(world.get("outlive"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // SAFETY: between fork and exec only these calls are made.
    unsafe {
        command.pre_exec(|| {
            sys::prctl(PR_SET_CHILD_SUBREAPER, 1_i64);
            sys::prctl(PR_SET_PDEATHSIG, 0_i64);
            sys::setsid();
            if sys::fork() > 0 {
                sys::exit_now(0);
            }
            sys::prctl(PR_SET_PDEATHSIG, 0_i64);
            sys::ignore(1);
            sys::ignore(15);
            Ok(())
        });
    }
    match command.spawn() {
        Ok(mut child) => Found::done(child.wait(), "outlives"),
        Err(error) => Found::Held(error.to_string()),
    }
}
