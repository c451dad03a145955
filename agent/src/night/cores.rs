//! Who computes where and when: the trials that train, and the build of the next candidate beside them.
//!
//! A budget in seconds is worth fewer steps on a core that is shared, and whether something is built during a trial is chance: a trial
//! that had the machine to itself would look better than one that had not. Niceness does not help, because Linux shares the processor
//! between sessions first (sched(7), autogroup), and confined processes have sessions of their own. So builds get the cores that
//! training leaves, and where it leaves none they wait until a device has no trial; evaluations, which are not against the clock, go on
//! beside them.
//!
//! Where several trials train at once, each is one device's. On the CPU a device is a group of cores that no other shares, to which all of
//! its trial's threads keep.

use std::collections::BTreeSet;
use std::path::PathBuf;

use futures_util::future::select_all;
use tokio::sync::{Mutex, MutexGuard};

use super::device::Chosen;
use super::open::OpenError;
use super::workbench::Workbench;
use crate::campaign::Campaign;
use crate::run::{CoreSet, StopSignal, own_cores, stopped};

/// What may be begun beside an evaluation, on the device of the trial that is evaluated. On others trials train all the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Room {
    /// A trial: the evaluation keeps to these cores, which trials leave.
    Trial {
        /// Cores of the evaluation.
        cores: CoreSet,
    },
    /// A trial's start; its training waits.
    Start,
    /// Nothing.
    Nothing,
}

/// The machine's cores and whose turn it is.
#[derive(Debug)]
pub(super) struct Cores {
    devices: Vec<Device>,
    /// Cores that trials on all devices leave free.
    spare: Option<CoreSet>,
    room: Room,
}

/// A device, on which there is one trial at a time.
#[derive(Debug)]
struct Device {
    /// The cores that it consists of, or may keep busy; `None`: all.
    cores: Option<CoreSet>,
    turn: Mutex<()>,
}

/// Held while something is computed.
#[derive(Debug)]
#[must_use = "the turn ends when this is dropped"]
pub(super) struct Turn<'a> {
    _turn: Option<MutexGuard<'a, ()>>,
    cores: Option<&'a CoreSet>,
}

impl Turn<'_> {
    /// The cores that a build keeps to in this turn; `None`: it has the machine to itself.
    pub fn beside(&self) -> Option<&CoreSet> {
        self.cores
    }
}

/// Threads of a trial: as many as the campaign says, or an equal share of the machine. 0, where there is one device: as many as there are
/// cores.
pub(super) fn threads_of_a_trial(campaign: &Campaign) -> usize {
    match (campaign.machine.threads, campaign.machine.devices) {
        (0, devices) if devices > 1 => (cores_of_the_machine() / devices).max(1),
        (threads, _) => threads,
    }
}

/// Cores that a trial keeps busy.
pub(super) fn cores_of_a_trial(workbench: &Workbench) -> usize {
    cores_of(workbench.setting.threads, workbench.on_gpu())
}

fn cores_of(threads: usize, on_gpu: bool) -> usize {
    match threads {
        // A trainer that computes on a GPU keeps one core busy with asking for it.
        _ if on_gpu => 1,
        0 => cores_of_the_machine(),
        threads => threads,
    }
}

fn cores_of_the_machine() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// So many logical cores of these physical ones, on as many of them as there can be.
fn granted(cores: Vec<Vec<usize>>, count: usize) -> Vec<Vec<usize>> {
    let threads = cores.iter().map(Vec::len).max().unwrap_or(0);
    let by_turns = (0..threads).flat_map(|thread| cores.iter().filter_map(move |core| core.get(thread)));
    let kept: BTreeSet<usize> = by_turns.take(count).copied().collect();
    let of = |core: Vec<usize>| core.into_iter().filter(|thread| kept.contains(thread)).collect::<Vec<_>>();
    cores.into_iter().map(of).filter(|core| !core.is_empty()).collect()
}

/// The groups of `each` logical cores of so many devices, and what they leave. Two devices share no physical core if that can be: how fast
/// a trial is would depend on whether its neighbour trains. Where there are enough, no two threads of a trial share one either. `None`
/// where there are not as many cores.
fn groups(cores: &[Vec<usize>], each: usize, devices: usize) -> Option<(Vec<Vec<usize>>, Vec<usize>)> {
    let wanted = devices.saturating_mul(each);
    if wanted <= cores.len() {
        let (taken, left) = cores.split_at(wanted);
        let firsts: Vec<usize> = taken.iter().filter_map(|core| core.first().copied()).collect();
        return Some((firsts.chunks(each.max(1)).map(<[usize]>::to_vec).collect(), left.concat()));
    }
    let mut whole = cores.iter();
    let groups: Vec<Vec<usize>> = std::iter::repeat_with(|| {
        let mut group = Vec::new();
        while group.len() < each {
            group.extend(whole.next()?);
        }
        group.truncate(each);
        Some(group)
    })
    .take(devices)
    .map_while(|group| group)
    .collect();
    if groups.len() == devices {
        return Some((groups, whole.flatten().copied().collect()));
    }
    let all = cores.concat();
    let (taken, left) = all.split_at_checked(wanted)?;
    Some((taken.chunks(each.max(1)).map(<[usize]>::to_vec).collect(), left.to_vec()))
}

