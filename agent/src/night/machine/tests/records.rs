//! The records that a driver would keep of a night, as far as a night that goes on needs them.

use std::collections::{BTreeMap, HashMap};

use super::*;
use crate::flow::Verdict;
use crate::night::messages::EARLIER_NIGHTS;
use crate::night::messages::{Launch, PastDecision, Settled, Standing, Unsettled, Without};
use crate::stats::noise::Observation;

/// What a driver writes down, as far as a night that goes on needs it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Records {
    pub trials: Vec<PastTrial>,
    pub standings: HashMap<u32, Standing>,
    pub without: HashMap<u32, Option<Without>>,
    pub stories: HashMap<u32, BTreeMap<usize, String>>,
    pub verdicts: Vec<(u32, Verdict)>,
    pub kept: Vec<u32>,
    pub decisions: Vec<PastDecision>,
    pub ending: Option<Ending>,
    pub tested_without: Vec<Without>,
    pub claims: usize,
    pub turn: u64,
    pub longest_build: f64,
}

impl Records {
    pub fn trial(&self, number: u32, ordinal: u32) -> &PastTrial {
        self.trials.iter().rfind(|trial| (trial.number, trial.ordinal) == (number, ordinal)).unwrap()
    }

    pub fn begun(&mut self, launch: &Launch, ordinal: u32, seed: u32, purpose: Purpose, era: u32) {
        let Launch { number, proposal, candidate, lines, artifact, without, .. } = launch.clone();
        self.without.insert(number, without);
        if number > 0 {
            self.longest_build = self.longest_build.max(artifact.build_seconds);
        }
        self.standings.insert(number, Standing { number, proposal, candidate, lines, artifact: Some(artifact) });
        self.trials.push(PastTrial { purpose, era, seconds: None, ..past(number, ordinal, seed, Came::Nothing) });
    }

    pub fn came(&mut self, event: &Event) {
        let Some(last) = self.trials.last_mut() else { return };
        match event {
            Event::Trained(trained) => {
                last.steps = trained.steps;
                last.seconds = Some(trained.start_seconds + trained.training_seconds);
                last.came = match &trained.end {
                    TrialEnd::Finished => Came::Waits,
                    TrialEnd::StoppedEarly { message } => Came::StoppedEarly(message.clone()),
                    TrialEnd::MachineFault { message } => Came::Spoilt(message.clone()),
                    TrialEnd::Stopped => Came::Nothing,
                    end => Came::Failed { verdict: Verdict::Crashed, words: crate::night::machine::failure(end) },
                };
            }
            Event::Evaluated(Ok(measured)) => {
                last.came = Came::Verified(measured.clone());
            }
            Event::Evaluated(Err(why)) => {
                let decision = crate::stats::rejected(why);
                last.came = Came::Failed { verdict: decision.verdict, words: decision.reason };
            }
            Event::TrialFault(what) => last.came = Came::Spoilt(what.clone()),
            Event::Look { look, curve_difference, .. } => last.looks.push((*look, *curve_difference)),
            Event::Changed(why) => last.changed = Some(why.clone()),
            _ => {}
        }
    }

    pub fn settled(&mut self, settled: &Settled) {
        assert!(
            !self.verdicts.iter().any(|(number, _)| *number == settled.number),
            "experiment {} is settled twice",
            settled.number
        );
        let verdict = settled.decision.verdict;
        self.verdicts.push((settled.number, verdict));
        self.tested_without.extend(settled.without);
        let untried = settled.untried.as_ref().map_or(0.0, |artifact| artifact.build_seconds);
        self.longest_build = self.longest_build.max(untried);
        if settled.number > 0 && verdict == Verdict::Kept {
            self.kept.push(settled.number);
        }
        if let (Some(standing), true) = (self.standings.get(&settled.number), settled.number > 0) {
            self.decisions.push(PastDecision {
                standing: standing.clone(),
                without: settled.without,
                decision: settled.decision.clone(),
                after: self.trials.len(),
            });
        }
    }

    /// What was concluded; nothing more is tried of a kept experiment that cannot be left out.
    pub fn concluded(&mut self, number: u32, words: &str) {
        if words.starts_with(crate::night::machine::CANNOT_LEAVE_OUT) {
            let idea = words.split("idea ").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok());
            self.tested_without.push(Without { kept: number, idea });
            return;
        }
        let trials = self.trials.iter().filter(|trial| trial.number == number).count();
        self.stories.entry(number).or_default().insert(trials, words.to_owned());
    }

    fn is_settled(&self, number: u32) -> bool {
        self.verdicts.iter().any(|(settled, _)| *settled == number)
    }

    /// Where the night goes on, as the driver would tell it.
    pub fn start(&self) -> Start {
        let mut begun: Vec<u32> = self.standings.keys().copied().filter(|number| *number > 0).collect();
        begun.sort_unstable();
        let unsettled = begun.iter().find(|number| !self.is_settled(**number)).map(|number| Unsettled {
            standing: self.standings[number].clone(),
            without: self.without[number],
            story: self.stories.get(number).cloned().unwrap_or_default().into_values().collect(),
        });
        let highest = self.verdicts.iter().map(|(number, _)| *number).chain(begun).max().unwrap_or(0);
        let mut start = start();
        if let Some(baseline) = self.standings.get(&0) {
            start.baseline = baseline.clone();
        }
        let of_the_morning = |number: &u32| self.without.get(number).copied().flatten().is_some();
        // An earlier night has taught how much runs differ, so that near misses wait for others from the beginning.
        start.observations = (0..24)
            .map(|run| Observation {
                group: run / 6,
                against: None,
                night: EARLIER_NIGHTS,
                seed: (run % 6) as u32,
                val_bpb: 2.0 + 0.0015 * ((run * 7919) % 11) as f64 / 4.0,
            })
            .collect();
        Start {
            baseline_settled: self.is_settled(0),
            unsettled,
            decisions: self.decisions.clone(),
            trials: self.trials.clone(),
            next_number: highest + 1,
            turn: self.turn,
            settled: self.verdicts.iter().filter(|(number, _)| *number > 0 && !of_the_morning(number)).count() as u32,
            tested_without: self.tested_without.clone(),
            longest_build: self.longest_build,
            ending: self.ending.clone(),
            claimed: self.claims > 0,
            ..start
        }
    }
}
