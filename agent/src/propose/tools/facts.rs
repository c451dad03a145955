//! What the tools work on: everything that they may show, gathered before the first call.

use crate::edit::{CheckedPatch, Policy};
use crate::flow::{BuildFailure, ExperimentId, NightId, PastExperiment, SourceFile};

/// Finds the curves of an experiment; `Err` is told to the caller.
pub type CurveSource = Box<dyn Fn(&ExperimentId) -> Result<Curves, String> + Send + Sync>;

/// Compiles the champion with a patch.
pub type Compiler = Box<dyn Fn(&CheckedPatch) -> Compiled + Send + Sync>;

/// What tools see.
pub struct ToolFacts {
    /// The champion's candidate files, sorted by path: what edits apply to.
    pub candidate: Vec<SourceFile>,
    /// Files of the harness, for reading only.
    pub harness: Vec<SourceFile>,
    /// The night whose experiments are meant by a bare number; `None` where there is none.
    pub night: Option<NightId>,
    /// Past experiments in order, earlier nights first.
    pub history: Vec<PastExperiment>,
    /// The rules on edits.
    pub policy: Policy,
    /// Where curves are found; `None`: the tool is not offered.
    pub curve: Option<CurveSource>,
    /// Compiles edits that keep the rules; `None`: a check ends there, and says so.
    pub compile: Option<Compiler>,
}

impl ToolFacts {
    /// Facts without history, curves and compiler.
    pub fn of(candidate: Vec<SourceFile>) -> Self {
        Self {
            candidate,
            harness: Vec::new(),
            night: None,
            history: Vec::new(),
            policy: Policy::default(),
            curve: None,
            compile: None,
        }
    }
}

/// The training loss of one trial, and its champion's beside it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Curves {
    /// (share of the budget, nats per token), in order; the trainer's own word.
    pub own: Vec<(f64, f64)>,
    /// The champion's under the same seed; empty where there is none.
    pub champion: Vec<(f64, f64)>,
}

/// What came of compiling.
#[derive(Debug, Clone, PartialEq)]
pub enum Compiled {
    /// It compiles.
    Yes {
        /// Seconds it took.
        seconds: f64,
    },
    /// It does not.
    No(BuildFailure),
    /// It could not be tried, and why; no fault of the edits.
    NotTried(String),
}
