//! Becoming somebody else, or more.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::process::Command;

use crate::attempts::{Attempt, Control, Found, attempt};
use crate::sys;
use crate::world::World;

/// Nobody that there is.
const STRANGER: u32 = 54_321;

pub fn attempts() -> Vec<Attempt> {
    let all: [(&str, Control, fn(&World) -> Found); 22] = [
        ("become-root", Control::Never, |_| {
            // SAFETY: no memory is involved.
            let is_root = unsafe { sys::geteuid() } == 0;
            // SAFETY: as above.
            let became = sys::check(unsafe { sys::setresuid(0, 0, 0) });
            // Whoever is root already gains nothing by this; the capabilities are another attempt.
            if is_root { Found::Held("it has that number already".to_owned()) } else { Found::of(became) }
        }),
        ("become-another-user", Control::May, |_| {
            Found::of(sys::check(unsafe { sys::setresuid(STRANGER, STRANGER, STRANGER) }))
        }),
        ("become-another-group", Control::May, |_| {
            Found::of(sys::check(unsafe { sys::setresgid(STRANGER, STRANGER, STRANGER) }))
        }),
        ("leave-groups", Control::May, |_| Found::of(sys::check(unsafe { sys::setgroups(0, std::ptr::null()) }))),
        ("join-a-group", Control::May, |_| Found::of(sys::check(unsafe { sys::setgroups(1, &STRANGER) }))),
        ("has-capabilities", Control::May, has_capabilities),
        ("take-capabilities", Control::Never, take_capabilities),
        ("capabilities-as-root-of-a-program", Control::May, |world| ran_as_another(world, "/proc/self/exe")),
        ("gain-privileges-by-a-setuid-program", Control::May, |world| match world.find("setuid") {
            Some(program) => ran_as_another(world, program),
            None => ran_as_another(world, "/usr/bin/su"),
        }),
        ("new-privileges-allowed", Control::May, |_| {
            const PR_GET_NO_NEW_PRIVS: i32 = 39;
            // SAFETY: no memory is involved.
            let set = unsafe { sys::prctl(PR_GET_NO_NEW_PRIVS, 0_i64, 0_i64, 0_i64, 0_i64) };
            Found::when(set != 1, format!("no_new_privs is {set}"))
        }),
        ("no-filter", Control::May, |_| {
            const PR_GET_SECCOMP: i32 = 21;
            // SAFETY: no memory is involved.
            let mode = unsafe { sys::prctl(PR_GET_SECCOMP, 0_i64, 0_i64, 0_i64, 0_i64) };
            Found::when(mode != 2, format!("the filter's mode is {mode}"))
        }),
        ("make-a-setuid-program", Control::Must, |world| setuid_file(world, "setuid", 0o4755)),
        ("make-a-setgid-program", Control::Must, |world| setuid_file(world, "setgid", 0o2755)),
        ("create-a-setuid-program", Control::Must, create_setuid),
        ("give-a-file-away", Control::May, |world| {
            let Some(output) = world.output() else { return Found::Held("there is no folder to write to".to_owned()) };
            let path = output.join("given");
            let given = fs::write(&path, "x").and_then(|()| {
                // SAFETY: the path outlives the call.
                sys::check(unsafe { sys::chown(sys::c(&path).as_ptr(), STRANGER, STRANGER) })
            });
            Found::of(given)
        }),
        ("raise-own-limits", Control::May, |_| {
            let mut raised = Vec::new();
            // File size, core, processes, descriptors.
            for resource in [1, 4, 6, 7] {
                let mut limit = sys::Limit { soft: 0, hard: 0 };
                // SAFETY: the buffers outlive the calls.
                unsafe { sys::prlimit(0, resource, std::ptr::null(), &mut limit) };
                if limit.hard == u64::MAX {
                    raised.push(format!("{resource} has no limit"));
                    continue;
                }
                let more = sys::Limit { soft: limit.hard + 1, hard: limit.hard + 1 };
                // SAFETY: as above.
                if unsafe { sys::prlimit(0, resource, &more, std::ptr::null_mut()) } == 0 {
                    raised.push(format!("{resource} was raised from {}", limit.hard));
                }
            }
            Found::when(!raised.is_empty(), raised.join(", "))
        }),
        ("raise-own-priority", Control::May, |_| Found::of(sys::check(unsafe { sys::setpriority(0, 0, -20) }))),
        ("run-in-real-time", Control::May, |_| Found::of(sys::check(unsafe { sys::sched_setscheduler(0, 1, &1) }))),
        ("be-spared-by-the-memory-killer", Control::May, |_| Found::of(fs::write("/proc/self/oom_score_adj", "-900"))),
        ("map-users", Control::Never, |_| {
            Found::of(
                fs::OpenOptions::new()
                    .write(true)
                    .open("/proc/self/uid_map")
                    .and_then(|mut file| io::Write::write_all(&mut file, b"0 0 4294967295\n")),
            )
        }),
        ("leave-the-control-group", Control::Never, leave_control_group),
        ("program-to-run-when-a-control-group-is-empty", Control::May, release_agent),
    ];
    all.into_iter().map(|(name, control, make)| attempt(name, control, make)).collect()
}

