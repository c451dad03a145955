//! A trial in flight in simulated time: its looks, then its end.

use std::sync::Arc;

use nocturne::flow::{Purpose, Trained, TrialEnd};
use nocturne::night::messages::{Event, Launch};
use nocturne::stats::early::LOOKS;

use crate::machine_troubles::Fate;
use crate::world::Measured;

/// Seconds of a trial. Whole at every look, so that sums of them are exact.
pub const SECONDS: f64 = 1000.0;

/// Steps of a trial on the machine as it was at first.
pub const STEPS: u64 = 1000;

/// A trial from its beginning to the evaluator's answer.
#[derive(Debug, Clone)]
pub struct Flight {
    pub launch: Arc<Launch>,
    pub ordinal: u32,
    pub seed: u32,
    pub purpose: Purpose,
    pub era: u32,
    /// When it began, in seconds of the night.
    pub began: f64,
    pub fate: Fate,
    pub steps: u64,
    /// What it comes to.
    pub measured: Measured,
    /// The champion's curve at the looks, for a candidate's trial.
    pub beside: Option<[f64; 5]>,
    /// The next look.
    pub next: usize,
    /// Asked to be stopped at the last look, and why.
    pub stop: Option<String>,
}

impl Flight {
    /// The share of its time at which something happens next.
    fn share(&self) -> (f64, bool) {
        if self.stop.is_some() {
            return (LOOKS[self.next - 1], true);
        }
        let end = match self.fate {
            Fate::Crashes(share) | Fate::Fault(share) => share,
            Fate::Finishes | Fate::FaultOfEvaluation | Fate::Rejected => 1.0,
        };
        match (self.beside, LOOKS.get(self.next)) {
            (Some(_), Some(look)) if *look < end => (*look, false),
            _ => (end, true),
        }
    }

    /// When something happens next, in seconds of the night.
    pub fn next_time(&self) -> f64 {
        self.began + (self.share().0 * SECONDS).round()
    }

    /// What happens then, and whether it is the end.
    pub fn happens(&mut self) -> (Event, bool) {
        let (share, ends) = self.share();
        if !ends && let Some(beside) = self.beside {
            let look = self.next;
            self.next += 1;
            let curve_difference = self.measured.looks[look] - beside[look];
            let event = Event::Look { number: self.launch.number, trial: self.ordinal, look, curve_difference };
            return (event, false);
        }
        let end = match (&self.stop, self.fate) {
            (Some(message), _) => TrialEnd::StoppedEarly { message: message.clone() },
            (None, Fate::Crashes(_)) => TrialEnd::Crashed { message: "exit status 101".to_owned() },
            (None, Fate::Fault(_)) => TrialEnd::MachineFault { message: "the device was lost".to_owned() },
            (None, Fate::Finishes | Fate::FaultOfEvaluation | Fate::Rejected) => TrialEnd::Finished,
        };
        let trained = Trained {
            end,
            seed: u64::from(self.seed),
            budget: protocol::Budget::Seconds(SECONDS),
            steps: self.steps,
            tokens: self.steps,
            parameters: 1,
            training_seconds: (share * SECONDS).round(),
            start_seconds: 0.0,
            peak_memory_bytes: 1,
            final_loss: None,
            checkpoint_sha256: None,
        };
        (Event::Trained(Box::new(trained)), true)
    }

    /// The share of its time that it has taken at this time of the night.
    pub fn taken(&self, now: f64) -> f64 {
        (now - self.began) / SECONDS
    }
}
