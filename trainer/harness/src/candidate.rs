//! What an edited trainer must offer, and what it is given.

use std::sync::{Mutex, PoisonError};

use protocol::Setting;
use tch::{Device, Tensor};

/// A trainer as the harness sees it. Methods may panic (tch's operators do on a torch error): the harness catches it and
/// reports the experiment as crashed.
pub trait Candidate: Sized {
    /// Builds model and optimizer with initial values that follow from the seed alone.
    ///
    /// # Errors
    /// When the recipe does not fit the setting.
    fn build(setting: &Setting, seed: u64) -> Result<Self, CandidateError>;

    /// Rows of `context + 1` tokens that one [`Candidate::step`] takes; constant.
    fn rows_per_step(&self) -> usize;

    /// One optimizer step. Returns the batch's mean loss before the step and before any regularisation, in nats per
    /// token: a scalar that may still be being computed on a device.
    ///
    /// The harness seeds torch's generator before each step, so random numbers drawn here repeat on resumption.
    fn step(&mut self, batch: &Batch, progress: Progress) -> Tensor;

    /// Logits of the next token: [batch, time] token ids (int64), time at most the context, to [batch, time, vocabulary].
    /// Called without gradients.
    fn logits(&self, tokens: &Tensor) -> Tensor;

    /// Every trained tensor under a unique name, in a fixed order. The harness writes into them on loading.
    fn parameters(&self) -> Vec<(String, Tensor)>;

    /// Everything else a resumed run or the logits need (optimizer state, averages), likewise. It must exist from the
    /// beginning, not from the first step.
    fn state(&self) -> Vec<(String, Tensor)>;
}

/// Tokens of one step, on the setting's device, int64.
pub struct Batch {
    /// [rows, context]: what the model reads.
    pub inputs: Tensor,
    /// [rows, context]: the token after each.
    pub targets: Tensor,
}

/// How far training has come when a step begins.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// Number of this step, from 1, over resumptions.
    pub step: u64,
    /// 0 to 1: part of the budget (seconds or tokens) used up.
    pub fraction: f64,
}

/// Why a candidate could not be built.
#[derive(Debug, thiserror::Error)]
pub enum CandidateError {
    /// Its numbers do not fit together.
    #[error("{0}")]
    Unfit(String),
    /// The setting names a device that cannot be.
    #[error("device {0:?} is neither cpu nor cuda:N")]
    Device(String),
    /// libtorch refused.
    #[error(transparent)]
    Torch(#[from] tch::TchError),
}

impl CandidateError {
    /// An error in the candidate's own words.
    pub fn new(message: impl Into<String>) -> CandidateError {
        CandidateError::Unfit(message.into())
    }
}

/// The setting's device.
///
/// # Errors
/// [`CandidateError::Device`] when it is neither `cpu` nor `cuda:N`.
pub fn device(setting: &Setting) -> Result<Device, CandidateError> {
    match setting.device.as_str() {
        "cpu" => Ok(Device::Cpu),
        other => other
            .strip_prefix("cuda:")
            .and_then(|index| index.parse().ok())
            .map(Device::Cuda)
            .ok_or_else(|| CandidateError::Device(other.to_owned())),
    }
}

/// Runs `draw` with torch's generator seeded for one purpose. That generator is one for the whole process, so seeding and
/// drawing happen under one lock; do not nest.
pub fn seeded<T>(seed: u64, purpose: &str, draw: impl FnOnce() -> T) -> T {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    // A panic while drawing leaves nothing behind that the next seeding would not replace.
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    tch::manual_seed(mix_seed(seed, purpose));
    draw()
}

/// A seed for one purpose out of the run's seed: FNV-1a over the name, then SplitMix64's finalizer. Non-negative as i64.
pub(crate) fn mix_seed(seed: u64, purpose: &str) -> i64 {
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    for byte in seed.to_le_bytes().into_iter().chain(purpose.bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((hash ^ (hash >> 31)) >> 1) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_differ_by_run_and_by_purpose() {
        let seeds = [mix_seed(1, "a"), mix_seed(2, "a"), mix_seed(1, "b"), mix_seed(1, "")];
        assert!(seeds.iter().all(|&seed| seed >= 0));
        assert!((0..4).all(|i| (0..i).all(|j| seeds[i] != seeds[j])));
    }
}
