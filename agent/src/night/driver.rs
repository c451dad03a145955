//! The driver: feeds events to the machine and performs the effects it asks for. Everything it does to the world goes
//! through one function per effect (see [`perform`](super::perform)); every effect is journalled before and after.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::ahead::{Ahead, Leaving};
use super::context::Context;
use super::live::Watcher;
use super::looks::Look;
use super::machine::Machine;
use super::messages::{Effect, Ending, Event};
use super::perform::{self, TestProgress};
use super::settle;
use super::smoke::InFlight;
use super::telling::{recorded, summary};
use crate::flow::Purpose;
use crate::propose::model::desk::News;
use crate::records::TrialRecord;
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
    pub(super) machine: Machine,
    began: Instant,
    offset: f64,
    pub(super) deadline: Option<f64>,
    /// Whether it is on record why the search ended.
    pub(super) morning_noted: bool,
    /// Whether what broke a rule has been taken back.
    pub(super) withdrawn: bool,
    /// Effects journalled by earlier parts of the night, and by this one: every key is new, also after a restart.
    part: usize,
    journalled: usize,
    pub(super) tasks: JoinSet<Done>,
    pub(super) progress: mpsc::UnboundedSender<TestProgress>,
    pub(super) stop: watch::Sender<bool>,
    /// The training run in flight and how it is told to end early.
    pub(super) early: Option<(u32, u32, watch::Sender<Option<String>>)>,
    /// The candidate that is tried for a few steps.
    pub(super) smoke: Option<InFlight>,
    /// The device of the trial in flight, on which it is evaluated too; if another has begun where it trained, that of its evaluation.
    pub(super) device: usize,
    /// Trials that were begun ahead.
    pub(super) ahead: Vec<Ahead>,
    /// How many were, in this part of the night.
    pub(super) begun_ahead: u64,
    /// Such ones that nobody wants, on their way out.
    pub(super) leaving: Vec<Leaving>,
    /// On which device an experiment ran last under a seed, for what is compared with it.
    pub(super) ran_on: HashMap<(u32, u32, Purpose), usize>,
    pub(super) view: LiveView,
    pub(super) watcher: &'a mut dyn Watcher,
}

/// A performed effect: its journal key and the event it is answered with.
pub(super) struct Done {
    pub(super) key: String,
    pub(super) event: Event,
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
    let (ran_on, device) = where_trials_ran(&context).await?;
    let mut driver = Driver {
        context,
        morning_noted: machine.search_ended().is_some(),
        withdrawn: false,
        machine,
        began: Instant::now(),
        offset,
        deadline,
        part,
        journalled: 0,
        tasks: JoinSet::new(),
        progress,
        stop: watch::Sender::new(false),
        early: None,
        smoke: None,
        device,
        ahead: Vec::new(),
        begun_ahead: 0,
        leaving: Vec::new(),
        ran_on,
        view,
        watcher,
    };
    let mut news = driver.context.asking.news();
    let mut tick = tokio::time::interval(TICK);
    let mut wishes = 0;
    let mut ending = driver.take(Event::Begin).await?;
    while ending.is_none() {
        tokio::select! {
            Some(done) = driver.tasks.join_next() => {
                // What a trial said while it ran comes before its end.
                while let Ok(progress) = progressed.try_recv() {
                    ending = ending.or(driver.heard(progress).await?);
                }
                let done = match done {
                    Ok(done) => done,
                    // Only a bug in this program gets here; it must not look like a verdict.
                    Err(error) => Done { key: String::new(), event: Event::Fault(format!("internal error: {error}")) },
                };
                if ending.is_none() {
                    ending = driver.done(done).await?;
                }
            }
            Some(()) = interrupts.recv() => {
                wishes += 1;
                // A trial that waits for the machine has nothing to finish.
                let waiting = driver.view.current.as_ref().is_some_and(|current| current.stage == Stage::Waiting);
                let at_once = wishes > 1 || waiting;
                let words =
                    if at_once { "stopping now" } else { "stopping after this trial; press Ctrl-C again to stop now" };
                driver.watcher.notice(&Notice::Stage { text: words.to_owned() });
                // Nothing that is proposed now would be tested.
                driver.context.asking.stop();
                ending = driver.take(Event::Stop { at_once }).await?;
            }
            Some(progress) = progressed.recv() => {
                ending = driver.heard(progress).await?;
            }
            Some(told) = heard(&mut news) => driver.news(told).await?,
            _ = tick.tick() => {
                driver.show();
                ending = driver.take(Event::Tick).await?;
            }
        }
    }
    let ending = ending.unwrap_or(Ending::Stopped);
    driver.end_tasks().await;
    while let Some(told) = news.as_mut().and_then(|news| news.try_recv().ok()) {
        driver.news(told).await?;
    }
    driver.show();
    if let Some((how, detail)) = recorded(&ending) {
        driver.context.store.end_night(&driver.context.night.id, how, &detail).await?;
    }
    Ok(Outcome { ending, seconds: driver.began.elapsed().as_secs_f64() })
}

/// On which device trials of earlier parts of the night ran, by experiment, seed and purpose; and the newest of them.
async fn where_trials_ran(context: &Context) -> Result<(HashMap<(u32, u32, Purpose), usize>, usize), DriverError> {
    let mut trials = context.store.night_trials(&context.night.id).await?;
    trials.sort_by_key(|trial| trial.started_at);
    let device =
        |trial: &TrialRecord| context.stations.iter().position(|station| Some(&station.name) == trial.device.as_ref());
    let ran = |trial: &TrialRecord| {
        let TrialRecord { experiment, seed, purpose, .. } = trial;
        Some(((experiment.number, context.seed_index(*seed)?, *purpose), device(trial)?))
    };
    Ok((trials.iter().filter_map(ran).collect(), trials.last().and_then(device).unwrap_or(0)))
}

