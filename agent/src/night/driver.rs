//! The driver: feeds events to the machine and performs the effects it asks for. Everything it does to the world goes
//! through one function per effect (see [`perform`](super::perform)); every effect is journalled before and after.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::context::Context;
use super::live::Watcher;
use super::machine::Machine;
use super::messages::{Effect, Ending, Event};
use super::perform::{Fault, TestProgress};
use super::telling::{current, recorded, summary};
use super::{enlist, evaluate, making, settle, trial};
use crate::run::StopSignal;
use crate::terminal::{LiveView, Notice, Stage};

/// How often the watcher is told how things stand.
const TICK: Duration = Duration::from_millis(250);

/// How a night came to its end.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Why.
    pub ending: Ending,
    /// Seconds of this process's part of the night.
    pub seconds: f64,
}

/// The journal or the records themselves could not be written; the night cannot go on.
#[derive(Debug, thiserror::Error)]
#[error(
    "the night's records cannot be written: {0}; what was recorded is safe, mend the cause and run the night again"
)]
pub struct DriverError(#[from] crate::store::StoreError);

pub(super) struct Driver<'a> {
    pub(super) context: Arc<Context>,
    machine: Machine,
    began: Instant,
    offset: f64,
    pub(super) deadline: Option<f64>,
    /// Effects journalled by earlier parts of the night, and by this one: every key is new, also after a restart.
    part: usize,
    journalled: usize,
    tasks: JoinSet<Done>,
    progress: mpsc::UnboundedSender<TestProgress>,
    stop: watch::Sender<bool>,
    pub(super) view: LiveView,
    pub(super) watcher: &'a mut dyn Watcher,
}

/// A performed effect: its journal key and the event it is answered with.
struct Done {
    key: String,
    event: Event,
}

/// Runs a night to its end. `offset` is how many seconds ago it began, for a resumed one. Each message on `interrupts` is a
/// wish to stop: the first after this trial, the second at once.
///
/// # Errors
/// [`DriverError`] when the records cannot be written.
pub async fn drive(
    context: Arc<Context>,
    machine: Machine,
    offset: f64,
    view: LiveView,
    watcher: &mut dyn Watcher,
    mut interrupts: mpsc::Receiver<()>,
) -> Result<Outcome, DriverError> {
    let (progress, mut progressed) = mpsc::unbounded_channel();
    let deadline = context.night.deadline.map(|at| (at - context.night.started_at).get_seconds() as f64);
    let part = context.store.effects(&context.night.id).await?.len();
    let mut driver = Driver {
        context,
        machine,
        began: Instant::now(),
        offset,
        deadline,
        part,
        journalled: 0,
        tasks: JoinSet::new(),
        progress,
        stop: watch::Sender::new(false),
        view,
        watcher,
    };
    let mut tick = tokio::time::interval(TICK);
    let mut wishes = 0;
    let mut ending = driver.take(Event::Begin).await?;
    while ending.is_none() {
        tokio::select! {
            Some(done) = driver.tasks.join_next() => {
                let done = match done {
                    Ok(done) => done,
                    // Only a bug in this program gets here; it must not look like a verdict.
                    Err(error) => Done { key: String::new(), event: Event::Fault(format!("internal error: {error}")) },
                };
                ending = driver.done(done).await?;
            }
            Some(()) = interrupts.recv() => {
                wishes += 1;
                let words = if wishes == 1 {
                    "stopping after this trial; press Ctrl-C again to stop now"
                } else {
                    "stopping now"
                };
                driver.watcher.notice(&Notice::Stage { text: words.to_owned() });
                ending = driver.take(Event::Stop { at_once: wishes > 1 }).await?;
            }
            Some(progress) = progressed.recv() => {
                if let Some(current) = &mut driver.view.current {
                    match progress {
                        TestProgress::Training(point) => {
                            (current.stage, current.progress) = (Stage::Training, Some(point.fraction));
                            current.loss = point.point.loss.or(current.loss);
                        }
                        TestProgress::Verifying(fraction) => current.verifying(fraction),
                    }
                }
            }
            _ = tick.tick() => {
                driver.show();
                ending = driver.take(Event::Tick).await?;
            }
        }
    }
    let ending = ending.unwrap_or(Ending::Stopped);
    driver.end_tasks().await;
    driver.show();
    if let Some((how, detail)) = recorded(&ending) {
        driver.context.store.end_night(&driver.context.night.id, how, &detail).await?;
    }
    Ok(Outcome { ending, seconds: driver.began.elapsed().as_secs_f64() })
}

