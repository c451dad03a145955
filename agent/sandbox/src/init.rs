//! The first process of a process namespace: passes SIGTERM on to the command, reaps, and ends everything by ending.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

use rustix::event::{PollFd, PollFlags};
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus};

/// What the supervisor writes into the control pipe when the command is to be asked to end.
pub(crate) const TERMINATE: u8 = b't';

/// Exit code when the supervisor is gone: as if killed.
const ABANDONED: i32 = 128 + 9;

/// Waits for the command and returns its exit code, 128 and the signal's number if a signal ended it. Returns early when the
/// other end of `control` is closed: then nobody is left who would want the command.
pub(crate) fn tend(command: Pid, control: &OwnedFd) -> io::Result<i32> {
    let children = child_signals()?;
    loop {
        loop {
            match rustix::process::wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if pid == command => return Ok(exit_code(status)),
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let mut events = [PollFd::new(control, PollFlags::IN), PollFd::new(&children, PollFlags::IN)];
        match rustix::event::poll(&mut events, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let [from_control, from_children] = events.map(|event| !event.revents().is_empty());
        let mut buffer = [0; 512];
        if from_control {
            match rustix::io::read(control, &mut buffer[..1]) {
                Ok(1) if buffer.first() == Some(&TERMINATE) => terminate(command),
                Ok(1) | Err(rustix::io::Errno::INTR) => {}
                Ok(_) | Err(_) => return Ok(ABANDONED),
            }
        }
        if from_children {
            // What it says is asked of waitpid above.
            let _read = rustix::io::read(&children, &mut buffer);
        }
    }
}

fn terminate(command: Pid) {
    // Gone already is as good as asked.
    if rustix::process::kill_process_group(command, Signal::TERM).is_err() {
        let _gone = rustix::process::kill_process(command, Signal::TERM);
    }
}

/// A descriptor that becomes readable when a child ends.
fn child_signals() -> io::Result<OwnedFd> {
    // SAFETY: `set` is initialised by sigemptyset before it is used; all pointers are valid for the calls, and the descriptor
    // that signalfd returns is nobody else's.
    unsafe {
        let mut set = std::mem::zeroed::<libc::sigset_t>();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGCHLD);
        if libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) != 0 {
            return Err(io::Error::last_os_error());
        }
        match libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) {
            -1 => Err(io::Error::last_os_error()),
            descriptor => Ok(OwnedFd::from_raw_fd(descriptor)),
        }
    }
}

/// Exit code of a process, 128 and the signal's number if a signal ended it.
pub(crate) fn exit_code(status: WaitStatus) -> i32 {
    status.exit_status().or_else(|| status.terminating_signal().map(|signal| 128 + signal)).unwrap_or(255)
}

/// Which side of a fork this is.
pub(crate) enum Side {
    /// The old process, and the new one's id.
    Parent(Pid),
    /// The new process.
    Child,
}

/// Forks. Must be called while there is one thread: the child then may do whatever the parent may.
pub(crate) fn fork() -> io::Result<Side> {
    // SAFETY: the helper has one thread, so no lock can be held by a thread that the child lacks.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Side::Child),
        pid => Pid::from_raw(pid).map(Side::Parent).ok_or_else(|| io::Error::other("fork returned no process id")),
    }
}

/// Waits for one child.
pub(crate) fn wait_for(pid: Pid) -> io::Result<i32> {
    loop {
        match rustix::process::waitpid(Some(pid), WaitOptions::empty()) {
            Ok(Some((_, status))) => return Ok(exit_code(status)),
            Ok(None) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Takes over a descriptor that was inherited under a number that the command line names.
pub(crate) fn inherited(number: i32) -> io::Result<OwnedFd> {
    if number <= 2 {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a standard stream is no pipe to the supervisor"));
    }
    // SAFETY: F_GETFD only looks whether the number is an open descriptor.
    if unsafe { libc::fcntl(number, libc::F_GETFD) } == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is open, was made for this process by the supervisor, and nothing else here owns it.
    let descriptor = unsafe { OwnedFd::from_raw_fd(number) };
    rustix::io::fcntl_setfd(&descriptor, rustix::io::FdFlags::CLOEXEC)?;
    Ok(descriptor)
}

/// Makes every descriptor above the standard streams close itself when another program is executed.
pub(crate) fn close_on_exec() -> io::Result<()> {
    // SAFETY: with CLOSE_RANGE_CLOEXEC nothing is closed, only marked.
    let result = unsafe { libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if result == 0 {
        return Ok(());
    }
    // Kernels before 5.11 do not know it.
    for entry in std::fs::read_dir("/proc/self/fd")?.flatten() {
        let number = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok());
        if let Some(number) = number.filter(|number| *number > 2) {
            // SAFETY: only the flag of a descriptor is set; one that is closed by now is an error without effect.
            unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
        }
    }
    Ok(())
}

/// Lets a descriptor be inherited by the program that is executed next.
pub(crate) fn inherit(descriptor: &OwnedFd) -> io::Result<()> {
    Ok(rustix::io::fcntl_setfd(descriptor, rustix::io::FdFlags::empty())?)
}
