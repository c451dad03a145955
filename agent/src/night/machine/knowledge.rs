//! What the night has learnt: of noise, of what effects are like, of what curves tell, of how long trials take.

use std::cell::RefCell;
use std::collections::HashMap;

use crate::night::messages::Start;
use crate::stats::Rules;
use crate::stats::belief::Belief;
use crate::stats::decide::Known;
use crate::stats::early::Early;
use crate::stats::mixture::Mixture;
use crate::stats::noise::{Noise, Observation};
use crate::stats::reference::{Level, Reference};

#[derive(Debug, Clone)]
pub(super) struct Knowledge {
    pub noise: Noise,
    pub belief: Belief,
    pub early: Early,
    /// Seconds of the longest trial that was vouched for.
    pub longest_trial: Option<f64>,
    /// Seconds of the longest build of an experiment that was tested. One that came to nothing says nothing of the next: code that keeps
    /// the compiler busy must not end the night early.
    pub longest_build: f64,
    observations: Vec<Observation>,
    /// Runs of this night per commit and era: one alone says nothing of noise.
    runs_of: HashMap<(u64, u64), u32>,
    /// The champion's level when it was last asked for.
    level: RefCell<Option<Computed>>,
}

/// The champion's level and what it was computed from: it is asked for far oftener than anything is learnt.
#[derive(Debug, Clone)]
struct Computed {
    learnt: u64,
    fresh: Mixture,
    noise: Noise,
    level: Option<Level>,
}

impl Knowledge {
    /// What earlier nights taught.
    pub fn new(rules: &Rules, start: &Start) -> Self {
        let mut belief = Belief::new(rules);
        for finding in &start.findings {
            belief.learn(finding.estimate, finding.standard_error);
        }
        let mut early = Early::new();
        for look in &start.looks {
            early.observe(look.look, look.curve_difference, look.final_difference);
        }
        Self {
            noise: Noise::estimate(&start.observations, rules),
            belief,
            early,
            longest_trial: None,
            longest_build: start.longest_build,
            observations: start.observations.clone(),
            runs_of: HashMap::new(),
            level: RefCell::new(None),
        }
    }

    /// All that a decision rests on.
    pub fn known<'a>(&'a self, rules: &'a Rules, reference: &'a Reference) -> Known<'a> {
        let (learnt, fresh) = (reference.learnt(), self.belief.fresh());
        let mut last = self.level.borrow_mut();
        let level = match &*last {
            Some(same) if same.learnt == learnt && same.noise == self.noise && same.fresh == fresh => {
                same.level.clone()
            }
            _ => {
                let level = reference.level(&fresh, &self.noise);
                *last = Some(Computed { learnt, fresh, noise: self.noise, level: level.clone() });
                level
            }
        };
        Known::at(rules, &self.belief, &self.noise, reference, level)
    }

    /// Learns from a run of this night, of an experiment while `champion` was what it was compared with.
    pub fn ran(&mut self, rules: &Rules, (number, champion): (u32, u32), era: u32, seed: u32, val_bpb: f64) {
        let (group, night, against) = (u64::from(number), u64::from(era), Some(u64::from(champion)));
        self.observations.push(Observation { group, against, night, seed, val_bpb });
        let runs = self.runs_of.entry((group, night)).or_default();
        *runs += 1;
        if *runs > 1 {
            self.noise = Noise::estimate(&self.observations, rules);
        }
    }

    /// Learns how long trials take; seconds of training and evaluation.
    pub fn took(&mut self, seconds: f64) {
        self.longest_trial = Some(self.longest_trial.map_or(seconds, |longest| longest.max(seconds)));
    }
}
