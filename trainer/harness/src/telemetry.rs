//! What a training step tells of itself: where its time goes, and how large its gradients are. For whoever thinks of the next experiment;
//! nothing is decided by it.
//!
//! The candidate says where it is ([`spent_on`], [`saw_gradients`]), because only it knows. Both do nothing but in the few steps of a run
//! that are sampled, so that a run costs what it cost without them. A candidate that leaves them out, or lies, changes what is told and nothing
//! else: the figures are the trainer's word.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Instant;

use protocol::Measured;
use tch::{Cuda, Device, Kind, Tensor};

use crate::machine;

/// Steps that are sampled in a run, evenly over its budget.
const SAMPLES: f64 = 16.0;

/// A sampled step and the next one are at least so many apart: in a run of few steps most are what they are in a long one.
const APART: u64 = 3;

/// Groups of parameters whose gradients are told apart; what is beyond them counts in the whole alone.
const MOST_GROUPS: usize = 12;

/// Characters of a group's name.
const MOST_NAME: usize = 40;

/// A part of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// From tokens to the loss.
    Forward,
    /// From the loss to the gradients.
    Backward,
    /// From the gradients to new weights.
    Optimizer,
}

thread_local! {
    /// The step that is being sampled.
    static SAMPLE: RefCell<Option<Sample>> = const { RefCell::new(None) };
}

/// A step under way.
struct Sample {
    device: Device,
    since: Instant,
    measured: Measured,
}

/// Books the time since the last such word of this step (or since its beginning) on a part. Call it where a part has ended, as often as it does.
pub fn spent_on(part: Part) {
    with_sample(|sample| {
        wait_for(sample.device);
        let seconds = sample.since.elapsed().as_secs_f64();
        let measured = &mut sample.measured;
        match part {
            Part::Forward => measured.forward += seconds,
            Part::Backward => measured.backward += seconds,
            Part::Optimizer => measured.optimizer += seconds,
        }
        sample.since = Instant::now();
    });
}

/// Takes down the norms of a step's gradients, each with its parameter's name: of all together, and by group. Names that differ in numbers
/// alone (`blocks.0.query`, `blocks.1.query`) are one group.
pub fn saw_gradients<'a>(gradients: impl IntoIterator<Item = (&'a str, &'a Tensor)>) {
    with_sample(|sample| {
        let (mut all, mut groups) = (0.0, BTreeMap::<String, f64>::new());
        for (name, gradient) in gradients {
            let square = tch::no_grad(|| gradient.to_kind(Kind::Float).square().sum(Kind::Float)).double_value(&[]);
            all += square;
            let group = group_of(name);
            if groups.len() < MOST_GROUPS || groups.contains_key(&group) {
                *groups.entry(group).or_default() += square;
            }
        }
        let finite = |square: f64| Some(square.sqrt()).filter(|norm| norm.is_finite());
        sample.measured.gradient_norm = finite(all);
        sample.measured.groups =
            groups.into_iter().filter_map(|(group, square)| Some((group, finite(square)?))).collect();
        // Looking took time that the step does not otherwise take.
        sample.since = Instant::now();
    });
}

/// `blocks.3.query` to `blocks.query`.
fn group_of(name: &str) -> String {
    let parts = name.split('.').filter(|part| !part.chars().all(|c| c.is_ascii_digit()));
    parts.collect::<Vec<_>>().join(".").chars().take(MOST_NAME).collect()
}

fn with_sample(see: impl FnOnce(&mut Sample)) {
    SAMPLE.with(|sample| {
        // A candidate could call this while it gives out its gradients.
        if let Ok(mut sample) = sample.try_borrow_mut()
            && let Some(sample) = sample.as_mut()
        {
            see(sample);
        }
    });
}

/// A device works on while the process asks for more; to time a part it has to be waited for.
fn wait_for(device: Device) {
    if let Device::Cuda(index) = device {
        Cuda::synchronize(index as i64);
    }
}

/// Decides which steps are sampled.
#[derive(Debug)]
pub(crate) struct Sampler {
    device: Device,
    /// The part of the budget at which the next step is sampled, in [`SAMPLES`]ths.
    next: f64,
    /// The last step that was sampled.
    last: Option<u64>,
}

