//! The kernel itself: namespaces, mounts, devices, its own files, and the calls that it has had its worst faults in.

use std::ffi::CStr;
use std::fs;
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use crate::attempts::{Attempt, Control, Found, attempt};
use crate::files::read;
use crate::sys;
use crate::world::World;

const NAMESPACES: [(&str, i32); 8] = [
    ("user", 0x1000_0000),
    ("mount", 0x0002_0000),
    ("pid", 0x2000_0000),
    ("network", 0x4000_0000),
    ("ipc", 0x0800_0000),
    ("host-name", 0x0400_0000),
    ("control-group", 0x0200_0000),
    ("time", 0x0000_0080),
];

/// Opened for reading: what they show is the machine's.
const READ_DEVICES: [&str; 8] =
    ["/dev/mem", "/dev/kmsg", "/dev/port", "/proc/kcore", "/proc/kmsg", "/dev/loop0", "/dev/vcs", "/dev/input/event0"];

/// Opened for reading and writing.
const WRITE_DEVICES: [&str; 9] = [
    "/dev/kvm",
    "/dev/fuse",
    "/dev/userfaultfd",
    "/dev/vsock",
    "/dev/loop-control",
    "/dev/net/tun",
    "/dev/vhost-net",
    "/dev/cpu_dma_latency",
    "/dev/uinput",
];

/// Opened for writing, never written.
const SETTINGS: [&str; 14] = [
    "/proc/sys/kernel/core_pattern",
    "/proc/sys/kernel/modprobe",
    "/proc/sys/kernel/hostname",
    "/proc/sys/vm/overcommit_memory",
    "/proc/sys/fs/binfmt_misc/register",
    "/proc/sysrq-trigger",
    "/proc/irq/default_smp_affinity",
    "/proc/mtrr",
    "/proc/bus/pci/devices",
    "/proc/pressure/memory",
    "/proc/sys/kernel/sysrq",
    "/sys/kernel/mm/transparent_hugepage/enabled",
    "/sys/kernel/uevent_helper",
    "/sys/power/state",
];

