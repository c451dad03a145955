//! A hostile program: uses up whatever it runs on, or does not end. Each kind is named on the command line.
//!
//! Each kind stops by itself at a bound that no machine suffers from, far beyond what a sandbox allows; it then says `ESCAPED`
//! on standard output. `ready` means that it is about to begin.

use std::ffi::{c_int, c_void};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

const MIB: usize = 1 << 20;

/// Processes that the fork bomb makes at most.
const MOST_PROCESSES: u32 = 1_000;

/// Memory that the hog takes at most, in all.
const MOST_MEMORY: usize = 2_048 * MIB;

/// What is written to one place at most.
const MOST_DISK: u64 = 2_048 * MIB as u64;

unsafe extern "C" {
    fn fork() -> c_int;
    fn setsid() -> c_int;
    fn signal(signal: c_int, handler: usize) -> usize;
    fn raise(signal: c_int) -> c_int;
    fn prctl(option: c_int, ...) -> c_int;
    fn mmap(at: *mut c_void, bytes: usize, protection: c_int, flags: c_int, fd: c_int, offset: i64) -> *mut c_void;
    fn sendmsg(fd: c_int, message: *const Message, flags: c_int) -> isize;
}

#[repr(C)]
struct Message {
    name: *const c_void,
    name_bytes: u32,
    slices: *const [usize; 2],
    slice_count: usize,
    control: *const c_void,
    control_bytes: usize,
    flags: c_int,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let kind = arguments.get(1).map(String::as_str).unwrap_or_default();
    let folder = arguments.get(2).map(String::as_str).unwrap_or(".");
    if kind == "idle" {
        sleep();
    }
    println!("ready");
    let came_of_it = match kind {
        "hello" => return ExitCode::SUCCESS,
        "ignores-sigterm" => ignore_signals(),
        "stops-itself" => stop_itself(),
        "daemon" => daemon(),
        "daemon-that-stays" => daemon().map(|_| sleep()),
        "fork-bomb" => fork_bomb(),
        "thread-bomb" => thread_bomb(),
        "memory-hog" => memory_hog(),
        "memory-hog-of-many" => memory_hog_of_many(),
        "memory-of-files" => memory_of_files(),
        "descriptors" => descriptors(),
        "output" => pour(&mut io::stdout()),
        "errors" => pour(&mut io::stderr()),
        "streams-in-flight" => send_streams(),
        "one-big-file" | "big-file-in-tmp" | "big-file-in-shm" => big_file(Path::new(folder)),
        "many-big-files" => many_files(Path::new(folder), 16 * MIB),
        "many-small-files" | "small-files-in-tmp" => many_files(Path::new(folder), 200_000),
        "many-empty-files" => many_files(Path::new(folder), 0),
        "deep-folders" => deep_folders(Path::new(folder)),
        "closed-folder" => closed_folder(Path::new(folder)),
        "sparse-checkpoint" => sparse(Path::new(folder)),
        "hidden-file" => hidden_file(Path::new(folder)),
        other => Err(io::Error::other(format!("what is {other:?}?"))),
    };
    match came_of_it {
        Ok(what) => println!("ESCAPED {what}"),
        Err(error) => println!("refused: {error}"),
    }
    // Whatever was refused, it does not end of its own accord.
    if ["daemon", "streams-in-flight", "sparse-checkpoint"].contains(&kind) {
        return ExitCode::SUCCESS;
    }
    sleep()
}

fn sleep() -> ! {
    loop {
        std::thread::sleep(Duration::from_secs(1_000));
    }
}

fn deaf() {
    for number in [1, 2, 3, 10, 12, 15] {
        // SAFETY: 1 is SIG_IGN.
        unsafe { signal(number, 1) };
    }
}

fn ignore_signals() -> io::Result<String> {
    deaf();
    sleep()
}

fn stop_itself() -> io::Result<String> {
    // SAFETY: 19 is SIGSTOP.
    unsafe { raise(19) };
    sleep()
}

