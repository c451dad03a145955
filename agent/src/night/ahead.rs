//! The next trial, begun while the one before it is evaluated.
//!
//! An evaluation takes a while and needs no more than a core or two. Where a trial leaves as many, the trial that will probably be asked for
//! ([`foresee`](super::machine::Machine::foresee)) trains beside it; on a GPU, where two processes would slow each other down, it loads,
//! builds its model and waits for the word to go. It lives as long as that evaluation: when the machine then asks for exactly this trial it
//! goes on as that, and else it is ended. Before it is asked for it is on no record: for a night that is cut off it never was.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::context::Context;
use super::driver::Driver;
use super::machine::Foreseen;
use super::messages::Event;
use super::perform::{Fault, TestProgress, now};
use super::smoke::InFlight;
use super::trial::{self, Asked};
use crate::run::{StopSignal, stopped};

/// What may be begun beside an evaluation on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    /// A trial: the evaluation keeps to so many cores, which the trial leaves.
    Trial {
        /// Cores of the evaluation.
        cores: usize,
    },
    /// A trial's start; its training waits.
    Start,
    /// Nothing.
    Nothing,
}

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
    what: Foreseen,
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
    /// Ends it early.
    pub early: watch::Sender<Option<String>>,
    /// To be told that it is asked for, once that is on record.
    wanted: watch::Sender<bool>,
    stop: watch::Sender<bool>,
    task: JoinHandle<Result<Event, Fault>>,
}

impl Ahead {
    fn begin(
        context: Arc<Context>,
        what: Foreseen,
        wait: Option<f64>,
        progress: mpsc::UnboundedSender<TestProgress>,
    ) -> Self {
        let (wanted, asked_for) = watch::channel(false);
        let (stop, stopped) = watch::channel(false);
        let (early, hopeless) = watch::channel(None);
        let Foreseen { launch, trial, seed, purpose, era, champion } = what.clone();
        let hold = context.cores.beside_an_evaluation() == Room::Start;
        let wanted_when = Wanted(asked_for);
        let asked = Asked { launch, trial, seed, purpose, era, wait, champion, wanted: wanted_when, hold };
        let task = tokio::spawn(trial::run_trial(context, asked, stopped, hopeless, progress));
        Self { what, begun_at: now(), wanted, stop, early, task }
    }

    /// Ends it, unless it is the one that is asked for.
    pub fn claim(self, asked: &Foreseen) -> Result<Adopted, JoinHandle<Result<Event, Fault>>> {
        if !self.what.is(asked) {
            return Err(self.abandon());
        }
        let Self { begun_at, wanted, stop, early, task, .. } = self;
        Ok(Adopted { begun_at, early, wanted, stop, task })
    }

    /// Ends it; what is left is to be waited for before another trial begins.
    pub fn abandon(self) -> JoinHandle<Result<Event, Fault>> {
        // It may have ended by itself.
        let _heard = self.stop.send(true);
        self.task
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

impl Driver<'_> {
    /// Begins what will probably be asked for next, while something is evaluated; ends it when nothing is any more.
    pub(super) fn look_ahead(&mut self) {
        if !self.machine.is_evaluating() {
            self.leaving.extend(self.ahead.take().map(Ahead::abandon));
            return;
        }
        if self.ahead.is_some() || self.context.cores.beside_an_evaluation() == Room::Nothing {
            return;
        }
        let now = self.now();
        let Some(what) = self.machine.foresee(now) else { return };
        let number = what.launch.number;
        if let Some((next, words)) = &mut self.view.next
            && *next == number
        {
            "begun ahead".clone_into(words);
        }
        self.smoke.take_if(|smoke| smoke.number == number).into_iter().for_each(InFlight::end);
        let wait = self.machine.may_wait(now);
        self.ahead = Some(Ahead::begin(Arc::clone(&self.context), what, wait, self.progress.clone()));
    }
}