pub fn attempts() -> Vec<Attempt> {
    let mut all = Vec::new();
    for (name, flag) in NAMESPACES {
        // SAFETY: no memory is involved.
        all.push(attempt(&format!("new-{name}-namespace"), Control::May, move |_| {
            Found::of(sys::check(unsafe { sys::unshare(flag) }))
        }));
    }
    for device in READ_DEVICES {
        all.push(attempt(&format!("read{}", device.replace('/', "-")), Control::May, move |_| {
            Found::of(fs::File::open(device))
        }));
    }
    for device in WRITE_DEVICES {
        all.push(attempt(&format!("open{}", device.replace('/', "-")), Control::May, move |_| {
            Found::of(fs::OpenOptions::new().read(true).write(true).open(device))
        }));
    }
    for file in SETTINGS {
        all.push(attempt(&format!("set{}", file.replace('/', "-")), Control::May, move |_| {
            Found::of(fs::OpenOptions::new().write(true).open(file))
        }));
    }
    let more: [(&str, Control, fn(&World) -> Found); 33] = [
        ("clone-a-user-namespace", Control::May, |_| cloned(sys::call(sys::number::CLONE, &[0x1000_0000 | 17]))),
        ("clone-with-high-bits", Control::May, |_| {
            cloned(sys::call(sys::number::CLONE, &[0x1000_0000 | 17 | 1 << 40]))
        }),
        ("clone3-a-user-namespace", Control::May, clone3),
        ("unshare-with-high-bits", Control::May, |_| {
            const UNSHARE: i64 = if cfg!(target_arch = "x86_64") { 272 } else { 97 };
            Found::of(sys::call(UNSHARE, &[0x1000_0000 | 1 << 40]))
        }),
        ("enter-a-namespace", Control::May, |world| {
            let entered = fs::File::open(format!("/proc/{}/ns/uts", world.get("victim")))
                .and_then(|file| sys::check(unsafe { sys::setns(file.as_raw_fd(), 0) }));
            Found::of(entered)
        }),
        ("enter-all-namespaces-by-pidfd", Control::Never, |world| {
            let entered = sys::call(sys::PIDFD_OPEN, &[world.number("victim"), 0])
                .and_then(|fd| sys::check(unsafe { sys::setns(fd as i32, 0x0002_0000 | 0x4000_0000) }));
            Found::of(entered)
        }),
        ("mount", Control::Never, |_| mount(c"tmpfs", c"/", c"tmpfs", 0)),
        ("mount-proc", Control::Never, |world| {
            let Some(output) = world.output() else { return mount(c"proc", c".", c"proc", 0) };
            mount(c"proc", &sys::c(output), c"proc", 0)
        }),
        ("remount-writable", Control::Never, |_| mount(c"none", c"/", c"none", 32 | 4096)),
        ("unmount", Control::Never, |_| {
            let targets = [c"/proc", c"/", c"/dev", c"/sys", c"/tmp"];
            // SAFETY: the paths are constants. 2 is MNT_DETACH.
            let gone = targets.iter().find(|target| unsafe { sys::umount2(target.as_ptr(), 2) } == 0);
            Found::when(gone.is_some(), format!("{gone:?}: {}", io::Error::last_os_error()))
        }),
        ("open-a-tree", Control::May, |_| {
            const OPEN_TREE_CLONE: i64 = 1;
            Found::of(sys::call(sys::OPEN_TREE, &[-100, c"/".as_ptr().addr() as i64, OPEN_TREE_CLONE]))
        }),
        ("open-a-file-system", Control::May, |_| {
            Found::of(sys::call(sys::FSOPEN, &[c"tmpfs".as_ptr().addr() as i64, 0]))
        }),
        ("change-a-mount", Control::Never, |_| {
            let attributes = [0_u64, 1, 0, 0];
            let address = attributes.as_ptr().addr() as i64;
            Found::of(sys::call(sys::MOUNT_SETATTR, &[-100, c"/".as_ptr().addr() as i64, 0, address, 32]))
        }),
        ("pivot-root", Control::Never, |_| {
            let dot = c".".as_ptr().addr() as i64;
            Found::of(sys::call(sys::number::PIVOT_ROOT, &[dot, dot]))
        }),
        ("chroot-and-out-again", Control::May, chroot),
        ("make-a-device-of-memory", Control::May, |world| device(world, "memory", 0o020_600, 1 << 8 | 1)),
        ("make-a-device-of-the-disk", Control::May, |world| {
            let disk = fs::metadata("/").map_or(0, |metadata| metadata.dev());
            device(world, "disk", 0o060_600, disk)
        }),
        ("open-a-disk", Control::May, open_a_disk),
        ("io-uring", Control::May, |_| {
            let parameters = [0_u64; 15];
            Found::of(sys::call(sys::IO_URING_SETUP, &[4, parameters.as_ptr().addr() as i64]))
        }),
        ("user-fault-descriptor", Control::May, |_| Found::of(sys::call(sys::number::USERFAULTFD, &[1]))),
        ("bpf", Control::May, |_| {
            // An array of one number.
            let attributes = [2_u32, 4, 4, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            Found::of(sys::call(
                sys::number::BPF,
                &[0, attributes.as_ptr().addr() as i64, size_of_val(&attributes) as i64],
            ))
        }),
        ("perf-events", Control::May, |_| {
            let mut attributes = [0_u32; 28];
            (attributes[0], attributes[1]) = (1, 112);
            Found::of(sys::call(sys::number::PERF_EVENT_OPEN, &[attributes.as_ptr().addr() as i64, 0, -1, -1, 0]))
        }),
        ("keyring", Control::May, |_| Found::of(sys::call(sys::number::KEYCTL, &[0, -4, 1]))),
        ("add-a-key", Control::Never, |_| {
            let (kind, name) = (c"user".as_ptr().addr() as i64, c"nocturne-test".as_ptr().addr() as i64);
            Found::of(sys::call(sys::number::ADD_KEY, &[kind, name, name, 4, -1]))
        }),
        ("personality", Control::Must, |_| {
            const READ_IMPLIES_EXEC: u64 = 0x0040_0000;
            // SAFETY: no memory is involved.
            Found::of(sys::check(unsafe { sys::personality(READ_IMPLIES_EXEC) }))
        }),
        ("fanotify", Control::May, |_| Found::of(sys::check(unsafe { sys::fanotify_init(0, 0) }))),
        ("log-of-the-kernel", Control::May, |_| {
            let buffer = [0_u8; 256];
            Found::of(sys::call(sys::number::SYSLOG, &[3, buffer.as_ptr().addr() as i64, 256]))
        }),
        ("host-name", Control::Never, |_| {
            let mut name = [0; 65];
            // SAFETY: the buffer is as long as it says; the name is set to what it is.
            Found::of(sys::check(unsafe {
                sys::gethostname(name.as_mut_ptr(), 64);
                sys::sethostname(name.as_ptr(), CStr::from_ptr(name.as_ptr()).count_bytes())
            }))
        }),
        ("clock", Control::Never, |_| {
            let mut now = [0; 2];
            // SAFETY: the buffer outlives the calls; the clock is set to what it is.
            Found::of(sys::check(unsafe {
                sys::clock_gettime(0, &mut now);
                sys::clock_settime(0, &now)
            }))
        }),
        ("reboot", Control::Never, |_| allowed(sys::call(sys::number::REBOOT, &[0, 0, 0]))),
        ("load-a-module", Control::Never, |_| allowed(sys::call(sys::number::INIT_MODULE, &[0, 0, 0]))),
        ("load-a-kernel", Control::Never, |_| allowed(sys::call(sys::number::KEXEC_LOAD, &[0, 1, 0, 1 << 30]))),
        ("proc-of-the-machine", Control::Never, |world| {
            // Whatever /proc there is, no process of outside is to be found in it by its number and name.
            read(Path::new(&format!("/proc/{}/cmdline", world.get("victim"))))
        }),
    ];
    all.extend(more.into_iter().map(|(name, control, make)| attempt(name, control, make)));
    all
}

/// The call is made with arguments that no kernel takes, so whoever may make it is told that they are wrong.
fn allowed(result: io::Result<i64>) -> Found {
    match result {
        Err(error) if matches!(error.raw_os_error(), Some(1 | 13 | 38)) => Found::Held(error.to_string()),
        other => Found::Escaped(format!("it may: {other:?}")),
    }
}

fn mount(source: &CStr, target: &CStr, kind: &CStr, flags: usize) -> Found {
    // SAFETY: the texts outlive the call.
    let mounted = unsafe { sys::mount(source.as_ptr(), target.as_ptr(), kind.as_ptr(), flags, std::ptr::null()) };
    Found::of(sys::check(mounted))
}

fn cloned(result: io::Result<i64>) -> Found {
    if matches!(result, Ok(0)) {
        sys::exit_now(0);
    }
    Found::of(result)
}

/// Its flags lie in memory, where no filter can look.
fn clone3(_: &World) -> Found {
    let mut arguments = [0_u64; 8];
    (arguments[0], arguments[4]) = (0x1000_0000, 17);
    cloned(sys::call(sys::CLONE3, &[arguments.as_ptr().addr() as i64, size_of_val(&arguments) as i64]))
}

/// The classic: a root of its own while the working directory stays outside of it.
fn chroot(world: &World) -> Found {
    let folder = world.output().unwrap_or(Path::new("."));
    // SAFETY: the path outlives the call.
    let confined = sys::check(unsafe { sys::chroot(sys::c(folder).as_ptr()) });
    if let Err(error) = confined {
        return Found::Held(error.to_string());
    }
    match std::env::set_current_dir("../".repeat(40)) {
        Ok(()) => Found::Escaped("it changed its root".to_owned()),
        Err(error) => Found::Escaped(format!("it changed its root ({error})")),
    }
}

fn device(world: &World, name: &str, mode: u32, number: u64) -> Found {
    let path = world.output().unwrap_or(Path::new("/dev")).join(name);
    // SAFETY: the path outlives the call.
    match sys::check(unsafe { sys::mknod(sys::c(&path).as_ptr(), mode, number) }) {
        Ok(_) => Found::Escaped(format!("it is made; opening: {:?}", fs::File::open(&path).err())),
        Err(error) => Found::Held(error.to_string()),
    }
}

fn open_a_disk(_: &World) -> Found {
    let Ok(entries) = fs::read_dir("/dev") else { return Found::Held("/dev cannot be listed".to_owned()) };
    let disks = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_block_device()));
    let opened = disks.map(|disk| disk.path()).find(|disk| fs::File::open(disk).is_ok());
    Found::when(opened.is_some(), format!("{opened:?}"))
}
