//! Which libtorch the trainer is built against and runs with.
//!
//! In this order: the folder that `LIBTORCH` names (an unfit one is an error, never passed over in silence); what an earlier
//! set-up installed into the cache; a torch of the right version in the Python environment; the pinned wheels. The cache goes
//! before the Python environment because a build belongs to the path of its libtorch: activating another environment one
//! evening should not cost a new build.

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::pins::{Pins, TORCH_VERSION};
use super::python::PythonTorch;
use super::surroundings::Surroundings;
use super::{SetupError, view};

/// Where a libtorch came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// The person's `LIBTORCH` variable.
    Variable,
    /// The torch package of a Python environment.
    PythonEnvironment,
    /// The pinned wheels in the cache.
    Wheels,
}

/// A libtorch that can be built against and run with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LibTorch {
    /// The torch folder itself: `include/`, `lib/` and, where it is a Python package, torch's Python sources.
    pub root: PathBuf,
    /// What `LIBTORCH` must be for a build: a view of `root` without CUDA (see [`view`]).
    pub link_dir: PathBuf,
    /// The folder for a program's run path: `link_dir/lib`.
    pub lib_dir: PathBuf,
    /// For example `2.11.0`.
    pub version: String,
    /// Whether the CUDA half is there; it is loaded at run time.
    pub cuda: bool,
    /// Where it came from.
    pub origin: Origin,
    /// Whether `root` holds torch's Python sources, which the embedded corpus is made from.
    pub has_sources: bool,
}

/// Written into an installation as its last file: what it holds, to tell a whole one from a damaged one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stamp {
    /// The version of torch.
    pub torch: String,
    /// Whether the CUDA libraries are there.
    pub cuda: bool,
    /// The wheels' hashes, in the order of the pins.
    pub wheels: Vec<String>,
    /// Sizes in bytes of the libraries in torch/lib, which are linked or loaded.
    pub library_bytes: BTreeMap<String, u64>,
}

pub(super) const STAMP: &str = "nocturne.json";

/// The file in the cache whose lock is held by whoever changes what is in it of libtorch.
pub(super) const LOCK: &str = "libtorch.lock";

impl LibTorch {
    /// Folders outside the cargo and system ones that a build or a training process must be able to read.
    pub fn read_paths(&self) -> Vec<PathBuf> {
        let mut paths = vec![self.link_dir.clone(), self.root.clone()];
        // Python's packages keep CUDA's libraries and bundled ones beside torch.
        for beside in view::BESIDE {
            let path = self.root.with_file_name(beside);
            if path.is_dir() {
                paths.push(path);
            }
        }
        paths
    }

    fn new(root: PathBuf, link_dir: PathBuf, origin: Origin) -> Self {
        Self {
            cuda: root.join("lib/libtorch_cuda.so").is_file(),
            has_sources: root.join("nn/modules/module.py").is_file(),
            lib_dir: link_dir.join("lib"),
            version: TORCH_VERSION.to_owned(),
            root,
            link_dir,
            origin,
        }
    }

    /// The folder that `LIBTORCH` names. A view is made in the cache where linking against it as it is would draw in CUDA.
    fn from_variable(folder: &Path, cache: &Path) -> Result<Found, SetupError> {
        let no_libtorch = |detail: String| SetupError::NoLibTorch { folder: folder.to_owned(), detail };
        if !folder.is_absolute() {
            return Err(no_libtorch("it must be an absolute path".to_owned()));
        }
        if !folder.is_dir() {
            return Err(no_libtorch("there is no such folder".to_owned()));
        }
        if let Some(part) = view::missing(folder) {
            return Err(no_libtorch(format!("{part} is not there")));
        }
        let torch = view::torch_behind(folder)
            .ok_or_else(|| no_libtorch("lib/libtorch_cpu.so cannot be followed".to_owned()))?;
        let found = version_of(folder)
            .or_else(|| version_of(&torch))
            .ok_or_else(|| no_libtorch("neither build-version nor version.py says which version it is".to_owned()))?;
        if release(&found) != TORCH_VERSION {
            return Err(SetupError::WrongVersion { folder: folder.to_owned(), found, needed: TORCH_VERSION });
        }
        if folder.join("lib/libtorch_cuda.so").exists() || !folder.join("lib/libtorch.so").exists() {
            let libtorch = Self::new(torch, view_folder(cache, folder).join("link"), Origin::Variable);
            return Ok(Found { libtorch, view_of: Some(folder.to_owned()) });
        }
        Ok(Found::whole(Self::new(torch, folder.to_owned(), Origin::Variable)))
    }

