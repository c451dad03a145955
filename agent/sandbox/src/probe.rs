//! Finds out what a machine offers by trying it.

use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::attempt::Ordeal;
use crate::cgroup::{self, Group};
use crate::offer::{Bubblewrap, Cgroup, Finding, Offer, Reason};
use crate::{Confinement, Limits, Mechanism, Policy, Surroundings, fence, start};

/// A trial that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// Tries every mechanism. `helper` is the `nocturne` executable, of which confined processes are started for the trial. Takes
/// some tenths of a second and blocks.
pub fn probe(helper: &Path) -> Offer {
    let landlock = landlock();
    let mut offer = Offer {
        kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
        landlock,
        seccomp: seccomp(),
        bubblewrap: Finding::Missing(Reason::new("not tried")),
        namespaces: Finding::Missing(Reason::new("not tried")),
        landlock_only: Finding::Missing(Reason::new("not tried")),
        cgroup: Finding::Missing(Reason::new("not tried")),
    };
    offer.cgroup = control_groups(helper, &offer);
    let tried = |offer: &Offer, mechanism: Mechanism| try_out(helper, &Confinement::of(offer, mechanism));
    offer.bubblewrap = match find_bubblewrap() {
        Finding::Missing(reason) => Finding::Missing(reason),
        Finding::Offered(found) => match tried(&offer, Mechanism::Bubblewrap(found.clone())) {
            Ok(()) => Finding::Offered(found),
            Err(why) => Finding::Missing(with_namespace_remedy(format!("{} does not work: {why}", found.version))),
        },
    };
    offer.namespaces = match tried(&offer, Mechanism::Namespaces) {
        Ok(()) => Finding::Offered(()),
        Err(why) => Finding::Missing(with_namespace_remedy(why)),
    };
    let version = offer.landlock.offered().copied().unwrap_or(0);
    offer.landlock_only = if version < fence::LEAST_ALONE {
        let why = format!(
            "landlock alone keeps signals and abstract sockets in only from version {} on (Linux 6.12), here it has {version}",
            fence::LEAST_ALONE
        );
        Finding::Missing(Reason::new(why).with_remedy("use a kernel of at least 6.12 with landlock enabled"))
    } else {
        match tried(&offer, Mechanism::Landlock) {
            Ok(()) => Finding::Offered(()),
            Err(why) => Finding::Missing(Reason::new(why)),
        }
    };
    offer
}

/// Has a confined process try what it must not be able to do, once more.
///
/// # Errors
/// What it could do, in words.
pub fn try_out(helper: &Path, confinement: &Confinement) -> Result<(), String> {
    let ordeal = Ordeal::lay_out(&std::env::temp_dir(), helper)
        .map_err(|error| format!("the trial cannot be laid out in {}: {error}", std::env::temp_dir().display()))?;
    let policy = ordeal.policy(&Surroundings::default(), helper);
    let command = std::iter::once(helper.into()).chain(ordeal.arguments().into_iter().map(OsString::from)).collect();
    let printed = run(helper, confinement, &policy, ordeal.folder(), None, command)?;
    ordeal.judge(&printed)
}

/// Runs a confined command to its end and returns what it printed.
fn run(
    helper: &Path,
    confinement: &Confinement,
    policy: &Policy,
    folder: &Path,
    group: Option<&Group>,
    command: Vec<OsString>,
) -> Result<Vec<u8>, String> {
    let prepared = start::prepare(helper, confinement, policy, folder, group, &command).map_err(|e| e.to_string())?;
    let (mut start, link) = (prepared.command, prepared.link);
    let program = start.get_program().to_string_lossy().into_owned();
    let spawned = start.env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = spawned.map_err(|error| format!("cannot start {program}: {error}"))?;
    drop(start);
    let ended = wait(&mut child);
    let read = |stream: Option<&mut dyn Read>| {
        let mut bytes = Vec::new();
        // What cannot be read is not said.
        let _partial = stream.map(|stream| stream.take(64 << 10).read_to_end(&mut bytes));
        bytes
    };
    let printed = read(child.stdout.as_mut().map(|stream| stream as &mut dyn Read));
    let complaint = read(child.stderr.as_mut().map(|stream| stream as &mut dyn Read));
    let complaint = String::from_utf8_lossy(&complaint).trim().to_owned();
    let ended = ended?;
    link.outcome().map_err(|why| {
        [complaint.clone(), why].iter().filter(|s| !s.is_empty()).cloned().collect::<Vec<_>>().join("; ")
    })?;
    if ended != Some(0) {
        let code = ended.map_or_else(|| "a signal".to_owned(), |code| format!("exit code {code}"));
        return Err(format!("the confined process ended with {code}: {complaint}"));
    }
    Ok(printed)
}

/// Waits for the end, for so long. What it prints is far less than a pipe holds.
fn wait(child: &mut Child) -> Result<Option<i32>, String> {
    let give_up = Instant::now() + PATIENCE;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status.code()),
            Ok(None) if Instant::now() < give_up => std::thread::sleep(Duration::from_millis(1)),
            Ok(None) => {
                let killed = child.kill().and_then(|()| child.wait());
                return Err(match killed {
                    Ok(_) => format!("the confined process did not end within {} seconds", PATIENCE.as_secs()),
                    Err(error) => format!("the confined process cannot be ended: {error}"),
                });
            }
            Err(error) => return Err(format!("the confined process cannot be waited for: {error}")),
        }
    }
}