/// Whether this program runs with another effective user or group than its starter told it in the real ones.
pub fn is_another_user() -> bool {
    let [effective, permitted, inheritable] = capabilities().unwrap_or([0; 3]);
    // SAFETY: no memory is involved.
    let (real, user, group) = unsafe { (sys::getuid(), sys::geteuid(), sys::getegid()) };
    let told = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u32>().ok());
    user != real || told("GROUP").is_some_and(|told| told != group) || effective | permitted | inheritable != 0
}

fn ran_as_another(_: &World, program: &str) -> Found {
    // SAFETY: no memory is involved.
    let group = unsafe { sys::getegid() };
    match Command::new(program).arg("user").env("GROUP", group.to_string()).status() {
        Ok(status) => Found::when(status.code() == Some(0), format!("the program ran: {status}")),
        Err(error) => Found::Held(error.to_string()),
    }
}

const CAPABILITIES_VERSION: u32 = 0x2008_0522;

/// Effective, permitted and inheritable capabilities.
fn capabilities() -> io::Result<[u64; 3]> {
    let mut header = [CAPABILITIES_VERSION, 0];
    let mut data = [0_u32; 6];
    // SAFETY: both buffers have the lengths of this version.
    sys::check(unsafe { sys::capget(header.as_mut_ptr(), data.as_mut_ptr()) })?;
    Ok([0, 1, 2].map(|at| u64::from(data[at]) | u64::from(data[at + 3]) << 32))
}

fn has_capabilities(_: &World) -> Found {
    match capabilities() {
        Ok(all) => Found::when(all != [0; 3], format!("{all:x?}")),
        Err(error) => Found::Held(error.to_string()),
    }
}

fn take_capabilities(_: &World) -> Found {
    let mut header = [CAPABILITIES_VERSION, 0];
    // SAFETY: both buffers have the lengths of this version.
    Found::of(sys::check(unsafe {
        sys::capset(header.as_mut_ptr(), [u32::MAX, u32::MAX, 0, 0x1ff, 0x1ff, 0].as_ptr())
    }))
}

/// A program in the output that would run as the agent's user, whoever starts it.
fn setuid_file(world: &World, name: &str, mode: u32) -> Found {
    let Some(output) = world.output() else { return Found::Held("there is no folder to write to".to_owned()) };
    let path = output.join(name);
    let made = fs::write(&path, "x").and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(mode)));
    has_bits(&path, made)
}

fn create_setuid(world: &World) -> Found {
    let Some(output) = world.output() else { return Found::Held("there is no folder to write to".to_owned()) };
    let path = output.join("created-setuid");
    let made = fs::OpenOptions::new().write(true).create_new(true).mode(0o4755).open(&path);
    has_bits(&path, made)
}

fn has_bits<T>(path: &std::path::Path, made: io::Result<T>) -> Found {
    match (made, fs::metadata(path)) {
        (_, Ok(metadata)) if metadata.mode() & 0o6000 != 0 => Found::Escaped(format!("mode {:o}", metadata.mode())),
        (Err(error), _) => Found::Held(error.to_string()),
        (Ok(_), _) => Found::Held("the bit is not there".to_owned()),
    }
}

/// All files of that name below the folder, at most three levels down.
fn find_files(folder: &str, name: &str, depth: usize, found: &mut Vec<std::path::PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if entry.file_name() == name {
            found.push(path);
        } else if depth > 0 && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            find_files(&path.to_string_lossy(), name, depth - 1, found);
        }
    }
}

/// Moves itself up, where the limits of its group do not hold.
fn leave_control_group(_: &World) -> Found {
    let mut files = Vec::new();
    find_files("/sys/fs/cgroup", "cgroup.procs", 3, &mut files);
    let moved = files.iter().find(|file| fs::write(file, sys_pid()).is_ok());
    Found::when(moved.is_some(), format!("{} groups: {moved:?}", files.len()))
}

fn sys_pid() -> String {
    std::process::id().to_string()
}

fn release_agent(_: &World) -> Found {
    let mut files = Vec::new();
    find_files("/sys/fs/cgroup", "release_agent", 3, &mut files);
    let opened = files.iter().find(|file| fs::OpenOptions::new().write(true).open(file).is_ok());
    Found::when(opened.is_some(), format!("{} files: {opened:?}", files.len()))
}