    /// What an earlier set-up installed into the cache, if it is whole.
    pub(super) fn installed(cache: &Path, pins: &Pins) -> Option<Self> {
        let folder = install_folder(cache, pins.cuda);
        let stamp: Stamp = serde_json::from_slice(&std::fs::read(folder.join(STAMP)).ok()?).ok()?;
        let torch = folder.join("torch");
        let whole = stamp == Stamp::of(&folder, pins).ok()?
            && view::missing(&torch).is_none()
            && view::is_current(&folder.join("link"), &torch, TORCH_VERSION);
        whole.then(|| Self::new(torch, folder.join("link"), Origin::Wheels))
    }
}

/// A fitting libtorch that is already on this machine. Nothing has been written yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// The libtorch as it will be.
    pub libtorch: LibTorch,
    /// The folder of which `link_dir` must be made a view first; `link_dir` then is `link` in a folder of its own.
    view_of: Option<PathBuf>,
}

impl Found {
    /// One that needs no view made.
    pub(super) fn whole(libtorch: LibTorch) -> Self {
        Self { libtorch, view_of: None }
    }

    /// Whether the view must still be written into the cache.
    pub(super) fn needs_view(&self) -> bool {
        self.view_of.as_ref().is_some_and(|folder| !view::is_current(&self.libtorch.link_dir, folder, TORCH_VERSION))
    }

    /// Makes it usable. Whoever needs a view made must hold the cache's [lock](super::wheels::lock).
    pub(super) fn settle(self) -> Result<LibTorch, SetupError> {
        if self.needs_view()
            && let (Some(torch), Some(folder)) = (&self.view_of, self.libtorch.link_dir.parent())
        {
            view::create_elsewhere(folder, torch, TORCH_VERSION)?;
        }
        Ok(self.libtorch)
    }
}

impl Stamp {
    /// The stamp that a whole installation of these pins has.
    pub(super) fn of(folder: &Path, pins: &Pins) -> std::io::Result<Self> {
        let mut library_bytes = BTreeMap::new();
        for entry in folder.join("torch/lib").read_dir()? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.contains(".so") {
                library_bytes.insert(name, entry.path().metadata()?.len());
            }
        }
        Ok(Self {
            torch: TORCH_VERSION.to_owned(),
            cuda: pins.cuda,
            wheels: pins.wheels.iter().map(|pin| pin.sha256.clone()).collect(),
            library_bytes,
        })
    }
}

/// Where the pinned wheels are installed. The two kinds lie beside each other: what was built against one goes on working.
pub(super) fn install_folder(cache: &Path, cuda: bool) -> PathBuf {
    cache.join(format!("libtorch-{TORCH_VERSION}{}", if cuda { "-cuda" } else { "" }))
}

/// One view per torch folder, so that two environments do not undo each other's.
fn view_folder(cache: &Path, torch: &Path) -> PathBuf {
    let digest = Sha256::digest(torch.as_os_str().as_encoded_bytes());
    cache.join(format!("libtorch-{TORCH_VERSION}-view-{}", hex::encode(&digest[..6])))
}

/// The version of the libtorch in a folder, as it is written there: `2.11.0+cu130`.
pub fn version_of(folder: &Path) -> Option<String> {
    if let Ok(stamp) = std::fs::read_to_string(folder.join("build-version")) {
        let version = stamp.trim();
        return (!version.is_empty() && version.len() < 100).then(|| version.to_owned());
    }
    let source = std::fs::read_to_string(folder.join("version.py")).ok()?;
    let value =
        source.lines().find_map(|line| line.trim().strip_prefix("__version__")?.trim_start().strip_prefix('='))?;
    let version = value.trim().trim_matches(['\'', '"']);
    (!version.is_empty()).then(|| version.to_owned())
}

/// A version without its local part: `2.11.0+cu130` is the release `2.11.0`.
fn release(version: &str) -> &str {
    version.split_once('+').map_or(version, |(release, _)| release)
}