/// A grandchild in a session of its own that has let go of everything by which it could be found.
fn daemon() -> io::Result<String> {
    // SAFETY: this program has one thread.
    if unsafe { fork() } == 0 {
        deaf();
        // SAFETY: no memory is involved. 36 is PR_SET_CHILD_SUBREAPER, 1 is PR_SET_PDEATHSIG.
        unsafe {
            setsid();
            prctl(36, 1_i64);
            prctl(1, 0_i64);
        }
        let mut command = Command::new("/proc/self/exe");
        let mark = std::env::args().nth(3).unwrap_or_default();
        command.args(["idle", &mark]).env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        for _ in 0..3 {
            command.spawn()?;
        }
        sleep();
    }
    std::thread::sleep(Duration::from_millis(100));
    Err(io::Error::other("the daemon is started"))
}

/// A number that all processes share.
fn shared() -> &'static AtomicU32 {
    // SAFETY: a new anonymous mapping, shared with whatever is forked, never unmapped.
    unsafe {
        let at = mmap(std::ptr::null_mut(), 4096, 3, 0x21, -1, 0);
        &*at.cast::<AtomicU32>()
    }
}

fn fork_bomb() -> io::Result<String> {
    let made = shared();
    deaf();
    while made.load(Ordering::Relaxed) < MOST_PROCESSES {
        // SAFETY: this program has one thread.
        match unsafe { fork() } {
            -1 => std::thread::sleep(Duration::from_millis(1)),
            _ => {
                made.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
    killed_soon();
    Ok(format!("{MOST_PROCESSES} processes"))
}

/// Nothing but killing keeps root from having so many where there is no control group; it must come soon.
fn killed_soon() {
    if std::env::var_os("UNCOUNTED").is_some() {
        std::thread::sleep(Duration::from_secs(2));
    }
}

fn thread_bomb() -> io::Result<String> {
    for _ in 0..MOST_PROCESSES {
        std::thread::Builder::new().stack_size(64 << 10).spawn(|| sleep())?;
    }
    killed_soon();
    Ok(format!("{MOST_PROCESSES} threads"))
}

fn memory_hog() -> io::Result<String> {
    let mut taken: Vec<Vec<u8>> = Vec::new();
    while taken.len() * 16 * MIB < MOST_MEMORY {
        let mut more = Vec::new();
        more.try_reserve_exact(16 * MIB).map_err(io::Error::other)?;
        more.resize(16 * MIB, 1);
        taken.push(more);
    }
    Ok(format!("{} MiB of memory", std::hint::black_box(&taken).len() * 16))
}

/// Each below every limit of one process.
fn memory_hog_of_many() -> io::Result<String> {
    let count = shared();
    for _ in 0..32 {
        // SAFETY: this program has one thread.
        if unsafe { fork() } == 0 {
            let taken = vec![1_u8; MOST_MEMORY / 32];
            count.fetch_add(1, Ordering::Relaxed);
            std::hint::black_box(&taken);
            sleep();
        }
    }
    while count.load(Ordering::Relaxed) < 32 {
        std::thread::sleep(Duration::from_millis(5));
    }
    killed_soon();
    Ok(format!("{} MiB of memory in 32 processes", MOST_MEMORY / MIB))
}

/// Memory that belongs to no process: files without a name.
fn memory_of_files() -> io::Result<String> {
    unsafe extern "C" {
        fn memfd_create(name: *const std::ffi::c_char, flags: u32) -> c_int;
    }
    let block = vec![1_u8; MIB];
    let mut files = Vec::new();
    for at in 0..MOST_MEMORY / MIB {
        if at % 16 == 0 {
            // SAFETY: the name is a constant; the descriptor is new.
            let fd = unsafe { memfd_create(c"hog".as_ptr(), 0) };
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            files.push(unsafe { <File as std::os::fd::FromRawFd>::from_raw_fd(fd) });
        }
        files.last_mut().ok_or(io::ErrorKind::Other)?.write_all(&block)?;
    }
    killed_soon();
    Ok(format!("{} MiB of memory in files", MOST_MEMORY / MIB))
}

fn descriptors() -> io::Result<String> {
    let mut open = Vec::new();
    while open.len() < 100_000 {
        open.push(File::open("/dev/null")?);
    }
    Ok("100000 descriptors".to_owned())
}

/// 10 GiB.
fn pour(to: &mut dyn io::Write) -> io::Result<String> {
    deaf();
    let block = vec![b'x'; MIB];
    for _ in 0..10_240 {
        to.write_all(&block)?;
    }
    Ok("10 GiB of output".to_owned())
}

/// Sends its own streams to whoever holds the other end of standard input, in whose queue they stay open after its end.
fn send_streams() -> io::Result<String> {
    let word = [b'\n'];
    let slice = [[word.as_ptr().addr(), 1]];
    // Length, level SOL_SOCKET and kind SCM_RIGHTS, then two descriptors.
    #[repr(C)]
    struct Rights(usize, c_int, c_int, [c_int; 2]);
    let rights = Rights(16 + 8, 1, 1, [1, 2]);
    for _ in 0..50 {
        let message = Message {
            name: std::ptr::null(),
            name_bytes: 0,
            slices: slice.as_ptr(),
            slice_count: 1,
            control: std::ptr::from_ref(&rights).cast(),
            control_bytes: 16 + 8,
            flags: 0,
        };
        // SAFETY: everything that the message points to outlives the call. 0x40 is MSG_DONTWAIT.
        if unsafe { sendmsg(0, &message, 0x40) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Err(io::Error::other("sent"))
}

fn big_file(folder: &Path) -> io::Result<String> {
    // Beyond the largest file a signal comes, which must not be the end of it.
    // SAFETY: 25 is SIGXFSZ, 1 is SIG_IGN.
    unsafe { signal(25, 1) };
    let mut file = File::create(folder.join("big"))?;
    let block = vec![1_u8; MIB];
    for _ in 0..MOST_DISK / MIB as u64 {
        file.write_all(&block)?;
    }
    Ok(format!("a file of {MOST_DISK} bytes"))
}

fn many_files(folder: &Path, bytes: usize) -> io::Result<String> {
    let block = vec![1_u8; bytes];
    let count = (MOST_DISK as usize / bytes.max(1)).min(100_000);
    for number in 0..count {
        let folder = folder.join(format!("{}", number / 1_000));
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(format!("{number}")), &block)?;
    }
    Ok(format!("{count} files of {bytes} bytes"))
}

/// Folders nested so deeply that no path is long enough to look into the innermost, which is filled.
fn deep_folders(folder: &Path) -> io::Result<String> {
    std::env::set_current_dir(folder)?;
    for _ in 0..3_000 {
        fs::create_dir("d")?;
        std::env::set_current_dir("d")?;
    }
    many_files(Path::new("."), 16 * MIB)
}

/// A folder that may be written and not be listed.
fn closed_folder(folder: &Path) -> io::Result<String> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new().mode(0o300).create(folder.join("closed"))?;
    many_files(&folder.join("closed"), 16 * MIB)
}

/// A checkpoint that claims a terabyte.
fn sparse(folder: &Path) -> io::Result<String> {
    // SAFETY: 25 is SIGXFSZ, 1 is SIG_IGN.
    unsafe { signal(25, 1) };
    File::create(folder.join("checkpoint.safetensors"))?.set_len(1 << 40)?;
    Ok("a file of a terabyte".to_owned())
}

/// Files that have no name any more are in no folder, but on the disk.
fn hidden_file(folder: &Path) -> io::Result<String> {
    let block = vec![1_u8; MIB];
    let mut open = Vec::new();
    for number in 0..MOST_DISK / MIB as u64 {
        if number % 16 == 0 {
            let path = folder.join("hidden");
            open.push(OpenOptions::new().write(true).create(true).truncate(true).open(&path)?);
            fs::remove_file(&path)?;
        }
        open.last_mut().ok_or(io::ErrorKind::Other)?.write_all(&block)?;
    }
    Ok(format!("{MOST_DISK} bytes in files without names"))
}
