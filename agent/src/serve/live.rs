//! The night as it goes on, watched once for all readers.
//!
//! One task looks, a few times a second, whether anything was written to the database (SQLite counts commits; nothing is read for that), whether a
//! night holds the lock, and what the run under way has added to its curve. What it makes of it is a whole state, published in a channel that
//! keeps the newest alone: a reader that is slow misses states, never the last one. Nothing is asked of the night, which does not know that
//! anybody looks.

mod curve;
mod doing;
mod holder;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use dashboards::site::NowView;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use tokio::sync::oneshot;
use tokio::time::MissedTickBehavior;

use super::records::RecordsError;
use super::{Served, now};
use crate::campaign::Spending;
use crate::causes::chain;
use crate::clock;
use crate::files::FileError;
use crate::flow::NightId;
use crate::layout::Layout;
use crate::llm::spend::Spent;
use crate::night::{OpenError, is_running};
use crate::records::{EffectRecord, EventRecord, ExperimentRecord};
use crate::store::{Changes, Glance, Mark, Reader, StoreError};
use curve::Follower;

pub use doing::{Doing, Making, Step, Testing};

/// Between two looks: a step of the night shows well within a second.
const EVERY: Duration = Duration::from_millis(250);

/// The newest events of a night that are kept at hand: readers who are further behind read them from the database.
pub const NEWEST_EVENTS: u32 = 256;

/// What is known of the night, at one moment.
#[derive(Debug, Clone, Default)]
pub struct Live {
    /// The page's view.
    pub view: NowView,
    /// The night that it is about.
    pub night: Option<NightId>,
    /// The newest of its events, in order, at most [`NEWEST_EVENTS`].
    pub events: Arc<[EventRecord]>,
}

/// All that the view is made of; see [`now::still`].
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Whether a night holds the lock.
    pub running: bool,
    /// Since when whoever holds it runs, where that can be told.
    pub held_since: Option<Timestamp>,
    /// Whether the night that is shown has begun something since.
    pub at_work: bool,
    /// The newest events, in order.
    pub events: VecDeque<EventRecord>,
    /// The night as it was last read.
    pub glance: Option<Glance>,
    /// The start, the champions and what has no verdict, by number.
    pub experiments: BTreeMap<u32, ExperimentRecord>,
    /// What the night is doing.
    pub doing: Doing,
    /// What its models cost.
    pub spent: Spent,
    /// What they may cost, once that was looked up; within, `None` where its campaign cannot be read.
    pub limits: Option<Option<Spending>>,
    /// The curve of the run under way.
    pub curve: Option<Follower>,
    /// What kept it from being read.
    pub problem: Option<String>,
}

/// Why the night cannot be looked at.
#[derive(Debug, thiserror::Error)]
enum LookError {
    #[error(transparent)]
    Records(#[from] RecordsError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Lock(#[from] OpenError),
    #[error("internal error: {0}")]
    Lost(#[from] tokio::task::JoinError),
}

impl Live {
    /// Before anybody has looked.
    pub(super) fn unseen() -> Self {
        Self { view: now::still(&Seen::default(), &TimeZone::UTC), ..Self::default() }
    }
}

/// Looks until the server ends, and publishes what there is to see. `looked` hears when that was done for the first time.
pub(super) async fn watch(served: Arc<Served>, looked: oneshot::Sender<()>) {
    let mut ends = served.ends();
    let mut watcher = Watcher::new(served.layout.clone());
    let mut looked = Some(looked);
    let mut tick = tokio::time::interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            // Whoever could say so is gone: that is the end too.
            _ = ends.wait_for(|ends| *ends) => return,
            _ = tick.tick() => {}
        }
        if let Some(seen) = watcher.look(&served).await {
            served.live.send_replace(Arc::new(seen));
        }
        // Nobody who waits for it is no fault.
        looked.take().map(|looked| looked.send(()));
    }
}

/// What the watching task remembers between two looks.
pub(super) struct Watcher {
    layout: Layout,
    zone: TimeZone,
    /// The database that is watched, by the reader's own count, and whether it changed.
    source: Option<(u64, Reader, Changes)>,
    night: Option<NightId>,
    mark: Mark,
    /// Effects without an end, by ordinal, and the newest of all.
    effects: BTreeMap<u32, EffectRecord>,
    newest: Option<EffectRecord>,
    calls: HashMap<(u64, u32), Spent>,
    seen: Seen,
    /// The view, but for what moves between two writes.
    still: NowView,
    /// The newest view that was published, and the newest event with it.
    published: Option<(NowView, u32)>,
}

