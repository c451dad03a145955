//! Where the night's start is built and kept, and copying of slots. File times are kept, because cargo decides by them what to build again.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use super::BuildError;

/// The slot of a night's start: built where candidates are, kept as `pristine`.
#[derive(Debug, Clone)]
pub(super) struct Start {
    pristine: PathBuf,
    place: PathBuf,
    /// Is there while what lies where candidates are built is the start, so that an interrupted build of it is gone on with.
    taken_out: PathBuf,
}

impl Start {
    /// In the folder of all slots.
    pub fn new(slots: &Path) -> Self {
        Self {
            pristine: slots.join("pristine"),
            place: slots.join("candidate"),
            taken_out: slots.join("start-taken-out"),
        }
    }

    /// Where the start and every candidate are built.
    pub fn place(&self) -> &Path {
        &self.place
    }

    /// Moves the start to where it is built. Where there is none yet, nothing of a candidate is left there.
    ///
    /// # Errors
    /// The system's.
    pub fn take_out(&self) -> Result<(), BuildError> {
        let is_there = self.pristine.exists();
        if !is_there && self.taken_out.exists() {
            return Ok(());
        }
        remove(&self.place)?;
        fs::create_dir_all(self.pristine.parent().unwrap_or(&self.pristine))
            .map_err(file_error("create the folder of", &self.pristine))?;
        fs::write(&self.taken_out, "").map_err(file_error("write", &self.taken_out))?;
        if is_there {
            fs::rename(&self.pristine, &self.place).map_err(file_error("take out", &self.pristine))?;
        }
        Ok(())
    }

    /// Moves the start back, built or not.
    ///
    /// # Errors
    /// The system's.
    pub fn put_back(&self) -> Result<(), BuildError> {
        fs::rename(&self.place, &self.pristine).map_err(file_error("put back", &self.pristine))?;
        fs::remove_file(&self.taken_out).map_err(file_error("remove", &self.taken_out))
    }

    /// Makes the place a copy of the start for a candidate, unless such a copy `is_there` already.
    ///
    /// # Errors
    /// The system's.
    pub fn lend(&self, is_there: bool) -> Result<(), BuildError> {
        // Whatever an earlier process was about: what lies there now is a candidate's, never the start.
        match fs::remove_file(&self.taken_out) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(file_error("remove", &self.taken_out)(error));
            }
            _ => {}
        }
        if is_there { Ok(()) } else { copy_afresh(&self.pristine, &self.place) }
    }
}

/// Makes `to` a copy of the slot `from`, whatever it was before.
pub(super) fn copy_afresh(from: &Path, to: &Path) -> Result<(), BuildError> {
    copy_afresh_unless(from, to, &AtomicBool::new(false))
}

/// As [`copy_afresh`], until `enough` is true; then it ends with [`BuildError::Stopped`], in the middle.
pub(super) fn copy_afresh_unless(from: &Path, to: &Path, enough: &AtomicBool) -> Result<(), BuildError> {
    remove(to)?;
    copy_folder(from, to, enough)
}

/// Removes a slot and whatever was made of it.
pub(super) fn remove(slot: &Path) -> Result<(), BuildError> {
    crate::files::remove_folder(slot).map_err(file_error("remove the old slot", slot))
}

fn file_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BuildError {
    let path = path.to_owned();
    move |source| BuildError::File { action, path, source }
}

fn copy_folder(from: &Path, to: &Path, enough: &AtomicBool) -> Result<(), BuildError> {
    fs::create_dir_all(to).map_err(file_error("create the folder", to))?;
    for entry in fs::read_dir(from).map_err(file_error("read the folder", from))? {
        let entry = entry.map_err(file_error("read the folder", from))?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if enough.load(Ordering::Relaxed) {
            return Err(BuildError::Stopped);
        }
        let kind = entry.file_type().map_err(file_error("look at", &source))?;
        if kind.is_dir() {
            copy_folder(&source, &target, enough)?;
        } else if kind.is_file() {
            copy_file(&source, &target).map_err(file_error("copy", &source))?;
        }
        // Neither a tree of ours nor cargo makes links here; one that is there anyway is not followed.
    }
    // Last: what is put into a folder changes its time. A build script that asks to run again when a folder changes is asked after that.
    copy_times(from, to).map_err(file_error("copy the times of", from))
}

fn copy_file(from: &Path, to: &Path) -> io::Result<()> {
    fs::copy(from, to)?;
    copy_times(from, to)
}

fn copy_times(from: &Path, to: &Path) -> io::Result<()> {
    let times = fs::metadata(from)?;
    // A folder cannot be opened for writing, and need not be.
    fs::File::options().write(true).open(to).or_else(|_| fs::File::open(to))?.set_modified(times.modified()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_is_built_where_candidates_are_and_an_interrupted_build_of_it_is_gone_on_with() {
        let folder = tempfile::tempdir().unwrap();
        let start = Start::new(&folder.path().join("slots"));
        let (kept, built) = (folder.path().join("slots/pristine/file"), folder.path().join("slots/candidate/file"));
        let make = |text: &str| {
            fs::create_dir_all(built.parent().unwrap()).unwrap();
            fs::write(&built, text).unwrap();
        };
        start.take_out().unwrap();
        make("half built");
        // The process ends here, and another one goes on.
        start.take_out().unwrap();
        assert_eq!(fs::read_to_string(&built).unwrap(), "half built");
        start.put_back().unwrap();
        assert_eq!(fs::read_to_string(&kept).unwrap(), "half built");

        start.lend(false).unwrap();
        make("poison");
        start.take_out().unwrap();
        assert_eq!(fs::read_to_string(&built).unwrap(), "half built", "the start was built upon a candidate");
        start.put_back().unwrap();
        assert!(!built.exists());

        // A start that somebody removed is not replaced by what a candidate left, whenever a process ended before.
        fs::write(folder.path().join("slots/start-taken-out"), "").unwrap();
        start.lend(false).unwrap();
        make("poison");
        fs::remove_dir_all(kept.parent().unwrap()).unwrap();
        start.take_out().unwrap();
        assert!(!built.exists());
    }

    #[test]
    fn a_copy_has_the_same_content_and_times_and_nothing_of_the_old_slot() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        fs::create_dir_all(from.join("a/b")).unwrap();
        fs::write(from.join("a/b/file"), "text").unwrap();
        let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
        fs::File::options().write(true).open(from.join("a/b/file")).unwrap().set_modified(old).unwrap();
        // A build script may ask to run again when a folder changes.
        fs::File::open(from.join("a/b")).unwrap().set_modified(old).unwrap();
        fs::create_dir_all(to.join("a")).unwrap();
        fs::write(to.join("a/left-behind"), "poison").unwrap();

        copy_afresh(&from, &to).unwrap();

        assert_eq!(fs::read_to_string(to.join("a/b/file")).unwrap(), "text");
        assert_eq!(fs::metadata(to.join("a/b/file")).unwrap().modified().unwrap(), old);
        assert_eq!(fs::metadata(to.join("a/b")).unwrap().modified().unwrap(), old);
        assert!(!to.join("a/left-behind").exists());
    }
}
