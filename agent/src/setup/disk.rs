//! Free space, asked before anything is written.

use std::fmt;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::SetupError;

/// A number of bytes that prints as people read it: `531 MB`, `1.9 GB` (powers of ten, like the tools beside it).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize)]
#[serde(transparent)]
pub struct Bytes(pub u64);

impl Bytes {
    /// What is left of this after `other`, never below zero.
    pub fn less(self, other: Bytes) -> Bytes {
        Bytes(self.0.saturating_sub(other.0))
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0..1_000 => write!(f, "{} bytes", self.0),
            1_000..999_500 => write!(f, "{:.0} kB", self.0 as f64 / 1e3),
            999_500..999_500_000 => write!(f, "{:.0} MB", self.0 as f64 / 1e6),
            _ => write!(f, "{:.1} GB", self.0 as f64 / 1e9),
        }
    }
}

/// Space that will be used below a folder, which need not exist yet.
#[derive(Debug, Clone, PartialEq)]
pub struct Need {
    /// Where it will be used.
    pub folder: PathBuf,
    /// How much.
    pub bytes: Bytes,
    /// What for, in words.
    pub purpose: String,
    /// What helps besides freeing space.
    pub remedy: &'static str,
}

/// One file system as seen from a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Tells file systems apart.
    pub device: u64,
    /// Bytes that this user may still write.
    pub available: Bytes,
}

/// The space at a folder, or at the nearest folder above it that exists.
pub fn space_at(folder: &Path) -> io::Result<Space> {
    let existing = nearest_existing(folder);
    let device = existing.metadata()?.dev();
    let answer = rustix::fs::statvfs(existing)?;
    Ok(Space { device, available: Bytes(answer.f_bavail.saturating_mul(answer.f_frsize)) })
}

/// The folder itself or the nearest one above it that exists; `/` (or `.`) in the end.
pub fn nearest_existing(folder: &Path) -> &Path {
    folder.ancestors().find(|ancestor| ancestor.symlink_metadata().is_ok()).unwrap_or(if folder.is_absolute() {
        Path::new("/")
    } else {
        Path::new(".")
    })
}

/// Refuses when a file system has less than what all needs on it take together.
pub fn check(needs: &[Need], space_at: &dyn Fn(&Path) -> io::Result<Space>) -> Result<(), SetupError> {
    let mut seen: Vec<(Space, Bytes, Vec<&str>)> = Vec::new();
    for need in needs {
        let space = space_at(&need.folder).map_err(SetupError::io("ask for the free space at", &need.folder))?;
        match seen.iter_mut().find(|(other, ..)| other.device == space.device) {
            Some((_, bytes, purposes)) => {
                bytes.0 += need.bytes.0;
                purposes.push(&need.purpose);
            }
            None => seen.push((space, need.bytes, vec![&need.purpose])),
        }
        if let Some((_, bytes, purposes)) = seen.iter().find(|(other, ..)| other.device == space.device)
            && *bytes > space.available
        {
            return Err(SetupError::Disk {
                folder: need.folder.clone(),
                needed: *bytes,
                available: space.available,
                purpose: purposes.join(" and "),
                remedy: need.remedy,
            });
        }
    }
    Ok(())
}

/// Bytes of all files below a folder, as far as they can be read; files that vanish meanwhile count for nothing.
pub fn size_below(folder: &Path) -> Bytes {
    let mut total = 0;
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => open.push(entry.path()),
                Ok(metadata) if metadata.is_file() => total += metadata.len(),
                _ => {}
            }
        }
    }
    Bytes(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn need(folder: &str, gigabytes: u64) -> Need {
        Need {
            folder: folder.into(),
            bytes: Bytes(gigabytes * 1_000_000_000),
            purpose: format!("the things in {folder}"),
            remedy: "go elsewhere",
        }
    }

    fn two_disks(folder: &Path) -> io::Result<Space> {
        Ok(match folder.starts_with("/home") {
            true => Space { device: 1, available: Bytes(5_000_000_000) },
            false => Space { device: 2, available: Bytes(3_000_000_000) },
        })
    }

    #[test]
    fn sizes_read_well() {
        let texts = [0, 999, 1_000, 999_499, 999_500, 530_712_279, 999_499_999, 999_500_000, 1_949_000_000]
            .map(|bytes| Bytes(bytes).to_string());
        assert_eq!(texts, ["0 bytes", "999 bytes", "1 kB", "999 kB", "1 MB", "531 MB", "999 MB", "1.0 GB", "1.9 GB"]);
    }

    #[test]
    fn needs_on_one_disk_add_up() {
        assert!(check(&[need("/home/a", 3), need("/srv", 3)], &two_disks).is_ok());
        let error = check(&[need("/home/a", 3), need("/srv", 3), need("/home/b", 3)], &two_disks).unwrap_err();
        assert_eq!(
            error.to_string(),
            "not enough disk: /home/b needs 6.0 GB free for the things in /home/a and the things in /home/b, \
             and 5.0 GB are left. Free 1.0 GB, or go elsewhere"
        );
        assert_eq!(error.exit_code(), 3);
    }

    #[test]
    fn a_folder_to_come_is_measured_at_the_one_above() {
        let folder = tempfile::tempdir().unwrap();
        let space = space_at(&folder.path().join("a/b/c")).unwrap();
        assert!(space.available.0 > 0);
        assert_eq!(space.device, folder.path().metadata().unwrap().dev());
        assert_eq!(nearest_existing(&folder.path().join("a/b/c")), folder.path());
    }

    #[test]
    fn sizes_below_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("a/b")).unwrap();
        std::fs::write(folder.path().join("a/b/c"), [0; 10]).unwrap();
        std::fs::write(folder.path().join("d"), [0; 5]).unwrap();
        std::os::unix::fs::symlink("d", folder.path().join("e")).unwrap();
        assert_eq!(size_below(folder.path()), Bytes(15));
        assert_eq!(size_below(&folder.path().join("nowhere")), Bytes(0));
    }
}
