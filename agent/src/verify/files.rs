//! The evaluator's files: the checkpoint that it hands over and the claim that it keeps.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use sha2::{Digest, Sha256};

use crate::files::{FileError, read_capped, write_atomically};
use crate::run::Question;

/// No checkpoint is larger than this: training may not write larger files.
const MOST_CHECKPOINT_BYTES: u64 = 8 << 30;

/// Why there is no checkpoint to hand over.
#[derive(Debug)]
pub(super) enum NoCheckpoint {
    /// The file is not the checkpoint that was recorded; evidence in words.
    Changed(String),
    /// The machine is at fault.
    Machine(io::Error),
}

/// A copy of the checkpoint that nobody can change, in memory, of exactly the bytes whose hash was found to be the recorded one.
///
/// A copy for each process that gets one: even a file that cannot be written has an offset, times and attributes in which one
/// process could leave word for the next.
pub(super) fn checkpoint(path: &Path, sha256: &str) -> Result<Question, NoCheckpoint> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file: File = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => file.into(),
        Err(Errno::LOOP) => return Err(NoCheckpoint::Changed("it is a symbolic link".to_owned())),
        Err(error) => return Err(NoCheckpoint::Machine(error.into())),
    };
    let found = file.metadata().map_err(NoCheckpoint::Machine)?;
    if !found.is_file() {
        return Err(NoCheckpoint::Changed("it is not a plain file".to_owned()));
    }
    if found.nlink() != 1 {
        return Err(NoCheckpoint::Changed(format!("it has {} names in the file system, not one", found.nlink())));
    }
    if found.len() > MOST_CHECKPOINT_BYTES {
        return Err(NoCheckpoint::Changed(format!("its {} bytes are more than any checkpoint has", found.len())));
    }
    let mut reader = Hashing { from: file, hasher: Sha256::new() };
    let copy = Question::copy_of(&mut reader, MOST_CHECKPOINT_BYTES).map_err(NoCheckpoint::Machine)?;
    let read = hex::encode(reader.hasher.finalize());
    if read != sha256 {
        return Err(NoCheckpoint::Changed(format!("its SHA-256 is {read}, but {sha256} was recorded after training")));
    }
    Ok(copy)
}

/// Hashes what is read through it.
struct Hashing<R> {
    from: R,
    hasher: Sha256,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.from.read(buffer)?;
        self.hasher.update(buffer.get(..got).unwrap_or_default());
        Ok(got)
    }
}

/// Writes a claim: little-endian float32, [rows, context], flat.
///
/// # Errors
/// See [`FileError`].
pub fn write_claim(path: &Path, claim: &[f32]) -> Result<(), FileError> {
    let bytes: Vec<u8> = claim.iter().flat_map(|nats| nats.to_le_bytes()).collect();
    write_atomically(path, &bytes)
}

/// Reads a claim of exactly `targets` numbers: that of a champion is the reference of its challengers.
///
/// # Errors
/// See [`FileError`]; another size is one, too.
pub fn read_claim(path: &Path, targets: usize) -> Result<Vec<f32>, FileError> {
    let expected = targets as u64 * 4;
    let bytes = read_capped(path, expected)?;
    if bytes.len() as u64 != expected {
        let words = format!("it holds {} bytes where {targets} numbers of 4 bytes were expected", bytes.len());
        let source = io::Error::new(io::ErrorKind::InvalidData, words);
        return Err(FileError::Io { action: "read the claim", path: path.to_owned(), source });
    }
    Ok(bytes.as_chunks::<4>().0.iter().map(|&four| f32::from_le_bytes(four)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::sha256;

    #[test]
    fn a_claim_is_read_back_at_its_size_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("claim.f32");
        write_claim(&path, &[1.5, -0.25]).unwrap();
        assert_eq!(read_claim(&path, 2).unwrap(), [1.5, -0.25]);
        assert!(read_claim(&path, 1).is_err());
        assert!(read_claim(&path, 3).unwrap_err().to_string().contains("claim.f32"));
        assert!(read_claim(&folder.path().join("none"), 1).unwrap_err().is_not_found());
    }

    #[test]
    fn only_the_recorded_plain_file_is_a_checkpoint() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint");
        std::fs::write(&path, b"weights").unwrap();
        let hash = sha256(b"weights");
        assert!(checkpoint(&path, &hash).is_ok());

        let changed = |path: &Path, hash: &str| match checkpoint(path, hash) {
            Err(NoCheckpoint::Changed(evidence)) => evidence,
            other => panic!("{other:?}"),
        };
        assert!(changed(&path, &sha256(b"other")).contains(&hash));
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(changed(&link, &hash).contains("symbolic link"));
        assert!(changed(folder.path(), &hash).contains("not a plain file"));
        let pipe = folder.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, Mode::RWXU, 0).unwrap();
        assert!(changed(&pipe, &hash).contains("not a plain file"));
        std::fs::hard_link(&path, folder.path().join("second")).unwrap();
        assert!(changed(&path, &hash).contains("2 names"));
        assert!(matches!(checkpoint(&folder.path().join("none"), &hash), Err(NoCheckpoint::Machine(_))));
    }
}
