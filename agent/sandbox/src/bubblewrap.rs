//! A [`View`] as bubblewrap's arguments. No IO.

use std::ffi::OsString;
use std::path::Path;

use crate::view::{Mount, View};

/// Where the helper lies inside, so that it can finish the confinement there.
pub(crate) const HELPER: &str = "/.helper";

/// What bubblewrap is told: namespaces, view, and to start the helper as the first process.
pub(crate) fn arguments(view: &View, helper: &Path) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = [
        "--unshare-user",
        "--unshare-pid",
        "--unshare-net",
        "--unshare-ipc",
        "--unshare-uts",
        "--unshare-cgroup-try",
        "--die-with-parent",
        "--as-pid-1",
        "--cap-drop",
        "ALL",
        "--ro-bind",
    ]
    .map(OsString::from)
    .to_vec();
    arguments.extend([helper.into(), HELPER.into()]);
    for mount in &view.mounts {
        let more: Vec<OsString> = match mount {
            Mount::Memory(path, bytes) => {
                // Of no bytes at all there is none: a page, which is the least.
                let size = (*bytes).max(4096).to_string();
                vec!["--size".into(), size.into(), "--tmpfs".into(), path.into()]
            }
            Mount::Read(path) | Mount::Kernel(path) => vec!["--ro-bind".into(), path.into(), path.into()],
            Mount::Write(path) => vec!["--bind".into(), path.into(), path.into()],
            Mount::Device(path) => vec!["--dev-bind".into(), path.into(), path.into()],
            Mount::Link(path, target) => vec!["--symlink".into(), target.into(), path.into()],
            Mount::Processes => vec!["--proc".into(), "/proc".into()],
            Mount::Seal(path) => vec!["--remount-ro".into(), path.into()],
        };
        arguments.extend(more);
    }
    // The helper goes to the command's folder itself, and says so when it is not there.
    arguments.extend(["--chdir".into(), "/".into()]);
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_mount_has_its_arguments() {
        let view = View {
            mounts: vec![
                Mount::Read("/usr".into()),
                Mount::Link("/bin".into(), "usr/bin".into()),
                Mount::Processes,
                Mount::Kernel("/proc/sys".into()),
                Mount::Memory("/tmp".into(), 8192),
                Mount::Memory("/sys/fs".into(), 0),
                Mount::Device("/dev/null".into()),
                Mount::Write("/work".into()),
                Mount::Seal("/".into()),
            ],
        };
        let words: Vec<String> = arguments(&view, Path::new("/opt/nocturne"))
            .into_iter()
            .map(|word| word.to_string_lossy().into_owned())
            .collect();
        let text = words.join(" ");
        assert_eq!(
            text,
            "--unshare-user --unshare-pid --unshare-net --unshare-ipc --unshare-uts --unshare-cgroup-try \
             --die-with-parent --as-pid-1 --cap-drop ALL --ro-bind /opt/nocturne /.helper --ro-bind /usr /usr \
             --symlink usr/bin /bin --proc /proc --ro-bind /proc/sys /proc/sys --size 8192 --tmpfs /tmp \
             --size 4096 --tmpfs /sys/fs --dev-bind /dev/null /dev/null --bind /work /work --remount-ro / --chdir /"
        );
    }
}
