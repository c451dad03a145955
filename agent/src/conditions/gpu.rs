//! How the trial's GPU is doing, from `nvidia-smi`'s CSV. Pure; asking is [`super::read`]'s.
//!
//! `nvidia-smi` and not NVML's library: a driver that hangs then hangs a process that can be killed, and no driver code runs inside the
//! trusted program. What NVML would add is its stream of Xid events; the kernel's log has them where it may be read ([`super::xid`]).

use std::collections::HashSet;

use crate::terminal::clean;

/// The fields asked for of the GPUs, in this order; understood by every driver that CUDA 13 runs on.
pub const GPU_FIELDS: &str = "--query-gpu=index,uuid,pci.bus_id,mig.mode.current,clocks_event_reasons.active,ecc.errors.uncorrected.volatile.total";

/// The fields asked for of the processes, in this order.
pub const PROCESS_FIELDS: &str = "--query-compute-apps=gpu_uuid,pid,used_gpu_memory,process_name";

/// More lines than this of either list are not read.
const MOST_LINES: usize = 4_096;

/// Why a GPU's clock is lowered: bits of NVML's clocks event reasons.
pub mod reasons {
    /// The hardware: too hot, too much power, or told to by the power supply; the clock is halved or worse.
    pub const HARDWARE: u64 = 0x08 | 0x40 | 0x80;
    /// The driver, because of the temperature.
    pub const HEAT: u64 = 0x20;
}

/// The GPU of a night at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Gpu {
    /// Its name that never changes.
    pub uuid: String,
    /// Its place on the bus, for example `00000000:01:00.0`.
    pub bus: String,
    /// Whether it is cut into instances, so that other processes on it are none of ours to mind.
    pub divided: bool,
    /// Why its clock is lowered, bits of [`reasons`] and others; `None` where the driver does not say.
    pub lowered: Option<u64>,
    /// Errors of its memory that could not be corrected, since the driver was loaded.
    pub uncorrected: Option<u64>,
    /// Who computes on it.
    pub processes: Vec<Computing>,
}

/// A process that computes on the GPU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Computing {
    /// Its id, as `nvidia-smi` sees it: in a container that may be the host's.
    pub pid: u32,
    /// MiB of the GPU's memory, where it is known.
    pub memory_mib: Option<u64>,
    /// Its program, fit to be shown.
    pub name: String,
}

impl Gpu {
    /// Reads the answers to [`GPU_FIELDS`] and [`PROCESS_FIELDS`] (`csv,noheader,nounits`) for the GPU that `which` names: a number, or the
    /// beginning of a UUID.
    ///
    /// # Errors
    /// What cannot be understood, in words.
    pub fn read(which: &str, gpus: &str, processes: &str) -> Result<Gpu, String> {
        for line in gpus.lines().take(MOST_LINES) {
            let fields: Vec<&str> = line.split(',').map(str::trim).collect();
            let [index, uuid, bus, mig, lowered, uncorrected] = fields[..] else {
                if line.trim().is_empty() {
                    continue;
                }
                return Err(format!("nvidia-smi answered {:?}", short(line)));
            };
            if index != which && !(which.starts_with("GPU-") && uuid.starts_with(which)) {
                continue;
            }
            let lowered = lowered.strip_prefix("0x").and_then(|digits| u64::from_str_radix(digits, 16).ok());
            return Ok(Gpu {
                uuid: short(uuid),
                bus: short(bus),
                divided: mig == "Enabled",
                lowered,
                uncorrected: uncorrected.parse().ok(),
                processes: computing(uuid, processes),
            });
        }
        Err(format!("nvidia-smi lists no GPU {:?}", short(which)))
    }

    /// Who computes here and does not belong to the tree of processes `own`. `busy` says that one of ours computes as well, or may: where
    /// none of the ids is ours then, `nvidia-smi` numbers processes in another way than we do (a container), and one is taken for ours.
    pub fn foreign(&self, own: &HashSet<u32>, busy: bool) -> Vec<Computing> {
        if self.divided {
            return Vec::new();
        }
        let (ours, mut others): (Vec<_>, Vec<_>) =
            self.processes.iter().cloned().partition(|process| own.contains(&process.pid));
        if busy && ours.is_empty() {
            others.pop();
        }
        others
    }
}

