//! The calls of the C library that the attempts need, and nothing else. Everything here is for the test's use only.

use std::ffi::{CString, c_char, c_int, c_long, c_uint, c_void};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

pub const SIGALRM: c_int = 14;
pub const SIGURG: c_int = 23;
pub const SIGWINCH: c_int = 28;

/// Numbers of calls that the C library has no function for. From 424 on they are the same everywhere.
#[cfg(target_arch = "x86_64")]
pub mod number {
    pub const SOCKET: i64 = 41;
    pub const BPF: i64 = 321;
    pub const PERF_EVENT_OPEN: i64 = 298;
    pub const USERFAULTFD: i64 = 323;
    pub const ADD_KEY: i64 = 248;
    pub const KEYCTL: i64 = 250;
    pub const PIVOT_ROOT: i64 = 155;
    pub const REBOOT: i64 = 169;
    pub const INIT_MODULE: i64 = 175;
    pub const KEXEC_LOAD: i64 = 246;
    pub const IOPRIO_SET: i64 = 251;
    pub const CLONE: i64 = 56;
    pub const SYSLOG: i64 = 103;
    pub const IOCTL: i64 = 16;
    pub const PRLIMIT64: i64 = 302;
    pub const FCHMODAT2: i64 = 452;
}
#[cfg(target_arch = "aarch64")]
pub mod number {
    pub const SOCKET: i64 = 198;
    pub const BPF: i64 = 280;
    pub const PERF_EVENT_OPEN: i64 = 241;
    pub const USERFAULTFD: i64 = 282;
    pub const ADD_KEY: i64 = 217;
    pub const KEYCTL: i64 = 219;
    pub const PIVOT_ROOT: i64 = 41;
    pub const REBOOT: i64 = 142;
    pub const INIT_MODULE: i64 = 105;
    pub const KEXEC_LOAD: i64 = 104;
    pub const IOPRIO_SET: i64 = 30;
    pub const CLONE: i64 = 220;
    pub const SYSLOG: i64 = 116;
    pub const IOCTL: i64 = 29;
    pub const PRLIMIT64: i64 = 261;
    pub const FCHMODAT2: i64 = 452;
}
pub const PIDFD_SEND_SIGNAL: i64 = 424;
pub const IO_URING_SETUP: i64 = 425;
pub const OPEN_TREE: i64 = 428;
pub const FSOPEN: i64 = 430;
pub const PIDFD_OPEN: i64 = 434;
pub const CLONE3: i64 = 435;
pub const PIDFD_GETFD: i64 = 438;
pub const MOUNT_SETATTR: i64 = 442;

#[repr(C)]
pub struct Slice {
    pub start: *mut c_void,
    pub bytes: usize,
}

#[repr(C)]
struct Message {
    name: *const c_void,
    name_bytes: u32,
    slices: *mut Slice,
    slice_count: usize,
    control: *mut c_void,
    control_bytes: usize,
    flags: c_int,
}

#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limit {
    pub soft: u64,
    pub hard: u64,
}

