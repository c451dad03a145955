//! Files that are whole or absent: what a crash or a power cut may interrupt is written beside its place, made durable and
//! renamed. And reading that cannot be made to fill the memory.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// A file that could not be written or read as asked.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The operating system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried: `write`, `read`, ...
        action: &'static str,
        /// Which file.
        path: PathBuf,
        /// Its answer.
        source: io::Error,
    },
    /// The value has no JSON form.
    #[error("cannot write {} as JSON: {source}", path.display())]
    Unwritable {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// The content is not what the file should hold.
    #[error("{} is damaged: {source}", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Line, column and reason.
        source: serde_json::Error,
    },
    /// The file is larger than anything that belongs there.
    #[error("{} is larger than {limit} bytes, which no such file is; it is not read", path.display())]
    TooLarge {
        /// Which file.
        path: PathBuf,
        /// The most that is read.
        limit: u64,
    },
}

impl FileError {
    /// Whether the file is simply not there.
    pub fn is_not_found(&self) -> bool {
        matches!(self, FileError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }

    fn io<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> FileError + 'a {
        move |source| FileError::Io { action, path: path.to_owned(), source }
    }
}

/// Creates a folder and those above it, durably.
pub fn create_folder(folder: &Path) -> Result<(), FileError> {
    if folder.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(folder).map_err(FileError::io("create the folder", folder))?;
    match folder.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_folder(parent),
        _ => Ok(()),
    }
}

/// Makes renames and new names in `folder` survive a power cut.
pub fn sync_folder(folder: &Path) -> Result<(), FileError> {
    File::open(folder).and_then(|handle| handle.sync_all()).map_err(FileError::io("make durable the folder", folder))
}

/// Replaces `path` by `content`: whoever reads it sees the old content or the new one, also after a power cut. Creates the
/// folder.
pub fn write_atomically(path: &Path, content: &[u8]) -> Result<(), FileError> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    create_folder(folder)?;
    let write = FileError::io("write", path);
    // tempfile removes the file again when anything on the way fails
    let ordinary = fs::Permissions::from_mode(0o666); // less what the umask takes away
    let result = tempfile::Builder::new().prefix(".writing-").permissions(ordinary).tempfile_in(folder).and_then(
        |mut temporary| {
            temporary.write_all(content)?;
            temporary.as_file().sync_all()?;
            temporary.persist(path).map_err(|refused| refused.error)
        },
    );
    result.map_err(write)?;
    sync_folder(folder)
}

/// [`write_atomically`] of indented JSON with a line feed at the end.
pub fn write_json_atomically<T: Serialize>(path: &Path, value: &T) -> Result<(), FileError> {
    let mut text =
        serde_json::to_vec_pretty(value).map_err(|source| FileError::Unwritable { path: path.to_owned(), source })?;
    text.push(b'\n');
    write_atomically(path, &text)
}

/// Appends one line of JSON, durably. A power cut may leave part of the line; readers go by whole lines.
pub fn append_json_line<T: Serialize>(path: &Path, value: &T) -> Result<(), FileError> {
    let mut line =
        serde_json::to_vec(value).map_err(|source| FileError::Unwritable { path: path.to_owned(), source })?;
    line.push(b'\n');
    if let Some(folder) = path.parent() {
        create_folder(folder)?;
    }
    let mut file = OpenOptions::new().create(true).append(true).open(path).map_err(FileError::io("append to", path))?;
    file.write_all(&line).and_then(|()| file.sync_data()).map_err(FileError::io("append to", path))
}

/// The whole file, at most `limit` bytes of it.
pub fn read_capped(path: &Path, limit: u64) -> Result<Vec<u8>, FileError> {
    let file = File::open(path).map_err(FileError::io("read", path))?;
    let mut content = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut content).map_err(FileError::io("read", path))?;
    if content.len() as u64 > limit {
        return Err(FileError::TooLarge { path: path.to_owned(), limit });
    }
    Ok(content)
}

/// A JSON file of at most `limit` bytes.
pub fn read_json<T: DeserializeOwned>(path: &Path, limit: u64) -> Result<T, FileError> {
    let content = read_capped(path, limit)?;
    serde_json::from_slice(&content).map_err(|source| FileError::Damaged { path: path.to_owned(), source })
}