fn computing(uuid: &str, list: &str) -> Vec<Computing> {
    let mut found: Vec<Computing> = Vec::new();
    for line in list.lines().take(MOST_LINES) {
        // The name comes last: it may contain commas.
        let fields: Vec<&str> = line.splitn(4, ',').map(str::trim).collect();
        let [on, pid, memory, name] = fields[..] else { continue };
        let Ok(pid) = pid.parse() else { continue };
        // A process with several contexts is listed several times.
        if on == uuid && !found.iter().any(|known| known.pid == pid) {
            found.push(Computing { pid, memory_mib: memory.parse().ok(), name: short(name) });
        }
    }
    found
}

/// Fit to be shown.
fn short(text: &str) -> String {
    clean(&text.trim().chars().take(120).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    // Written after `nvidia-smi --help-query-gpu` and `--help-query-compute-apps`, not recorded from a device.
    const GPUS: &str = "0, GPU-11112222-3333-4444-5555-666677778888, 00000000:01:00.0, Disabled, 0x0000000000000004, 0\n\
        1, GPU-aaaabbbb-3333-4444-5555-666677778888, 00000000:41:00.0, [N/A], 0x0000000000000068, [N/A]\n\
        2, GPU-cccc2222-3333-4444-5555-666677778888, 00000000:42:00.0, Enabled, [Not Supported], 3\n";
    const PROCESSES: &str = "GPU-11112222-3333-4444-5555-666677778888, 4242, 1024, /usr/bin/python3, with commas\n\
        GPU-11112222-3333-4444-5555-666677778888, 4242, 8, /usr/bin/python3, with commas\n\
        GPU-11112222-3333-4444-5555-666677778888, 77, [N/A], [Not Found]\n\
        GPU-cccc2222-3333-4444-5555-666677778888, 99, 10, /opt/\u{1b}[31mx\n\nnonsense\n";

    fn gpu(which: &str) -> Gpu {
        Gpu::read(which, GPUS, PROCESSES).unwrap()
    }

    #[test]
    fn a_gpu_is_found_by_number_or_name() {
        let first = gpu("0");
        assert_eq!((first.bus.as_str(), first.divided), ("00000000:01:00.0", false));
        assert_eq!((first.lowered, first.uncorrected), (Some(4), Some(0)));
        let names: Vec<_> = first.processes.iter().map(|p| (p.pid, p.memory_mib, p.name.as_str())).collect();
        assert_eq!(names, [(4242, Some(1024), "/usr/bin/python3, with commas"), (77, None, "[Not Found]")]);
        let second = gpu("GPU-aaaabbbb");
        assert_eq!((second.lowered, second.uncorrected, second.processes.len()), (Some(0x68), None, 0));
        assert_eq!(second.lowered.map(|bits| bits & reasons::HARDWARE), Some(0x48));
        let third = gpu("2");
        assert_eq!((third.divided, third.lowered, third.uncorrected), (true, None, Some(3)));
        assert!(!third.processes[0].name.contains('\u{1b}'));
    }

    #[test]
    fn what_is_no_list_is_told() {
        for (which, text) in [("7", GPUS), ("0", ""), ("0", "No devices were found"), ("GPU-", "0, x\n"), ("", GPUS)] {
            assert!(Gpu::read(which, text, "").is_err(), "{which:?} in {text:?}");
        }
        let long = format!("0, {}, b, c, 0x0, 0", "u".repeat(10_000));
        assert_eq!(Gpu::read("0", &long, "").unwrap().uuid.len(), 120);
        assert!(Gpu::read("0", &"x".repeat(100_000), "").unwrap_err().len() < 300);
    }

    #[test]
    fn foreign_is_who_is_not_ours() {
        let foreign = |which: &str, own: &[u32], busy: bool| {
            gpu(which).foreign(&own.iter().copied().collect(), busy).iter().map(|p| p.pid).collect::<Vec<_>>()
        };
        assert_eq!(foreign("0", &[], false), [4242, 77]);
        assert_eq!(foreign("0", &[4242, 1], true), [77]);
        assert_eq!(foreign("0", &[4242, 77], true), [0; 0]);
        // In a container of its own numbers: one of the two must be ours.
        assert_eq!(foreign("0", &[1, 2], true), [4242]);
        assert_eq!(foreign("1", &[1], true), [0; 0]);
        // Instances of a divided GPU do not disturb each other.
        assert_eq!(foreign("2", &[], false), [0; 0]);
    }
}