/// The next news of models, where there can be any.
async fn heard(news: &mut Option<mpsc::UnboundedReceiver<News>>) -> Option<News> {
    match news {
        Some(news) => news.recv().await,
        None => None,
    }
}

impl Driver<'_> {
    pub(super) fn now(&self) -> f64 {
        self.offset + self.began.elapsed().as_secs_f64()
    }

    /// How the test of an experiment is: shown, and what the machine is to know handed to it.
    async fn heard(&mut self, progress: TestProgress) -> Result<Option<Ending>, DriverError> {
        match (progress, &mut self.view.current) {
            (TestProgress::Look(seen), _) => {
                self.looked(seen).await?;
                let Look { number, trial, look, curve_difference } = seen;
                return self.take(Event::Look { number, trial, look, curve_difference }).await;
            }
            (TestProgress::Changed { number, trial, why }, _) => {
                self.changed(number, trial, &why).await?;
                return self.take(Event::Changed(why)).await;
            }
            (TestProgress::Waiting(words), current) => {
                if let Some(current) = current {
                    (current.stage, current.progress) = (Stage::Waiting, None);
                }
                self.warn("conditions", &words).await?;
            }
            (TestProgress::Training(heard), Some(current)) => {
                (current.stage, current.progress) = (Stage::Training, Some(heard.fraction));
                current.loss = heard.point.loss.or(current.loss);
            }
            (TestProgress::Verifying(fraction), Some(current)) => current.verifying(fraction),
            (TestProgress::AllTold(heard), _) => {
                // Who gave up waiting for it needs no answer.
                let _gone = heard.send(());
            }
            (TestProgress::Ahead { serial }, _) => self.over_ahead(serial),
            (_, None) => {}
        }
        Ok(None)
    }

    /// Journals that an effect is done and hands its answer to the machine.
    async fn done(&mut self, done: Done) -> Result<Option<Ending>, DriverError> {
        if !done.key.is_empty() {
            let mut outcome = json!({ "event": summary(&done.event) });
            if let Event::TrialFault(why) = &done.event {
                outcome["why"] = json!(why);
            }
            if let Event::SmokeTested { failed: Some(why), .. } = &done.event {
                outcome["why"] = json!(why);
            }
            // What it took without the wait for its turn.
            if let Event::Built { result, .. } = &done.event {
                let (Ok(seconds) | Err(seconds)) =
                    result.as_ref().map(|built| built.build_seconds).map_err(|failed| failed.build_seconds);
                outcome["seconds"] = json!(seconds);
            }
            self.context.store.end_effect(&self.context.night.id, &done.key, &outcome).await?;
        }
        self.take(done.event).await
    }

    /// Hands an event to the machine and starts what it asks for; returns the ending when there is one.
    async fn take(&mut self, event: Event) -> Result<Option<Ending>, DriverError> {
        // Time alone changes nothing of what can be foreseen.
        let tick = event == Event::Tick;
        let mut queue = std::collections::VecDeque::from([event]);
        while let Some(event) = queue.pop_front() {
            self.tell(&event).await?;
            let now = self.now();
            let effects = self.machine.step(event, now);
            self.note_morning().await?;
            if let Err(why) = self.withdraw().await? {
                // Before the effects, whose last one ends the night for good: it is to go on, and take back then what it could not now.
                self.warn("night", &why).await?;
                return Ok(Some(Ending::MachineFaults(why)));
            }
            for effect in effects {
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
                        let counts = settled.number > 0 && settled.without.is_none();
                        let champion = self.machine.champion().commit.clone();
                        let event = settle::settle(Arc::clone(&self.context), *settled, champion).await;
                        let event = event.unwrap_or_else(Event::Fault);
                        self.end(&key, summary(&event)).await?;
                        if matches!(event, Event::Settled { .. }) && counts {
                            self.view.done += 1;
                        }
                        queue.push_back(event);
                    }
                    other => queue.extend(self.start(other).await?),
                }
            }
        }
        if !tick {
            self.look_ahead();
        }
        Ok(None)
    }

    /// Writes down that an effect begins; returns its key.
    pub(super) async fn journal(&mut self, what: &str, kind: &str, payload: Value) -> Result<String, DriverError> {
        self.journal_since(what, kind, payload, perform::now()).await
    }

    /// As [`Self::journal`], of one that began before it was asked for.
    pub(super) async fn journal_since(
        &mut self,
        what: &str,
        kind: &str,
        payload: Value,
        since: jiff::Timestamp,
    ) -> Result<String, DriverError> {
        self.journalled += 1;
        let key = format!("{}.{}/{what}", self.part, self.journalled);
        self.context.store.effect_begun_at(&self.context.night.id, &key, kind, &payload, since).await?;
        Ok(key)
    }

    /// Writes down that an effect has ended, and how, in a word.
    pub(super) async fn end(&self, key: &str, how: &str) -> Result<(), DriverError> {
        Ok(self.context.store.end_effect(&self.context.night.id, key, &json!({ "event": how })).await?)
    }

    /// Ends whatever still runs; processes get the chance to end their trees.
    async fn end_tasks(&mut self) {
        self.context.asking.stop();
        // Nobody listening means nothing runs.
        let _nothing_runs = self.stop.send(true);
        self.end_ahead(|_| true);
        let all = async {
            while self.tasks.join_next().await.is_some() {}
            for left in self.leaving.drain(..) {
                left.await;
            }
        };
        if tokio::time::timeout(Duration::from_secs(30), all).await.is_err() {
            self.tasks.abort_all();
        }
    }
}
