//! Confines a process that runs edited code to what a [`Policy`] grants.
//!
//! Policies are data, one constructor a stage ([`Policy::build`], [`Policy::train`], [`Policy::serve`]). [`probe`] tries what the
//! machine offers, [`Confinement`] is what is made of the [`Offer`]. What this crate must not do: run weaker than it was asked
//! to. A mechanism that cannot be put in force is an error, never a warning.

mod confinement;
mod level;
mod offer;
mod policy;
mod probe;

pub use confinement::{Confinement, Mechanism, TooWeak};
pub use level::Level;
pub use offer::{Bubblewrap, Cgroup, Described, Finding, Offer, Reason};
pub use policy::{Limits, Policy, Stage, Surroundings};
pub use probe::probe;
