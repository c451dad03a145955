//! View models of the machine's night: what it did when, and how its runs varied.

use serde::{Deserialize, Serialize};

/// What the machine did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Somebody was asked for an idea, or an edit was made to fit.
    Proposing,
    /// The compiler ran.
    Building,
    /// A trial trained.
    Training,
    /// A checkpoint was evaluated.
    Evaluating,
    /// Nothing could be done: the machine was unfit, or no core was free.
    Waiting,
    /// Something that was lost to a fault of the machine.
    Fault,
}

impl Stage {
    /// All stages, in the order of an experiment's way.
    pub const ALL: [Stage; 6] =
        [Stage::Proposing, Stage::Building, Stage::Training, Stage::Evaluating, Stage::Waiting, Stage::Fault];

    /// The word on pictures.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Proposing => "proposing",
            Stage::Building => "building",
            Stage::Training => "training",
            Stage::Evaluating => "evaluating",
            Stage::Waiting => "waiting",
            Stage::Fault => "fault",
        }
    }
}

/// One thing that the machine did. Spans may overlap: a candidate is built while another trains.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SpanView {
    /// What.
    pub stage: Stage,
    /// Minutes from the night's start to its beginning.
    pub begin_minutes: f64,
    /// Minutes from the night's start to its end.
    pub end_minutes: f64,
    /// What it was about: the experiment's number and title, or what the fault was.
    pub label: String,
}

/// One run of a commit that was the champion at some time of the night, or is its start.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct RunView {
    /// The commit's experiment; 0 is the night's start.
    pub experiment: u32,
    /// Minutes from the night's start to the run's beginning.
    pub minutes: f64,
    /// The metric.
    pub value: f64,
    /// Index of its seed in the night's list.
    pub seed: Option<u32>,
    /// Counts the times in the night at which the machine changed; runs of different eras do not compare.
    pub era: u32,
}

/// A stretch of the night in which no trial trained.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct GapView {
    /// Minutes from the night's start to its beginning.
    pub begin_minutes: f64,
    /// Minutes from the night's start to its end.
    pub end_minutes: f64,
    /// What was done meanwhile, in words; empty where nothing is on record.
    pub what: String,
}

/// What of a night's time was spent on one thing.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct BookedView {
    /// On what, in words.
    pub what: String,
    /// Seconds that are booked to it and to nothing else.
    pub seconds: f64,
    /// Their share of the night, 0 to 1.
    pub share: f64,
    /// Seconds of it while a trial trained, which are that trial's.
    pub beside_training: f64,
}

/// What the machine's night comes to.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct MachineView {
    /// Times at which the night was cut off and gone on with.
    pub cut_offs: u32,
    /// Times at which the machine changed: runs before and after do not compare.
    pub changes: u32,
    /// Trials that a fault of the machine ended, and that were run again.
    pub lost_trials: u32,
    /// The longest stretches without training, the longest first.
    pub gaps: Vec<GapView>,
    /// Where the night's time went, opening and report included; the seconds of all add up to it.
    #[serde(default)]
    pub booked: Vec<BookedView>,
}
