//! What can go wrong between this machine and a hub.

use std::io;
use std::path::{Path, PathBuf};

use crate::setup::disk::Bytes;

/// A data set could not be fetched. What arrived whole stays in the cache; half a file stays too, and the next run goes
/// on from there.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// A name that no repository, commit or file can have.
    #[error("`{value}` is not {wanted}. Correct it in campaign.toml, in [data.hub]")]
    Name {
        /// What was given.
        value: String,
        /// "the name of a data set (owner/name)", ...
        wanted: &'static str,
    },
    /// `HF_ENDPOINT` or `HF_TOKEN` cannot be used.
    #[error("{variable} cannot be used: {reason}. Correct or unset it")]
    Variable {
        /// Which.
        variable: &'static str,
        /// Why; never the token itself.
        reason: String,
    },
    /// The HTTP client could not be made.
    #[error("cannot prepare for downloads: {0}. Look at the system's certificates and at the proxy variables")]
    Client(String),
    /// The hub says there is no such thing.
    #[error("{endpoint} does not have {what}. Check repo, revision and files in campaign.toml, in [data.hub]")]
    NotFound {
        /// The hub's address.
        endpoint: String,
        /// What was asked for.
        what: String,
    },
    /// The hub wants to know who asks.
    #[error(
        "{endpoint} refuses {what} (status {status}): it does not exist, is private, or its terms must be accepted \
         first. Check the name; if you have access, put a token into HF_TOKEN"
    )]
    Denied {
        /// The hub's address.
        endpoint: String,
        /// What was asked for.
        what: String,
        /// 401 or 403.
        status: u16,
    },
    /// An answer that trying again does not change.
    #[error("{endpoint} answers with status {status} to the request for {what}. Check HF_ENDPOINT and try again later")]
    Status {
        /// The hub's address.
        endpoint: String,
        /// What was asked for.
        what: String,
        /// The HTTP status.
        status: u16,
    },
    /// Every attempt failed.
    #[error(
        "cannot get {what} from {endpoint}: {reason} ({attempts} attempts). Check the network, or HF_ENDPOINT, and run \
         again: what has arrived is kept"
    )]
    Unreachable {
        /// The hub's address.
        endpoint: String,
        /// What was asked for.
        what: String,
        /// What happened last.
        reason: String,
        /// How often it was tried without anything arriving.
        attempts: u32,
    },
    /// An answer that makes no sense.
    #[error("{endpoint} sends {what} in a form that cannot be used: {reason}. Check HF_ENDPOINT")]
    Answer {
        /// The hub's address.
        endpoint: String,
        /// What was asked for.
        what: String,
        /// What is wrong.
        reason: String,
    },
    /// The repository is there, the file is not.
    #[error("data set {repository} at {commit} has no file {wanted}. {hint}")]
    NoFile {
        /// The data set.
        repository: String,
        /// At which commit.
        commit: String,
        /// The name or the beginning of names.
        wanted: String,
        /// What there is instead.
        hint: String,
    },
    /// The content is not what the hub's list says.
    #[error(
        "{file} arrived with content {found} instead of {expected}; it was removed. Run again; if it stays so, the hub \
         or something on the way to it is broken"
    )]
    WrongContent {
        /// The file's name in the repository.
        file: String,
        /// The hash in the hub's list.
        expected: String,
        /// The hash of what arrived.
        found: String,
    },
    /// The cache's disk cannot hold what is to be fetched.
    #[error(
        "not enough disk: {needed} of data set {repository} are still to be fetched, and {} has {available} free. Free {}, \
         ask for fewer files in campaign.toml, or put the cache elsewhere with NOCTURNE_CACHE=/some/folder",
        .folder.display(), .needed.less(*.available)
    )]
    Space {
        /// The data set.
        repository: String,
        /// The cache.
        folder: PathBuf,
        /// Bytes to be fetched.
        needed: Bytes,
        /// Bytes free.
        available: Bytes,
    },
    /// The cache cannot be used.
    #[error("cannot {action} {}: {source}. Check the disk, or name another cache with NOCTURNE_CACHE", path.display())]
    Disk {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

impl HubError {
    /// Whether the campaign names something that is not there or not allowed, rather than the machine or the hub being at fault.
    pub fn is_of_the_campaign(&self) -> bool {
        matches!(
            self,
            HubError::Name { .. } | HubError::NotFound { .. } | HubError::Denied { .. } | HubError::NoFile { .. }
        )
    }

    /// For `map_err`: an operating system's error with the file it is about.
    pub(super) fn disk<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> HubError + 'a {
        move |source| HubError::Disk { action, path: path.to_path_buf(), source }
    }
}