impl Driver<'_> {
    pub(super) fn now(&self) -> f64 {
        self.offset + self.began.elapsed().as_secs_f64()
    }

    /// Journals that an effect is done and hands its answer to the machine.
    async fn done(&mut self, done: Done) -> Result<Option<Ending>, DriverError> {
        if !done.key.is_empty() {
            let outcome = json!({ "event": summary(&done.event) });
            self.context.store.end_effect(&self.context.night.id, &done.key, &outcome).await?;
        }
        self.take(done.event).await
    }

    /// Hands an event to the machine and starts what it asks for; returns the ending when there is one.
    async fn take(&mut self, event: Event) -> Result<Option<Ending>, DriverError> {
        let mut queue = std::collections::VecDeque::from([event]);
        while let Some(event) = queue.pop_front() {
            self.tell(&event).await?;
            let now = self.now();
            for effect in self.machine.step(event, now) {
                match effect {
                    Effect::Finish(ending) => return Ok(Some(ending)),
                    Effect::Skip { proposal, reason } => {
                        let champion = self.machine.champion().commit.clone();
                        let (proposer, key) = (&proposal.author.proposer, &proposal.key);
                        let night = &self.context.night.id;
                        self.context.store.record_skip(night, proposer, key, &champion, &reason).await?;
                    }
                    // Done here and now: the order of decisions is the order of the records.
                    Effect::Settle { settled } => {
                        let payload = json!({ "verdict": settled.decision.verdict });
                        let key = self.journal(&format!("settle/{}", settled.number), "settle", payload).await?;
                        self.told_settled(&settled).await?;
                        let number = settled.number;
                        let champion = self.machine.champion().commit.clone();
                        let event = settle::settle(Arc::clone(&self.context), *settled, champion).await;
                        let event = event.unwrap_or_else(Event::Fault);
                        let outcome = json!({ "event": summary(&event) });
                        self.context.store.end_effect(&self.context.night.id, &key, &outcome).await?;
                        if matches!(event, Event::Settled { .. }) && number > 0 {
                            self.view.done += 1;
                        }
                        queue.push_back(event);
                    }
                    other => queue.extend(self.start(other).await?),
                }
            }
        }
        Ok(None)
    }

    /// Writes down that an effect begins; returns its key.
    async fn journal(&mut self, what: &str, kind: &str, payload: Value) -> Result<String, DriverError> {
        self.journalled += 1;
        let key = format!("{}.{}/{what}", self.part, self.journalled);
        self.context.store.begin_effect(&self.context.night.id, &key, kind, &payload).await?;
        Ok(key)
    }

    /// Journals an effect and performs it in a task of its own; what fails before that is the answer.
    async fn start(&mut self, effect: Effect) -> Result<Option<Event>, DriverError> {
        let context = Arc::clone(&self.context);
        let stop: StopSignal = self.stop.subscribe();
        let champion = self.machine.champion().clone();
        match effect {
            Effect::Propose { number, turn } => {
                let key = self
                    .journal(&format!("propose/{number}/{turn}"), "propose", json!({ "champion": champion.commit }))
                    .await?;
                self.view.next = Some((number, "proposing".to_owned()));
                self.spawn_making(key, number, making::propose(context, champion.commit, champion.val_bpb, turn, None));
            }
            Effect::Repair { number, turn, proposal, setback } => {
                let key =
                    self.journal(&format!("repair/{number}/{turn}"), "repair", json!({ "key": proposal.key })).await?;
                self.view.next = Some((number, "repairing".to_owned()));
                let repair = Some((*proposal, *setback));
                self.spawn_making(
                    key,
                    number,
                    making::propose(context, champion.commit, champion.val_bpb, turn, repair),
                );
            }
            Effect::Commit { number, proposal, parent } => {
                let key = self
                    .journal(
                        &format!("commit/{number}/{}", parent.short()),
                        "commit",
                        json!({ "key": proposal.key, "parent": parent }),
                    )
                    .await?;
                self.view.next = Some((number, "committing".to_owned()));
                self.spawn_making(key, number, making::commit(context, number, *proposal, parent));
            }
            Effect::Build { number, candidate } => {
                let key = self
                    .journal(
                        &format!("build/{number}/{}", candidate.commit.short()),
                        "build",
                        json!({ "commit": candidate.commit, "parent": candidate.parent }),
                    )
                    .await?;
                match &mut self.view.next {
                    Some((next, what)) if *next == number => "building".clone_into(what),
                    _ => self.view.current = Some(current(number, "", Stage::Building)),
                }
                self.spawn_making(key, number, making::build(context, number, candidate, stop));
            }
            Effect::Train { launch, trial, seed, purpose, era } => {
                let key = self
                    .journal(
                        &format!("train/{}/{trial}", launch.number),
                        "train",
                        json!({ "commit": launch.candidate.commit, "seed": seed, "purpose": purpose, "era": era }),
                    )
                    .await?;
                let title = launch.proposal.as_ref().map_or("", |proposal| proposal.title.as_str());
                self.view.current = Some(current(launch.number, title, Stage::Starting));
                self.view.next = self.view.next.take().filter(|(next, _)| *next != launch.number);
                // Before anything else is begun: the next proposal is made in the knowledge of this one.
                if let Err(what) = enlist::enlist(&context, &launch).await {
                    return Ok(Some(Event::Fault(what)));
                }
                let progress = self.progress.clone();
                self.spawn(key, trial::run_trial(context, launch, trial, seed, stop, progress));
            }
            Effect::Evaluate { number, trial, purpose: _ } => {
                let key = self.journal(&format!("evaluate/{number}/{trial}"), "evaluate", json!({})).await?;
                if let Some(current) = &mut self.view.current {
                    current.verifying(0.0);
                }
                let progress = self.progress.clone();
                self.spawn(key, evaluate::evaluate(context, number, trial, champion.number, stop, progress));
            }
            // The machine does not ask for these yet.
            Effect::ProposeWithout { .. } => return Ok(Some(Event::Proposed(None))),
            Effect::Claim { .. } => return Ok(Some(Event::Claimed)),
            Effect::Conclude { number, words } => self.concluded(number, &words).await?,
            Effect::Warn { text } => self.warn("night", &text).await?,
            Effect::StopEarly { .. }
            | Effect::Spare { .. }
            | Effect::Skip { .. }
            | Effect::Settle { .. }
            | Effect::Finish(_) => {}
        }
        Ok(None)
    }

    /// Performs an effect of the testing lane: what goes wrong there beyond a trial's own faults ends the night.
    fn spawn(&mut self, key: String, effect: impl Future<Output = Result<Event, Fault>> + Send + 'static) {
        self.tasks.spawn(async move {
            let event = effect.await.unwrap_or_else(Event::Fault);
            Done { key, event }
        });
    }

    /// Performs an effect of the making lane: what goes wrong there costs one candidate.
    fn spawn_making(
        &mut self,
        key: String,
        number: u32,
        effect: impl Future<Output = Result<Event, Fault>> + Send + 'static,
    ) {
        self.tasks.spawn(async move {
            let event = effect.await.unwrap_or_else(|what| Event::MakingFault { number, what });
            Done { key, event }
        });
    }

    /// Ends whatever still runs; processes get the chance to end their trees.
    async fn end_tasks(&mut self) {
        // Nobody listening means nothing runs.
        let _nothing_runs = self.stop.send(true);
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(Duration::from_secs(30), all).await.is_err() {
            self.tasks.abort_all();
        }
    }
}
