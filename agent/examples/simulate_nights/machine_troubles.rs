//! What goes wrong in a simulated night besides its ideas being bad: the machine, the compiler, the evaluator's checks, the person.

use crate::world::Draw;

/// How often, and how much. Nothing by default.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Troubles {
    /// Share of the trials that a fault of the machine ends, half of them while they are evaluated.
    pub faults: f64,
    /// Shares of the ideas whose training crashes, whose edits break a rule, that do not build, and that the evaluator rejects.
    pub crashes: f64,
    pub refused: f64,
    pub unbuildable: f64,
    pub rejected: f64,
    /// Once a night, at a random time, all that runs from then on comes out worse by so many sds of a run.
    pub step: f64,
    /// From the same time on, the share of its steps that a trial no longer gets to.
    pub slower: f64,
    /// The person stops the night at a random time: after the trial in flight, or at once.
    pub stopped: Option<AtOnce>,
    /// The person wants so many experiments and no more: the time that is left is the morning's.
    pub experiments: Option<u32>,
}

/// Whether a person who stops a night waits for the trial in flight.
pub type AtOnce = bool;

/// What an idea is like besides its effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Sound,
    Crashes,
    Refused,
    Unbuildable,
    Rejected,
}

/// How a trial ends, at which share of its time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fate {
    Finishes,
    Crashes(f64),
    Fault(f64),
    FaultOfEvaluation,
    Rejected,
}

impl Troubles {
    /// What this idea of the night is like.
    pub fn kind(&self, night: u64, idea: usize) -> Kind {
        let at = Draw::new(&[night, 5, idea as u64]).unit();
        let mut below = 0.0;
        for (share, kind) in [
            (self.crashes, Kind::Crashes),
            (self.refused, Kind::Refused),
            (self.unbuildable, Kind::Unbuildable),
            (self.rejected, Kind::Rejected),
        ] {
            below += share;
            if at < below {
                return kind;
            }
        }
        Kind::Sound
    }

    /// How the night's trial with this number, counting all, ends where it has these ideas.
    pub fn fate(&self, night: u64, trial: u64, ideas: &[usize]) -> Fate {
        let mut draw = Draw::new(&[night, 6, trial]);
        let (lot, share) = (draw.unit(), draw.unit());
        let any = |kind: Kind| ideas.iter().any(|idea| self.kind(night, *idea) == kind);
        if lot < 0.5 * self.faults {
            Fate::Fault(share)
        } else if any(Kind::Crashes) {
            Fate::Crashes(share)
        } else if lot < self.faults {
            Fate::FaultOfEvaluation
        } else if any(Kind::Rejected) {
            Fate::Rejected
        } else {
            Fate::Finishes
        }
    }

    /// The share of the night's time after which the machine is another.
    pub fn steps_at(&self, night: u64) -> f64 {
        if self.step == 0.0 && self.slower == 0.0 { f64::INFINITY } else { Draw::new(&[night, 7]).unit() }
    }

    /// The share of the night's time after which the person stops it.
    pub fn stopped_at(&self, night: u64) -> f64 {
        if self.stopped.is_none() { f64::INFINITY } else { Draw::new(&[night, 8]).unit() }
    }
}

/// What is tried, by name.
pub fn all() -> Vec<(&'static str, Troubles)> {
    let none = Troubles::default();
    let bad_ideas = Troubles { crashes: 0.05, refused: 0.05, unbuildable: 0.05, rejected: 0.05, ..none };
    vec![
        ("none", none),
        ("2 % of trials are faults of the machine", Troubles { faults: 0.02, ..none }),
        ("5 % of ideas each crash, are refused, do not build, are rejected", bad_ideas),
        ("all runs worse by 1 sd from some time on", Troubles { step: 1.0, ..none }),
        ("... better by 1 sd", Troubles { step: -1.0, ..none }),
        ("... worse by 1 sd, with a fifth fewer steps", Troubles { step: 1.0, slower: 0.2, ..none }),
        ("... better by 1 sd, with a fifth fewer steps", Troubles { step: -1.0, slower: 0.2, ..none }),
        ("stopped by the person at some time", Troubles { stopped: Some(false), ..none }),
        ("... at once", Troubles { stopped: Some(true), ..none }),
        ("faults, bad ideas and worse by 1 sd together", Troubles { faults: 0.02, step: 1.0, ..bad_ideas }),
    ]
}
