//! The folder that the trainer is built against: a view of an unpacked torch in the shape that torch-sys expects of
//! `LIBTORCH`, with only what is to be linked in it.
//!
//! torch-sys links libtorch_cuda when it lies beside the others, and torch's own libtorch.so needs it too, so a program built
//! against the wheel as it is would not start without all of CUDA's libraries. The view leaves that half out and puts a linker
//! script in libtorch.so's place. The CUDA half is loaded at run time where a GPU is wanted.
//!
//! A library finds the ones that it needs relative to the path by which it was opened, links not followed. So the view keeps
//! the shape around it too: what lies beside torch lies beside the view.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::SetupError;

/// Text that a linker reads in place of a library.
const LINKER_SCRIPT: &str = "INPUT(-ltorch_cpu -lc10)\n";

/// How the names of the libraries begin that a view does not show: the CUDA half, and what only Python uses.
const HIDDEN: [&str; 7] = [
    "libtorch.so",
    "libtorch_cuda",
    "libtorch_hip",
    "libtorch_nvshmem",
    "libtorch_python",
    "libtorch_global_deps",
    "libcaffe2_nvrtc",
];

/// Folders beside torch that hold libraries which its own need.
pub const BESIDE: [&str; 2] = ["nvidia", "torch.libs"];

/// What is missing in a folder that should be a torch of which a view can be made; `None` if it is whole.
pub fn missing(torch: &Path) -> Option<&'static str> {
    let parts =
        ["lib/libtorch_cpu.so", "lib/libc10.so", "include/ATen/ATen.h", "include/torch/csrc/api/include/torch/torch.h"];
    parts.into_iter().find(|part| !torch.join(part).is_file())
}

/// Makes the view of the torch at `target` in the folder `view`, which is replaced. `target` is written into the links as it
/// is given: a relative one is seen from `view`, so that a folder holding both can be moved.
pub fn create(view: &Path, target: &Path, version: &str) -> Result<(), SetupError> {
    remove(view)?;
    let lib = view.join("lib");
    std::fs::create_dir_all(&lib).map_err(SetupError::io("create", &lib))?;
    let link = |to: PathBuf, at: PathBuf| symlink(&to, &at).map_err(SetupError::io("create the link", &at));
    link(target.join("include"), view.join("include"))?;
    let from_lib = if target.is_relative() { Path::new("..").join(target) } else { target.to_owned() };
    let from_lib = from_lib.join("lib");
    let libraries = lib.join(&from_lib);
    for entry in libraries.read_dir().map_err(SetupError::io("read", &libraries))? {
        let name = entry.map_err(SetupError::io("read", &libraries))?.file_name();
        let text = name.to_string_lossy();
        if text.contains(".so") && !HIDDEN.iter().any(|hidden| text.starts_with(hidden)) {
            link(from_lib.join(&name), lib.join(&name))?;
        }
    }
    let script = lib.join("libtorch.so");
    std::fs::write(&script, LINKER_SCRIPT).map_err(SetupError::io("write", &script))?;
    // Written last: a view without it was not finished.
    let stamp = view.join("build-version");
    std::fs::write(&stamp, format!("{version}\n")).map_err(SetupError::io("write", &stamp))
}

/// Ending of the folder in which a view grows.
pub const UNFINISHED: &str = ".partial";

/// Makes a view in `folder/link` of a torch that lies elsewhere, with links to what lies beside that torch. It grows beside
/// the folder and then takes its place, so that nobody builds against half a view. Only one process may do so at a time.
pub fn create_elsewhere(folder: &Path, torch: &Path, version: &str) -> Result<(), SetupError> {
    let beside = |ending: &str| {
        let mut path = folder.as_os_str().to_owned();
        path.push(ending);
        PathBuf::from(path)
    };
    // Both are left by a process that was killed, if they are there.
    let (new, old) = (beside(UNFINISHED), beside(".old.partial"));
    [&new, &old].into_iter().try_for_each(|left| remove(left))?;
    create(&new.join("link"), torch, version)?;
    for name in BESIDE {
        let (to, at) = (torch.with_file_name(name), new.join(name));
        if to.is_dir() {
            symlink(&to, &at).map_err(SetupError::io("create the link", &at))?;
        }
    }
    if folder.exists() {
        std::fs::rename(folder, &old).map_err(SetupError::io("move away", folder))?;
    }
    std::fs::rename(&new, folder).map_err(SetupError::io("move into place", folder))?;
    remove(&old)
}

fn remove(folder: &Path) -> Result<(), SetupError> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(SetupError::io("remove", folder)(error)),
        _ => Ok(()),
    }
}

