//! What a campaign asks of the sandbox and of the evaluator. Plain data; whether a machine offers it is found out elsewhere.

use sandbox::Level;
use serde::{Deserialize, Serialize};

/// `[sandbox]`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Sandbox {
    /// The least that a night accepts: on a machine that offers less it does not start.
    pub least: Level,
    /// Memory of training and of answering the evaluator, in 10^9 bytes; `None` for nine tenths of the machine's, divided among
    /// the devices of a night.
    pub memory_gb: Option<f64>,
}

impl Default for Sandbox {
    fn default() -> Self {
        Self { least: Level::Landlock, memory_gb: None }
    }
}

impl Sandbox {
    /// The bound on memory in bytes, where the campaign states one.
    pub fn memory_bytes(&self) -> Option<u64> {
        // The parser's bounds keep it far below 2^64.
        self.memory_gb.map(|gigabytes| (gigabytes * 1e9) as u64)
    }
}

/// `[evaluation]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evaluation {
    /// At how many places of the held-out rows the audit checks a claim.
    pub cuts: u32,
}

impl Evaluation {
    /// Fewer cannot tell a faint leak from rounding, more take longer than they are worth.
    pub const CUTS: std::ops::RangeInclusive<u32> = 32..=8_192;
}

impl Default for Evaluation {
    fn default() -> Self {
        Self { cuts: 256 }
    }
}
