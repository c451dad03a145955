//! What a person sees while a night runs: live lines on a terminal, plain lines with the time elsewhere, a table at the end.
//!
//! Everything here goes to standard error (standard output belongs to `--json` and to what a command returns). The drawing is fed with
//! plain data ([`LiveView`], [`Notice`], [`Summary`]) and knows nothing of the night's state machine; all text in that data may come
//! from models, logs and edited code and is cleaned before it is shown ([`clean`]). What is drawn never decides anything, and
//! a night goes on when nobody can read it.

mod display;
mod lines;
mod summary;
mod text;

use std::time::Duration;

use crate::flow::Verdict;

pub use display::{Display, Mode};
pub use lines::{live_lines, notice_line, progress_line};
pub use summary::{Place, Row, Summary, render_summary};
pub use text::{clean, clean_lines, duration, fit, visible, width};

/// The state of a night at one moment, as far as a person wants to see it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LiveView {
    /// Until the deadline; `None` where the night has none.
    pub time_left: Option<Duration>,
    /// Experiments with a verdict.
    pub done: u32,
    /// Experiments asked for; `None` where only the clock ends the night.
    pub limit: Option<u32>,
    /// What is being worked on.
    pub current: Option<Current>,
    /// Bits per byte of the night's start.
    pub baseline: Option<f64>,
    /// Bits per byte of the champion.
    pub best: Option<f64>,
    /// The candidate that is prepared meanwhile, and how far it is: `proposing`, `building`, `built`, ...
    pub next: Option<(u32, String)>,
    /// Whether the person asked it to end after this trial.
    pub stopping: bool,
}

/// The experiment being worked on.
#[derive(Debug, Clone, PartialEq)]
pub struct Current {
    /// Its number; 0 is the baseline.
    pub number: u32,
    /// Its title.
    pub title: String,
    /// What happens to it.
    pub stage: Stage,
    /// How far the trial's training or its verification is, 0 to 1.
    pub progress: Option<f64>,
    /// Training loss, nats per token, by the trainer's word.
    pub loss: Option<f64>,
}

impl Current {
    /// The trial is being verified, and `fraction` (0 to 1) of that is done.
    pub fn verifying(&mut self, fraction: f64) {
        (self.stage, self.progress) = (Stage::Verifying, Some(fraction));
    }
}

/// What happens to an experiment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// A proposer is thinking.
    Proposing,
    /// The compiler is at work.
    Building,
    /// A built trainer loads libtorch and builds its model; its budget has not begun.
    Starting,
    /// The budget is running.
    Training,
    /// Something else disturbs the machine, and the trial begins when that is over.
    Waiting,
    /// The evaluator checks what the trained model claims of itself on held-out text.
    Verifying,
}

impl Stage {
    /// The word a person sees.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Proposing => "proposing",
            Stage::Building => "building",
            Stage::Starting => "starting",
            Stage::Training => "training",
            Stage::Waiting => "waiting",
            Stage::Verifying => "verifying",
        }
    }
}

/// Something that happened, worth a line that stays.
#[derive(Debug, Clone, PartialEq)]
pub enum Notice {
    /// A step of the night or of its set-up begins: `Training the tokenizer`.
    Stage {
        /// One line.
        text: String,
    },
    /// How far a step of the set-up is. On a terminal it takes the live line; elsewhere a line at most every 30 seconds.
    Progress {
        /// The step, the same in all its notices.
        what: String,
        /// So much is done.
        done: u64,
        /// Of so much, where that is known.
        total: Option<u64>,
        /// What is counted.
        unit: Unit,
    },
    /// An experiment has its verdict; number 0 is the baseline's measurement.
    Verdict {
        /// The experiment.
        number: u32,
        /// Its title.
        title: String,
        /// How it ended.
        verdict: Verdict,
        /// Bits per byte.
        val_bpb: Option<f64>,
        /// Against its champion, negative is better.
        difference: Option<f64>,
        /// 95 % interval of the difference.
        interval: Option<(f64, f64)>,
        /// How many trials the verdict rests on.
        trials: u32,
        /// In words; shown for verdicts that the figures do not explain.
        reason: String,
    },
    /// Something to look at.
    Warning {
        /// One line.
        text: String,
    },
}

/// What a [`Notice::Progress`] counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Bytes, shown in 10^6 or 10^9.
    Bytes,
    /// Things, with their word: `documents`.
    Things(&'static str),
}

#[cfg(test)]
mod tests;
