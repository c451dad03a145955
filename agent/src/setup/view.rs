//! The folder that the trainer is built against: a view of an unpacked torch in the shape that torch-sys expects of
//! `LIBTORCH`, with only what is to be linked in it.
//!
//! torch-sys links libtorch_cuda when it lies beside the others, and torch's own libtorch.so needs it too, so a program built
//! against the wheel as it is would not start without all of CUDA's libraries. The view holds links to libtorch_cpu and
//! libc10 only, and a linker script in libtorch.so's place. The CUDA half is loaded at run time where a GPU is wanted.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::SetupError;

/// Text that a linker reads in place of a library.
const LINKER_SCRIPT: &str = "INPUT(-ltorch_cpu -lc10)\n";

/// The libraries of torch that a view shows.
const SHOWN: [&str; 3] = ["libtorch_cpu.so", "libc10.so", "libgomp.so.1"];

/// What is missing in a folder that should be a torch of which a view can be made; `None` if it is whole.
pub fn missing(torch: &Path) -> Option<&'static str> {
    let parts =
        ["lib/libtorch_cpu.so", "lib/libc10.so", "include/ATen/ATen.h", "include/torch/csrc/api/include/torch/torch.h"];
    parts.into_iter().find(|part| !torch.join(part).is_file())
}

/// Makes the view of the torch at `target` in the folder `view`, which is replaced. `target` is written into the links as it
/// is given: a relative one is seen from `view`, so that a folder holding both can be moved.
pub fn create(view: &Path, target: &Path, version: &str) -> Result<(), SetupError> {
    match std::fs::remove_dir_all(view) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(SetupError::io("remove", view)(error));
        }
        _ => {}
    }
    let lib = view.join("lib");
    std::fs::create_dir_all(&lib).map_err(SetupError::io("create", &lib))?;
    let link = |to: PathBuf, at: PathBuf| symlink(&to, &at).map_err(SetupError::io("create the link", &at));
    link(target.join("include"), view.join("include"))?;
    let from_lib = if target.is_relative() { Path::new("..").join(target) } else { target.to_owned() };
    for name in SHOWN {
        // Some builds of torch use the system's libgomp.
        let to = from_lib.join("lib").join(name);
        if lib.join(&to).exists() {
            link(to, lib.join(name))?;
        }
    }
    let script = lib.join("libtorch.so");
    std::fs::write(&script, LINKER_SCRIPT).map_err(SetupError::io("write", &script))?;
    // Written last: a view without it was not finished.
    let stamp = view.join("build-version");
    std::fs::write(&stamp, format!("{version}\n")).map_err(SetupError::io("write", &stamp))
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
    fn a_view_is_replaced_when_its_torch_is() {
        let folder = tempfile::tempdir().unwrap();
        let one = fake_torch(&folder.path().join("one"), "2.11.0", false);
        let two = fake_torch(&folder.path().join("two"), "2.11.0", false);
        std::fs::remove_file(two.join("lib/libgomp.so.1")).unwrap();
        let view = folder.path().join("link");
        create(&view, &one, "2.11.0").unwrap();
        assert!(!is_current(&view, &two, "2.11.0"));
        create(&view, &two, "2.11.0").unwrap();
        assert!(is_current(&view, &two, "2.11.0"));
        assert!(!view.join("lib/libgomp.so.1").exists());
        std::fs::remove_dir_all(&two).unwrap();
        assert!(!is_current(&view, &two, "2.11.0"));
        assert_eq!(missing(&two), Some("lib/libtorch_cpu.so"));
        assert!(torch_behind(&view).is_none());
    }
}
