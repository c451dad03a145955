//! Trials that are begun before they are asked for.
//!
//! A night asks for one trial after the other. What it will probably ask for next ([`outlook`](super::machine::Machine::outlook)) is begun
//! where it has a device: on another one while a trial trains, and on the same while that is evaluated, where the evaluation has cores of
//! its own; on a GPU, where two processes would slow each other down, it loads there, builds its model and waits for the word to go. When
//! the machine asks for exactly this trial it goes on as that; as soon as no likely result leads to it any more it is ended. Before it is
//! asked for it is on no record: for a night that is cut off it never was.

use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::cores::Room;
use super::driver::Driver;
use super::machine::Foreseen;
use super::messages::Event;
use super::perform::{Fault, TestProgress, now as now_recorded};
use super::smoke::InFlight;
use super::trial::{self, Asked};
use crate::run::{StopSignal, stopped};

/// What is left of a trial that nobody wants: over once its process has ended and its folder is gone.
pub(super) type Leaving = Shared<BoxFuture<'static, ()>>;

/// Whether the night has asked for a trial.
#[derive(Debug, Clone)]
pub(super) struct Wanted(watch::Receiver<bool>);

impl Wanted {
    /// It has.
    pub fn now() -> Self {
        Self(watch::channel(true).1)
    }

    /// Whether it has by now.
    pub fn already(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until it does; `false` when it never will.
    pub async fn come(&mut self) -> bool {
        self.0.wait_for(|wanted| *wanted).await.is_ok()
    }

    /// Becomes true when it does.
    pub fn signal(&self) -> watch::Receiver<bool> {
        self.0.clone()
    }
}

/// Tells of a trial what there is to tell. Of one that nobody has asked for yet, only what must not be lost, and that later.
#[derive(Debug)]
pub(super) struct Teller {
    progress: mpsc::UnboundedSender<TestProgress>,
    wanted: Wanted,
    kept: Vec<TestProgress>,
}

impl Teller {
    /// For a trial.
    pub fn new(progress: mpsc::UnboundedSender<TestProgress>, wanted: Wanted) -> Self {
        Self { progress, wanted, kept: Vec::new() }
    }

    /// Tells it now or, where it matters, as soon as the trial is asked for.
    pub fn say(&mut self, heard: TestProgress) {
        if self.wanted.already() {
            self.flush();
            self.send(heard);
        } else if matches!(heard, TestProgress::Look(_) | TestProgress::Changed { .. }) {
            self.kept.push(heard);
        }
    }

    /// Tells it now, asked for or not.
    pub fn now(&self, heard: TestProgress) {
        self.send(heard);
    }

    /// Tells what was kept.
    pub fn flush(&mut self) {
        let kept = std::mem::take(&mut self.kept);
        kept.into_iter().for_each(|heard| self.send(heard));
    }

    fn send(&self, heard: TestProgress) {
        // Nobody listening is no reason to stop.
        drop(self.progress.send(heard));
    }
}

/// A trial that was begun ahead.
#[derive(Debug)]
pub(super) struct Ahead {
    /// Counted from 1 within this part of the night.
    serial: u64,
    what: Foreseen,
    /// The device that it is on.
    device: usize,
    /// It waits for the word to go, beside an evaluation.
    held: bool,
    /// It has trained, and its device is free.
    over: bool,
    begun_at: Timestamp,
    wanted: watch::Sender<bool>,
    stop: watch::Sender<bool>,
    early: watch::Sender<Option<String>>,
    task: JoinHandle<Result<Event, Fault>>,
}

/// A trial that was begun ahead and is asked for now.
pub(super) struct Adopted {
    /// When it was begun.
    pub begun_at: Timestamp,
    /// The device that it is on.
    pub device: usize,
    /// Ends it early.
    pub early: watch::Sender<Option<String>>,
    /// To be told that it is asked for, once that is on record.
    wanted: watch::Sender<bool>,
    stop: watch::Sender<bool>,
    task: JoinHandle<Result<Event, Fault>>,
}

impl Ahead {
    /// Ends it.
    fn abandon(self) -> Leaving {
        // It may have ended by itself.
        let _heard = self.stop.send(true);
        let task = self.task;
        // Its answer is nobody's.
        task.map(drop).boxed().shared()
    }

