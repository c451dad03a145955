//! What a trainer tells of itself while it trains. For people and proposers; nothing is decided by it.

use serde::{Deserialize, Serialize};

/// Resident memory of a trainer's process over its training, in bytes: one that grows is told from one that is large.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// After the second step of this process, or the first where there is no second: what a step needs has been touched by then.
    pub early: u64,
    /// After its last step, before the checkpoint is written.
    pub late: u64,
    /// Largest until then.
    pub peak: u64,
}

/// Where a step's time went, in seconds, and how large its gradients were. Nothing is decided by it: the edited code says of itself which
/// part it is in.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Measured {
    /// Waiting for the batch, which is drawn ahead, and moving it to the device.
    pub data: f64,
    /// From tokens to the loss.
    pub forward: f64,
    /// From the loss to the gradients.
    pub backward: f64,
    /// From the gradients to new weights.
    pub optimizer: f64,
    /// What the candidate booked on no part.
    pub rest: f64,
    /// Euclidean norm of all gradients together; `None` where the candidate showed none, or they were not finite.
    pub gradient_norm: Option<f64>,
    /// The same by group of parameters.
    #[serde(default)]
    pub groups: Vec<(String, f64)>,
    /// Resident memory of the process after the step, bytes; `None` where the system does not tell it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resident_bytes: Option<u64>,
}
