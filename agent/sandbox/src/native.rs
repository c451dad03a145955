//! Namespaces made by the helper itself, for machines without bubblewrap.
//!
//! The steps are bubblewrap's: a user namespace in which this user is mapped to itself, an empty root in memory, the view
//! mounted into it, the old root let go.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};
use rustix::thread::UnshareFlags;

use crate::view::{Mount, View};

/// The kernel's `struct mount_attr`, and its attributes.
#[repr(C)]
struct MountAttributes {
    set: u64,
    clear: u64,
    propagation: u64,
    user_namespace: u64,
}
const READ_ONLY: u64 = 1;
const NO_SETUID: u64 = 2;
const NO_DEVICES: u64 = 4;
const NO_EXECUTION: u64 = 8;

/// Something of the namespaces cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action}: {source}")]
pub struct NativeError {
    /// What was tried.
    pub action: String,
    /// The system's reason.
    #[source]
    pub source: io::Error,
}

fn failed<E: Into<io::Error>>(action: impl Into<String>) -> impl FnOnce(E) -> NativeError {
    move |source| NativeError { action: action.into(), source: source.into() }
}

/// Where the new root is put together. Any folder that every machine has; what lies in it is not touched.
const BASE: &str = "/tmp";

/// Leaves this machine's namespaces. The first process that is started afterwards is the first of the new process namespace.
/// Must be called while there is one thread.
pub(crate) fn leave() -> Result<(), NativeError> {
    let (user, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let flags = UnshareFlags::NEWUSER
        | UnshareFlags::NEWNS
        | UnshareFlags::NEWPID
        | UnshareFlags::NEWNET
        | UnshareFlags::NEWIPC
        | UnshareFlags::NEWUTS
        | UnshareFlags::NEWCGROUP;
    // SAFETY: the flags do not include CLONE_FILES, so no descriptor changes under another thread's hands; there is none.
    unsafe { rustix::thread::unshare_unsafe(flags) }.map_err(failed("make namespaces"))?;
    for (file, text) in [
        ("/proc/self/setgroups", "deny".to_owned()),
        ("/proc/self/uid_map", format!("{user} {user} 1")),
        ("/proc/self/gid_map", format!("{group} {group} 1")),
    ] {
        fs::write(file, text).map_err(failed(format!("map the user ({file})")))?;
    }
    Ok(())
}

/// Replaces the file system by the view. For the first process of the new namespaces.
pub(crate) fn settle(view: &View) -> Result<(), NativeError> {
    // Paths of the machine are resolved while links still lead where they should.
    let sources = view.mounts.iter().map(source).collect::<Result<Vec<_>, _>>()?;
    rustix::mount::mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .map_err(failed("keep mounts private"))?;
    memory(Path::new(BASE), 16 << 20)?;
    for name in ["old", "new"] {
        fs::create_dir(Path::new(BASE).join(name)).map_err(failed("make the new root"))?;
    }
    rustix::process::pivot_root(BASE, &*format!("{BASE}/old")).map_err(failed("change the root"))?;
    rustix::process::chdir("/").map_err(failed("change the root"))?;
    memory(Path::new("/new"), 16 << 20)?;
    for (mount, source) in view.mounts.iter().zip(sources) {
        put(mount, source.as_deref())?;
    }
    rustix::mount::unmount("/old", UnmountFlags::DETACH).map_err(failed("let go of the old root"))?;
    rustix::process::chdir("/new").map_err(failed("change the root"))?;
    rustix::process::pivot_root(".", ".").map_err(failed("change the root"))?;
    rustix::mount::unmount(".", UnmountFlags::DETACH).map_err(failed("let go of the old root"))?;
    rustix::process::chdir("/").map_err(failed("change the root"))
}

/// Where a mount's content lies once the old root is at /old.
fn source(mount: &Mount) -> Result<Option<PathBuf>, NativeError> {
    let (Mount::Read(path) | Mount::Write(path) | Mount::Device(path)) = mount else { return Ok(None) };
    let real = path.canonicalize().map_err(failed(format!("find {}", path.display())))?;
    Ok(Some(under("/old", &real)))
}

fn under(root: &str, path: &Path) -> PathBuf {
    Path::new(root).join(path.strip_prefix("/").unwrap_or(path))
}

fn put(mount: &Mount, source: Option<&Path>) -> Result<(), NativeError> {
    match (mount, source) {
        (Mount::Read(path), Some(from)) => bind(from, path, READ_ONLY | NO_DEVICES),
        (Mount::Write(path), Some(from)) => bind(from, path, NO_DEVICES),
        (Mount::Device(path), Some(from)) => bind(from, path, NO_EXECUTION),
        (Mount::Read(_) | Mount::Write(_) | Mount::Device(_), None) => Ok(()),
        (Mount::Memory(path, bytes), _) => {
            let place = under("/new", path);
            fs::create_dir_all(&place).map_err(failed(format!("make {}", path.display())))?;
            memory(&place, (*bytes).max(4096))
        }
        (Mount::Link(path, target), _) => {
            let place = under("/new", path);
            std::os::unix::fs::symlink(target, &place).map_err(failed(format!("make the link {}", path.display())))
        }
        (Mount::Processes, _) => processes(),
        (Mount::Kernel(path), _) => cover(&under("/new", path)),
        (Mount::Seal(path), _) => {
            let place = under("/new", path);
            set_attributes(&place, READ_ONLY, false).map_err(failed(format!("seal {}", path.display())))
        }
    }
}

fn memory(place: &Path, bytes: u64) -> Result<(), NativeError> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    let options = format!("mode=0755,size={bytes}");
    let options = std::ffi::CString::new(options).map_err(|error| failed("mount memory")(io::Error::other(error)))?;
    rustix::mount::mount("tmpfs", place, "tmpfs", flags, Some(options.as_c_str()))
        .map_err(failed(format!("mount memory at {}", place.display())))
}