#[rustfmt::skip]
unsafe extern "C" {
    pub fn syscall(number: c_long, ...) -> c_long;
    #[link_name = "fork"] fn c_fork() -> c_int;
    fn waitpid(pid: c_int, status: *mut c_int, options: c_int) -> c_int;
    #[link_name = "alarm"] fn c_alarm(seconds: c_uint) -> c_uint;
    fn _exit(code: c_int) -> !;
    pub fn signal(signal: c_int, handler: usize) -> usize;
    pub fn kill(pid: c_int, signal: c_int) -> c_int;
    pub fn getppid() -> c_int;
    pub fn getsid(pid: c_int) -> c_int;
    pub fn setsid() -> c_int;
    pub fn getuid() -> c_uint;
    pub fn geteuid() -> c_uint;
    pub fn getegid() -> c_uint;
    pub fn setresuid(real: c_uint, effective: c_uint, saved: c_uint) -> c_int;
    pub fn setresgid(real: c_uint, effective: c_uint, saved: c_uint) -> c_int;
    pub fn setgroups(count: usize, groups: *const c_uint) -> c_int;
    pub fn capget(header: *mut u32, data: *mut u32) -> c_int;
    pub fn capset(header: *mut u32, data: *const u32) -> c_int;
    pub fn prctl(option: c_int, ...) -> c_int;
    pub fn ptrace(request: c_long, ...) -> c_long;
    pub fn process_vm_readv(pid: c_int, to: *const Slice, tos: usize, from: *const Slice, froms: usize, flags: usize) -> isize;
    pub fn unshare(flags: c_int) -> c_int;
    pub fn setns(fd: c_int, kind: c_int) -> c_int;
    pub fn mount(source: *const c_char, target: *const c_char, kind: *const c_char, flags: usize, data: *const c_void) -> c_int;
    pub fn umount2(target: *const c_char, flags: c_int) -> c_int;
    pub fn chroot(path: *const c_char) -> c_int;
    pub fn mknod(path: *const c_char, mode: c_uint, device: u64) -> c_int;
    pub fn link(from: *const c_char, to: *const c_char) -> c_int;
    pub fn chown(path: *const c_char, user: c_uint, group: c_uint) -> c_int;
    pub fn chmod(path: *const c_char, mode: c_uint) -> c_int;
    pub fn linkat(from: c_int, old: *const c_char, to: c_int, new: *const c_char, flags: c_int) -> c_int;
    pub fn fchmod(fd: c_int, mode: c_uint) -> c_int;
    pub fn fchown(fd: c_int, user: c_uint, group: c_uint) -> c_int;
    pub fn futimens(fd: c_int, times: *const [i64; 4]) -> c_int;
    pub fn fsetxattr(fd: c_int, name: *const c_char, value: *const c_void, bytes: usize, flags: c_int) -> c_int;
    fn recvmsg(fd: c_int, message: *mut Message, flags: c_int) -> isize;
    pub fn utimensat(folder: c_int, path: *const c_char, times: *const [i64; 4], flags: c_int) -> c_int;
    pub fn setxattr(path: *const c_char, name: *const c_char, value: *const c_void, bytes: usize, flags: c_int) -> c_int;
    pub fn name_to_handle_at(folder: c_int, path: *const c_char, handle: *mut c_void, mount: *mut c_int, flags: c_int) -> c_int;
    pub fn open_by_handle_at(mount: c_int, handle: *mut c_void, flags: c_int) -> c_int;
    pub fn memfd_create(name: *const c_char, flags: c_uint) -> c_int;
    pub fn fcntl(fd: c_int, command: c_int, ...) -> c_int;
    pub fn socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int;
    pub fn getsockopt(fd: c_int, level: c_int, name: c_int, value: *mut c_void, bytes: *mut c_uint) -> c_int;
    pub fn mmap(at: *mut c_void, bytes: usize, protection: c_int, flags: c_int, fd: c_int, offset: i64) -> *mut c_void;
    pub fn setpriority(which: c_int, who: c_uint, value: c_int) -> c_int;
    pub fn getpriority(which: c_int, who: c_uint) -> c_int;
    pub fn sched_setaffinity(pid: c_int, bytes: usize, mask: *const u64) -> c_int;
    pub fn sched_getaffinity(pid: c_int, bytes: usize, mask: *mut u64) -> c_int;
    pub fn sched_setscheduler(pid: c_int, policy: c_int, parameters: *const c_int) -> c_int;
    pub fn prlimit(pid: c_int, resource: c_int, new: *const Limit, old: *mut Limit) -> c_int;
    pub fn sigqueue(pid: c_int, signal: c_int, value: usize) -> c_int;
    pub fn personality(persona: u64) -> c_int;
    pub fn shmget(key: c_int, bytes: usize, flags: c_int) -> c_int;
    pub fn shmat(id: c_int, at: *const c_void, flags: c_int) -> *mut c_void;
    pub fn shmctl(id: c_int, command: c_int, buffer: *mut c_void) -> c_int;
    pub fn mq_open(name: *const c_char, flags: c_int, ...) -> c_int;
    pub fn mq_unlink(name: *const c_char) -> c_int;
    pub fn inotify_init1(flags: c_int) -> c_int;
    pub fn inotify_add_watch(fd: c_int, path: *const c_char, mask: c_uint) -> c_int;
    pub fn fanotify_init(flags: c_uint, events: c_uint) -> c_int;
    pub fn sethostname(name: *const c_char, bytes: usize) -> c_int;
    pub fn gethostname(name: *mut c_char, bytes: usize) -> c_int;
    pub fn clock_gettime(clock: c_int, time: *mut [i64; 2]) -> c_int;
    pub fn clock_settime(clock: c_int, time: *const [i64; 2]) -> c_int;
    pub fn isatty(fd: c_int) -> c_int;
}

/// A path as the C library wants it.
pub fn c(path: impl AsRef<Path>) -> CString {
    CString::new(path.as_ref().as_os_str().as_bytes()).unwrap_or_default()
}

/// Success is what is not negative.
pub fn check(result: impl Into<i64>) -> io::Result<i64> {
    let result = result.into();
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// One system call with up to five numbers.
pub fn call(number: i64, arguments: &[i64]) -> io::Result<i64> {
    let at = |index: usize| arguments.get(index).copied().unwrap_or(0);
    // SAFETY: the attempts pass numbers, or addresses of what outlives the call.
    check(unsafe { syscall(number, at(0), at(1), at(2), at(3), at(4), at(5)) })
}

pub fn fork() -> c_int {
    // SAFETY: this program has one thread.
    unsafe { c_fork() }
}

/// Waits for the child and returns its status.
pub fn wait(child: c_int) -> c_int {
    let mut status = 0;
    // SAFETY: `status` outlives the call.
    while unsafe { waitpid(child, &mut status, 0) } < 0
        && io::Error::last_os_error().kind() == io::ErrorKind::Interrupted
    {}
    status
}

pub fn alarm(seconds: u32) {
    // SAFETY: no memory is involved.
    unsafe { c_alarm(seconds) };
}

pub fn exit_now(code: c_int) -> ! {
    // SAFETY: no memory is involved.
    unsafe { _exit(code) }
}

pub fn ignore(number: c_int) {
    // SAFETY: 1 is SIG_IGN.
    unsafe { signal(number, 1) };
}

/// Reading from the descriptor no longer waits.
pub fn unblock(fd: c_int) {
    const F_SETFL: c_int = 4;
    const O_NONBLOCK: c_int = 0o4000;
    // SAFETY: no memory is involved.
    unsafe { fcntl(fd, F_SETFL, O_NONBLOCK) };
}

/// The descriptor that comes with the first line of standard input.
pub fn receive() -> io::Result<c_int> {
    let mut line = [0_u8; 256];
    let mut slice = Slice { start: line.as_mut_ptr().cast(), bytes: line.len() };
    // Length, level, kind, one descriptor.
    #[repr(C)]
    struct Rights(usize, c_int, c_int, c_int);
    let mut rights = Rights(0, 0, 0, -1);
    let mut message = Message {
        name: std::ptr::null(),
        name_bytes: 0,
        slices: &mut slice,
        slice_count: 1,
        control: std::ptr::from_mut(&mut rights).cast(),
        control_bytes: size_of::<Rights>(),
        flags: 0,
    };
    // SAFETY: everything that the message points to outlives the call.
    check(unsafe { recvmsg(0, &mut message, 0) } as i64)?;
    Ok(rights.3)
}