impl Sampler {
    pub(crate) fn new(device: Device) -> Self {
        // A step that broke off on this thread left its own.
        SAMPLE.set(None);
        Self { device, next: 0.0, last: None }
    }

    /// Begins a step; whether it is one that is sampled. The very first touches pages and loads code, and says nothing of those to come.
    pub(crate) fn begin(&mut self, step: u64, fraction: f64) -> bool {
        let far_enough = self.last.is_none_or(|last| step >= last + APART);
        let wanted = step > 1 && far_enough && fraction * SAMPLES >= self.next;
        if wanted {
            self.last = Some(step);
            self.next = (fraction * SAMPLES).floor() + 1.0;
            wait_for(self.device);
        }
        wanted
    }

    /// The batch of a sampled step is there, after so many seconds; the candidate is next.
    pub(crate) fn watch(&self, data: f64) {
        let measured = Measured { data, ..Measured::default() };
        SAMPLE.set(Some(Sample { device: self.device, since: Instant::now(), measured }));
    }

    /// What a sampled step has shown.
    pub(crate) fn seen(&self) -> Option<Measured> {
        let mut sample = SAMPLE.take()?;
        wait_for(self.device);
        sample.measured.rest = sample.since.elapsed().as_secs_f64();
        sample.measured.resident_bytes = machine::resident_bytes();
        Some(sample.measured)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_has_so_many_samples_however_many_steps() {
        for steps in [3_u64, 40, 64, 10_000] {
            let mut sampler = Sampler::new(Device::Cpu);
            let sampled: Vec<u64> =
                (1..=steps).filter(|step| sampler.begin(*step, (*step - 1) as f64 / steps as f64)).collect();
            let count = sampled.len() as u64;
            assert!(count <= 17 && count >= ((steps - 1) / APART).clamp(1, 15), "{count} of {steps}");
            assert!(sampled.windows(2).all(|pair| pair[1] - pair[0] >= APART), "{sampled:?}");
        }
    }

    #[test]
    fn a_sampled_step_tells_its_parts_and_gradients_and_another_nothing() {
        let gradients =
            [Tensor::from_slice(&[3.0_f32, 0.0]), Tensor::from_slice(&[4.0_f32]), Tensor::from_slice(&[12.0_f32])];
        let names = ["blocks.0.query", "blocks.1.query", "head"];
        let step = || {
            spent_on(Part::Forward);
            saw_gradients(names.into_iter().zip(&gradients));
            spent_on(Part::Backward);
            spent_on(Part::Optimizer);
        };
        let sampler = Sampler::new(Device::Cpu);
        step();
        assert_eq!(sampler.seen(), None);
        sampler.watch(0.5);
        step();
        let seen = sampler.seen().unwrap();
        assert_eq!((seen.data, seen.gradient_norm), (0.5, Some(13.0)));
        assert_eq!(seen.groups, [("blocks.query".to_owned(), 5.0), ("head".to_owned(), 12.0)]);
        assert!(seen.forward >= 0.0 && seen.rest >= 0.0);
        assert_eq!(sampler.seen(), None);
    }

    #[test]
    fn gradients_that_are_not_finite_and_many_names_are_bounded() {
        let sampler = Sampler::new(Device::Cpu);
        sampler.watch(0.0);
        let bad = Tensor::from_slice(&[f32::NAN]);
        let names: Vec<String> =
            (0..100_u8).map(|i| format!("{}{}", "x".repeat(100), char::from(b'a' + i % 26))).collect();
        saw_gradients(names.iter().map(|name| (name.as_str(), &bad)));
        let seen = sampler.seen().unwrap();
        assert_eq!((seen.gradient_norm, seen.groups.len()), (None, 0));
        let good = Tensor::from_slice(&[1.0_f32]);
        sampler.watch(0.0);
        let names: Vec<String> = (0..100_u8).map(|i| format!("{}.{i}a", char::from(b'a' + i % 26))).collect();
        saw_gradients(names.iter().map(|name| (name.as_str(), &good)));
        let seen = sampler.seen().unwrap();
        assert_eq!((seen.gradient_norm, seen.groups.len()), (Some(10.0), MOST_GROUPS));
    }
}
