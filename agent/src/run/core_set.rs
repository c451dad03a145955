//! Sets of a machine's cores, to which processes are kept so that what runs beside them does not notice.

use std::fmt;
use std::io;
use std::str::FromStr;

use rustix::thread::CpuSet;

/// Cores (logical processors) by the system's numbers, as `0-3,8`. It has at least one core.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoreSet(Vec<usize>);

/// What is no list of cores.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no list of cores; one is written as 0-3,8")]
pub struct BadCores(String);

impl CoreSet {
    /// These, in any order; `None` where there are none.
    pub fn of(cores: impl IntoIterator<Item = usize>) -> Option<Self> {
        let mut cores: Vec<usize> = cores.into_iter().filter(|core| *core < CpuSet::MAX_CPU).collect();
        cores.sort_unstable();
        cores.dedup();
        (!cores.is_empty()).then_some(Self(cores))
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Their numbers, ascending.
    pub fn numbers(&self) -> &[usize] {
        &self.0
    }

    /// Keeps this process, and what it starts from here on, to them.
    ///
    /// # Errors
    /// The system's: where the process may use none of them, above all.
    pub fn keep_to(&self) -> io::Result<()> {
        let mut set = CpuSet::new();
        self.0.iter().for_each(|core| set.set(*core));
        Ok(rustix::thread::sched_setaffinity(None, &set)?)
    }
}

impl fmt::Display for CoreSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let runs = self.0.chunk_by(|one, next| one + 1 == *next);
        for (place, run) in runs.enumerate() {
            let comma = if place > 0 { "," } else { "" };
            match run {
                [first, .., last] => write!(f, "{comma}{first}-{last}")?,
                [one] => write!(f, "{comma}{one}")?,
                [] => {}
            }
        }
        Ok(())
    }
}

impl FromStr for CoreSet {
    type Err = BadCores;

    fn from_str(text: &str) -> Result<Self, BadCores> {
        let bad = || BadCores(text.to_owned());
        let number = |text: &str| text.trim().parse::<usize>().ok().filter(|core| *core < CpuSet::MAX_CPU);
        let mut cores = Vec::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = number(first).zip(number(last)).ok_or_else(bad)?;
            cores.extend(first..=last);
        }
        Self::of(cores).ok_or_else(bad)
    }
}

/// The physical cores that this process may use, each as the logical ones of it that it may use.
///
/// # Errors
/// When the system does not say which they are.
pub fn own_cores() -> io::Result<Vec<Vec<usize>>> {
    let allowed = rustix::thread::sched_getaffinity(None)?;
    let cores: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core)).collect();
    Ok(physical(&cores, siblings))
}

/// The cores that share a physical one with this, itself included; itself alone where the system does not say.
fn siblings(core: usize) -> Vec<usize> {
    let path = format!("/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list");
    let listed = std::fs::read_to_string(path).ok().and_then(|text| text.trim().parse::<CoreSet>().ok());
    listed.map_or_else(|| vec![core], |set| set.0)
}

/// Puts cores of one physical core together. Pure.
fn physical(cores: &[usize], siblings: impl Fn(usize) -> Vec<usize>) -> Vec<Vec<usize>> {
    let mut found: Vec<Vec<usize>> = Vec::new();
    for core in cores {
        if found.iter().any(|one| one.contains(core)) {
            continue;
        }
        let others = siblings(*core).into_iter().filter(|other| other != core && cores.contains(other));
        found.push(std::iter::once(*core).chain(others).collect());
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cores_are_read_and_written() {
        for (text, cores, written) in [
            ("0", &[0][..], "0"),
            ("0-3,8", &[0, 1, 2, 3, 8], "0-3,8"),
            ("5,1,0", &[0, 1, 5], "0-1,5"),
            ("2,2,1-2", &[1, 2], "1-2"),
        ] {
            let set: CoreSet = text.parse().unwrap();
            assert_eq!((set.numbers(), set.to_string().as_str()), (cores, written));
            assert_eq!(set.to_string().parse::<CoreSet>().unwrap(), set);
        }
        for bad in ["", "x", "3-1", "1,", "-2", "0-99999999", "99999999"] {
            assert!(bad.parse::<CoreSet>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn threads_of_a_physical_core_are_put_together() {
        let pairs = |core: usize| vec![core % 4, core % 4 + 4];
        assert_eq!(physical(&[0, 1, 2, 3, 4, 5, 6, 7], pairs), [[0, 4], [1, 5], [2, 6], [3, 7]]);
        assert_eq!(physical(&[1, 2, 5], pairs), [vec![1, 5], vec![2]], "only those that may be used");
        assert_eq!(physical(&[3, 1], |core| vec![core]), [[3], [1]]);
    }

    #[test]
    fn a_process_may_use_a_core() {
        assert!(!own_cores().unwrap().is_empty());
    }
}
