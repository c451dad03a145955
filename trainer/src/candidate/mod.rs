//! The part of the trainer that an experiment may edit: four files, read top to bottom in one sitting.
//!
//! - [`recipe`] holds every number,
//! - [`model`] the network,
//! - [`optimizer`] Muon and AdamW,
//! - [`training`] schedules, loss, micro-batches, and how the harness drives it all.
//!
//! Nothing in here opens files, reads clocks or environment variables, starts processes or uses `unsafe`: data, seeds,
//! progress, checkpoints and evaluation are the harness's.

pub mod model;
pub mod optimizer;
pub mod recipe;
pub mod training;

pub use training::Trainer;
