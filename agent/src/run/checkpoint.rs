//! Taking the one file that counts out of the folder that a trainer could write.
//!
//! Whatever lies in that folder was put there by edited code: a link to somebody else's file, a pipe that never ends, a
//! folder, a terabyte. Nothing is opened before it is known what it is, and no link is followed. The trainer's processes
//! must be gone: nobody else moves things about meanwhile.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat, fchmod, openat, renameat, statat};
use rustix::io::Errno;

use super::RunError;

/// What was found where the checkpoint should be.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken {
    /// A file, moved to its place.
    Checkpoint {
        /// Its SHA-256, hexadecimal.
        sha256: String,
        /// Its length.
        bytes: u64,
    },
    /// Nothing.
    Nothing,
    /// Something that is no checkpoint, in words.
    Refused(String),
}

/// Moves the file at `from`, of at most `most` bytes, to `to`, on the same file system, and hashes it. Blocks for as long as
/// that takes.
///
/// # Errors
/// When the machine is at fault; what the trainer left is never an error.
pub fn take(from: &Path, to: &Path, most: u64) -> Result<Taken, RunError> {
    let file_error = |action, path: &Path| {
        let path = path.to_owned();
        move |error: Errno| RunError::File { action, path, source: error.into() }
    };
    let no_name = || RunError::File {
        action: "take the checkpoint",
        path: from.to_owned(),
        source: io::Error::other("the path has no folder or no name"),
    };
    let (folder, name) = (from.parent().ok_or_else(no_name)?, from.file_name().ok_or_else(no_name)?);
    let folder_flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY;
    let folder = match openat(CWD, folder, folder_flags, Mode::empty()) {
        Ok(folder) => folder,
        Err(Errno::NOTDIR | Errno::LOOP | Errno::NOENT) => {
            return Ok(Taken::Refused("its output folder is no folder any more".to_owned()));
        }
        Err(error) => return Err(file_error("open", folder)(error)),
    };
    let bytes = match statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(found) => match unfit(&found, most) {
            Some(why) => return Ok(Taken::Refused(why)),
            None => length(&found),
        },
        Err(Errno::NOENT) => return Ok(Taken::Nothing),
        Err(error) => return Err(file_error("inspect", from)(error)),
    };
    // A regular file with one name, and nobody is left who could exchange it. Its mode may be anything.
    let own = Mode::RUSR | Mode::WUSR;
    let open = |flags: OFlags| -> rustix::io::Result<OwnedFd> {
        openat(&folder, name, flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())
    };
    let file = match open(OFlags::RDONLY) {
        Ok(file) => file,
        Err(Errno::ACCESS) => return Ok(Taken::Refused("it made its checkpoint unreadable".to_owned())),
        Err(error) => return Err(file_error("open", from)(error)),
    };
    fchmod(&file, own).map_err(file_error("set the mode of", from))?;
    renameat(&folder, name, CWD, to).map_err(file_error("move the checkpoint to", to))?;
    let sha256 = crate::hash::sha256_of(File::from(file)).map_err(|source| RunError::File {
        action: "read the checkpoint",
        path: to.to_owned(),
        source,
    })?;
    Ok(Taken::Checkpoint { sha256, bytes })
}

/// Why something is not taken for a checkpoint.
fn unfit(found: &Stat, most: u64) -> Option<String> {
    let kind = match FileType::from_raw_mode(found.st_mode) {
        FileType::RegularFile => None,
        FileType::Symlink => Some("a symbolic link"),
        FileType::Directory => Some("a folder"),
        FileType::Fifo => Some("a pipe"),
        FileType::Socket => Some("a socket"),
        _ => Some("something that is no file"),
    };
    if let Some(kind) = kind {
        return Some(format!("it left {kind} where its checkpoint should be"));
    }
    if found.st_nlink != 1 {
        return Some(format!("its checkpoint is a file with {} names, so it may be somebody else's", found.st_nlink));
    }
    let bytes = length(found);
    (bytes > most).then(|| format!("its checkpoint has {bytes} bytes, more than the {most} that are taken"))
}

fn length(found: &Stat) -> u64 {
    u64::try_from(found.st_size).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::PathBuf;

    use super::*;

    const MOST: u64 = 1_000;

    struct Folders {
        root: tempfile::TempDir,
    }

    impl Folders {
        fn new() -> Folders {
            let root = tempfile::tempdir().unwrap();
            std::fs::create_dir(root.path().join("output")).unwrap();
            Folders { root }
        }

        fn from(&self) -> PathBuf {
            self.root.path().join("output/checkpoint.safetensors")
        }

        fn to(&self) -> PathBuf {
            self.root.path().join("checkpoint.safetensors")
        }
    }

    #[test]
    fn a_plain_file_is_moved_and_hashed_whatever_its_mode() {
        let folders = Folders::new();
        assert_eq!(take(&folders.from(), &folders.to(), MOST).unwrap(), Taken::Nothing);
        std::fs::write(folders.to(), "of an earlier attempt").unwrap();
        std::fs::write(folders.from(), "abc").unwrap();
        std::fs::set_permissions(folders.from(), std::fs::Permissions::from_mode(0o6444)).unwrap();
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(
            take(&folders.from(), &folders.to(), MOST).unwrap(),
            Taken::Checkpoint { sha256: expected.to_owned(), bytes: 3 }
        );
        assert!(!folders.from().exists());
        assert_eq!(std::fs::read(folders.to()).unwrap(), b"abc");
        assert_eq!(std::fs::metadata(folders.to()).unwrap().permissions().mode() & 0o7777, 0o600);
    }

    #[test]
    fn whatever_is_no_plain_file_is_refused_by_name_and_left_alone() {
        type Plant = fn(&Path, &Path);
        let cases: [(&str, Plant); 6] = [
            ("a symbolic link", |from, secret| symlink(secret, from).unwrap()),
            ("a symbolic link", |from, _| symlink("/nowhere", from).unwrap()),
            ("2 names", |from, secret| std::fs::hard_link(secret, from).unwrap()),
            ("a folder", |from, _| std::fs::create_dir(from).unwrap()),
            ("a pipe", |from, _| {
                rustix::fs::mknodat(CWD, from, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
            }),
            ("more than the", |from, _| File::create(from).unwrap().set_len(MOST + 1).unwrap()),
        ];
        for (words, plant) in cases {
            let folders = Folders::new();
            let secret = folders.root.path().join("secret");
            std::fs::write(&secret, "held out").unwrap();
            plant(&folders.from(), &secret);
            let taken = take(&folders.from(), &folders.to(), MOST).unwrap();
            assert!(matches!(&taken, Taken::Refused(why) if why.contains(words)), "{taken:?} lacks {words:?}");
            assert!(!folders.to().exists());
            assert_eq!(std::fs::read(&secret).unwrap(), b"held out");
        }
    }

    #[test]
    fn an_output_folder_that_became_a_link_is_not_followed() {
        let folders = Folders::new();
        let elsewhere = folders.root.path().join("elsewhere");
        std::fs::rename(folders.root.path().join("output"), &elsewhere).unwrap();
        std::fs::write(elsewhere.join("checkpoint.safetensors"), "somebody else's").unwrap();
        symlink(&elsewhere, folders.root.path().join("output")).unwrap();
        let taken = take(&folders.from(), &folders.to(), MOST).unwrap();
        assert!(matches!(taken, Taken::Refused(_)), "{taken:?}");
    }
}
