//! When to stop: pure arithmetic over the trainer's clock.

use protocol::Budget;

/// Learns how long a step takes. The first step is not typical (pages are touched, code is loaded), so the second
/// replaces it; later ones move a running mean and a running mean deviation.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StepTimer {
    seen: u64,
    mean: f64,
    deviation: f64,
}

impl StepTimer {
    /// Takes in one step's duration in seconds.
    pub fn record(&mut self, seconds: f64) {
        self.seen += 1;
        if self.seen <= 2 {
            self.mean = seconds;
        } else {
            self.deviation += 0.25 * ((seconds - self.mean).abs() - self.deviation);
            self.mean += 0.25 * (seconds - self.mean);
        }
    }

    /// Seconds the next step is expected to take at most; 0 before the first.
    pub fn expected(&self) -> f64 {
        self.mean + self.deviation
    }
}

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Standing {
    /// Seconds of training so far, over resumptions.
    pub seconds: f64,
    /// Tokens trained on so far, over resumptions.
    pub tokens: u64,
}

/// Part of the budget used up, 0 to 1.
pub fn fraction(budget: Budget, standing: Standing) -> f64 {
    let fraction = match budget {
        Budget::Seconds(seconds) => standing.seconds / seconds,
        Budget::Tokens(tokens) => standing.tokens as f64 / tokens as f64,
    };
    fraction.clamp(0.0, 1.0)
}

/// Whether one more step may start: tokens are left, or `ahead` steps of the expected length end in time.
pub fn may_start(budget: Budget, standing: Standing, timer: &StepTimer, ahead: f64) -> bool {
    match budget {
        Budget::Seconds(seconds) => standing.seconds + ahead * timer.expected() <= seconds,
        Budget::Tokens(tokens) => standing.tokens < tokens,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timer(steps: &[f64]) -> StepTimer {
        let mut timer = StepTimer::default();
        steps.iter().for_each(|&seconds| timer.record(seconds));
        timer
    }

    #[test]
    fn the_first_step_does_not_count_for_long() {
        assert_eq!(timer(&[]).expected(), 0.0);
        assert_eq!(timer(&[5.0]).expected(), 5.0);
        assert_eq!(timer(&[5.0, 0.5]).expected(), 0.5);
        assert!((timer(&[5.0, 0.5, 0.5, 0.5]).expected() - 0.5).abs() < 1e-12);
    }

    #[test]
    fn noise_makes_it_careful() {
        let noisy = timer(&[1.0, 1.0, 1.5, 0.5, 1.5, 0.5]);
        assert!(noisy.expected() > 1.1, "{noisy:?}");
    }

    #[test]
    fn no_step_starts_that_would_end_late() {
        let budget = Budget::Seconds(10.0);
        let steady = timer(&[1.0, 1.0]);
        assert!(may_start(budget, Standing { seconds: 9.0, tokens: 0 }, &steady, 1.0));
        assert!(!may_start(budget, Standing { seconds: 9.01, tokens: 0 }, &steady, 1.0));
        assert!(!may_start(budget, Standing { seconds: 8.5, tokens: 0 }, &steady, 2.0));
    }

    #[test]
    fn tokens_are_rounded_up_to_whole_steps() {
        let budget = Budget::Tokens(100);
        assert!(may_start(budget, Standing { seconds: 1e9, tokens: 99 }, &timer(&[1.0]), 1.0));
        assert!(!may_start(budget, Standing { seconds: 0.0, tokens: 100 }, &timer(&[1.0]), 1.0));
        assert_eq!(fraction(budget, Standing { seconds: 0.0, tokens: 130 }), 1.0);
    }
}
