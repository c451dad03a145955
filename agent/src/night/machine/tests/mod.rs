//! Whole nights in microseconds: scripts for what must happen, and worlds drawn by lot for what must never happen.

mod fate;
mod faults;
mod foresight;
mod making;
mod morning;
mod nights;
mod records;
mod resume;
mod search;
mod uncut;
mod world;

use std::sync::Arc;

use super::Machine;
use crate::flow::{
    Artifact, Author, BuildFailure, Candidate, CommitId, DocumentLoss, Edit, Proposal, Purpose, Trained, TrialEnd,
    Verified,
};
use crate::night::messages::{Came, Effect, Ending, Event, Limits, Lines, Measured, PastTrial, Start};
use crate::stats::Rules;

const START: &str = "0000000000000000000000000000000000000000";

fn commit(n: u64) -> CommitId {
    format!("{n:040x}").parse().unwrap()
}

fn candidate(n: u64) -> Candidate {
    Candidate { commit: commit(n), parent: START.parse().unwrap() }
}

fn proposal(key: &str) -> Proposal {
    Proposal {
        key: key.to_owned(),
        title: format!("Try {key}"),
        hypothesis: String::new(),
        source: String::new(),
        family: "test".to_owned(),
        predicted_effect: None,
        confidence: None,
        edits: vec![Edit { path: "a".to_owned(), search: "b".to_owned(), replace: "c".to_owned() }],
        author: Author { proposer: "test".to_owned(), model: None, cost_usd: 0.0 },
    }
}

fn proposed() -> Event {
    Event::Proposed(Some(Box::new(proposal("idea"))))
}

fn artifact() -> Artifact {
    Artifact { path: "trainer".into(), sha256: String::new(), build_seconds: 1.0 }
}

fn trained_with(end: TrialEnd, steps: u64) -> Event {
    Event::Trained(Box::new(Trained {
        end,
        seed: 1,
        budget: protocol::Budget::Seconds(20.0),
        steps,
        tokens: 1,
        parameters: 1,
        training_seconds: 20.0,
        start_seconds: 0.5,
        peak_memory_bytes: 1,
        final_loss: None,
        checkpoint_sha256: None,
    }))
}

fn trained(end: TrialEnd) -> Event {
    trained_with(end, 1)
}

fn spoilt() -> Event {
    trained(TrialEnd::MachineFault { message: "no space left on device".to_owned() })
}

fn measured(val_bpb: f64) -> Measured {
    let verified = Verified {
        val_bpb,
        standard_error: 0.0,
        claimed_bpb: val_bpb,
        nats: 1.0,
        bytes: 1,
        tokens: 1,
        seconds: 1.0,
        evaluator: "test/1".to_owned(),
    };
    // Two documents alike: figures per document are there, and the text leaves nothing open.
    let documents = Arc::new([DocumentLoss { nats: val_bpb, bytes: 1 }, DocumentLoss { nats: val_bpb, bytes: 1 }]);
    Measured { verified, documents }
}

fn evaluated(val_bpb: f64) -> Event {
    Event::Evaluated(Ok(measured(val_bpb)))
}

fn committed(n: u64) -> Event {
    Event::Committed { candidate: candidate(n), lines: Lines { added: 1, removed: 1 } }
}

fn built(number: u32) -> Event {
    Event::Built { number, result: Ok(artifact()) }
}

fn failure() -> BuildFailure {
    BuildFailure { errors: vec!["error".to_owned()], error_count: 1, build_seconds: 1.0 }
}

fn limits() -> Limits {
    Limits { experiments: Some(3), seconds: Some(1_000.0), expected_trial_seconds: 25.0 }
}

/// The champion is measured once, and nothing watches it.
fn rules() -> Rules {
    Rules { champion_seeds: 1, drift_every: 0, ..Rules::default() }
}

fn start() -> Start {
    Start::new(START.parse().unwrap(), 7)
}

fn past(number: u32, ordinal: u32, seed: u32, came: Came) -> PastTrial {
    PastTrial {
        number,
        ordinal,
        seed,
        purpose: Purpose::Search,
        era: 0,
        steps: 1,
        seconds: Some(10.0),
        looks: Vec::new(),
        changed: None,
        came,
    }
}

/// A machine and the clock of its night, for scripts.
struct Script {
    machine: Machine,
    now: f64,
}

impl Script {
    fn new(limits: Limits, rules: Rules) -> Self {
        Self::from(limits, rules, start())
    }

    fn from(limits: Limits, rules: Rules, start: Start) -> Self {
        Self { machine: Machine::new(limits, rules, start), now: 0.0 }
    }

    /// One event, one second later.
    fn step(&mut self, event: Event) -> Vec<Effect> {
        self.now += 1.0;
        self.machine.step(event, self.now)
    }

    /// A trial that comes to its end with these bits per byte; what follows.
    fn trial(&mut self, val_bpb: f64) -> Vec<Effect> {
        self.step(trained(TrialEnd::Finished));
        self.step(evaluated(val_bpb))
    }

    /// Begins a night and measures its start once.
    fn measure_start(&mut self, val_bpb: f64) -> Vec<Effect> {
        self.step(Event::Begin);
        self.step(built(0));
        self.trial(val_bpb);
        self.step(Event::Settled { number: 0 })
    }

    /// Makes experiment `number`, whose commit has the same number.
    fn make(&mut self, number: u32) -> Vec<Effect> {
        self.step(proposed());
        self.step(committed(u64::from(number)));
        self.step(built(number))
    }

    /// Runs every trial asked for, experiment `number` with `value` and others with `other` plus a little that the seed decides,
    /// until something else is asked for.
    fn race(&mut self, mut effects: Vec<Effect>, value: impl Fn(u32, u32, Purpose) -> f64) -> Vec<Effect> {
        let mut seen = Vec::new();
        while let Some((number, seed, purpose)) = train(&effects) {
            seen.append(&mut effects);
            effects = self.trial(value(number, seed, purpose));
        }
        seen.append(&mut effects);
        seen
    }
}

/// The trial that is asked for: number, seed, purpose.
fn train(effects: &[Effect]) -> Option<(u32, u32, Purpose)> {
    effects.iter().find_map(|effect| match effect {
        Effect::Train { launch, seed, purpose, .. } => Some((launch.number, *seed, *purpose)),
        _ => None,
    })
}

fn trains(effects: &[Effect]) -> Vec<(u32, u32)> {
    let train = |effect: &Effect| match effect {
        Effect::Train { launch, seed, .. } => Some((launch.number, *seed)),
        _ => None,
    };
    effects.iter().filter_map(train).collect()
}

fn settled(effects: &[Effect]) -> Option<&crate::night::messages::Settled> {
    effects.iter().find_map(|effect| match effect {
        Effect::Settle { settled } => Some(&**settled),
        _ => None,
    })
}

fn ending(effects: &[Effect]) -> Option<&Ending> {
    effects.iter().find_map(|effect| match effect {
        Effect::Finish(ending) => Some(ending),
        _ => None,
    })
}

/// A little that the seed and the commit decide, so that runs are not all alike.
fn jitter(number: u32, seed: u32) -> f64 {
    let mixed = (u64::from(number) << 32 | u64::from(seed)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    (mixed % 1000) as f64 / 1000.0 - 0.5
}
