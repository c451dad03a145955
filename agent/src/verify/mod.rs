//! The evaluator: turns what a trained model says of the held-out text into a number that is recorded, or refuses.
//!
//! In this version it is the plain one ([`EVALUATOR`]): a fresh `trainer evaluate` process loads the checkpoint and writes
//! the nats of every held-out token ([`claim`]); [`plain`] checks that claim as far as arithmetic can and sums it up. It does
//! not yet audit the claim against logits, so a model that lies about its own loss is not caught. [`plain`] does no IO.

pub mod batches;
pub mod checks;
pub mod claim;
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

pub use claim::{ClaimError, ClaimSpec, claim};
pub use conduct::{EVALUATOR, Evaluated, EvaluationError, EvaluationSpec, Part, evaluate};
pub use files::{read_claim, write_claim};
pub use held_out::{HeldOut, Mismatch};
pub use plain::verify;