fn processes() -> Result<(), NativeError> {
    let place = Path::new("/new/proc");
    fs::create_dir_all(place).map_err(failed("make /proc"))?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    rustix::mount::mount("proc", place, "proc", flags, None).map_err(failed("mount /proc"))
}

/// Lays an entry of /proc over itself, to be read only. One that is gone by now needs it no more.
fn cover(place: &Path) -> Result<(), NativeError> {
    let action = || format!("cover {}", place.display());
    match rustix::mount::mount_bind(place, place) {
        Err(rustix::io::Errno::NOENT) => return Ok(()),
        result => result.map_err(|error| failed(action())(error))?,
    }
    set_attributes(place, READ_ONLY, true).map_err(|error| failed(action())(error))
}

/// Shows a file or folder of the machine, and whatever is mounted below it, under its own path.
fn bind(from: &Path, path: &Path, attributes: u64) -> Result<(), NativeError> {
    let action = || format!("show {}", path.display());
    let place = under("/new", path);
    if !place.exists() {
        let made = if from.is_dir() {
            fs::create_dir_all(&place)
        } else {
            let parent = place.parent().map_or(Ok(()), fs::create_dir_all);
            parent.and_then(|()| fs::File::create(&place).map(drop))
        };
        made.map_err(failed(action()))?;
    }
    rustix::mount::mount_bind_recursive(from, &place).map_err(failed(action()))?;
    set_attributes(&place, attributes | NO_SETUID, true).map_err(failed(action()))
}

/// Adds attributes to a mount, and to those below it; what is set already stays.
fn set_attributes(place: &Path, attributes: u64, recursive: bool) -> io::Result<()> {
    let path = std::ffi::CString::new(place.as_os_str().as_bytes())?;
    let attributes = MountAttributes { set: attributes, clear: 0, propagation: 0, user_namespace: 0 };
    let flags = if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: `path` ends with a zero and `attributes` is a whole structure of the size that is named; both outlive the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            path.as_ptr(),
            flags,
            &raw const attributes,
            size_of::<MountAttributes>(),
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