/// Removes what an interrupted or superseded use of the cache left: views whose torch is gone, and unfinished ones. Another
/// process that is making a view is left alone: the next set-up will do.
pub(super) fn remove_dead_views(cache: &Path) {
    if dead_views(cache).is_empty() {
        return;
    }
    let lock = File::options().create(true).append(true).open(cache.join(LOCK));
    match lock.as_ref().map(File::try_lock) {
        Ok(Ok(())) => {}
        Ok(Err(TryLockError::WouldBlock)) => return,
        Ok(Err(TryLockError::Error(error))) => return tracing::warn!(%error, "cannot lock the cache of libtorch"),
        Err(error) => return tracing::warn!(%error, "cannot open the lock of libtorch's cache"),
    }
    // Looked for again under the lock: one may have been finished meanwhile.
    for path in dead_views(cache) {
        if let Err(error) = std::fs::remove_dir_all(&path) {
            tracing::warn!(path = %path.display(), %error, "cannot remove an old view of libtorch");
        }
    }
}

fn dead_views(cache: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(cache) else { return Vec::new() };
    let is_dead = |entry: std::fs::DirEntry| {
        let (name, path) = (entry.file_name(), entry.path());
        let name = name.to_string_lossy();
        let dead = name.starts_with(&format!("libtorch-{TORCH_VERSION}-view-"))
            && (name.ends_with(view::UNFINISHED) || view::torch_behind(&path.join("link")).is_none());
        dead.then_some(path)
    };
    entries.flatten().filter_map(is_dead).collect()
}

/// The libtorch that `LIBTORCH` names, if it is set; else the one that an earlier set-up installed.
pub(super) fn locate(
    surroundings: &Surroundings,
    cache: &Path,
    pins: Option<&Pins>,
) -> Result<Option<Found>, SetupError> {
    match &surroundings.libtorch {
        Some(folder) => LibTorch::from_variable(folder, cache).map(Some),
        None => {
            // One with CUDA's half serves the CPU as well; better that than another half gigabyte.
            let fuller = pins.filter(|pins| !pins.cuda).and_then(|pins| Pins::of(pins.architecture, true));
            let found = pins.into_iter().chain(&fuller).find_map(|pins| LibTorch::installed(cache, pins));
            Ok(found.map(Found::whole))
        }
    }
}

