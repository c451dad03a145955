//! Who computes when: a trial that trains, and the build of the next candidate beside it.
//!
//! A budget in seconds is worth fewer steps on a core that is shared, and whether something is built during a trial is chance: a trial
//! that had the machine to itself would look better than one that had not. Niceness does not help, because Linux shares the processor
//! between sessions first (sched(7), autogroup), and confined processes have sessions of their own. So builds get the cores that
//! training leaves, and where it leaves none they wait until no trial trains; evaluations, which are not against the clock, go on beside
//! them.

use tokio::sync::{Mutex, MutexGuard};

use super::ahead::Room;
use super::workbench::Workbench;
use crate::run::{StopSignal, stopped};

/// The machine's cores and whose turn it is.
#[derive(Debug)]
pub(super) struct Cores {
    /// Cores that a trial leaves free.
    spare: usize,
    /// What an evaluation leaves room for.
    room: Room,
    turn: Mutex<()>,
}

/// Held while something is computed.
#[derive(Debug)]
#[must_use = "the turn ends when this is dropped"]
pub(super) struct Turn<'a> {
    _turn: Option<MutexGuard<'a, ()>>,
}

/// Cores that a trial keeps busy.
pub(super) fn cores_of_a_trial(workbench: &Workbench) -> usize {
    match workbench.setting.threads {
        // A trainer that computes on a GPU keeps one core busy with asking for it.
        _ if workbench.on_gpu() => 1,
        0 => cores_of_the_machine(),
        threads => threads,
    }
}

fn cores_of_the_machine() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

impl Cores {
    /// This machine's, for trials on this workbench.
    pub fn of(workbench: &Workbench) -> Self {
        Self::new(cores_of_the_machine(), cores_of_a_trial(workbench), workbench.on_gpu())
    }

    /// Of the machine's cores a trial keeps `busy` ones busy.
    fn new(all: usize, busy: usize, on_gpu: bool) -> Self {
        let spare = all.saturating_sub(busy);
        // On less than half the cores that it would have alone, an evaluation takes so long that waiting for it is better.
        let room = match on_gpu {
            true if spare > 0 => Room::Start,
            false if spare > 0 && 2 * spare >= busy => Room::Trial { cores: spare.min(busy) },
            _ => Room::Nothing,
        };
        Self { spare, room, turn: Mutex::new(()) }
    }

    /// What may be begun while a trial is evaluated.
    pub fn beside_an_evaluation(&self) -> Room {
        self.room
    }

    /// Jobs that a build beside a trial may run at once; `None` where builds have the machine to themselves.
    pub fn jobs(&self) -> Option<usize> {
        (self.spare > 0).then_some(self.spare)
    }

    /// Waits until the machine is a trial's, or a build's; `None` when the night is stopped meanwhile.
    pub async fn take(&self, stop: &mut StopSignal) -> Option<Turn<'_>> {
        if self.spare > 0 {
            return Some(Turn { _turn: None });
        }
        tokio::select! {
            turn = self.turn.lock() => Some(Turn { _turn: Some(turn) }),
            () = stopped(stop) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use tokio::sync::watch;

    use super::*;

    #[test]
    fn where_training_leaves_no_core_a_build_waits_its_turn() {
        let (_stop, mut signal) = watch::channel(false);
        let mut other = signal.clone();
        for (all, busy, jobs) in [(2, 2, None), (2, 8, None), (1, 1, None), (2, 1, Some(1)), (16, 1, Some(15))] {
            let cores = Cores::new(all, busy, false);
            assert_eq!(cores.jobs(), jobs, "{busy} of {all}");
            let training = cores.take(&mut signal).now_or_never().flatten();
            assert!(training.is_some());
            assert_eq!(cores.take(&mut other).now_or_never().is_some(), jobs.is_some(), "{busy} of {all}");
            drop(training);
            assert!(cores.take(&mut other).now_or_never().flatten().is_some());
        }
    }

    #[test]
    fn an_evaluation_leaves_room_where_it_has_cores_of_its_own() {
        let trial = |cores| Room::Trial { cores };
        for (all, busy, on_gpu, room) in [
            (2, 2, false, Room::Nothing),
            (1, 1, false, Room::Nothing),
            (2, 1, false, trial(1)),
            (16, 4, false, trial(4)),
            (8, 5, false, trial(3)),
            (8, 7, false, Room::Nothing),
            (16, 1, true, Room::Start),
            (1, 1, true, Room::Nothing),
        ] {
            assert_eq!(Cores::new(all, busy, on_gpu).beside_an_evaluation(), room, "{busy} of {all}, GPU: {on_gpu}");
        }
    }

    #[test]
    fn who_waits_can_be_stopped() {
        let (stop, mut signal) = watch::channel(false);
        let mut other = signal.clone();
        let cores = Cores::new(1, 1, false);
        let _training = cores.take(&mut signal).now_or_never().flatten();
        stop.send(true).unwrap();
        assert!(matches!(cores.take(&mut other).now_or_never(), Some(None)));
    }
}
