//! Files outside: what is secret, what must not change, what must not appear.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::{AsRawFd as _, FromRawFd as _};
use std::os::unix::fs::{FileTypeExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::attempts::{Attempt, Control, Found, attempt};
use crate::world::World;
use crate::{MARKER, sys};

/// Where there is something to be read or destroyed.
const PLACES: [&str; 5] = ["home", "held-out", "database", "repository", "other-run"];

/// What may be read and must not be written.
const READABLE: [&str; 2] = ["library", "executable"];

/// What every process may write on most machines.
const SHARED: [&str; 4] = ["/tmp", "/var/tmp", "/dev/shm", "/run"];

pub fn attempts() -> Vec<Attempt> {
    let mut all = Vec::new();
    for place in PLACES {
        all.extend(on(place));
    }
    for place in READABLE {
        all.push(attempt(&format!("write-{place}"), Control::May, move |world| {
            Found::done(append(world.secret(place)), world.get(place))
        }));
        all.push(attempt(&format!("create-beside-{place}"), Control::Must, move |world| {
            let path = world.beside(place, &format!("created-beside-{place}"));
            Found::done(fs::write(&path, "x"), path.to_string_lossy())
        }));
        all.push(attempt(&format!("replace-{place}"), Control::Never, move |world| {
            let Some(output) = world.output() else { return Found::Held("nothing can be written".to_owned()) };
            let own = output.join("replacement");
            let moved = fs::write(&own, "x").and_then(|()| fs::rename(&own, world.secret(place)));
            Found::done(moved, world.get(place))
        }));
    }
    for folder in SHARED {
        all.push(attempt(&format!("leave-in{}", folder.replace('/', "-")), Control::May, move |world| {
            let path = Path::new(folder).join(world.get("left-name"));
            Found::done(fs::write(&path, "x"), path.to_string_lossy())
        }));
    }
    let more: [(&str, Control, fn(&World) -> Found); 22] = [
        ("list-home", Control::Must, |world| Found::of(fs::read_dir(world.beside("home", "")))),
        ("list-the-repository", Control::Must, |world| Found::of(fs::read_dir(world.beside("repository", "")))),
        ("read-by-going-up", Control::Must, |world| read(&up(world.secret("home")))),
        ("read-through-proc-self-root", Control::Must, |world| read(&below("/proc/self/root", world.secret("home")))),
        ("read-through-a-link-in-the-output", Control::Must, through_a_link),
        ("write-through-a-link-in-the-output", Control::Must, write_through_a_link),
        ("read-through-a-hard-link", Control::Must, through_a_hard_link),
        ("read-by-handle", Control::May, by_handle),
        ("read-by-a-program-from-memory", Control::Must, from_memory),
        ("read-by-a-program-from-the-output", Control::Must, from_the_output),
        ("read-by-a-thread", Control::Must, by_a_thread),
        ("watch-home", Control::Must, watch),
        ("stat-home", Control::Must, |world| Found::of(fs::metadata(world.secret("home")))),
        ("change-mode", Control::Must, |world| on_path(world, "mode-me", |path| unsafe { sys::chmod(path, 0o600) })),
        ("change-mode-by-the-newest-call", Control::May, change_mode_newest),
        ("change-owner", Control::May, |world| {
            on_path(world, "owner-me", |path| unsafe { sys::chown(path, u32::MAX, 4_000) })
        }),
        ("change-time", Control::Must, |world| {
            on_path(world, "time-me", |path| unsafe { sys::utimensat(-100, path, &[1, 1, 1, 1], 0) })
        }),
        ("change-attribute", Control::May, |world| {
            on_path(world, "attribute-me", |path| unsafe {
                sys::setxattr(path, c"user.nocturne".as_ptr(), c"x".as_ptr().cast(), 1, 0)
            })
        }),
        ("leftover-descriptors", Control::Must, descriptors),
        ("read-through-a-leftover-descriptor", Control::Must, |world| read(Path::new(world.get("leftover")))),
        ("environment", Control::Must, environment),
        ("persistent-program-for-later-runs", Control::Never, |_| {
            Found::of(OpenOptions::new().create(true).append(true).open("/etc/ld.so.preload"))
        }),
    ];
    all.extend(more.into_iter().map(|(name, control, make)| attempt(name, control, make)));
    for (whose, file) in [("given", given as fn(&World) -> io::Result<fs::File>), ("readable", readable)] {
        all.extend(by_descriptor(whose, file));
    }
    all
}

/// What can be done with a descriptor of a file that one may only read: one that the agent has handed over, or one of a library.
fn by_descriptor(whose: &'static str, file: fn(&World) -> io::Result<fs::File>) -> [Attempt; 7] {
    let on = move |verb: &str, control: Control, what: fn(&World, i32) -> io::Result<i64>| {
        attempt(&format!("{verb}-of-a-{whose}-file"), control, move |world| {
            Found::done(file(world).and_then(|file| what(world, file.as_raw_fd())), world.get(whose))
        })
    };
    [
        on("write-through-proc", Control::Must, |_, fd| {
            OpenOptions::new().append(true).open(format!("/proc/self/fd/{fd}"))?.write_all(b"written").map(|()| 0)
        }),
        // SAFETY, here and below: no memory is involved, or what is pointed to outlives the call.
        on("mode", Control::Must, |_, fd| sys::check(unsafe { sys::fchmod(fd, 0o640) })),
        on("owner", Control::May, |_, fd| sys::check(unsafe { sys::fchown(fd, u32::MAX, 4_000) })),
        on("time", Control::Must, |_, fd| sys::check(unsafe { sys::futimens(fd, &[1, 1, 1, 1]) })),
        on("attribute", Control::May, |_, fd| {
            sys::check(unsafe { sys::fsetxattr(fd, c"user.nocturne".as_ptr(), c"x".as_ptr().cast(), 1, 0) })
        }),
        on("flags", Control::May, |_, fd| {
            const FS_IOC_SETFLAGS: i64 = 0x4008_6602;
            const FS_NODUMP_FL: i64 = 0x40;
            let flags = FS_NODUMP_FL;
            sys::call(sys::number::IOCTL, &[fd.into(), FS_IOC_SETFLAGS, std::ptr::from_ref(&flags).addr() as i64])
        }),
        on("another-name", Control::Must, |world, fd| {
            let to = fresh(world, "another-name").ok_or_else(|| io::Error::other(NO_OUTPUT))?;
            let from = sys::c(format!("/proc/self/fd/{fd}"));
            sys::check(unsafe { sys::linkat(-100, from.as_ptr(), -100, sys::c(&to).as_ptr(), 0x400) })
        }),
    ]
}

/// The descriptor that the agent has handed over, as it hands over training data.
fn given(world: &World) -> io::Result<fs::File> {
    match world.pid("given-fd") {
        -1 => Err(io::Error::other("no descriptor is handed over")),
        // SAFETY: a number that the test gave, or that was received; whoever makes an attempt has it for itself.
        fd => Ok(unsafe { fs::File::from_raw_fd(fd) }),
    }
}

fn readable(world: &World) -> io::Result<fs::File> {
    fs::File::open(world.get("readable"))
}

/// The four things that one does to a place.
fn on(place: &'static str) -> [Attempt; 5] {
    let path_of = move |world: &World, verb: &str| world.beside(place, &format!("{verb}-me"));
    [
        attempt(&format!("read-{place}"), Control::Must, move |world| read(world.secret(place))),
        attempt(&format!("write-{place}"), Control::Must, move |world| {
            let path = path_of(world, "write");
            Found::done(append(&path), path.to_string_lossy())
        }),
        attempt(&format!("truncate-{place}"), Control::Must, move |world| {
            let path = path_of(world, "truncate");
            let result = std::ffi::CString::new(path.to_string_lossy().as_bytes()).map_err(io::Error::other);
            let result = result.and_then(|path| {
                unsafe extern "C" {
                    fn truncate(path: *const std::ffi::c_char, bytes: i64) -> i32;
                }
                // SAFETY: the path outlives the call.
                sys::check(unsafe { truncate(path.as_ptr(), 1) })
            });
            Found::done(result, path.to_string_lossy())
        }),
        attempt(&format!("delete-{place}"), Control::Must, move |world| {
            let path = path_of(world, "delete");
            Found::done(fs::remove_file(&path), path.to_string_lossy())
        }),
        attempt(&format!("create-{place}"), Control::Must, move |world| {
            let path = path_of(world, "create");
            Found::done(fs::write(&path, "x"), path.to_string_lossy())
        }),
    ]
}

fn append(path: &Path) -> io::Result<()> {
    OpenOptions::new().append(true).open(path)?.write_all(b"written")
}

/// Whether the file can be read and is the real one.
pub fn can_read(path: &str) -> bool {
    matches!(read(Path::new(path)), Found::Escaped(_))
}

pub fn read(path: &Path) -> Found {
    match fs::read(path) {
        Ok(bytes) => Found::when(holds_marker(&bytes), format!("{} bytes were read", bytes.len())),
        Err(error) => Found::Held(error.to_string()),
    }
}

pub fn holds_marker(bytes: &[u8]) -> bool {
    bytes.windows(MARKER.len()).any(|window| window == MARKER.as_bytes())
}

/// `../../..` and so on, then the path.
fn up(path: &Path) -> PathBuf {
    below(&"../".repeat(40), path)
}

pub fn below(folder: &str, path: &Path) -> PathBuf {
    Path::new(folder).join(path.strip_prefix("/").unwrap_or(path))
}

/// A path of this name in the output folder; what was there is gone.
fn fresh(world: &World, name: &str) -> Option<PathBuf> {
    let path = world.output()?.join(name);
    let _was_not_there = fs::remove_file(&path);
    Some(path)
}

const NO_OUTPUT: &str = "there is no folder to write to";

fn through_a_link(world: &World) -> Found {
    let Some(path) = fresh(world, "link-to-read") else { return Found::Held(NO_OUTPUT.to_owned()) };
    match symlink(world.secret("home"), &path) {
        Ok(()) => read(&path),
        Err(error) => Found::Held(error.to_string()),
    }
}

fn write_through_a_link(world: &World) -> Found {
    let Some(path) = fresh(world, "link-to-write") else { return Found::Held(NO_OUTPUT.to_owned()) };
    let target = world.beside("home", "link-write-me");
    let written = symlink(&target, &path).and_then(|()| append(&path));
    Found::done(written, target.to_string_lossy())
}

fn through_a_hard_link(world: &World) -> Found {
    let Some(path) = fresh(world, "hard-link") else { return Found::Held(NO_OUTPUT.to_owned()) };
    // SAFETY: both paths outlive the call.
    match sys::check(unsafe { sys::link(sys::c(world.secret("home")).as_ptr(), sys::c(&path).as_ptr()) }) {
        Ok(_) => read(&path),
        Err(error) => Found::Held(error.to_string()),
    }
}

const HANDLE_BYTES: usize = 136;

/// The system's handle of a file in hexadecimal, with which a privileged process opens it without any path.
pub fn handle_of(path: &str) -> io::Result<String> {
    let mut handle = [0_u8; HANDLE_BYTES];
    handle[..4].copy_from_slice(&(HANDLE_BYTES as u32 - 8).to_ne_bytes());
    let mut mount = 0;
    // SAFETY: the buffer is as long as it says.
    sys::check(unsafe {
        sys::name_to_handle_at(-100, sys::c(path).as_ptr(), handle.as_mut_ptr().cast(), &mut mount, 0)
    })?;
    Ok(handle.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn by_handle(world: &World) -> Found {
    let text = world.get("handle");
    let bytes = (0..text.len() / 2).map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap_or(0));
    let mut handle = [0_u64; HANDLE_BYTES / 8];
    for (at, byte) in bytes.enumerate().take(HANDLE_BYTES) {
        handle[at / 8] |= u64::from(byte) << (8 * (at % 8));
    }
    let mut last = "nothing on that file system can be opened".to_owned();
    for folder in [world.find("output").unwrap_or("."), ".", "/", world.get("library")] {
        let Ok(mount) = fs::File::open(folder) else { continue };
        // SAFETY: the buffer has the length that it says.
        match sys::check(unsafe { sys::open_by_handle_at(mount.as_raw_fd(), handle.as_mut_ptr().cast(), 0) }) {
            // SAFETY: the descriptor is new.
            Ok(fd) => match io::read_to_string(unsafe { fs::File::from_raw_fd(fd as i32) }) {
                Ok(text) if text.contains(MARKER) => return Found::Escaped("read".to_owned()),
                other => last = format!("{other:?}"),
            },
            Err(error) => last = error.to_string(),
        }
    }
    Found::Held(last)
}

/// Runs a copy of this program, which must be as confined as this one.
fn read_by(program: &Path, world: &World) -> Found {
    match Command::new(program).arg("read").arg(world.secret("home")).status() {
        Ok(status) => Found::when(status.code() == Some(0), format!("the program ran: {status}")),
        Err(error) => Found::Held(error.to_string()),
    }
}

fn from_memory(world: &World) -> Found {
    // SAFETY: the name is a constant.
    let fd = match sys::check(unsafe { sys::memfd_create(c"program".as_ptr(), 0) }) {
        Ok(fd) => fd as i32,
        Err(error) => return Found::Held(error.to_string()),
    };
    let path = PathBuf::from(format!("/proc/self/fd/{fd}"));
    match fs::copy("/proc/self/exe", &path) {
        Ok(_) => read_by(&path, world),
        Err(error) => Found::Held(error.to_string()),
    }
}

fn from_the_output(world: &World) -> Found {
    let Some(path) = fresh(world, "program") else { return Found::Held(NO_OUTPUT.to_owned()) };
    match fs::copy("/proc/self/exe", &path) {
        Ok(_) => read_by(&path, world),
        Err(error) => Found::Held(error.to_string()),
    }
}

/// Landlock and seccomp hold for the thread that asked for them and those that it starts.
fn by_a_thread(world: &World) -> Found {
    let path = world.secret("home").to_owned();
    let thread = std::thread::Builder::new().spawn(move || read(&path));
    match thread.map(std::thread::JoinHandle::join) {
        Ok(Ok(found)) => found,
        Ok(Err(_)) => Found::Held("the thread ended".to_owned()),
        Err(error) => Found::Held(error.to_string()),
    }
}

/// Learning of every file that comes and goes in a folder that one may not list.
fn watch(world: &World) -> Found {
    const IN_CREATE: u32 = 0x100;
    // SAFETY: the path outlives the calls.
    let watched = sys::check(unsafe { sys::inotify_init1(0) }).and_then(|fd| {
        sys::check(unsafe { sys::inotify_add_watch(fd as i32, sys::c(world.beside("home", "")).as_ptr(), IN_CREATE) })
    });
    Found::of(watched)
}

/// Does something to a file of its own in the home folder.
fn on_path(world: &World, name: &str, what: impl Fn(*const std::ffi::c_char) -> i32) -> Found {
    let path = world.beside("home", name);
    Found::done(sys::check(what(sys::c(&path).as_ptr())), path.to_string_lossy())
}

fn change_mode_newest(world: &World) -> Found {
    let path = world.beside("home", "new-mode-me");
    let name = sys::c(&path);
    let changed = sys::call(sys::number::FCHMODAT2, &[-100, name.as_ptr().addr() as i64, 0o600, 0]);
    Found::done(changed, path.to_string_lossy())
}

/// Only the three standard streams are there, and none of them is a file or a folder.
fn descriptors(world: &World) -> Found {
    // The pipe of this attempt, and what the agent has handed over.
    let own = 2;
    let mut found = Vec::new();
    let mut beyond = 0;
    for fd in 0..4_096 {
        const F_GETFD: i32 = 1;
        // SAFETY: no memory is involved.
        if fd == world.pid("given-fd") || unsafe { sys::fcntl(fd, F_GETFD) } < 0 {
            continue;
        }
        let path = format!("/proc/self/fd/{fd}");
        let target = fs::read_link(&path).map(|target| target.to_string_lossy().into_owned()).unwrap_or_default();
        let kind = fs::metadata(&path).map(|metadata| metadata.file_type());
        let is_stream = kind.as_ref().is_ok_and(|kind| kind.is_fifo() || kind.is_socket()) || target == "/dev/null";
        if fd > 2 {
            beyond += 1;
        }
        if (fd <= 2 && !is_stream && kind.is_ok()) || (fd > 2 && !is_stream) || beyond > own {
            found.push(format!("{fd}: {target}"));
        }
    }
    Found::when(!found.is_empty(), found.join(", "))
}

/// Nothing but what the job names, and the tag by which leftovers are recognised.
fn environment(world: &World) -> Found {
    let allowed: Vec<&str> = world.get("environment").split(',').collect();
    let more: Vec<String> = std::env::vars_os()
        .map(|(name, value)| format!("{}={}", name.to_string_lossy(), value.to_string_lossy()))
        .filter(|pair| pair.contains(MARKER) || !allowed.contains(&pair.split('=').next().unwrap_or_default()))
        .collect();
    Found::when(!more.is_empty(), more.join(" "))
}
