//! Since when whoever holds a lock runs, by the system's own lists. Where they do not say, nobody knows.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use jiff::{SignedDuration, Timestamp};

/// The boot's time is told to the second, and clocks are set.
const SLACK: SignedDuration = SignedDuration::from_secs(2);

/// When the process that holds an exclusive `flock` on the file began.
pub(super) fn since(lock: &Path) -> Option<Timestamp> {
    let inode = std::fs::metadata(lock).ok()?.ino();
    let holder = holder(&std::fs::read_to_string("/proc/locks").ok()?, inode)?;
    let began = began(
        &std::fs::read_to_string(format!("/proc/{holder}/stat")).ok()?,
        &std::fs::read_to_string("/proc/stat").ok()?,
        rustix::param::clock_ticks_per_second(),
    )?;
    began.checked_sub(SLACK).ok()
}

/// The process in `/proc/locks`: `3: FLOCK  ADVISORY  WRITE 12345 08:01:131090 0 EOF`.
fn holder(locks: &str, inode: u64) -> Option<u32> {
    locks.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let of = words.get(5)?.rsplit(':').next()?;
        let is_it = words[1..4] == ["FLOCK", "ADVISORY", "WRITE"] && of.parse() == Ok(inode);
        is_it.then(|| words[4].parse().ok()).flatten()
    })
}

/// The 22nd field of `/proc/<pid>/stat` is the start in ticks since the boot; the second is a name in brackets that may hold anything.
fn began(process: &str, machine: &str, ticks_per_second: u64) -> Option<Timestamp> {
    let ticks: u64 = process.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()?;
    let boot = machine.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse::<i64>().ok())?;
    let seconds = i64::try_from(ticks / ticks_per_second.max(1)).ok()?;
    Timestamp::from_second(boot.checked_add(seconds)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_lists_are_read() {
        let locks = "1: POSIX  ADVISORY  READ 77 fd:00:131090 128 128\n2: FLOCK  ADVISORY  READ 78 fd:00:131090 0 EOF\n\
                     2: -> FLOCK  ADVISORY  WRITE 80 fd:00:131090 0 EOF\n3: FLOCK  ADVISORY  WRITE 79 fd:00:131090 0 EOF\n4: nonsense\n";
        assert_eq!((holder(locks, 131_090), holder(locks, 5), holder("", 5)), (Some(79), None, None));
        let process = format!("79 (a) b (c) S {} 123456 1 2", vec!["0"; 18].join(" "));
        let machine = "cpu 1 2 3\nbtime 1700000000\n";
        assert_eq!(began(&process, machine, 100).map(Timestamp::as_second), Some(1_700_001_234));
        assert_eq!((began("", machine, 100), began(&process, "", 100)), (None, None));
    }

    #[test]
    fn a_lock_of_our_own_is_as_old_as_we_are() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(since(file.path()), None);
        rustix::fs::flock(file.as_file(), rustix::fs::FlockOperation::LockExclusive).unwrap();
        // Where the system keeps such a list at all.
        if let Some(since) = since(file.path()) {
            assert!(since < Timestamp::now(), "{since}");
        }
    }
}
