//! From a trainer's words to the figures of a throughput measurement. Pure.

use protocol::{Event, Memory};

use super::throughput::Shape;

/// What a trainer has told so far.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Told {
    /// Scalars in all parameters.
    pub parameters: u64,
    /// libtorch's threads.
    pub threads: Option<usize>,
    /// End of each step, seconds after the word "go", and whether it was one of those that are looked into.
    ends: Vec<(f64, bool)>,
    /// Loss of the last step.
    pub loss: Option<f64>,
    /// Its last words.
    pub finished: Option<Finished>,
}

/// What it said at the end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Finished {
    /// Largest resident set of the process, bytes.
    pub peak_memory_bytes: u64,
    /// The most that tensors had of a GPU's memory, bytes.
    pub peak_device_memory_bytes: Option<u64>,
    /// Over the training.
    pub memory: Option<Memory>,
    /// From the start of the process to the end of its first step.
    pub first_step_seconds: Option<f64>,
}

impl Told {
    /// Takes in an event; false when it is none of those that a training run has at this point.
    pub(super) fn take(&mut self, event: Event) -> bool {
        match event {
            Event::Ready { parameters, threads, .. } => (self.parameters, self.threads) = (parameters, threads),
            Event::Step { seconds, loss, measured, .. } => {
                self.ends.push((seconds, measured.is_some()));
                self.loss = loss;
            }
            Event::Finished { peak_memory_bytes, peak_device_memory_bytes, memory, first_step_seconds, .. } => {
                self.finished =
                    Some(Finished { peak_memory_bytes, peak_device_memory_bytes, memory, first_step_seconds });
            }
            _ => return false,
        }
        true
    }

    /// Optimizer steps so far.
    pub(super) fn steps(&self) -> usize {
        self.ends.len()
    }

    /// Seconds of the median step, by the trainer's clock: the first third of the steps does not count, and of the rest only those that were
    /// not looked into, where there are such. A trial looks into 16 of its steps, however short it is. `None` without steps.
    pub(super) fn step_seconds(&self) -> Option<f64> {
        let before = std::iter::once(0.0).chain(self.ends.iter().map(|(end, _)| *end));
        let steps: Vec<(f64, bool)> =
            self.ends.iter().zip(before).map(|((end, seen), before)| (end - before, *seen)).collect();
        let steps = steps.get(steps.len() / 3..)?;
        let unseen: Vec<f64> = steps.iter().filter(|(_, seen)| !seen).map(|(seconds, _)| *seconds).collect();
        if unseen.is_empty() {
            median(&steps.iter().map(|(seconds, _)| *seconds).collect::<Vec<_>>())
        } else {
            median(&unseen)
        }
    }

    /// Tokens per second of that step.
    pub(super) fn tokens_per_second(&self, shape: &Shape) -> Option<f64> {
        Some(shape.tokens_per_step() as f64 / self.step_seconds().filter(|seconds| *seconds > 0.0)?)
    }
}

/// The middle one, or the mean of the middle two; `None` of nothing.
fn median(values: &[f64]) -> Option<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let (low, high) = (values.get(values.len().checked_sub(1)? / 2)?, values.get(values.len() / 2)?);
    Some((low + high) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(step: u64, seconds: f64) -> Event {
        Event::Step {
            step,
            tokens: step * 4_096,
            seconds,
            loss: Some(7.0 - step as f64),
            progress: 0.0,
            measured: None,
        }
    }

    #[test]
    fn the_first_third_of_the_steps_does_not_count() {
        let mut told = Told::default();
        assert_eq!((told.step_seconds(), told.tokens_per_second(&Shape::default())), (None, None));
        // Steps of 9, 9, 1, 3, 2 and 4 s: the last four have 2.5 s in the middle.
        for (number, end) in (1..).zip([9.0, 18.0, 19.0, 22.0, 24.0, 28.0]) {
            assert!(told.take(step(number, end)));
        }
        assert_eq!((told.steps(), told.step_seconds(), told.loss), (6, Some(2.5), Some(1.0)));
        assert_eq!(told.tokens_per_second(&Shape::default()), Some(4_096.0 / 2.5));
        // Of a single step nothing is left out.
        let mut one = Told::default();
        assert!(one.take(step(1, 0.5)));
        assert_eq!(one.step_seconds(), Some(0.5));
    }

    #[test]
    fn steps_that_were_looked_into_do_not_count_where_others_are() {
        let mut told = Told::default();
        for (number, end) in (1..).zip([1.0, 2.0, 7.0, 9.0, 18.0, 21.0]) {
            let Event::Step { step, tokens, seconds, loss, progress, .. } = step(number, end) else { panic!() };
            let measured = (number % 2 == 1).then(protocol::Measured::default);
            assert!(told.take(Event::Step { step, tokens, seconds, loss, progress, measured }));
        }
        // Of the last four, 5 and 9 s were looked into; 2 and 3 s were not.
        assert_eq!(told.step_seconds(), Some(2.5));
    }

    #[test]
    fn what_has_no_place_in_a_training_run_is_noticed() {
        assert!(!Told::default().take(Event::Answered));
    }
}
