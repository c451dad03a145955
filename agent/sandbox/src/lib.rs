//! Confines a process that runs edited code to what a [`Policy`] grants.
//!
//! Policies are data, one constructor a stage ([`Policy::build`], [`Policy::train`], [`Policy::serve`]). What this crate must
//! not do: run weaker than it was asked to. A mechanism that cannot be put in force is an error, never a warning.

mod policy;

pub use policy::{Limits, Policy, Stage, Surroundings};
