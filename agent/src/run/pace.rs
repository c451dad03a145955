//! What a training run's steps show from outside: whether they keep to the protocol and to the budget. Pure.
//!
//! Edited code says when a step is done, but only the agent's clock says when that was heard. Safe code can train only while
//! the harness is in one of its functions, and nearly all of that is `step`: so a step that ends long after the budget is what
//! to catch. No step may begin that is not expected to end in time; one that the machine slows down may still end late,
//! hence the allowance. After the last step only the checkpoint is written.

use std::collections::VecDeque;

use protocol::Budget;

/// Most steps of a trial: more than two hundred a second for more than an hour. Each costs the agent time and a line of the curve.
pub(super) const MOST_STEPS: usize = 1_000_000;

/// The last tenth of [`MOST_STEPS`]: all that the mean over the last tenth can need.
const KEPT_LOSSES: usize = MOST_STEPS / 10;

/// Steps whose times the median is taken of.
const KEPT_TIMES: usize = 255;

/// Seconds that a step may end after the budget, whatever its length.
const LEAST_ALLOWANCE: f64 = 2.0;

/// The same as a part of the budget.
const ALLOWED_SHARE: f64 = 0.05;

/// Long steps may end two of them late, but no later than this many seconds or a tenth of the budget: a cheat chooses how
/// long its steps take.
const MOST_FOR_STEPS: f64 = 10.0;

/// Seconds for writing a checkpoint, however small.
const LEAST_WRITING: f64 = 5.0;

/// Bytes a second that any disk writes.
const WRITING_SPEED: f64 = 50e6;

/// The steps so far.
#[derive(Debug)]
pub(super) struct Pace {
    budget: Budget,
    /// Tokens of one step, by the trainer's word when it was ready.
    step_tokens: u64,
    steps: usize,
    last: u64,
    /// Seconds since the word "go" when the newest step was heard of.
    at: f64,
    times: VecDeque<f64>,
    /// How many losses there were; the newest of them.
    with_loss: usize,
    losses: VecDeque<f64>,
}

/// Why a run is not followed further.
#[derive(Debug, PartialEq)]
pub(super) enum Broken {
    /// It breaks the protocol, in words.
    Nonsense(String),
    /// It trains beyond its budget.
    TooLong,
}

impl Pace {
    pub(super) fn new(budget: Budget, step_tokens: u64) -> Pace {
        let (times, losses) = (VecDeque::new(), VecDeque::new());
        Pace { budget, step_tokens, steps: 0, last: 0, at: 0.0, times, with_loss: 0, losses }
    }

    /// A step was heard of so many seconds after the word "go".
    pub(super) fn step(&mut self, step: u64, tokens: u64, loss: Option<f64>, seconds: f64) -> Result<(), Broken> {
        let nonsense = |words: String| Err(Broken::Nonsense(words));
        if step <= self.last {
            return nonsense(format!("step {step} came after step {}", self.last));
        }
        if self.steps >= MOST_STEPS {
            return nonsense(format!("it took more than {MOST_STEPS} steps"));
        }
        self.tokens(tokens)?;
        // Before this step's own time counts: a single endless step must not excuse itself.
        let allowance = self.allowance();
        self.steps += 1;
        self.last = step;
        keep(&mut self.times, seconds - self.at, KEPT_TIMES);
        self.at = seconds;
        if let Some(loss) = loss {
            self.with_loss += 1;
            keep(&mut self.losses, loss, KEPT_LOSSES);
        }
        match self.budget {
            Budget::Seconds(budget) if seconds > budget + allowance => Err(Broken::TooLong),
            _ => Ok(()),
        }
    }

    /// Whether so many tokens keep to the budget, which is rounded up to whole steps.
    pub(super) fn tokens(&self, tokens: u64) -> Result<(), Broken> {
        match self.budget {
            Budget::Tokens(budget) if tokens > budget.saturating_add(self.step_tokens) => {
                let step = self.step_tokens;
                Err(Broken::Nonsense(format!(
                    "it trained on {tokens} tokens, more than one step of {step} beyond its budget of {budget}"
                )))
            }
            _ => Ok(()),
        }
    }

    /// Whether a run that said so many seconds after "go" that it had finished, and left so large a checkpoint, kept to its
    /// budget: after its last step, or its budget, there was nothing to do but to write.
    pub(super) fn finished_in_time(&self, seconds: f64, checkpoint_bytes: u64) -> bool {
        match self.budget {
            Budget::Seconds(budget) => seconds <= self.at.max(budget) + writing(checkpoint_bytes),
            Budget::Tokens(_) => true,
        }
    }

    /// Seconds that the next step may end after the budget.
    fn allowance(&self) -> f64 {
        let Budget::Seconds(budget) = self.budget else { return f64::INFINITY };
        let mut times: Vec<f64> = self.times.iter().copied().collect();
        times.sort_by(f64::total_cmp);
        allowance(budget, times.get(times.len() / 2).copied().unwrap_or(0.0))
    }

    /// Mean training loss over the last tenth of the steps, in nats per token; `None` where that is no number.
    pub(super) fn final_loss(&self) -> Option<f64> {
        let tail = self.with_loss.div_ceil(10).min(self.losses.len());
        let sum: f64 = self.losses.iter().skip(self.losses.len() - tail).sum();
        Some(sum / tail as f64).filter(|mean| mean.is_finite())
    }
}

