//! A folder that appears whole or not at all: everything is written beside it, synced, and renamed into place.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::PrepareError;
use crate::FileRecord;

/// How files are created; tests put a full disk here.
pub(crate) type Create = fn(&Path) -> io::Result<File>;

/// A folder in the making. Dropped before [`Staging::commit`], it is removed.
pub(crate) struct Staging {
    target: PathBuf,
    folder: PathBuf,
    create: Create,
    committed: bool,
    /// Keeps other processes out while it is open; removed in the end.
    lock: (PathBuf, File),
}

impl Staging {
    /// Waits until no other process prepares the same folder, then removes what an interrupted one may have left.
    pub fn begin(target: &Path, create: Create) -> Result<Staging, PrepareError> {
        let (Some(parent), Some(_)) = (target.parent(), target.file_name()) else {
            return Err(PrepareError::Options(format!("{} cannot be a folder for prepared data", target.display())));
        };
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        fs::create_dir_all(parent).map_err(PrepareError::write(parent))?;
        let lock_path = beside(target, ".lock");
        let lock = lock(&lock_path).map_err(PrepareError::write(&lock_path))?;
        let folder = beside(target, ".partial");
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(PrepareError::write(&folder)(error)),
            _ => (),
        }
        let staging =
            Staging { target: target.to_path_buf(), folder, create, committed: false, lock: (lock_path, lock) };
        Ok(staging)
    }

    /// Makes the folder. Until then nothing is on the disk but the lock.
    pub fn open(&self) -> Result<(), PrepareError> {
        fs::create_dir(&self.folder).map_err(PrepareError::write(&self.folder))
    }

    /// Where the files are until they are in place.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A new file in the folder.
    pub fn file(&self, name: &str) -> Result<HashedFile, PrepareError> {
        let path = self.folder.join(name);
        let file = (self.create)(&path).map_err(PrepareError::write(&path))?;
        Ok(HashedFile { path, file: BufWriter::with_capacity(1 << 18, file), hasher: Sha256::new(), bytes: 0 })
    }

    /// A new file with this content.
    pub fn write(&self, name: &str, content: &[u8]) -> Result<FileRecord, PrepareError> {
        let mut file = self.file(name)?;
        file.write(content)?;
        file.finish()
    }

    /// Renames the folder into place. All files must have been finished.
    pub fn commit(mut self) -> Result<(), PrepareError> {
        sync_folder(&self.folder)?;
        fs::rename(&self.folder, &self.target).map_err(PrepareError::write(&self.target))?;
        self.committed = true;
        self.target.parent().filter(|parent| !parent.as_os_str().is_empty()).map_or(Ok(()), sync_folder)
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // Nothing can be reported from here, and nothing needs to be: leftovers are removed by the next run.
        if !self.committed {
            let _ = fs::remove_dir_all(&self.folder);
        }
        let _ = fs::remove_file(&self.lock.0);
    }
}

/// A file that is hashed while it is written.
pub(crate) struct HashedFile {
    path: PathBuf,
    file: BufWriter<File>,
    hasher: Sha256,
    bytes: u64,
}

impl HashedFile {
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), PrepareError> {
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
        self.file.write_all(bytes).map_err(PrepareError::write(&self.path))
    }

    /// Makes sure that the content is on the disk.
    pub fn finish(mut self) -> Result<FileRecord, PrepareError> {
        self.file.flush().and_then(|()| self.file.get_ref().sync_all()).map_err(PrepareError::write(&self.path))?;
        Ok(FileRecord { bytes: self.bytes, sha256: hex::encode(self.hasher.finalize()) })
    }
}

fn beside(target: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(target.file_name().unwrap_or_default());
    name.push(ending);
    target.with_file_name(name)
}

/// Takes the lock at `path`, waiting for it. Whoever holds it removes the file in the end, so a lock on a file that
/// is no longer there is worth nothing, and another try is made.
fn lock(path: &Path) -> io::Result<File> {
    loop {
        let file = File::options().create(true).truncate(false).write(true).open(path)?;
        file.lock()?;
        match fs::metadata(path) {
            Ok(at_path) if at_path.ino() == file.metadata()?.ino() => return Ok(file),
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => (),
        }
    }
}

fn sync_folder(path: &Path) -> Result<(), PrepareError> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(PrepareError::write(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    fn create(path: &Path) -> io::Result<File> {
        File::create(path)
    }

    #[test]
    fn it_appears_whole_and_leaves_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let staging = Staging::begin(&dir.path().join("x"), create).unwrap();
        staging.open().unwrap();
        let record = staging.write("f", b"abc").unwrap();
        assert_eq!((record.bytes, &record.sha256[..8]), (3, "ba7816bf"));
        assert_eq!(names(dir.path()), [".x.lock", ".x.partial"]);
        staging.commit().unwrap();
        assert_eq!(names(dir.path()), ["x"]);
    }

    #[test]
    fn given_up_or_interrupted_nothing_stays() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("x");
        let staging = Staging::begin(&target, create).unwrap();
        staging.open().unwrap();
        staging.write("f", b"abc").unwrap();
        drop(staging);
        assert_eq!(names(dir.path()), [""; 0]);
        fs::create_dir(dir.path().join(".x.partial")).unwrap();
        fs::write(dir.path().join(".x.partial/train.tokens"), "half").unwrap();
        fs::write(dir.path().join(".x.lock"), "").unwrap();
        let staging = Staging::begin(&target, create).unwrap();
        staging.open().unwrap();
        assert_eq!(names(&staging.folder), [""; 0]);
    }

    #[test]
    fn a_second_one_waits_for_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("x");
        let first = Staging::begin(&target, create).unwrap();
        let (sender, receiver) = mpsc::channel();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let second = Staging::begin(&target, create).unwrap();
                sender.send(target.exists()).unwrap();
                drop(second);
            });
            first.open().unwrap();
            first.commit().unwrap();
            assert!(receiver.recv().unwrap(), "the second began before the first was done");
        });
        assert_eq!(names(dir.path()), ["x"]);
    }

    #[test]
    fn a_full_disk_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let staging = Staging::begin(&dir.path().join("x"), |_| File::options().write(true).open("/dev/full")).unwrap();
        staging.open().unwrap();
        let error = staging.write("train.tokens", b"abc").unwrap_err().to_string();
        assert!(error.contains("train.tokens is full") && error.contains("free some space"), "{error}");
    }
}
