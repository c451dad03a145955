//! Running other people's processes: the compiler and the trainer, both of which execute edited code.
//!
//! Every such process is started through [`supervise`], a small helper process that dies with the agent and takes its whole
//! tree of processes along, grandchildren that left the group included. [`process`] starts and stops it and captures its
//! output; [`trial`] speaks the trainer's protocol and measures a training run by the agent's own clock;
//! `pace` says whether its steps keep to the budget; `curve` keeps what it says of its loss, `measured` what it says of its steps;
//! `checkpoint` takes what it trained out of the folder that it could write; `core_set` says to which cores a process is kept;
//! [`shared`] is memory that crosses to such a process.
//!
//! This module decides nothing and records nothing.

mod checkpoint;
mod core_set;
mod curve;
mod error;
mod measured;
mod pace;
pub mod process;
pub mod shared;
pub mod supervise;
mod tree;
pub mod trial;

pub use core_set::{CoreSet, own_cores};
pub use curve::{Curve, CurvePoint};
pub use measured::{MeasuredStep, measured, resident};
pub use process::{Job, Launcher, Process, RunError, StopSignal, stopped};
pub use shared::{Answer, Question};
pub use trial::{EarlySignal, TrialProgress, TrialSpec, not_early, train};
