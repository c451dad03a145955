//! One night at a time in a repository.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;

use super::open::OpenError;
use crate::layout::Layout;

/// An exclusive lock on `.nocturne/lock`, let go when the process ends, however it ends.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "held, not read")] File);

impl Lock {
    /// Takes the lock. The folder must be there.
    ///
    /// # Errors
    /// [`OpenError::Running`] when a night holds it.
    pub fn take(path: &Path) -> Result<Self, OpenError> {
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)
            .map_err(|source| OpenError::File { action: "open the lock", path: path.to_owned(), source })?;
        // `nocturne status` holds it for an instant, to see whether anybody does.
        let give_up = Instant::now() + Duration::from_secs(1);
        loop {
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Self(file)),
                Err(rustix::io::Errno::WOULDBLOCK) if Instant::now() < give_up => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                Err(rustix::io::Errno::WOULDBLOCK) => return Err(OpenError::Running(path.to_owned())),
                Err(error) => {
                    return Err(OpenError::File { action: "lock", path: path.to_owned(), source: error.into() });
                }
            }
        }
    }
}

/// Whether a night runs in the repository now.
///
/// # Errors
/// When the lock cannot be looked at.
pub fn is_running(layout: &Layout) -> Result<bool, OpenError> {
    let path = layout.lock();
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(source) => return Err(OpenError::File { action: "open the lock", path, source }),
    };
    // Shared: two who look do not take each other for a night.
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(false),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(true),
        Err(error) => Err(OpenError::File { action: "look at the lock", path, source: error.into() }),
    }
}
