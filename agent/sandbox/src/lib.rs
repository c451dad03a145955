//! Confines a process that runs edited code to what a [`Policy`] grants.
//!
//! Policies are data, one constructor a stage ([`Policy::build`], [`Policy::train`], [`Policy::serve`]). [`probe`] tries what the
//! machine offers, [`Confinement`] is what is made of the [`Offer`]. What this crate must not do: run weaker than it was asked
//! to. A mechanism that cannot be put in force is an error, never a warning.
//!
//! The supervisor ([`prepare`], [`Group`], [`Watch`]) starts a hidden command of the same executable ([`confine`]), which confines
//! itself and then executes what it was told to.

mod attempt;
mod bubblewrap;
mod cgroup;
mod confine;
mod confinement;
mod fence;
mod init;
mod level;
mod limits;
mod native;
mod offer;
mod policy;
mod probe;
mod seccomp;
mod start;
mod view;
mod watch;

pub use attempt::{Ordeal, main as attempt};
pub use cgroup::{Group, GroupError, end_groups, prefix as group_prefix};
pub use confine::main as confine;
pub use confinement::{Confinement, Mechanism, TooWeak};
pub use level::Level;
pub use offer::{Bubblewrap, Cgroup, Described, Finding, Offer, Reason};
pub use policy::{Limits, Policy, Stage, Surroundings};
pub use probe::{probe, try_out};
pub use start::{Link, Prepared, StartError, prepare};
pub use watch::{FULL_DISK, Passed, Watch};
