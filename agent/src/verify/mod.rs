//! The evaluator: turns what a trained model says of the held-out text into a number that is recorded, or refuses.
//!
//! [`evaluate`] conducts: one confined `trainer serve` process claims the nats of every held-out token, another, which never
//! saw them, is asked for logits at cuts behind which the text is not the true one; the two must agree. The modules around it
//! are pure.

pub mod batches;
pub mod checks;
mod conduct;
pub mod estimate;
mod files;
mod held_out;
pub mod plain;
pub mod reference;
pub mod sample;
pub mod seeds;
mod serving;
#[cfg(test)]
mod simulation;
pub mod tolerance;

pub use conduct::{EVALUATOR, Evaluated, EvaluationError, EvaluationSpec, Part, evaluate};
pub use files::{read_claim, write_claim};
pub use held_out::{HeldOut, Mismatch};
pub use plain::verify;
