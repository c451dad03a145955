//! The slot of the next candidate, laid out before it is wanted: copying some hundred megabytes takes longer than compiling an edit.
//!
//! It is a copy of the pristine slot like any other. The agent alone writes it, and no build sees it before it is the candidate's.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::task::JoinHandle;

use super::{BuildError, slot};

/// Lays out slots ahead, one at a time.
#[derive(Debug)]
pub(super) struct Spare {
    /// Where the copy is made.
    place: PathBuf,
    /// Where the slot that it replaces is put, to be removed when nobody waits.
    discarded: PathBuf,
    /// The copying under way or done; `None`: nothing is there, whatever an earlier process left.
    copying: Option<JoinHandle<Result<(), BuildError>>>,
    enough: Arc<AtomicBool>,
}

impl Spare {
    /// In the folder of all slots.
    pub fn new(slots: &Path) -> Self {
        Self {
            place: slots.join("next"),
            discarded: slots.join("discarded"),
            copying: None,
            enough: Arc::new(AtomicBool::new(false)),
        }
    }

    /// Begins to lay out a copy of `pristine`, unless there is one.
    pub fn prepare(&mut self, pristine: PathBuf) {
        if self.copying.is_some() {
            return;
        }
        let (place, discarded, enough) = (self.place.clone(), self.discarded.clone(), Arc::clone(&self.enough));
        self.copying = Some(tokio::task::spawn_blocking(move || {
            slot::remove(&discarded)?;
            slot::copy_afresh_unless(&pristine, &place, &enough)
        }));
    }

    /// Puts the copy in the place of `slot`; `false` when there is none.
    ///
    /// # Errors
    /// The system's; the slot is then to be made as if there had been no copy.
    pub async fn take(&mut self, slot: PathBuf) -> Result<bool, BuildError> {
        let Some(copying) = self.copying.take() else { return Ok(false) };
        copying.await.map_err(|error| BuildError::Machine(error.to_string()))??;
        let (place, discarded) = (self.place.clone(), self.discarded.clone());
        super::blocking(move || {
            slot::remove(&discarded)?;
            let moved = |action, path: &Path| {
                let path = path.to_owned();
                move |source| BuildError::File { action, path, source }
            };
            match std::fs::rename(&slot, &discarded) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(moved("put aside the old slot", &slot)(error));
                }
                _ => {}
            }
            std::fs::rename(&place, &slot).map_err(moved("put in place the slot", &slot))
        })
        .await?;
        Ok(true)
    }

    /// What was copied, or is, is a copy no more: the pristine slot is about to change.
    pub async fn forget(&mut self) {
        if let Some(copying) = self.copying.take() {
            self.enough.store(true, Ordering::Relaxed);
            // Whatever came of it is removed before the next copy is made.
            drop(copying.await);
            self.enough.store(false, Ordering::Relaxed);
        }
    }
}

impl Drop for Spare {
    fn drop(&mut self) {
        // The program does not end before its copying does.
        self.enough.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn slots() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let (pristine, candidate) = (folder.path().join("pristine"), folder.path().join("candidate"));
        fs::create_dir_all(pristine.join("source")).unwrap();
        fs::write(pristine.join("source/file"), "start").unwrap();
        fs::create_dir_all(&candidate).unwrap();
        fs::write(candidate.join("left-behind"), "poison").unwrap();
        (folder, pristine, candidate)
    }

    #[tokio::test]
    async fn what_was_laid_out_replaces_the_slot_whole_and_once() {
        let (folder, pristine, candidate) = slots();
        let mut spare = Spare::new(folder.path());
        // What an earlier process left there is not trusted.
        fs::create_dir_all(folder.path().join("next")).unwrap();
        fs::write(folder.path().join("next/left-behind"), "poison").unwrap();
        assert!(!spare.take(candidate.clone()).await.unwrap());
        assert!(candidate.join("left-behind").exists());
        spare.prepare(pristine.clone());
        spare.prepare(pristine.clone());
        assert!(spare.take(candidate.clone()).await.unwrap());
        assert_eq!(fs::read_to_string(candidate.join("source/file")).unwrap(), "start");
        assert!(!candidate.join("left-behind").exists());
        assert!(!spare.take(candidate.clone()).await.unwrap());
        // And once more, over what was discarded before.
        spare.prepare(pristine);
        assert!(spare.take(candidate.clone()).await.unwrap());
        assert!(candidate.join("source/file").exists());
    }

    #[tokio::test]
    async fn a_copy_of_what_is_no_longer_the_start_is_not_used() {
        let (folder, pristine, candidate) = slots();
        let mut spare = Spare::new(folder.path());
        spare.prepare(pristine.clone());
        spare.forget().await;
        assert!(!spare.take(candidate.clone()).await.unwrap());
        fs::write(pristine.join("source/file"), "another start").unwrap();
        spare.prepare(pristine);
        assert!(spare.take(candidate.clone()).await.unwrap());
        assert_eq!(fs::read_to_string(candidate.join("source/file")).unwrap(), "another start");
    }
}