impl Cores {
    /// This machine's, for trials of the campaign on these devices.
    ///
    /// # Errors
    /// [`OpenError::TooFewCores`]; [`OpenError::File`] when the system does not say which cores there are.
    pub fn of(campaign: &Campaign, devices: &[Chosen]) -> Result<Self, OpenError> {
        let not_told = |source| OpenError::File {
            action: "read which cores may be used:",
            path: PathBuf::from("/proc/self/status"),
            source,
        };
        // A control group may grant less time than the cores have.
        let cores = granted(own_cores().map_err(not_told)?, cores_of_the_machine());
        let on_gpu = devices.iter().any(Chosen::is_gpu);
        let each = cores_of(threads_of_a_trial(campaign), on_gpu);
        let too_few = OpenError::TooFewCores { devices: devices.len(), each, cores: cores.iter().flatten().count() };
        Self::new(&cores, each, devices.len(), on_gpu).ok_or(too_few)
    }

    /// Of these physical cores each of the trials on so many devices keeps `each` logical ones busy. `None` where they do not suffice for
    /// several.
    fn new(cores: &[Vec<usize>], each: usize, devices: usize, on_gpu: bool) -> Option<Self> {
        let (groups, left) = if devices > 1 && !on_gpu {
            groups(cores, each, devices)?
        } else {
            let left = cores.iter().flatten().copied().skip(devices.saturating_mul(each));
            (Vec::new(), left.collect())
        };
        let spare = CoreSet::of(left.iter().copied());
        // On less than half the cores that it would have alone, an evaluation takes so long that waiting for it is better.
        let beside = CoreSet::of(left.iter().rev().take(each).copied()).filter(|beside| 2 * beside.count() >= each);
        let room = match (on_gpu, beside) {
            (true, Some(_)) => Room::Start,
            (false, Some(cores)) => Room::Trial { cores },
            (_, None) => Room::Nothing,
        };
        let group = |place: usize| CoreSet::of(groups.get(place)?.iter().copied());
        let devices = (0..devices).map(|place| Device { cores: group(place), turn: Mutex::new(()) }).collect();
        Some(Self { devices, spare, room })
    }

    /// How many devices there are.
    pub fn devices(&self) -> usize {
        self.devices.len()
    }

    /// What may be begun on a device while a trial of it is evaluated.
    pub fn beside_an_evaluation(&self) -> &Room {
        &self.room
    }

    /// The cores to which the trials of a device keep; `None`: there are no others, or it is a GPU.
    pub fn group(&self, device: usize) -> Option<&CoreSet> {
        self.devices.get(device)?.cores.as_ref()
    }

    /// Cores that trials leave free, whatever trains; `None`: there are none.
    pub fn spare(&self) -> Option<&CoreSet> {
        self.spare.as_ref()
    }

    /// Waits until a device is a trial's; `None` when the night is stopped meanwhile.
    pub async fn train(&self, device: usize, stop: &mut StopSignal) -> Option<Turn<'_>> {
        let Some(device) = self.devices.get(device) else { return Some(Turn { _turn: None, cores: None }) };
        tokio::select! {
            turn = device.turn.lock() => Some(Turn { _turn: Some(turn), cores: device.cores.as_ref() }),
            () = stopped(stop) => None,
        }
    }

    /// Waits until there are cores for a build: those that trials leave, else those of a device that has none; `None` when the night is
    /// stopped meanwhile.
    pub async fn build(&self, stop: &mut StopSignal) -> Option<Turn<'_>> {
        if let Some(spare) = &self.spare {
            return Some(Turn { _turn: None, cores: Some(spare) });
        }
        // Who waits longest for a device has it next: trials do not keep builds waiting for ever, nor builds trials.
        let free = self.devices.iter().map(|device| {
            Box::pin(async move { Turn { _turn: Some(device.turn.lock().await), cores: device.cores.as_ref() } })
        });
        tokio::select! {
            (turn, _, _) = select_all(free) => Some(turn),
            () = stopped(stop) => None,
        }
    }
}

#[cfg(test)]
#[path = "cores_tests.rs"]
mod tests;
