//! What the processors did: jiffies of the cores that this program may use, and how many of them its own processes took. Parsing
//! of /proc, pure.

use std::collections::{HashMap, HashSet};

/// Longer texts of /proc are not read on.
pub(super) const MOST_PROC_BYTES: u64 = 4 << 20;

/// Jiffies of a set of cores since the machine started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cores {
    /// How many cores.
    pub count: u32,
    /// Jiffies in which they worked, for whomever; what a hypervisor gave to others counts.
    pub busy: u64,
    /// Those, and the idle ones.
    pub all: u64,
}

/// Reads /proc/stat; `allowed` says on which cores this program may run. `None` where no such core is listed, or all counters are
/// nothing, as in some sandboxes.
pub fn cores(stat: &str, allowed: impl Fn(usize) -> bool) -> Option<Cores> {
    let mut sum = Cores { count: 0, busy: 0, all: 0 };
    for line in stat.lines() {
        let Some((name, values)) = line.split_once(' ') else { continue };
        let number = name.strip_prefix("cpu").and_then(|digits| digits.parse::<usize>().ok());
        if !number.is_some_and(&allowed) {
            continue;
        }
        let values: Vec<u64> = values.split_whitespace().map_while(|value| value.parse().ok()).collect();
        // user nice system idle iowait irq softirq steal; guests' time is part of user and nice.
        let [user, nice, system, idle, waiting, interrupts, soft, stolen, ..] = values[..] else { return None };
        let busy = [user, nice, system, interrupts, soft, stolen].into_iter().fold(0, u64::saturating_add);
        sum.count += 1;
        sum.busy = sum.busy.saturating_add(busy);
        sum.all = sum.all.saturating_add(busy).saturating_add(idle).saturating_add(waiting);
    }
    (sum.all > 0).then_some(sum)
}

/// What /proc says of one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process {
    /// Its id.
    pub pid: u32,
    /// Its parent's.
    pub parent: u32,
    /// Jiffies that it has taken, and the children that it has waited for, and theirs.
    pub jiffies: u64,
    /// Pages of memory that are its.
    pub pages: u64,
}

/// Reads /proc/PID/stat. The second field is the program's name in parentheses and may contain anything.
pub fn process(stat: &str) -> Option<Process> {
    let (before, after) = (stat.split_once(' ')?.0, stat.rsplit_once(')')?.1);
    let fields: Vec<&str> = after.split_whitespace().collect();
    let number = |field: usize| fields.get(field)?.parse::<i64>().ok().and_then(|number| u64::try_from(number).ok());
    // Fields 14 to 17 of proc(5): utime, stime, cutime, cstime; the first after the name is field 3.
    let jiffies = (11..15).map(number).try_fold(0_u64, |sum, part| part.map(|part| sum.saturating_add(part)))?;
    let parent = u32::try_from(number(1)?).ok()?;
    Some(Process { pid: before.parse().ok()?, parent, jiffies, pages: number(21)? })
}

/// A process and all that descend from it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tree {
    /// Their ids.
    pub pids: HashSet<u32>,
    /// Jiffies that they and all that they have waited for have taken.
    pub jiffies: u64,
    /// Pages of memory that are theirs; a page that two of them share counts twice.
    pub pages: u64,
}

/// The tree below a process, out of all processes.
pub fn tree(root: u32, all: &[Process]) -> Tree {
    let mut children: HashMap<u32, Vec<&Process>> = HashMap::new();
    for process in all {
        children.entry(process.parent).or_default().push(process);
    }
    let mut tree = Tree::default();
    let mut next: Vec<&Process> = all.iter().filter(|process| process.pid == root).collect();
    while let Some(process) = next.pop() {
        // Ids are used again: a list that was read while processes came and went can hold a circle.
        if tree.pids.insert(process.pid) {
            tree.jiffies = tree.jiffies.saturating_add(process.jiffies);
            tree.pages = tree.pages.saturating_add(process.pages);
            next.extend(children.get(&process.pid).into_iter().flatten());
        }
    }
    tree
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written after proc(5), of a machine with three cores.
    const STAT: &str = "cpu  300 30 60 900 12 3 6 9 100 0\n\
        cpu0 100 10 20 300 4 1 2 3 50 0\n\
        cpu1 100 10 20 300 4 1 2 3 50 0\n\
        cpu2 1000 0 0 0 0 0 0 0 0 0\n\
        intr 12345 1 2 3\nctxt 99\nbtime 1700000000\n";

    #[test]
    fn only_the_cores_that_may_be_used_count() {
        assert_eq!(cores(STAT, |core| core < 2), Some(Cores { count: 2, busy: 272, all: 880 }));
        assert_eq!(cores(STAT, |core| core == 2), Some(Cores { count: 1, busy: 1000, all: 1000 }));
        assert_eq!(cores(STAT, |_| false), None);
        for broken in ["", "cpu0 1 2 3\n", "cpu0 a b\n", "cpu0 0 0 0 0 0 0 0 0 0 0\n", "cpux 1 1 1 1 1 1 1 1\n"] {
            assert_eq!(cores(broken, |_| true), None, "{broken:?}");
        }
        let most = u64::MAX;
        assert!(cores(&format!("cpu0 {most} {most} 1 1 1 1 1 1"), |_| true).is_some());
    }

    fn stat(pid: u32, name: &str, parent: u32, times: [u64; 4], pages: u64) -> String {
        let [user, system, children_user, children_system] = times;
        format!(
            "{pid} ({name}) S {parent} {pid} {pid} 0 -1 4194304 100 0 0 0 {user} {system} {children_user} {children_system} \
             20 0 1 0 12345 1000000 {pages} 18446744073709551615 1 1 0"
        )
    }

    #[test]
    fn a_process_is_read_whatever_its_name_is() {
        for name in ["trainer", "a) R 1 (b", "", "x y) S 7 7"] {
            let read = process(&stat(42, name, 7, [1, 2, 3, 4], 55));
            assert_eq!(read, Some(Process { pid: 42, parent: 7, jiffies: 10, pages: 55 }), "{name:?}");
        }
        for broken in ["", "42 (x", "42 (x) S 7", "x (y) S 1 2 3"] {
            assert_eq!(process(broken), None, "{broken:?}");
        }
    }

    #[test]
    fn a_tree_is_all_that_descends_and_ends_in_circles() {
        let all = |parents: &[(u32, u32)]| -> Vec<Process> {
            parents.iter().map(|&(pid, parent)| Process { pid, parent, jiffies: 10, pages: 1 }).collect()
        };
        let found = tree(5, &all(&[(1, 0), (5, 1), (6, 5), (7, 6), (8, 1), (9, 8)]));
        assert_eq!((found.pids, found.jiffies, found.pages), (HashSet::from([5, 6, 7]), 30, 3));
        assert_eq!(tree(5, &all(&[(5, 6), (6, 5)])).pids.len(), 2);
        assert_eq!(tree(5, &all(&[(1, 0)])), Tree::default());
    }
}
