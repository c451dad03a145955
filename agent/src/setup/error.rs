//! Everything that can be wrong with a machine before a night begins, each with what to do about it.

use std::path::{Path, PathBuf};

use super::disk::Bytes;

/// Why the environment cannot be used. Its text says what, where, why and what to do.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A program that everything rests on is not there.
    #[error("{program} was not found on PATH; it is needed {purpose}. {remedy}")]
    Missing {
        /// The program's name as typed.
        program: String,
        /// What it is needed for.
        purpose: &'static str,
        /// What to do.
        remedy: String,
    },
    /// A program is there but does not do its work.
    #[error("{} does not work: {detail}. {remedy}", .program.display())]
    Broken {
        /// The program.
        program: PathBuf,
        /// What it said.
        detail: String,
        /// What to do.
        remedy: String,
    },
    /// A program is too old.
    #[error("{} is version {found}, but {needed} or newer is needed. {remedy}", .program.display())]
    TooOld {
        /// The program.
        program: PathBuf,
        /// Its version.
        found: String,
        /// The oldest that will do.
        needed: String,
        /// What to do.
        remedy: String,
    },
    /// `LIBTORCH` names a libtorch of another version.
    #[error(
        "LIBTORCH={} holds libtorch {found}, but this version of Nocturne works with {needed} only. \
         Point LIBTORCH to a libtorch {needed}, or unset it and Nocturne fetches the right one", .folder.display()
    )]
    WrongVersion {
        /// The folder.
        folder: PathBuf,
        /// Its version.
        found: String,
        /// The version needed.
        needed: &'static str,
    },
    /// `LIBTORCH` names something that is no libtorch.
    #[error(
        "LIBTORCH={} is not a libtorch: {detail}. Point LIBTORCH to the folder that holds libtorch's include/ and lib/, \
         or unset it and Nocturne fetches the right one", .folder.display()
    )]
    NoLibTorch {
        /// The folder.
        folder: PathBuf,
        /// What is missing.
        detail: String,
    },
    /// The repository asks for another tch than this agent knows a libtorch for.
    #[error(
        "{} pins torch-sys {found}, but libtorch {libtorch} goes with torch-sys {needed}. \
         Restore Cargo.lock, or use the version of Nocturne that belongs to this repository", .lock_file.display()
    )]
    WrongBinding {
        /// The repository's `Cargo.lock`.
        lock_file: PathBuf,
        /// The pinned version.
        found: String,
        /// The version that fits.
        needed: &'static str,
        /// The libtorch it fits.
        libtorch: &'static str,
    },
    /// A file of the repository cannot be used.
    #[error("{}: {detail}. {remedy}", .path.display())]
    BadRepository {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
        /// What to do.
        remedy: String,
    },
    /// No wheel of libtorch exists for this kind of machine.
    #[error(
        "there is no libtorch {version} to fetch for a {architecture} machine with {system}. \
         Build libtorch {version} from source and set LIBTORCH to its folder"
    )]
    NoWheel {
        /// The version needed.
        version: &'static str,
        /// The processor.
        architecture: String,
        /// The operating system.
        system: String,
    },
    /// The cache folder cannot be written.
    #[error(
        "the cache folder {} cannot be written: {detail}. Give a folder that can be with NOCTURNE_CACHE=/some/folder",
        .folder.display()
    )]
    Cache {
        /// The cache folder.
        folder: PathBuf,
        /// Why.
        detail: String,
    },
    /// A GPU was asked for.
    #[error("there is no GPU to work with: {detail}. Install NVIDIA's driver 580 or newer, or work on the CPU")]
    NoGpu {
        /// What was found.
        detail: String,
    },
    /// Neither `NOCTURNE_CACHE` nor a home says where downloads go.
    #[error(
        "no cache folder: none of NOCTURNE_CACHE, XDG_CACHE_HOME and HOME is set to an absolute path. \
             Set NOCTURNE_CACHE=/some/folder"
    )]
    NoCache,
    /// Less disk than needed.
    #[error(
        "not enough disk: {} needs {needed} free for {purpose}, and {available} are left. \
         Free {}, or {remedy}", .folder.display(), .needed.less(*.available)
    )]
    Disk {
        /// Where.
        folder: PathBuf,
        /// Bytes needed.
        needed: Bytes,
        /// Bytes there.
        available: Bytes,
        /// What for.
        purpose: String,
        /// What to do besides freeing some.
        remedy: &'static str,
    },
    /// pip could not reach the package index.
    #[error(
        "the download of {what} failed: {detail}. Check the network and the proxy or index settings of pip \
             (python3 -m pip config list), then run the command again: what is already downloaded is kept"
    )]
    Network {
        /// What was being downloaded.
        what: String,
        /// pip's words.
        detail: String,
    },
    /// A file is not the one that was pinned.
    #[error(
        "a downloaded file is not the one that Nocturne knows: {detail}. The package index or a proxy in between \
             serves something else; use pip's default index, or set LIBTORCH to a libtorch that you trust"
    )]
    Hash {
        /// pip's words.
        detail: String,
    },
    /// The package index does not have a pinned wheel.
    #[error(
        "the package index has no {what}: {detail}. Use an index that mirrors PyPI completely \
             (python3 -m pip config list shows which one is set), or set LIBTORCH to a libtorch 2.11.0"
    )]
    NotServed {
        /// What was asked for.
        what: String,
        /// pip's words.
        detail: String,
    },
    /// A child made no progress for too long.
    #[error(
        "{what} made no progress for {minutes} minutes and was stopped. Check the network, then run the command again: \
             what is already downloaded is kept"
    )]
    Stalled {
        /// What was being done.
        what: String,
        /// For how long nothing happened.
        minutes: u64,
    },
    /// pip failed in a way not foreseen.
    #[error("{what} failed ({status}): {detail}")]
    Child {
        /// What was being done.
        what: String,
        /// The exit status.
        status: String,
        /// The last words.
        detail: String,
    },
    /// A file operation failed.
    #[error("cannot {action} {}: {source}", .path.display())]
    Io {
        /// What was attempted, in the infinitive.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's word.
        source: std::io::Error,
    },
}

impl SetupError {
    /// The process's exit code: 2 for a repository that is not as it must be, 3 for a machine that is not.
    pub fn exit_code(&self) -> u8 {
        match self {
            SetupError::BadRepository { .. } | SetupError::WrongBinding { .. } => 2,
            _ => 3,
        }
    }

    /// For `map_err`: an [`SetupError::Io`] that names the path.
    pub(super) fn io<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(std::io::Error) -> SetupError + 'a {
        move |source| SetupError::Io { action, path: path.to_owned(), source }
    }
}