    fn adopt(self) -> Adopted {
        let Self { begun_at, device, wanted, stop, early, task, .. } = self;
        Adopted { begun_at, device, early, wanted, stop, task }
    }
}

impl Adopted {
    /// Follows it to its end; `night` is the night's own stop signal.
    pub async fn follow(self, mut night: StopSignal) -> Result<Event, Fault> {
        let Self { wanted, stop, mut task, early: _early, .. } = self;
        // It listens for as long as it runs.
        let _heard = wanted.send(true);
        let ended = tokio::select! {
            ended = &mut task => ended,
            () = stopped(&mut night) => {
                let _heard = stop.send(true);
                task.await
            }
        };
        ended.unwrap_or_else(|error| Err(format!("internal error: {error}")))
    }
}

/// Which of the devices a trial is best begun on: the one where what it is compared with ran, if that is free, else the first.
fn best(free: &[usize], preferred: Option<usize>) -> Option<usize> {
    preferred.filter(|device| free.contains(device)).or_else(|| free.first().copied())
}

/// Where a trial is evaluated that trained on the device `own`: there, unless its evaluation needs the device and another trial trains on it
/// by now, then on one of the others, where none does (`busy`: where one does). All are alike, and it is not against the clock.
fn evaluated_on(own: usize, busy: &[usize], devices: usize, room: &Room) -> usize {
    if matches!(room, Room::Trial { .. }) || !busy.contains(&own) {
        return own;
    }
    // There is one: at least that of the trial that was evaluated before.
    (0..devices).find(|device| !busy.contains(device)).unwrap_or(own)
}

/// Notes which one has trained. One that was ended says so late, when the same trial may have begun again: it is none of these.
fn mark_over(all: &mut [Ahead], serial: u64) {
    for ahead in all {
        ahead.over |= ahead.serial == serial;
    }
}

impl Driver<'_> {
    /// Begins what will probably be asked for next, where it has a device; ends what nothing leads to any more.
    pub(super) fn look_ahead(&mut self) {
        if !self.machine.is_training() && !self.machine.is_evaluating() {
            return self.end_ahead(|_| true);
        }
        if !self.machine.is_evaluating() {
            self.end_ahead(|ahead| ahead.held);
        }
        let free = self.free_devices();
        if self.ahead.is_empty() && free.is_empty() && !self.may_hold() {
            return;
        }
        let now = self.now();
        let outlook = self.machine.outlook(now, self.ahead.len() + free.len().max(1));
        self.end_ahead(|ahead| !outlook.possible.iter().any(|possible| possible.is(&ahead.what)));
        for what in outlook.likely {
            if self.ahead.iter().any(|ahead| ahead.what.is(&what)) {
                continue;
            }
            self.end_in_place_of(&what);
            let (device, held) = match best(&self.free_devices(), self.compared_on(&what)) {
                Some(device) => (device, false),
                None if self.may_hold() => (self.device, true),
                None => return,
            };
            self.begin_ahead(what, device, held, now);
        }
    }

    /// Devices on which a trial can begin now: without one, and without an evaluation that needs them.
    fn free_devices(&self) -> Vec<usize> {
        let busy = match self.context.cores.beside_an_evaluation() {
            Room::Trial { .. } => self.machine.is_training(),
            Room::Start | Room::Nothing => self.machine.is_training() || self.machine.is_evaluating(),
        };
        let taken = |device: usize| {
            (busy && device == self.device) || self.ahead.iter().any(|ahead| !ahead.over && ahead.device == device)
        };
        (0..self.context.cores.devices()).filter(|device| !taken(*device)).collect()
    }

    /// Whether a trial may get ready on the device of the one that is evaluated.
    fn may_hold(&self) -> bool {
        *self.context.cores.beside_an_evaluation() == Room::Start
            && self.machine.is_evaluating()
            && !self.ahead.iter().any(|ahead| !ahead.over && ahead.device == self.device)
    }

    /// Ends what was begun as the same trial of the experiment, but under another seed or from another commit: both have one folder.
    fn end_in_place_of(&mut self, what: &Foreseen) {
        self.end_ahead(|ahead| ahead.what.in_the_folder_of(what));
    }

