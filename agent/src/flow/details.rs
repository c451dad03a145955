//! What a [`Brief`](super::Brief) holds for proposers that read: facts that no figure of the night follows from.

use std::collections::BTreeMap;

use protocol::{Budget, Setting};

use super::{ExperimentId, Trained};
use crate::run::MeasuredStep;

/// What there is to read beside files and history. Empty where nobody reads.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Details {
    /// The number that the next experiment will have.
    pub number: u32,
    /// How long every trial trains.
    pub budget: Option<Budget>,
    /// What every candidate is built from.
    pub setting: Option<Setting>,
    /// The champion's last verified run.
    pub champion: Option<Telemetry>,
    /// What is told of past experiments.
    pub told: BTreeMap<ExperimentId, Told>,
    /// The person's idea in words that this turn is for.
    pub asked: Option<Wish>,
    /// Ideas of the person that wait.
    pub waiting: Vec<Wish>,
}

/// One run, as a proposer may read of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Telemetry {
    /// The experiment's number; 0 is the night's start.
    pub experiment: u32,
    /// Bits per byte of all its verified runs on the search text.
    pub val_bpb: Vec<f64>,
    /// The last of them, as it was measured from outside.
    pub trained: Trained,
    /// Its loss by the trainer's word, nats per token, against the share of the budget used (0 to 1); in order.
    pub curve: Vec<(f64, f64)>,
    /// Its sampled steps, by the trainer's word; empty where it told of none.
    pub measured: Vec<MeasuredStep>,
    /// Seconds of its evaluation, by the agent's clock.
    pub evaluation_seconds: f64,
}

/// What a decision said of a past experiment.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Told {
    /// 95 % interval of the difference, bits per byte.
    pub interval: Option<(f64, f64)>,
    /// How many trials it rests on.
    pub trials: u32,
    /// The decision in words; quotes what compilers and trainers print.
    pub reason: String,
    /// Why the person did not want it, where they said so.
    pub rejected: Option<String>,
}

/// An idea in a person's words, or in those of a program that the person lets speak.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// Its place in the person's queue.
    pub id: u32,
    /// What it says.
    pub words: String,
    /// The program that put it there, in its own word; `None`: the person.
    pub by: Option<String>,
}
