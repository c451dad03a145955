//! The evaluator: turns what a trained model says of the held-out text into a number that is recorded, or refuses.
//!
//! Edited code computes every number that is seen here, and is rewarded for low ones. So a model's *claim* of its own loss, token by
//! token, is believed only as far as an *audit* by another process, which cannot know what it predicts, agrees with it:
//!
//! 1. [`evaluate`] starts a confined `trainer serve`, hands it the checkpoint and the held-out rows, keeps the nats of every
//!    target that it answers, and ends it. [`checks`] sees that they are as many finite nats as there are targets.
//! 2. [`sample`] draws cuts: places in the rows, preferably where a leak would have paid. [`batches`] makes questions of them, in
//!    which the true text ends at the cut and training text follows.
//! 3. Another confined process answers these with all logits at each cut. The evaluator takes its own log-softmax.
//! 4. [`mod@estimate`] turns the differences into a corrected figure with its standard error; [`tolerance`] says what rounding
//!    explains. Beyond that, the trial is rejected.
//! 5. [`seeds`] compares initial weights under two secret seeds.
//!
//! [`documents`] sums what was claimed over each held-out document, for whoever compares two trials.
//!
//! What the evaluator must not do: decide anything by what a trainer says of itself; show held-out text to a process
//! that has still to predict it; let one process leave word for another; call a fault of the machine a verdict. All but
//! `conduct`, `serving` and `files` is pure.

pub mod batches;
pub mod checks;
mod conduct;
pub mod documents;
pub mod estimate;
mod files;
mod held_out;
pub mod reference;
pub mod sample;
pub mod seeds;
mod serving;
#[cfg(test)]
mod simulation;
pub mod tolerance;

pub use conduct::{EVALUATOR, Evaluated, EvaluationError, EvaluationSpec, Part, evaluate};
pub use documents::per_document;
pub use files::{read_claim, write_claim};
pub use held_out::{HeldOut, Mismatch};