impl Watcher {
    fn new(layout: Layout) -> Self {
        Self {
            layout,
            zone: clock::here(),
            source: None,
            night: None,
            mark: Mark::default(),
            effects: BTreeMap::new(),
            newest: None,
            calls: HashMap::new(),
            seen: Seen::default(),
            still: NowView::default(),
            published: None,
        }
    }

    /// Looks once; `None` where all is as it was published.
    async fn look(&mut self, served: &Served) -> Option<Live> {
        let problem = self.read(served).await.err();
        let words = problem.as_ref().map(|problem| chain(problem));
        if words.is_some() && words != self.seen.problem {
            tracing::warn!("cannot look at the night: {}", words.as_deref().unwrap_or_default());
        }
        self.seen.problem = words;
        let view = now::moving(&self.still, &self.seen).cleaned();
        let newest = self.seen.events.back().map_or(0, |event| event.ordinal);
        if self.published.as_ref() == Some(&(view.clone(), newest)) {
            return None;
        }
        self.published = Some((view.clone(), newest));
        let events = self.seen.events.iter().cloned().collect();
        Some(Live {
            view: NowView { at: Timestamp::now().as_millisecond(), ..view },
            night: self.night.clone(),
            events,
        })
    }

    async fn read(&mut self, served: &Served) -> Result<(), LookError> {
        let (count, reader) = match served.records().counted().await {
            Ok(found) => found,
            Err(RecordsError::None) => {
                let problem = self.seen.problem.take();
                *self = Self { published: self.published.take(), ..Self::new(self.layout.clone()) };
                (self.seen.running, self.seen.problem) = (is_running(&self.layout)?, problem);
                self.still = now::still(&self.seen, &self.zone);
                return Ok(());
            }
            Err(other) => return Err(other.into()),
        };
        if self.source.as_ref().is_none_or(|(of, ..)| *of != count) {
            let changes = reader.changes().await?;
            let fresh = Self::new(self.layout.clone());
            *self = Self { source: Some((count, reader.clone(), changes)), published: self.published.take(), ..fresh };
        }
        let running = is_running(&self.layout)?;
        let mut changed = running != self.seen.running;
        if changed {
            self.seen.held_since = if running { holder::since(&self.layout.lock()) } else { None };
        }
        self.seen.running = running;
        if let Some((_, _, changes)) = &mut self.source {
            changed |= changes.any().await?;
        }
        // What could not be read is read again.
        if changed || self.seen.problem.is_some() {
            self.take_in(&reader).await?;
            self.still = now::still(&self.seen, &self.zone);
        }
        self.follow().await
    }

    /// Reads what was written.
    async fn take_in(&mut self, reader: &Reader) -> Result<(), LookError> {
        let night = self.choose(reader).await?;
        if night != self.night {
            (self.night, self.mark) = (night, Mark::default());
            (self.effects, self.newest, self.calls) = Default::default();
            let (running, held_since) = (self.seen.running, self.seen.held_since);
            self.seen = Seen { running, held_since, ..Seen::default() };
        }
        let Some(night) = &self.night else { return Ok(()) };
        if let Some(glance) = reader.glance(night, &self.mark, NEWEST_EVENTS).await? {
            self.learn(glance);
        }
        Ok(())
    }

