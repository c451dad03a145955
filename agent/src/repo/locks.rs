//! Locks that a killed night left behind.
//!
//! Git writes a reference by way of `NAME.lock`, which nobody else may write meanwhile. A process that is killed at that moment leaves the
//! file, and then the reference can never be written again: a night could not go on. References of a night are its own, so whoever
//! holds the night's lock may remove what no living process holds.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::SystemTime;

use super::error::git;
use super::references::LONGEST_LOCK;
use super::{NOTES, Repo, RepoError};
use crate::campaign::CampaignName;
use crate::flow::NightId;

/// Deeper than the branches of a night lie.
const MOST_DEPTH: usize = 4;

impl Repo {
    /// Removes the locks of this night's branches and of our notes that are still as they were after a while: another git process (a
    /// `git gc`, a fetch) holds one for an instant. Returns what was removed. To be called by the holder of the night's lock only,
    /// before it writes anything.
    ///
    /// # Errors
    /// When a lock cannot be looked at or removed.
    pub fn remove_left_locks(&self, campaign: &CampaignName, night: &NightId) -> Result<Vec<PathBuf>, RepoError> {
        let failed = |error: std::io::Error| {
            git("remove a lock that a night which was killed had left".to_owned())(git2::Error::from_str(
                &error.to_string(),
            ))
        };
        let before = self.locks(campaign, night).map_err(failed)?;
        if before.is_empty() {
            return Ok(Vec::new());
        }
        sleep(LONGEST_LOCK);
        let mut removed = Vec::new();
        for lock in self.locks(campaign, night).map_err(failed)?.into_iter().filter(|lock| before.contains(lock)) {
            match fs::remove_file(&lock.0) {
                Ok(()) => removed.push(lock.0),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(removed)
    }

    /// Locks with the time at which they were made.
    fn locks(&self, campaign: &CampaignName, night: &NightId) -> std::io::Result<Vec<(PathBuf, SystemTime)>> {
        let common = self.git.commondir();
        let mut found = Vec::new();
        below(&common.join(format!("refs/heads/nocturne/{campaign}/{night}")), MOST_DEPTH, &mut found)?;
        take(&common.join(format!("{NOTES}.lock")), &mut found)?;
        Ok(found)
    }
}

fn below(folder: &Path, depth: usize, found: &mut Vec<(PathBuf, SystemTime)>) -> std::io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        // A night without branches, or with packed ones.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let (kind, path) = (entry.file_type()?, entry.path());
        if kind.is_dir() && depth > 0 {
            below(&path, depth - 1, found)?;
        } else if kind.is_file() && path.extension().is_some_and(|extension| extension == "lock") {
            take(&path, found)?;
        }
    }
    Ok(())
}

fn take(lock: &Path, found: &mut Vec<(PathBuf, SystemTime)>) -> std::io::Result<()> {
    match fs::symlink_metadata(lock) {
        Ok(facts) => found.push((lock.to_owned(), facts.modified()?)),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    Ok(())
}
