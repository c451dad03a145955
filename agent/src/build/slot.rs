//! Copying slots. File times are kept, because cargo decides by them what to build again.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use super::BuildError;

/// Makes `to` a copy of the slot `from`, whatever it was before.
pub(super) fn copy_afresh(from: &Path, to: &Path) -> Result<(), BuildError> {
    copy_afresh_unless(from, to, &AtomicBool::new(false))
}

/// As [`copy_afresh`], until `enough` is true; then it ends with [`BuildError::Stopped`], in the middle.
pub(super) fn copy_afresh_unless(from: &Path, to: &Path, enough: &AtomicBool) -> Result<(), BuildError> {
    let failed = |source| BuildError::File { action: "remove the old slot", path: to.to_owned(), source };
    crate::files::remove_folder(to).map_err(failed)?;
    copy_folder(from, to, enough)
}

fn copy_folder(from: &Path, to: &Path, enough: &AtomicBool) -> Result<(), BuildError> {
    let failed = |action, path: &Path| {
        let path = path.to_owned();
        move |source| BuildError::File { action, path, source }
    };
    fs::create_dir_all(to).map_err(failed("create the folder", to))?;
    for entry in fs::read_dir(from).map_err(failed("read the folder", from))? {
        let entry = entry.map_err(failed("read the folder", from))?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if enough.load(Ordering::Relaxed) {
            return Err(BuildError::Stopped);
        }
        let kind = entry.file_type().map_err(failed("look at", &source))?;
        if kind.is_dir() {
            copy_folder(&source, &target, enough)?;
        } else if kind.is_file() {
            copy_file(&source, &target).map_err(failed("copy", &source))?;
        }
        // Neither a tree of ours nor cargo makes links here; one that is there anyway is not followed.
    }
    // Last: what is put into a folder changes its time. A build script that asks to run again when a folder changes is asked after that.
    copy_times(from, to).map_err(failed("copy the times of", from))
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