fn landlock() -> Finding<u32> {
    match fence::version() {
        Ok(version) => Finding::Offered(version),
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => Finding::Missing(
            Reason::new("the kernel has landlock but it was not enabled when it was started")
                .with_remedy("add landlock to the boot parameter lsm="),
        ),
        Err(error) => Finding::Missing(Reason::new(format!("the kernel has no landlock ({error})")).with_remedy(
            "use a kernel of at least 5.13 with CONFIG_SECURITY_LANDLOCK and `landlock` in the boot parameter lsm=; in a container, allow its system calls",
        )),
    }
}

/// Whether the kernel knows filters; whole confinements try them for real.
fn seccomp() -> Finding<()> {
    const SECCOMP_GET_ACTION_AVAIL: libc::c_ulong = 2;
    let action: u32 = libc::SECCOMP_RET_ERRNO;
    // SAFETY: the call reads one word, which outlives it.
    let result = unsafe { libc::syscall(libc::SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0_usize, &raw const action) };
    if result == 0 {
        return Finding::Offered(());
    }
    let error = std::io::Error::last_os_error();
    Finding::Missing(
        Reason::new(format!("the kernel takes no filters of system calls ({error})"))
            .with_remedy("use a kernel with CONFIG_SECCOMP_FILTER; in a container, allow the system call seccomp"),
    )
}

fn find_bubblewrap() -> Finding<Bubblewrap> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let program = std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/bin"), PathBuf::from("/bin")])
        .map(|folder| folder.join("bwrap"))
        .find(|program| program.is_absolute() && program.is_file());
    let Some(program) = program else {
        return Finding::Missing(Reason::new("bwrap is not on the PATH").with_remedy("install the package bubblewrap"));
    };
    match Command::new(&program).arg("--version").stdin(Stdio::null()).output() {
        Ok(output) if output.status.success() => {
            let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
            Finding::Offered(Bubblewrap { program, version })
        }
        Ok(output) => {
            let words = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            Finding::Missing(Reason::new(format!("{} does not run: {words}", program.display())))
        }
        Err(error) => Finding::Missing(Reason::new(format!("{} does not run: {error}", program.display()))),
    }
}

/// What to do about namespaces that cannot be made, as far as the machine says why.
fn with_namespace_remedy(why: String) -> Reason {
    let setting = |name: &str| std::fs::read_to_string(format!("/proc/sys/{name}")).map(|text| text.trim().to_owned());
    let is = |name: &str, value: &str| setting(name).is_ok_and(|text| text == value);
    let remedy = if is("kernel/apparmor_restrict_unprivileged_userns", "1") {
        "AppArmor restricts user namespaces: install bubblewrap with its AppArmor profile (package apparmor-profiles), or run \
         `sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0`"
    } else if is("kernel/unprivileged_userns_clone", "0") {
        "run `sudo sysctl kernel.unprivileged_userns_clone=1`"
    } else if is("user/max_user_namespaces", "0") {
        "run `sudo sysctl user.max_user_namespaces=10000`"
    } else if ["/.dockerenv", "/run/.containerenv"].iter().any(|file| Path::new(file).exists()) {
        "this is a container: start it with `--security-opt seccomp=unconfined --security-opt apparmor=unconfined \
         --security-opt systempaths=unconfined`"
    } else {
        return Reason::new(why);
    };
    Reason::new(why).with_remedy(remedy)
}

/// The first place where a group can really be made, limited and joined.
fn control_groups(helper: &Path, offer: &Offer) -> Finding<Cgroup> {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let candidates = cgroup::candidates(&read("/proc/self/cgroup"), &read("/proc/mounts"));
    let mut reasons = Vec::new();
    for cgroup in candidates {
        match try_group(helper, offer, &cgroup) {
            Ok(()) => return Finding::Offered(cgroup),
            Err(why) => reasons.push(why),
        }
    }
    let why = match reasons.is_empty() {
        true => "no control groups are mounted".to_owned(),
        false => reasons.join("; "),
    };
    Finding::Missing(Reason::new(why).with_remedy(
        "memory and tasks are watched instead of limited; for limits, run as root or below a delegated group: \
         `systemd-run --user --scope -p Delegate=yes nocturne ...`",
    ))
}

fn try_group(helper: &Path, offer: &Offer, cgroup: &Cgroup) -> Result<(), String> {
    let name = format!("{}{}", cgroup::prefix("probe"), std::process::id());
    let policy = Policy::serve(&Surroundings { memory_bytes: Some(1 << 30), ..Surroundings::default() }, helper);
    let limits = Limits { tasks: 64, ..policy.limits };
    let group = Group::create(cgroup, &name, &limits).map_err(|error| error.to_string())?;
    let confinement = Confinement::of(offer, Mechanism::Off);
    let command = vec![helper.into(), "attempt".into(), "wait".into()];
    let ran = run(helper, &confinement, &policy, Path::new("/"), Some(&group), command).map(drop);
    let ended = group.end().map_err(|error| error.to_string());
    ran.and(ended)
}