/// Whether a view is whole and shows that torch.
pub fn is_current(view: &Path, torch: &Path, version: &str) -> bool {
    let same = |link: &str, target: &str| {
        let seen = view.join(link).canonicalize();
        seen.is_ok() && seen.ok() == torch.join(target).canonicalize().ok()
    };
    std::fs::read_to_string(view.join("build-version")).is_ok_and(|stamp| stamp.trim() == version)
        && same("include", "include")
        && same("lib/libtorch_cpu.so", "lib/libtorch_cpu.so")
        && same("lib/libc10.so", "lib/libc10.so")
        && std::fs::read_to_string(view.join("lib/libtorch.so")).is_ok_and(|script| script == LINKER_SCRIPT)
}

/// The folder of the torch that a `LIBTORCH` folder shows: itself, or what its links lead to. Its parent holds the CUDA
/// libraries where they came as wheels.
pub fn torch_behind(libtorch: &Path) -> Option<PathBuf> {
    let library = libtorch.join("lib/libtorch_cpu.so").canonicalize().ok()?;
    Some(library.parent()?.parent()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::testing::fake_torch;
    use super::*;

    #[test]
    fn a_view_shows_only_what_is_linked() {
        let folder = tempfile::tempdir().unwrap();
        let torch = fake_torch(&folder.path().join("torch"), "2.11.0+cu130", true);
        let view = folder.path().join("link");
        create(&view, Path::new("../torch"), "2.11.0").unwrap();
        let mut names: Vec<_> =
            std::fs::read_dir(view.join("lib")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["libc10.so", "libgomp.so.1", "libtorch.so", "libtorch_cpu.so"]);
        assert!(view.join("include/ATen/ATen.h").is_file());
        assert_eq!(torch_behind(&view).unwrap(), torch.canonicalize().unwrap());
        assert!(is_current(&view, &torch, "2.11.0"));
        assert!(!is_current(&view, &torch, "2.10.0"));

        // Both may move together.
        let moved = folder.path().join("moved");
        std::fs::create_dir(&moved).unwrap();
        std::fs::rename(&torch, moved.join("torch")).unwrap();
        std::fs::rename(&view, moved.join("link")).unwrap();
        assert!(is_current(&moved.join("link"), &moved.join("torch"), "2.11.0"));
        assert!(missing(&moved.join("torch")).is_none());
    }

    #[test]
    fn a_view_elsewhere_has_the_same_neighbours() {
        let folder = tempfile::tempdir().unwrap();
        let torch = fake_torch(&folder.path().join("site/torch"), "2.11.0", true);
        let library = folder.path().join("site/nvidia/cu13/lib/libcudart.so.13");
        std::fs::create_dir_all(library.parent().unwrap()).unwrap();
        std::fs::write(&library, "").unwrap();
        let cache = folder.path().join("cache");
        for _ in 0..2 {
            // What a process left that was killed half-way.
            std::fs::create_dir_all(cache.join("view.partial/link/lib")).unwrap();
            std::fs::write(cache.join("view.partial/link/lib/libold.so"), "").unwrap();
            create_elsewhere(&cache.join("view"), &torch, "2.11.0").unwrap();
            let left: Vec<_> = cache.read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
            assert_eq!(left, ["view"]);
        }
        assert!(!cache.join("view/link/lib/libold.so").exists());
        let seen = folder.path().join("cache/view/link/lib/../../nvidia/cu13/lib/libcudart.so.13");
        assert_eq!(seen.canonicalize().unwrap(), library.canonicalize().unwrap());
        assert!(is_current(&folder.path().join("cache/view/link"), &torch, "2.11.0"));
    }

    #[test]
    fn a_view_is_replaced_when_its_torch_is() {
        let folder = tempfile::tempdir().unwrap();
        let one = fake_torch(&folder.path().join("one"), "2.11.0", false);
        let two = fake_torch(&folder.path().join("two"), "2.11.0", false);
        std::fs::remove_file(two.join("lib/libgomp.so.1")).unwrap();
        std::fs::write(two.join("lib/libarm_compute.so"), "").unwrap();
        let view = folder.path().join("link");
        create(&view, &one, "2.11.0").unwrap();
        assert!(!is_current(&view, &two, "2.11.0"));
        create(&view, &two, "2.11.0").unwrap();
        assert!(is_current(&view, &two, "2.11.0"));
        assert!(!view.join("lib/libgomp.so.1").exists() && view.join("lib/libarm_compute.so").exists());
        std::fs::remove_dir_all(&two).unwrap();
        assert!(!is_current(&view, &two, "2.11.0"));
        assert_eq!(missing(&two), Some("lib/libtorch_cpu.so"));
        assert!(torch_behind(&view).is_none());
    }
}
