//! Where a night's time went: every millisecond of it is booked to one stage.
//!
//! What a night did is on record with times: the journal of effects, the trials, what opening it took. Where stages overlap, the one that
//! comes first in [`TimeStage::ALL`] has the time: training before all that is done beside it, which therefore costs nothing and is told as
//! `beside training`. What nothing is on record for is booked too, as [`TimeStage::Between`], so the stages add up to the night. Pure.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::Serialize;

use super::NightRecords;
use crate::flow::NightId;

mod cycle;
mod sources;

pub use cycle::{Cycle, ToFirstStep};
use sources::Sources;

/// What a night's time is booked to, in the order in which it is where two of them overlap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TimeStage {
    /// Looking at the machine, opening the records.
    SettingUp,
    /// Preparing the data, or finding them prepared.
    Data,
    /// Building what the night starts from.
    BuildingStart,
    /// Known cheats are tried on the evaluator.
    RedTeam,
    /// No process of the night was there.
    CutOff,
    /// A trial of the search trained.
    Training,
    /// A trial of the morning trained.
    Morning,
    /// A trial ran that counts for nothing: a fault of the machine, a stop, or a kill ended it.
    Lost,
    /// From a trial's beginning to its first step: process, model, data.
    Starting,
    /// From a trial's last step until its checkpoint is taken and recorded.
    Ending,
    /// The model claims its loss.
    Claim,
    /// The claim is audited.
    Audit,
    /// Decisions, branches and claims are written down.
    Deciding,
    /// The machine was not fit for a trial.
    Disturbed,
    /// Candidates are compiled.
    Building,
    /// Candidates are tried for a few steps.
    SmokeTest,
    /// Edits are checked and committed.
    Checking,
    /// Somebody is asked for an idea.
    Proposing,
    /// What precedes a trial: looking at disk, machine and executable.
    Preparing,
    /// The report is drawn.
    Report,
    /// Nothing is on record.
    Between,
}

impl TimeStage {
    /// All, in the order in which time is booked.
    pub const ALL: [Self; 21] = [
        Self::SettingUp,
        Self::Data,
        Self::BuildingStart,
        Self::RedTeam,
        Self::CutOff,
        Self::Training,
        Self::Morning,
        Self::Lost,
        Self::Starting,
        Self::Ending,
        Self::Claim,
        Self::Audit,
        Self::Deciding,
        Self::Disturbed,
        Self::Building,
        Self::SmokeTest,
        Self::Checking,
        Self::Proposing,
        Self::Preparing,
        Self::Report,
        Self::Between,
    ];

    /// For people.
    pub fn words(self) -> &'static str {
        match self {
            Self::SettingUp => "setting up, opening records",
            Self::Data => "preparing data",
            Self::BuildingStart => "building the night's start",
            Self::RedTeam => "red team",
            Self::CutOff => "cut off",
            Self::Training => "training",
            Self::Morning => "training for the morning's claim",
            Self::Lost => "trials that count for nothing",
            Self::Starting => "starting trials",
            Self::Ending => "ending trials, checkpoints",
            Self::Claim => "evaluating: claims",
            Self::Audit => "evaluating: audits",
            Self::Deciding => "deciding, writing down",
            Self::Disturbed => "waiting out disturbances",
            Self::Building => "building candidates",
            Self::SmokeTest => "smoke tests",
            Self::Checking => "checking edits",
            Self::Proposing => "waiting for proposals",
            Self::Preparing => "before trials",
            Self::Report => "drawing the report",
            Self::Between => "between all that",
        }
    }

    /// Whether a trial that counts trains.
    pub fn trains(self) -> bool {
        matches!(self, Self::Training | Self::Morning)
    }

    /// Whether it comes back with every trial: opening and ending a night, and what happened to the machine, do not.
    fn recurs(self) -> bool {
        !matches!(
            self,
            Self::SettingUp
                | Self::Data
                | Self::BuildingStart
                | Self::RedTeam
                | Self::CutOff
                | Self::Lost
                | Self::Disturbed
                | Self::Report
        ) && !self.trains()
    }

    fn place(self) -> usize {
        self as usize
    }
}

/// One line of the account.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Booked {
    /// What for.
    pub stage: TimeStage,
    /// Seconds of the night that were spent on it and on nothing before it.
    pub seconds: f64,
    /// Share of the night, 0 to 1.
    pub share: f64,
    /// Seconds that it took while a trial trained; they are that trial's.
    pub beside_training: f64,
}