fn keep(kept: &mut VecDeque<f64>, newest: f64, most: usize) {
    if kept.len() >= most {
        kept.pop_front();
    }
    kept.push_back(newest);
}

/// Seconds that a step may end after a budget in seconds, where the median step takes so many.
fn allowance(budget: f64, median: f64) -> f64 {
    let for_steps = (2.0 * median).min(MOST_FOR_STEPS.max(budget / 10.0));
    LEAST_ALLOWANCE.max(ALLOWED_SHARE * budget).max(for_steps)
}

/// Seconds that writing a checkpoint may take.
fn writing(bytes: u64) -> f64 {
    LEAST_WRITING.max(bytes as f64 / WRITING_SPEED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_steps_are_too_long_and_slow_machines_are_not() {
        // budget, when steps are heard of, whether the last of them is in time
        let even = |step: f64, count: usize| (1..=count).map(|i| i as f64 * step).collect::<Vec<f64>>();
        let then = |mut steps: Vec<f64>, last: f64| {
            steps.push(last);
            steps
        };
        for (budget, steps, in_time) in [
            (300.0, even(0.3, 999), true),
            // 5 % of 300 s
            (300.0, then(even(0.3, 970), 314.9), true),
            (300.0, then(even(0.3, 970), 315.1), false),
            (300.0, then(even(0.3, 970), 329.0), false),
            // 2 s
            (10.0, then(even(0.3, 30), 11.9), true),
            (10.0, then(even(0.3, 30), 12.1), false),
            // two steps of a loaded machine
            (20.0, then(even(3.0, 6), 25.9), true),
            (20.0, then(even(3.0, 6), 26.1), false),
            // however long the steps are
            (60.0, then(even(19.0, 3), 69.9), true),
            (60.0, then(even(19.0, 3), 70.1), false),
            // a single step excuses nothing
            (10.0, vec![29.0], false),
            (10.0, vec![], true),
        ] {
            let mut pace = Pace::new(Budget::Seconds(budget), 1);
            let (last, before) = match steps.split_last() {
                Some((last, before)) => (Some(*last), before),
                None => (None, &[][..]),
            };
            for (index, &seconds) in before.iter().enumerate() {
                assert_eq!(pace.step(index as u64 + 1, 1, None, seconds), Ok(()));
            }
            let told = last.map_or(Ok(()), |seconds| pace.step(9_999, 1, None, seconds));
            assert_eq!(told, if in_time { Ok(()) } else { Err(Broken::TooLong) }, "{budget} s: {last:?}");
        }
    }

    #[test]
    fn after_the_last_step_there_is_time_to_write_the_checkpoint() {
        for (last, finished, bytes, in_time) in [
            (290.0, 304.9, 1, true),
            (290.0, 305.1, 1, false),
            (310.0, 314.9, 1, true),
            (310.0, 315.1, 1, false),
            (299.0, 319.0, 1_000_000_000, true),
            (299.0, 321.0, 1_000_000_000, false),
        ] {
            let mut pace = Pace::new(Budget::Seconds(300.0), 1);
            pace.step(1, 1, None, 1.0).unwrap();
            pace.step(2, 1, None, last).unwrap();
            assert_eq!(pace.finished_in_time(finished, bytes), in_time, "{last} {finished} {bytes}");
        }
        assert!(Pace::new(Budget::Tokens(1), 1).finished_in_time(1e9, 1));
    }

    #[test]
    fn tokens_beyond_one_step_and_steps_out_of_order_break_the_protocol() {
        let mut pace = Pace::new(Budget::Tokens(1_000), 256);
        assert_eq!(pace.step(1, 1_256, None, 1e6), Ok(()));
        let words = |told| match told {
            Err(Broken::Nonsense(words)) => words,
            other => panic!("{other:?}"),
        };
        assert!(words(pace.tokens(1_257)).contains("one step of 256 beyond its budget of 1000"));
        assert!(words(pace.step(2, 1_257, None, 1.0)).contains("1257 tokens"));
        assert!(words(pace.step(1, 1, None, 1.0)).contains("step 1 came after step 1"));
    }

    #[test]
    fn a_flood_of_steps_ends_and_little_of_it_is_kept() {
        let mut pace = Pace::new(Budget::Tokens(u64::MAX), 1);
        for step in 1..=MOST_STEPS as u64 {
            pace.step(step, 1, Some(step as f64), 1.0).unwrap();
        }
        // The mean over the last tenth is exact all the same.
        assert_eq!(pace.final_loss(), Some(950_000.5));
        assert!((pace.losses.capacity() + pace.times.capacity()) * 8 < 8 << 20);
        assert!(matches!(pace.step(u64::MAX, 1, None, 1.0), Err(Broken::Nonsense(_))));
    }

    #[test]
    fn the_final_loss_is_the_mean_over_the_last_tenth() {
        let mut pace = Pace::new(Budget::Tokens(u64::MAX), 1);
        assert_eq!(pace.final_loss(), None);
        for step in 1..=11 {
            pace.step(step, 1, Some(step as f64), 1.0).unwrap();
        }
        assert_eq!(pace.final_loss(), Some(10.5));
        pace.step(12, 1, Some(f64::MAX), 1.0).unwrap();
        pace.step(13, 1, Some(f64::MAX), 1.0).unwrap();
        assert_eq!(pace.final_loss(), None);
    }
}