/// Removes a folder that edited code could write, whatever it has made of it: folders nested deeper than paths are long and files
/// may be open, folders closed to their owner. One that is not there is removed already. Nobody may write there any more. What an
/// earlier removal of it left, because its process ended, is removed too.
///
/// # Errors
/// The system's.
pub fn remove_folder(path: &Path) -> io::Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let parent = if parent == Path::new("") { Path::new(".") } else { parent };
    let aside = format!(".removing-{}-", name.to_string_lossy());
    match fs::read_dir(parent) {
        Ok(entries) => {
            for entry in entries {
                let entry = entry?;
                // The rest is `tempfile`'s: a name that goes on with a dash is that of another folder's removal.
                let name = entry.file_name();
                let rest = name.to_str().and_then(|name| name.strip_prefix(&aside));
                let is_left_over = rest.is_some_and(|rest| rest.chars().all(char::is_alphanumeric));
                if is_left_over && entry.file_type()?.is_dir() {
                    remove_level_by_level(&entry.path(), parent, &aside)?;
                }
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    }
    match fs::symlink_metadata(path) {
        // Not by the standard library, which calls itself once a folder and runs out of stack before it runs out of open files.
        Ok(metadata) if metadata.is_dir() => remove_level_by_level(path, parent, &aside),
        Ok(_) => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Moves what lies in the folders of a folder up to `parent`, under names that begin with `aside`, removes the rest, and goes on with
/// what was moved: no path is ever long, and one folder is open at a time.
fn remove_level_by_level(path: &Path, parent: &Path, aside: &str) -> io::Result<()> {
    let mut level = path.to_owned();
    loop {
        let next = tempfile::Builder::new().prefix(aside).tempdir_in(parent)?.keep();
        let mut moved = 0_u64;
        open_up(&level)?;
        for entry in fs::read_dir(&level)? {
            let entry = entry?;
            if !entry.file_type()?.is_dir() {
                fs::remove_file(entry.path())?;
                continue;
            }
            open_up(&entry.path())?;
            for inner in fs::read_dir(entry.path())? {
                let inner = inner?;
                if inner.file_type()?.is_dir() {
                    open_up(&inner.path())?;
                }
                fs::rename(inner.path(), next.join(moved.to_string()))?;
                moved += 1;
            }
            fs::remove_dir(entry.path())?;
        }
        fs::remove_dir(&level)?;
        if moved == 0 {
            return fs::remove_dir(next);
        }
        level = next;
    }
}

/// Lets the owner of a folder do what owners do.
fn open_up(folder: &Path) -> io::Result<()> {
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_removed_however_deep_and_closed_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("output");
        fs::create_dir(&root).unwrap();
        // Deeper than a path is long: by descriptors.
        let directory = rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::RDONLY;
        let (all, none) = (rustix::fs::Mode::RWXU, rustix::fs::Mode::empty());
        let mut at = rustix::fs::open(&root, directory, none).unwrap();
        let name = "d";
        for _ in 0..10_000 {
            rustix::fs::mkdirat(&at, name, all).unwrap();
            at = rustix::fs::openat(&at, name, directory, none).unwrap();
        }
        fs::create_dir_all(root.join("closed/inner")).unwrap();
        fs::write(root.join("closed/inner/file"), "x").unwrap();
        std::os::unix::fs::symlink("/", root.join("closed/link")).unwrap();
        fs::set_permissions(root.join("closed/inner"), fs::Permissions::from_mode(0o000)).unwrap();
        fs::set_permissions(root.join("closed"), fs::Permissions::from_mode(0o000)).unwrap();
        remove_folder(&root).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        remove_folder(&root).unwrap();
    }

    #[test]
    fn what_an_interrupted_removal_left_is_removed_with_the_next_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let left = [".removing-slot-aB3dE6", ".removing-slot-2-aB3dE6", ".removing-slots-aB3dE6"];
        for name in left {
            fs::create_dir_all(folder.path().join(name).join("0/inner")).unwrap();
        }
        remove_folder(&folder.path().join("slot")).unwrap();
        let there = left.map(|name| folder.path().join(name).exists());
        assert_eq!(there, [false, true, true]);
        remove_folder(&folder.path().join("none/slot")).unwrap();
    }

    #[test]
    fn a_file_is_replaced_whole_and_nothing_else_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/value.json");
        write_json_atomically(&path, &vec![1, 2, 3]).unwrap();
        write_json_atomically(&path, &vec![4]).unwrap();
        assert_eq!(read_json::<Vec<u32>>(&path, 100).unwrap(), [4]);
        let names: Vec<_> = fs::read_dir(path.parent().unwrap()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, ["value.json"]);
    }

    #[test]
    fn what_cannot_be_written_leaves_the_old_content_and_no_debris() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("taken");
        fs::create_dir(&path).unwrap();
        fs::write(path.join("inside"), "x").unwrap();
        let error = write_atomically(&path, b"new").unwrap_err();
        assert!(error.to_string().contains("taken"), "{error}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn reading_stops_at_the_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("big");
        fs::write(&path, [b'x'; 11]).unwrap();
        assert_eq!(read_capped(&path, 11).unwrap().len(), 11);
        assert!(matches!(read_capped(&path, 10), Err(FileError::TooLarge { limit: 10, .. })));
        assert!(read_capped(&folder.path().join("none"), 10).unwrap_err().is_not_found());
    }

    #[test]
    fn damage_is_reported_with_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("night.json");
        fs::write(&path, "[1,\n2").unwrap();
        let error = read_json::<Vec<u32>>(&path, 100).unwrap_err().to_string();
        assert!(error.contains("night.json") && error.contains("line 2"), "{error}");
    }

    #[test]
    fn lines_are_appended() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        append_json_line(&path, &"one\ntwo").unwrap();
        append_json_line(&path, &2).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "\"one\\ntwo\"\n2\n");
    }
}
