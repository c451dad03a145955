//! Data sets from a Hugging Face hub, or from anything that speaks its routes (`HF_ENDPOINT`).
//!
//! A data set is always taken at one commit, so what was fetched once needs no network again. Downloads go on where
//! they broke off, are checked against the hash in the hub's list, and appear in the cache only when they are whole.
//! Names of files come from strangers and are refused when they could lead out of the cache. This module reads no
//! data: see crate `data` for that.

mod client;
mod download;
mod error;
mod listing;
#[cfg(test)]
mod tests;

use std::io::{self, Write};
use std::path::Path;

use data::prepare::HubFile;
use tokio::fs;

pub use self::client::Hub;
pub use self::error::HubError;
pub use self::listing::{Checksum, DataSet, RemoteFile, select};

use super::disk::{Bytes, Space, space_at};
use super::progress::{Event, Progress};
use crate::campaign::HubFiles;

/// Fetches the wanted files of a data set into `cache`, and says where they are. What is there already is not fetched
/// again, and when nothing is missing, the hub is not asked at all. Nothing is fetched when the disk cannot hold it all.
pub async fn fetch(
    hub: &Hub,
    data_set: &DataSet,
    wanted: &HubFiles,
    cache: &Path,
    progress: &mut dyn Progress,
) -> Result<Vec<HubFile>, HubError> {
    fetch_onto(hub, data_set, wanted, cache, progress, &space_at).await
}

/// [`fetch`], on a disk with the free space that `space_at` says.
async fn fetch_onto(
    hub: &Hub,
    data_set: &DataSet,
    wanted: &HubFiles,
    cache: &Path,
    progress: &mut dyn Progress,
    space_at: &(dyn Fn(&Path) -> io::Result<Space> + Sync),
) -> Result<Vec<HubFile>, HubError> {
    let files = select(data_set, &listing(hub, data_set, cache).await?, wanted)?;
    let total: u64 = files.iter().map(|file| file.bytes).sum();
    check_space(data_set, &files, cache, space_at).await?;
    progress.report(Event::Stage(format!("Downloading {} files of {}", files.len(), data_set.repository)));
    let mut before = 0;
    let mut fetched = Vec::new();
    for file in &files {
        let mut told = 0;
        let mut arrived = |bytes: u64| {
            if bytes.abs_diff(told) >= 1 << 20 || bytes == file.bytes {
                told = bytes;
                progress.report(Event::Amount { done: Bytes(before + bytes), expected: Bytes(total) });
            }
        };
        let path = hub.download(data_set, file, cache, &mut arrived).await?;
        before += file.bytes;
        let sha256 = match &file.checksum {
            Checksum::Sha256(digits) => Some(digits.clone()),
            Checksum::GitBlob(_) => None,
        };
        fetched.push(HubFile { name: file.name.clone(), path, sha256 });
    }
    Ok(fetched)
}

/// Refuses when what is not in the cache yet does not fit onto its disk.
async fn check_space(
    data_set: &DataSet,
    files: &[RemoteFile],
    cache: &Path,
    space_at: &(dyn Fn(&Path) -> io::Result<Space> + Sync),
) -> Result<(), HubError> {
    let mut needed = 0;
    for file in files {
        needed += file.bytes.saturating_sub(data_set.bytes_in(file, cache).await?.min(file.bytes));
    }
    let (needed, space) = (Bytes(needed), space_at(cache).map_err(HubError::disk("ask for the free space at", cache))?);
    if needed > space.available {
        let (folder, available) = (cache.to_owned(), space.available);
        return Err(HubError::Space { repository: data_set.repository.clone(), folder, needed, available });
    }
    Ok(())
}

/// The list of a data set's files: from the cache, where it stays, as a commit does not change.
async fn listing(hub: &Hub, data_set: &DataSet, cache: &Path) -> Result<Vec<RemoteFile>, HubError> {
    let folder = data_set.folder(cache);
    let path = folder.join(format!("{}.json", data_set.commit));
    match fs::read(&path).await {
        Ok(content) => match serde_json::from_slice::<Vec<RemoteFile>>(&content) {
            Ok(files) => return Ok(files),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "the cached list is damaged, asking for it anew")
            }
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => (),
        Err(error) => return Err(HubError::disk("read", &path)(error)),
    }
    let files = hub.list(data_set).await?;
    fs::create_dir_all(&folder).await.map_err(HubError::disk("make the folder", &folder))?;
    let text = serde_json::to_vec(&files).map_err(|error| hub.answer("a list of files", error.to_string()))?;
    let written = tempfile::NamedTempFile::new_in(&folder).and_then(|mut file| {
        file.write_all(&text)?;
        file.persist(&path).map_err(|error| error.error)
    });
    written.map_err(HubError::disk("write", &path))?;
    Ok(files)
}
