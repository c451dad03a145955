//! The records that a driver would keep of a night, as far as a night that goes on needs them.

use std::collections::HashMap;

use super::*;
use crate::flow::Verdict;
use crate::night::messages::{Finding, Launch, Settled, Standing, Unsettled};

/// What a driver writes down, as far as a night that goes on needs it.
#[derive(Debug, Clone, Default)]
pub(super) struct Records {
    pub trials: Vec<PastTrial>,
    pub standings: HashMap<u32, Standing>,
    pub without: HashMap<u32, Option<u32>>,
    pub stories: HashMap<u32, Vec<String>>,
    pub verdicts: Vec<(u32, Verdict)>,
    pub kept: Vec<u32>,
    findings: Vec<Finding>,
    tested_without: Vec<u32>,
    pub claims: usize,
    pub turn: u64,
}

impl Records {
    pub fn trial(&self, number: u32, ordinal: u32) -> &PastTrial {
        self.trials.iter().rfind(|trial| (trial.number, trial.ordinal) == (number, ordinal)).unwrap()
    }

    pub fn begun(&mut self, launch: &Launch, ordinal: u32, seed: u32, purpose: Purpose, era: u32) {
        let Launch { number, proposal, candidate, lines, artifact, without, .. } = launch.clone();
        self.without.insert(number, without);
        self.standings.insert(number, Standing { number, proposal, candidate, lines, artifact: Some(artifact) });
        self.trials.push(PastTrial { purpose, era, seconds: None, ..past(number, ordinal, seed, Came::Nothing) });
    }

    pub fn came(&mut self, event: &Event) {
        let Some(last) = self.trials.last_mut() else { return };
        match event {
            Event::Trained(trained) => {
                last.steps = trained.steps;
                last.came = match &trained.end {
                    TrialEnd::Finished => Came::Waits,
                    TrialEnd::StoppedEarly { message } => Came::StoppedEarly(message.clone()),
                    TrialEnd::MachineFault { .. } | TrialEnd::Stopped => Came::Nothing,
                    end => Came::Failed { verdict: Verdict::Crashed, words: format!("{end:?}") },
                };
            }
            Event::Evaluated(Ok(measured)) => {
                last.seconds = Some(10.0);
                last.came = Came::Verified(measured.clone());
            }
            Event::Evaluated(Err(why)) => {
                last.came = Came::Failed { verdict: crate::stats::rejected(why).verdict, words: why.check.clone() };
            }
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
        if settled.number > 0 && verdict == Verdict::Kept {
            self.kept.push(settled.number);
        }
        if let (Some(estimate), Some(evidence), None) =
            (settled.decision.difference, &settled.decision.evidence, settled.without)
        {
            self.findings.push(Finding { estimate, standard_error: evidence.standard_error });
        }
    }

    fn is_settled(&self, number: u32) -> bool {
        self.verdicts.iter().any(|(settled, _)| *settled == number)
    }

    /// Where the night goes on, as the driver would tell it.
    pub fn start(&self) -> Start {
        let last = |numbers: &[u32]| numbers.last().and_then(|number| self.standings.get(number)).cloned();
        let mut begun: Vec<u32> = self.standings.keys().copied().filter(|number| *number > 0).collect();
        begun.sort_unstable();
        let unsettled = begun.iter().find(|number| !self.is_settled(**number)).map(|number| Unsettled {
            standing: self.standings[number].clone(),
            without: self.without[number],
            story: self.stories.get(number).cloned().unwrap_or_default(),
        });
        let highest = self.verdicts.iter().map(|(number, _)| *number).chain(begun).max().unwrap_or(0);
        let mut start = start();
        if let Some(baseline) = self.standings.get(&0) {
            start.baseline = baseline.clone();
        }
        let of_the_morning = |number: &u32| self.without.get(number).copied().flatten().is_some();
        Start {
            baseline_settled: self.is_settled(0),
            champion: last(&self.kept),
            unsettled,
            kept: self.kept.clone(),
            trials: self.trials.clone(),
            next_number: highest + 1,
            turn: self.turn,
            settled: self.verdicts.iter().filter(|(number, _)| *number > 0 && !of_the_morning(number)).count() as u32,
            findings: self.findings.clone(),
            tested_without: self.tested_without.clone(),
            claimed: self.claims > 0,
            ..start
        }
    }
}
