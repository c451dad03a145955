//! One file from a hub into the cache: resumed where it broke off, checked, and renamed into place when it is whole.

use std::fs::{File, TryLockError};
use std::io::{self, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::header::{CONTENT_RANGE, ETAG, HeaderValue};
use reqwest::{Response, StatusCode, Url};
use sha2::{Digest, Sha256};
use tokio::fs;
use tokio::io::{AsyncSeekExt, AsyncWriteExt};

use super::client::{Attempts, Failure, broken};
use super::listing::safe_path;
use super::{Checksum, DataSet, Hub, HubError, RemoteFile};

/// Hears how many bytes of the file are here.
pub(super) type Arrived<'a> = &'a mut (dyn FnMut(u64) + Send);

impl Hub {
    /// Fetches a file, unless it is in the cache already, and says where it is.
    pub async fn download(
        &self,
        data_set: &DataSet,
        file: &RemoteFile,
        cache: &Path,
        arrived: Arrived<'_>,
    ) -> Result<PathBuf, HubError> {
        let places = data_set.places(file, cache).map_err(|reason| self.answer("a list of files", reason))?;
        let Places { target, half_done } = places;
        let folder = data_set.folder(cache);
        for path in [&target, &half_done] {
            let parent = path.parent().unwrap_or(&folder);
            fs::create_dir_all(parent).await.map_err(HubError::disk("make the folder", parent))?;
        }
        let lock = lock(&half_done).await?;
        // Looked for under the lock: another process may just have finished it.
        if is_there(&target, file.bytes).await? {
            arrived(file.bytes);
            let left = fs::remove_file(&half_done).await;
            drop(lock);
            return left.map(|()| target).map_err(HubError::disk("remove", &half_done));
        }
        let url = self.url(
            data_set.address(&["datasets"], &["resolve", &data_set.commit]).into_iter().chain(file.name.split('/')),
        );
        let what = format!("{} of data set {}", file.name, data_set.repository);
        let mut transfer = Transfer { hub: self, what, url, file, etag: None, path: &half_done };
        transfer.run(arrived).await?;
        fs::rename(&half_done, &target).await.map_err(HubError::disk("rename to", &target))?;
        let parent = target.parent().unwrap_or(&folder).to_path_buf();
        let synced = blocking(move || File::open(parent)?.sync_all()).await;
        synced.map_err(HubError::disk("sync the folder of", &target))?;
        drop(lock);
        Ok(target)
    }
}

/// Where a file lies in the cache.
struct Places {
    /// When it is whole.
    target: PathBuf,
    /// Until then.
    half_done: PathBuf,
}

impl DataSet {
    /// The error is the reason why the name cannot be used.
    fn places(&self, file: &RemoteFile, cache: &Path) -> Result<Places, String> {
        let folder = self.folder(cache);
        let target = folder.join(&self.commit).join(safe_path(&file.name)?);
        let name = hex::encode(&Sha256::digest(target.as_os_str().as_encoded_bytes())[..8]);
        Ok(Places { target, half_done: folder.join(".partial").join(name) })
    }

    /// Bytes of a file that are in the cache already, whole or not. A name that cannot be used has none: it is refused when it
    /// is to be fetched.
    pub(super) async fn bytes_in(&self, file: &RemoteFile, cache: &Path) -> Result<u64, HubError> {
        let Ok(places) = self.places(file, cache) else { return Ok(0) };
        if is_there(&places.target, file.bytes).await? {
            return Ok(file.bytes);
        }
        match fs::metadata(&places.half_done).await {
            Ok(found) => Ok(found.len()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(HubError::disk("inspect", &places.half_done)(error)),
        }
    }
}

/// A file on its way.
struct Transfer<'a> {
    hub: &'a Hub,
    what: String,
    url: Url,
    file: &'a RemoteFile,
    etag: Option<HeaderValue>,
    path: &'a Path,
}

impl Transfer<'_> {
    /// Until the whole file is at `path`, with the right content.
    async fn run(&mut self, arrived: Arrived<'_>) -> Result<(), HubError> {
        let mut attempts = Attempts::new(self.hub, &self.what);
        let mut taken_up = self.bytes_here().await? > 0;
        loop {
            let before = self.bytes_here().await?;
            let outcome = if before < self.file.bytes { self.attempt(before, arrived).await } else { Ok(()) };
            let here = self.bytes_here().await?;
            if here > before {
                attempts.progressed();
            }
            match outcome {
                Ok(()) if here < self.file.bytes => {
                    let reason = format!("the connection ended after {here} of {} bytes", self.file.bytes);
                    attempts.failed(Failure::Passing { reason, pause: None }).await?;
                }
                Ok(()) => match self.check().await? {
                    None => return Ok(()),
                    // What an earlier run left may be to blame: once more, from the beginning.
                    Some(found) if std::mem::take(&mut taken_up) => {
                        tracing::warn!(file = self.file.name, found, "what was left of it is damaged, starting over");
                        let emptied = fs::File::options().write(true).truncate(true).open(self.path).await;
                        emptied.map_err(HubError::disk("empty", self.path))?;
                        self.etag = None;
                    }
                    Some(found) => {
                        fs::remove_file(self.path).await.map_err(HubError::disk("remove", self.path))?;
                        let (file, expected) = (self.file.name.clone(), self.file.checksum.text());
                        return Err(HubError::WrongContent { file, expected, found });
                    }
                },
                Err(failure) => attempts.failed(failure).await?,
            }
        }
    }

    /// One request, as far as it gets.
    async fn attempt(&mut self, from: u64, arrived: Arrived<'_>) -> Result<(), Failure> {
        let mut response = self.hub.get_once(&self.what, &self.url, from, self.etag.as_ref()).await?;
        let from = self.start(&response, from)?;
        self.etag = response.headers().get(ETAG).filter(|etag| !etag.as_bytes().starts_with(b"W/")).cloned();
        let failed = |error| Failure::Final(HubError::disk("write", self.path)(error));
        let mut out =
            fs::File::options().create(true).truncate(false).write(true).open(self.path).await.map_err(failed)?;
        out.set_len(from).await.map_err(failed)?;
        out.seek(SeekFrom::Start(from)).await.map_err(failed)?;
        let mut here = from;
        let outcome = loop {
            match response.chunk().await {
                Ok(None) => break Ok(()),
                Ok(Some(chunk)) => {
                    here += chunk.len() as u64;
                    if here > self.file.bytes {
                        let reason = format!("it is longer than the {} bytes in the list", self.file.bytes);
                        break Err(Failure::Final(self.hub.answer(&self.what, reason)));
                    }
                    out.write_all(&chunk).await.map_err(failed)?;
                    arrived(here);
                }
                Err(error) => break Err(broken(error)),
            }
        };
        // Whatever came before a break counts.
        out.flush().await.map_err(failed)?;
        out.sync_all().await.map_err(failed)?;
        outcome
    }

    /// At which byte the answer begins. A hub may send the whole file although a part was asked for.
    fn start(&self, response: &Response, asked: u64) -> Result<u64, Failure> {
        match response.status() {
            StatusCode::PARTIAL_CONTENT => {
                let range = response.headers().get(CONTENT_RANGE).and_then(|range| range.to_str().ok());
                let start =
                    range.and_then(|range| range.strip_prefix("bytes ")?.split_once('-')?.0.parse::<u64>().ok());
                if start == Some(asked) {
                    return Ok(asked);
                }
                let reason = format!("it was asked for bytes from {asked} on and sends {range:?}");
                Err(Failure::Final(self.hub.answer(&self.what, reason)))
            }
            StatusCode::RANGE_NOT_SATISFIABLE => {
                let reason = format!("it has no bytes from {asked} on, and the list says {}", self.file.bytes);
                Err(Failure::Final(self.hub.answer(&self.what, reason)))
            }
            _ => Ok(0),
        }
    }

    async fn bytes_here(&self) -> Result<u64, HubError> {
        fs::metadata(self.path).await.map(|m| m.len()).map_err(HubError::disk("inspect", self.path))
    }

    /// `None` if the content is right, else its checksum.
    async fn check(&self) -> Result<Option<String>, HubError> {
        let (path, expected) = (self.path.to_path_buf(), self.file.checksum.clone());
        let found = blocking(move || checksum_like(&expected, &path)).await;
        let found = found.map_err(HubError::disk("read", self.path))?;
        Ok((found != self.file.checksum).then(|| found.text()))
    }
}

