//! What came of a simulated night of the machine, held against the truth.

use nocturne::flow::{Purpose, Verdict};
use nocturne::night::messages::{Ending, Finding, Settled};
use nocturne::propose::tried_again;
use nocturne::stats::claim::Claim;

use crate::machine_trial::Flight;
use crate::tally::Night;
use crate::world::World;

/// An experiment, or the night's start, as the world knows it.
#[derive(Debug, Clone)]
pub struct Experiment {
    /// What it adds to its champion.
    pub ideas: Vec<usize>,
    /// What its champion has.
    champion: Vec<usize>,
    /// What it truly does to its champion, bits per byte; negative is better.
    truth: f64,
    /// Whether it only measures: the champion without a kept change, or the night's start.
    measures: bool,
    /// Trial times that its search trials took before it was settled.
    pub time: f64,
    spared: bool,
}

impl Experiment {
    /// A commit with these ideas, made from one with its parent's.
    pub fn new(all: &[usize], parent: &[usize], without: bool, world: &mut World) -> Self {
        let ideas: Vec<usize> = all.iter().copied().filter(|idea| !parent.contains(idea)).collect();
        let truth = world.gain_of(parent, &ideas);
        let measures = without || ideas.is_empty();
        Self { ideas, champion: parent.to_vec(), truth, measures, time: 0.0, spared: false }
    }

    fn bad(&self) -> bool {
        self.truth >= 0.0
    }
}

/// What a night came to so far.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    night: Night,
    findings: Vec<Finding>,
    /// Whether the trial in flight is the champion's, and a seed that it has had.
    champions: bool,
    repeats: bool,
}

fn one_if(yes: bool) -> f64 {
    f64::from(u8::from(yes))
}

impl Tally {
    /// A trial of this era begins.
    pub fn era(&mut self, era: u32) {
        self.night.eras = self.night.eras.max(f64::from(era));
    }

    /// Whether the trial that begins is the champion's in the search, and of a seed that it has had.
    pub fn repeats(&mut self, champions: bool, repeats: bool) {
        (self.champions, self.repeats) = (champions, repeats);
    }

    /// A trial follows an evaluation, during which this one was foreseen.
    pub fn follows(&mut self, foreseen: Option<bool>) {
        let night = &mut self.night;
        night.followed += 1.0;
        night.foreseen += one_if(foreseen == Some(true));
        night.foreseen_wrongly += one_if(foreseen == Some(false));
    }

    /// A trial ended after this share of its time.
    pub fn trial(&mut self, flight: &Flight, experiment: &mut Experiment, taken: f64) {
        let night = &mut self.night;
        if flight.purpose == Purpose::Morning {
            night.morning_time += taken;
        } else if self.champions {
            *(if self.repeats { &mut night.drift_time } else { &mut night.champion_time }) += taken;
        } else if flight.launch.without.is_some() {
            night.left_out_time += taken;
        } else {
            experiment.time += taken;
            if flight.ordinal == 1 {
                night.experiments += 1.0;
            }
            if experiment.bad() {
                night.bad_time += taken;
                night.bad_whole += if flight.stop.is_some() { 1.0 } else { taken };
            }
        }
    }

    /// A trial is stopped early, or would be.
    pub fn stops(&mut self, experiment: Option<&mut Experiment>, spared: bool) {
        let Some(experiment) = experiment else { return };
        self.night.stops += 1.0;
        self.night.false_stops += one_if(!experiment.bad());
        if spared && !experiment.spared {
            self.night.spared += 1.0;
            experiment.spared = true;
        }
    }

    /// An experiment that had a trial is settled.
    pub fn settled(&mut self, settled: &Settled, experiment: &Experiment, world: &mut World) {
        if experiment.measures {
            return;
        }
        let night = &mut self.night;
        let truth = experiment.truth;
        let covers = |(low, high): (f64, f64)| one_if(low <= truth && truth <= high);
        let decision = &settled.decision;
        if let Some(interval) = decision.interval {
            night.intervals += 1.0;
            night.covered += covers(interval);
        }
        let tried_again = settled.proposal.as_ref().is_some_and(|proposal| !tried_again(proposal).is_empty());
        if let Some(evidence) = decision.evidence.as_ref().filter(|_| !tried_again) {
            let seen = decision.difference.or(evidence.harm_foreseen());
            let found = |estimate| Finding { estimate, standard_error: evidence.standard_error };
            self.findings.extend(seen.map(found));
        }
        if decision.verdict != Verdict::Kept {
            return;
        }
        night.keeps += 1.0;
        night.false_keeps += one_if(experiment.bad());
        night.spared_kept += one_if(experiment.spared);
        for &idea in &experiment.ideas {
            night.ideas += 1.0;
            night.false_ideas += one_if(world.gain_of(&experiment.champion, &[idea]) >= 0.0);
        }
        if let Some(evidence) = &decision.evidence {
            night.kept_intervals += 1.0;
            night.kept_covered += covers(evidence.expected_interval);
        }
    }

    /// The morning's claim of a champion that is truly so far from the start.
    pub fn claimed(&mut self, claim: &Claim, truth: f64) {
        let (low, high) = claim.difference.interval;
        self.night.claim_intervals = 1.0;
        self.night.claim_covered = one_if(low <= truth && truth <= high);
        self.night.claims = one_if(claim.holds);
        self.night.wrong_claims = one_if(claim.holds && truth >= 0.0);
    }

    /// What the records tell of the effects of ideas.
    pub fn findings(&self) -> impl Iterator<Item = Finding> + '_ {
        self.findings.iter().copied().filter(|finding| finding.standard_error > 0.0)
    }

    /// What the night came to, with a champion that is truly so far from the start.
    pub fn night(&self, truth: f64, time: f64, ending: Option<&Ending>) -> Night {
        let gave_up = one_if(matches!(ending, Some(Ending::MachineFaults(_))));
        Night { gain: -truth, time, gave_up, ..self.night }
    }
}