    /// Takes in what was read of the night since [`Mark`].
    fn learn(&mut self, glance: Glance) {
        // Where more came than is read at once, those at hand would not follow each other.
        if glance.events.first().is_some_and(|first| first.ordinal > self.mark.event + 1) {
            self.seen.events.clear();
        }
        for event in &glance.events {
            self.mark.event = event.ordinal;
            self.seen.events.push_back(event.clone());
        }
        while self.seen.events.len() > NEWEST_EVENTS as usize {
            self.seen.events.pop_front();
        }
        for effect in &glance.effects {
            self.effects.insert(effect.ordinal, effect.clone());
            if self.newest.as_ref().is_none_or(|newest| newest.ordinal <= effect.ordinal) {
                self.newest = Some(effect.clone());
            }
        }
        self.effects.retain(|_, effect| effect.ended_at.is_none());
        if let Some(newest) = &self.newest {
            doing::only_of_this_part(&mut self.effects, newest);
            // The oldest that is open may end, and what comes after the newest is new.
            self.mark.effect = self.effects.keys().next().copied().unwrap_or(newest.ordinal + 1);
        }
        for call in &glance.calls {
            self.mark.call = self.mark.call.max(call.row);
            self.calls.insert(call.of, call.spent);
        }
        self.seen.spent = self.calls.values().fold(Spent::default(), |sum, call| sum.plus(call));
        let decided: BTreeSet<u32> =
            glance.lines.iter().filter(|line| line.verdict.is_some()).map(|line| line.number).collect();
        for experiment in &glance.experiments {
            let number = experiment.id.number;
            self.seen.experiments.insert(number, experiment.clone());
            if experiment.decision.is_some() {
                self.mark.settled.insert(number);
            }
        }
        // What has its verdict and is no champion has had its time.
        let champion = |number: u32| glance.champions.iter().any(|champion| champion.experiment == number);
        let stays = |number: &u32| *number == 0 || champion(*number) || !decided.contains(number);
        self.seen.experiments.retain(|number, _| stays(number));
        // The lock may be held by another night that is being prepared, or by this one before it goes on.
        let moved = self.newest.as_ref().map(|newest| newest.begun_at).max(Some(glance.night.started_at));
        self.seen.at_work = moved >= self.seen.held_since;
        self.seen.doing = doing::of(&self.effects, &glance, &self.seen.events);
        if self.seen.limits.is_none() {
            self.seen.limits = Some(now::limits(&glance.night));
        }
        self.seen.glance = Some(glance);
    }

    /// The night to show: the one that runs, or else the last that began.
    async fn choose(&self, reader: &Reader) -> Result<Option<NightId>, StoreError> {
        let mut nights = reader.night_lines().await?;
        nights.sort_by(|a, b| (a.started_at, &a.id).cmp(&(b.started_at, &b.id)));
        let open: Vec<&NightId> = nights.iter().filter(|night| !night.ended).map(|night| &night.id).collect();
        if !self.seen.running || open.len() < 2 {
            let shown = open.first().filter(|_| self.seen.running).copied().or(nights.last().map(|night| &night.id));
            return Ok(shown.cloned());
        }
        // Several were cut off, and one of them goes on.
        let mut newest = None;
        for night in open {
            newest = newest.max(Some((reader.last_step(night).await?, night)));
        }
        Ok(newest.map(|(_, night)| night.clone()))
    }

    /// What the run under way has added to its curve.
    async fn follow(&mut self) -> Result<(), LookError> {
        let wanted = match (&self.seen.glance, &self.seen.doing.testing) {
            (Some(glance), Some(testing)) if self.seen.running => testing.run(glance),
            _ => None,
        };
        let Some(run) = wanted else {
            self.seen.curve = None;
            return Ok(());
        };
        if self.seen.curve.as_ref().is_none_or(|curve| !curve.follows(&run)) {
            let compared = self.seen.glance.as_ref().and_then(|glance| curve::compared(glance, &run));
            let layout = self.layout.clone();
            let begun = tokio::task::spawn_blocking(move || Follower::begin(&layout, run, compared)).await?;
            self.seen.curve = Some(begun?);
        }
        if let Some(curve) = &mut self.seen.curve {
            curve.read_on()?;
        }
        Ok(())
    }
}

/// For tests of what is made of what was seen.
#[cfg(test)]
impl Watcher {
    /// One who has seen a night at work, and reads it for the first time.
    pub fn of_a_night_at_work() -> Self {
        let mut watcher = Self::new(Layout::new("/nowhere"));
        watcher.seen.running = true;
        watcher
    }

    pub async fn has_read(&mut self, reader: &Reader) -> &Seen {
        self.take_in(reader).await.unwrap();
        &self.seen
    }

    pub fn has_learnt(&mut self, glance: Glance) -> &Seen {
        self.learn(glance);
        &self.seen
    }
}