/// The torch of a Python environment, if it fits.
pub(super) fn from_python(torch: &PythonTorch, cache: &Path, cuda: bool) -> Option<Found> {
    let fits = release(&torch.version) == TORCH_VERSION
        && view::missing(&torch.folder).is_none()
        && (!cuda || torch.folder.join("lib/libtorch_cuda.so").is_file());
    fits.then(|| Found {
        libtorch: LibTorch::new(
            torch.folder.clone(),
            view_folder(cache, &torch.folder).join("link"),
            Origin::PythonEnvironment,
        ),
        view_of: Some(torch.folder.clone()),
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Machine, fake_torch};
    use super::*;

    fn with_variable(folder: &Path) -> (Machine, Result<Option<Found>, SetupError>) {
        let mut machine = Machine::new();
        machine.surroundings.libtorch = Some(folder.to_owned());
        let found = locate(&machine.surroundings, &machine.cache, None);
        (machine, found)
    }

    #[test]
    fn versions_are_read_from_either_file() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(version_of(folder.path()), None);
        let torch = fake_torch(&folder.path().join("torch"), "2.11.0+cu130", false);
        assert_eq!(version_of(&torch).unwrap(), "2.11.0+cu130");
        std::fs::write(torch.join("build-version"), "2.12.0a0+git123\n").unwrap();
        assert_eq!(version_of(&torch).unwrap(), "2.12.0a0+git123");
        std::fs::write(torch.join("build-version"), "\n").unwrap();
        assert_eq!(version_of(&torch), None);
        assert_eq!((release("2.11.0+cpu"), release("2.11.0"), release("2.11.0a0")), ("2.11.0", "2.11.0", "2.11.0a0"));
    }

    #[test]
    fn the_variable_goes_first_and_must_fit() {
        let folder = tempfile::tempdir().unwrap();
        let torch = fake_torch(&folder.path().join("torch"), "2.11.0+cu130", true);
        let (machine, found) = with_variable(&torch);
        let found = found.unwrap().unwrap();
        assert!(found.needs_view() && !machine.cache.exists(), "looking must not write");
        let libtorch = found.settle().unwrap();
        assert!(libtorch.cuda && libtorch.has_sources);
        assert!(libtorch.link_dir.starts_with(&machine.cache));
        assert!(!libtorch.lib_dir.join("libtorch_cuda.so").exists());

        // A view that an earlier set-up made is taken as it is, and a changed version is noticed through it.
        let view = libtorch.link_dir;
        let again = with_variable(&view).1.unwrap().unwrap();
        assert!(!again.needs_view());
        assert_eq!((again.libtorch.link_dir.as_path(), again.libtorch.cuda), (view.as_path(), true));
    }

    #[test]
    fn an_unfit_variable_is_an_error_that_names_both_versions() {
        let folder = tempfile::tempdir().unwrap();
        let torch = fake_torch(&folder.path().join("torch"), "2.5.1+cu124", false);
        let error = with_variable(&torch).1.unwrap_err();
        let text = error.to_string();
        assert!(text.contains("2.5.1+cu124") && text.contains("2.11.0 only") && text.contains("unset it"), "{text}");
        assert_eq!(error.exit_code(), 3);

        std::fs::remove_file(torch.join("version.py")).unwrap();
        assert!(with_variable(&torch).1.unwrap_err().to_string().contains("says which version"));
        std::fs::remove_file(torch.join("lib/libc10.so")).unwrap();
        assert!(with_variable(&torch).1.unwrap_err().to_string().contains("lib/libc10.so is not there"));
        assert!(with_variable(Path::new("/no/such")).1.unwrap_err().to_string().contains("no such folder"));
        assert!(with_variable(Path::new("torch")).1.unwrap_err().to_string().contains("absolute"));
    }

    #[test]
    fn a_python_torch_is_used_only_when_it_fits() {
        let machine = Machine::new();
        let folder = fake_torch(&machine.folder.path().join("site/torch"), "2.11.0", false);
        std::fs::create_dir(machine.folder.path().join("site/nvidia")).unwrap();
        let torch = |version: &str| PythonTorch { folder: folder.clone(), version: version.to_owned() };
        assert!(from_python(&torch("2.10.0"), &machine.cache, false).is_none());
        assert!(from_python(&torch("2.11.0+cpu"), &machine.cache, true).is_none(), "it has no CUDA half");
        let libtorch = from_python(&torch("2.11.0+cpu"), &machine.cache, false).unwrap().settle().unwrap();
        assert_eq!((libtorch.origin, libtorch.cuda), (Origin::PythonEnvironment, false));
        assert_eq!(libtorch.read_paths().len(), 3);
        assert!(libtorch.read_paths().contains(&machine.folder.path().join("site/nvidia")));

        remove_dead_views(&machine.cache);
        assert!(libtorch.link_dir.exists());
        let unfinished = machine.cache.join("libtorch-2.11.0-view-0123.partial");
        std::fs::create_dir(&unfinished).unwrap();
        let held = File::options().create(true).append(true).open(machine.cache.join(LOCK)).unwrap();
        held.lock().unwrap();
        remove_dead_views(&machine.cache);
        assert!(unfinished.exists(), "another process is making it");
        drop(held);
        remove_dead_views(&machine.cache);
        assert!(!unfinished.exists() && libtorch.link_dir.exists());
        std::fs::remove_dir_all(&folder).unwrap();
        remove_dead_views(&machine.cache);
        assert!(!libtorch.link_dir.exists());
    }

    #[test]
    fn an_installation_counts_only_when_it_is_whole() {
        let machine = Machine::new();
        let pins = Pins::of("x86_64", false).unwrap();
        let folder = install_folder(&machine.cache, false);
        let torch = fake_torch(&folder.join("torch"), "2.11.0+cu130", false);
        view::create(&folder.join("link"), Path::new("../torch"), TORCH_VERSION).unwrap();
        let locate = || locate(&machine.surroundings, &machine.cache, Some(&pins)).unwrap();
        assert!(locate().is_none(), "without its stamp it was not finished");
        let stamp = serde_json::to_vec(&Stamp::of(&folder, &pins).unwrap()).unwrap();
        std::fs::write(folder.join(STAMP), stamp).unwrap();
        let found = locate().unwrap();
        assert_eq!((found.libtorch.origin, found.libtorch.root), (Origin::Wheels, torch.clone()));
        let cuda = Pins::of("x86_64", true).unwrap();
        assert!(super::locate(&machine.surroundings, &machine.cache, Some(&cuda)).unwrap().is_none());

        for library in ["libtorch_cpu.so", "libc10.so", "libgomp.so.1"] {
            let path = torch.join("lib").join(library);
            let whole = std::fs::read(&path).unwrap();
            std::fs::write(&path, "cut").unwrap();
            assert!(locate().is_none(), "{library} cut short was not noticed");
            std::fs::write(&path, whole).unwrap();
            assert!(locate().is_some());
        }
        std::fs::remove_file(torch.join("lib/libgomp.so.1")).unwrap();
        assert!(locate().is_none(), "a missing library was not noticed");
    }
}