    /// The device of what a trial is compared with: of the champion's run under the same seed, or of an earlier run of its own.
    fn compared_on(&self, what: &Foreseen) -> Option<usize> {
        let ran = |number| self.ran_on.get(&(number, what.seed, what.purpose)).copied();
        ran(what.champion).or_else(|| ran(what.launch.number)).or_else(|| ran(0))
    }

    fn begin_ahead(&mut self, what: Foreseen, device: usize, held: bool, now: f64) {
        let number = what.launch.number;
        if let Some((next, words)) = &mut self.view.next
            && *next == number
        {
            "begun ahead".clone_into(words);
        }
        self.smoke.take_if(|smoke| smoke.number == number).into_iter().for_each(InFlight::end);
        self.ran_on.insert((number, what.seed, what.purpose), device);
        let wait = self.machine.may_wait(now);
        let (wanted, asked_for) = watch::channel(false);
        let (stop, stopped) = watch::channel(false);
        let (early, hopeless) = watch::channel(None);
        let Foreseen { launch, trial, seed, purpose, era, champion } = what.clone();
        self.begun_ahead += 1;
        let serial = self.begun_ahead;
        let (wanted_when, hold) = (Wanted(asked_for), held);
        let asked =
            Asked { launch, trial, seed, purpose, era, wait, champion, wanted: wanted_when, hold, serial, device };
        let (context, progress, leaving) = (Arc::clone(&self.context), self.progress.clone(), self.still_leaving());
        let task = tokio::spawn(async move {
            leaving.await;
            trial::run_trial(context, asked, stopped, hopeless, progress).await
        });
        let (over, begun_at) = (false, now_recorded());
        self.ahead.push(Ahead { serial, what, device, held, over, begun_at, wanted, stop, early, task });
    }

    /// The trial that is asked for, if it was begun ahead and can be gone on with.
    pub(super) fn adopt(&mut self, asked: &Foreseen) -> Option<Adopted> {
        let at = self.ahead.iter().position(|ahead| ahead.what.is(asked))?;
        Some(self.ahead.remove(at).adopt())
    }

    /// A device for a trial that is asked for and was not begun ahead; where all are taken, what is the farthest off makes way.
    pub(super) fn device_for(&mut self, asked: &Foreseen) -> usize {
        self.end_in_place_of(asked);
        // What waits beside an evaluation waits for a word that will not come now.
        self.end_ahead(|ahead| ahead.held);
        let mut free: Vec<usize> = (0..self.context.cores.devices()).collect();
        free.retain(|device| !self.ahead.iter().any(|ahead| !ahead.over && ahead.device == *device));
        let device = best(&free, self.compared_on(asked)).or_else(|| {
            let last = self.ahead.iter().rposition(|ahead| !ahead.over)?;
            let ahead = self.ahead.remove(last);
            let device = ahead.device;
            self.leaving.push(ahead.abandon());
            Some(device)
        });
        device.unwrap_or(0)
    }

    /// The device on which a trial that is asked for is evaluated later: what was begun ahead may have trained long ago, and given way to
    /// the next.
    pub(super) fn device_of_evaluation(&mut self, trained_on: usize) -> usize {
        // What waits beside an evaluation waits for a word that will not come now.
        self.end_ahead(|ahead| ahead.held);
        let busy: Vec<usize> = self.ahead.iter().filter(|ahead| !ahead.over).map(|ahead| ahead.device).collect();
        evaluated_on(trained_on, &busy, self.context.cores.devices(), self.context.cores.beside_an_evaluation())
    }

    /// What was begun ahead has trained.
    pub(super) fn over_ahead(&mut self, serial: u64) {
        mark_over(&mut self.ahead, serial);
        self.look_ahead();
    }

    /// Ends of what was begun ahead what is unwanted.
    pub(super) fn end_ahead(&mut self, unwanted: impl Fn(&Ahead) -> bool) {
        self.leaving.extend(self.ahead.extract_if(.., |ahead| unwanted(ahead)).map(Ahead::abandon));
    }

    /// Waits for what nobody wants and is still on its way out: it may have the device or the folder of what begins.
    pub(super) fn still_leaving(&mut self) -> impl Future<Output = ()> + Send + 'static {
        self.leaving.retain(|left| left.peek().is_none());
        futures_util::future::join_all(self.leaving.clone()).map(drop)
    }
}

#[cfg(test)]
#[path = "ahead_tests.rs"]
mod tests;