/// Where a night's time went.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TimeAccount {
    /// Which night.
    pub night: NightId,
    /// From the command on, where that is on record.
    pub begin: Timestamp,
    /// The newest thing on record.
    pub end: Timestamp,
    /// From the one to the other, in seconds.
    pub seconds: f64,
    /// Share of that in which a trial trained that counts, 0 to 1.
    pub training_share: f64,
    /// Stages with any time of their own or beside training, in the order of [`TimeStage::ALL`].
    pub stages: Vec<Booked>,
    /// What recurs.
    pub cycle: Option<Cycle>,
    /// How much each device trained, by name; empty for a night of one device.
    pub devices: Vec<DeviceTime>,
}

/// How much of a night a device trained. The sum over devices is more than the night's own training where they trained at a time.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DeviceTime {
    /// Its name.
    pub device: String,
    /// Seconds in which a trial that counts trained on it.
    pub seconds: f64,
    /// Share of the night, 0 to 1.
    pub share: f64,
}

/// A stretch of milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stretch {
    stage: TimeStage,
    from: i64,
    to: i64,
}

/// Milliseconds of each stage: its own, and beside training.
type Books = [(i64, i64); TimeStage::ALL.len()];

/// Books every millisecond from `from` to `to` to one stage.
fn book(from: i64, to: i64, stretches: &[Stretch]) -> Books {
    let mut turns: Vec<(i64, usize, i32)> = Vec::with_capacity(2 * stretches.len());
    for stretch in stretches {
        let (begin, end) = (stretch.from.max(from), stretch.to.min(to));
        if begin < end {
            turns.push((begin, stretch.stage.place(), 1));
            turns.push((end, stretch.stage.place(), -1));
        }
    }
    turns.sort_unstable();
    let mut books: Books = [(0, 0); TimeStage::ALL.len()];
    let mut open = [0_i32; TimeStage::ALL.len()];
    let mut at = from;
    for (when, place, change) in turns.into_iter().chain([(to, TimeStage::Between.place(), 0)]) {
        let length = when - at;
        if length > 0 {
            let first = open.iter().position(|open| *open > 0).unwrap_or(TimeStage::Between.place());
            books[first].0 += length;
            if TimeStage::ALL[first].trains() {
                // Of two trials that train at a time none is beside the other.
                let others = (0..open.len()).filter(|other| open[*other] > 0 && !TimeStage::ALL[*other].trains());
                others.for_each(|other| books[other].1 += length);
            }
            at = when;
        }
        open[place] += change;
    }
    books
}

impl NightRecords {
    /// Where the night's time went.
    pub fn time_account(&self) -> TimeAccount {
        let sources = Sources::of(self);
        let (begin, end) = sources.first_and_last();
        let (from, to) = (begin.as_millisecond(), end.as_millisecond());
        let books = book(from, to, &sources.stretches(end));
        let whole = seconds(to - from);
        let share = |own: i64| if whole > 0.0 { seconds(own) / whole } else { 0.0 };
        let lines = TimeStage::ALL.into_iter().zip(books).filter(|(_, (own, beside))| own + beside > 0);
        let trained = TimeStage::ALL.into_iter().zip(books).filter(|(stage, _)| stage.trains());
        TimeAccount {
            night: self.night.id.clone(),
            begin,
            end,
            seconds: whole,
            training_share: trained.map(|(_, (own, _))| share(own)).sum(),
            stages: lines
                .map(|(stage, (own, beside))| Booked {
                    stage,
                    seconds: seconds(own),
                    share: share(own),
                    beside_training: seconds(beside),
                })
                .collect(),
            cycle: Cycle::of(&sources, &books, self.devices().len() > 1),
            devices: self.device_times(&sources, end, whole),
        }
    }
}

impl NightRecords {
    /// The devices on which trials of the night ran, as far as that is on record.
    pub(super) fn devices(&self) -> BTreeSet<&str> {
        self.trials.iter().filter_map(|trial| trial.device.as_deref()).collect()
    }

    fn device_times(&self, sources: &Sources<'_>, end: Timestamp, whole: f64) -> Vec<DeviceTime> {
        let names = self.devices();
        if names.len() < 2 {
            return Vec::new();
        }
        let time = |device: &str| {
            let trained: i64 = sources.trained_on(device, end).map(|stretch| stretch.to - stretch.from).sum();
            let share = if whole > 0.0 { seconds(trained) / whole } else { 0.0 };
            DeviceTime { device: device.to_owned(), seconds: seconds(trained), share }
        };
        names.into_iter().map(time).collect()
    }
}

fn seconds(milliseconds: i64) -> f64 {
    milliseconds as f64 / 1000.0
}

/// Saturates; no record's seconds are anywhere near that.
fn milliseconds(seconds: f64) -> i64 {
    (seconds.clamp(0.0, 1e12) * 1000.0).round() as i64
}

#[cfg(test)]
mod tests;