fn checksum_like(expected: &Checksum, path: &Path) -> io::Result<Checksum> {
    match expected {
        Checksum::Sha256(_) => {
            let mut hasher = Sha256::new();
            let mut file = File::open(path)?;
            io::copy(&mut file, &mut HashWriter(&mut hasher))?;
            Ok(Checksum::Sha256(hex::encode(hasher.finalize())))
        }
        Checksum::GitBlob(_) => {
            let id = git2::Oid::hash_file(git2::ObjectType::Blob, path).map_err(io::Error::other)?;
            Ok(Checksum::GitBlob(id.to_string()))
        }
    }
}

/// Feeds a hash.
struct HashWriter<'a>(&'a mut Sha256);

impl io::Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

async fn is_there(path: &Path, bytes: u64) -> Result<bool, HubError> {
    match fs::metadata(path).await {
        Ok(found) => Ok(found.len() == bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(HubError::disk("inspect", path)(error)),
    }
}

/// Opens the half-done file at `path`, new or old, and keeps other processes off it for as long as the handle lives.
async fn lock(path: &Path) -> Result<File, HubError> {
    let failed = || HubError::disk("lock", path);
    loop {
        let file = File::options().create(true).truncate(false).write(true).open(path).map_err(failed())?;
        match file.try_lock() {
            Ok(()) => {
                // Whoever held it before may have renamed or removed it.
                let same = |now: std::fs::Metadata| file.metadata().map(|mine| mine.ino() == now.ino());
                match std::fs::metadata(path).and_then(same) {
                    Ok(true) => return Ok(file),
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed()(error)),
                    _ => continue,
                }
            }
            Err(TryLockError::WouldBlock) => tokio::time::sleep(Duration::from_millis(200)).await,
            Err(TryLockError::Error(error)) => return Err(failed()(error)),
        }
    }
}

/// Runs slow work off the runtime's threads.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}
