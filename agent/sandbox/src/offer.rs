//! What a machine offers, as data. [`crate::probe`] finds it out.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::Level;

/// One thing that a machine offers or does not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Finding<T> {
    /// It was tried and works.
    Offered(T),
    /// It was tried and does not work.
    Missing(Reason),
}

/// Why something is not offered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// What went wrong.
    pub why: String,
    /// What the person can do about it, where something can be done.
    pub remedy: Option<String>,
}

/// The bubblewrap of a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bubblewrap {
    /// The executable.
    pub program: PathBuf,
    /// What it says of its version.
    pub version: String,
}

/// Where groups with limits of their own can be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cgroup {
    /// The unified hierarchy: a folder that is ours, with the controllers `memory` and `pids`.
    V2 {
        /// New groups are made in it.
        parent: PathBuf,
    },
    /// The older hierarchies.
    V1 {
        /// New groups of the controller `memory` are made in it.
        memory: PathBuf,
        /// New groups of the controller `pids` are made in it.
        pids: PathBuf,
    },
}

/// What a machine offers for confining a process. Every finding was tried, not looked up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// The kernel's release.
    pub kernel: String,
    /// Version of landlock's interface.
    pub landlock: Finding<u32>,
    /// Filters of system calls.
    pub seccomp: Finding<()>,
    /// A whole confinement by bubblewrap.
    pub bubblewrap: Finding<Bubblewrap>,
    /// A whole confinement by namespaces that the helper makes itself.
    pub namespaces: Finding<()>,
    /// A whole confinement by landlock and seccomp alone.
    pub landlock_only: Finding<()>,
    /// Groups with limits on memory and tasks.
    pub cgroup: Finding<Cgroup>,
}

/// One line of a description.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Described {
    /// What it is about.
    pub name: &'static str,
    /// Whether it is offered.
    pub offered: bool,
    /// Details, or why not.
    pub text: String,
    /// What can be done where it is not offered.
    pub remedy: Option<String>,
}

impl<T> Finding<T> {
    /// The thing, if offered.
    pub fn offered(&self) -> Option<&T> {
        match self {
            Finding::Offered(thing) => Some(thing),
            Finding::Missing(_) => None,
        }
    }

    /// Why not, if missing.
    pub fn missing(&self) -> Option<&Reason> {
        match self {
            Finding::Offered(_) => None,
            Finding::Missing(reason) => Some(reason),
        }
    }
}

impl Reason {
    /// A reason about which nothing can be done.
    pub fn new(why: impl Into<String>) -> Self {
        Self { why: why.into(), remedy: None }
    }

    /// With what can be done about it.
    #[must_use]
    pub fn with_remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }
}

impl Offer {
    /// The strongest level that works here.
    pub fn level(&self) -> Level {
        if self.landlock.offered().is_none() {
            // A process in namespaces could write what it is handed to read, through /proc/self/fd.
            Level::Off
        } else if self.bubblewrap.offered().is_some() || self.namespaces.offered().is_some() {
            Level::Namespaces
        } else if self.landlock_only.offered().is_some() {
            Level::Landlock
        } else {
            Level::Off
        }
    }

    /// Every finding in words, for a person.
    pub fn describe(&self) -> Vec<Described> {
        fn line<T>(name: &'static str, finding: &Finding<T>, text: impl Fn(&T) -> String) -> Described {
            match finding {
                Finding::Offered(thing) => Described { name, offered: true, text: text(thing), remedy: None },
                Finding::Missing(reason) => {
                    Described { name, offered: false, text: reason.why.clone(), remedy: reason.remedy.clone() }
                }
            }
        }
        vec![
            line("landlock", &self.landlock, |abi| format!("version {abi}")),
            line("seccomp", &self.seccomp, |()| "works".to_owned()),
            line("bubblewrap", &self.bubblewrap, |found| {
                format!("{} at {} works", found.version, found.program.display())
            }),
            line("namespaces", &self.namespaces, |()| "work".to_owned()),
            line("landlock alone", &self.landlock_only, |()| "works".to_owned()),
            line("cgroup limits", &self.cgroup, |cgroup| match cgroup {
                Cgroup::V2 { parent } => format!("version 2 at {}", parent.display()),
                Cgroup::V1 { memory, .. } => format!("version 1 at {}", memory.display()),
            }),
        ]
    }

    /// Why a level is not reached; empty where it is.
    pub(crate) fn reasons(&self, level: Level) -> Vec<(&'static str, &Reason)> {
        if self.level() >= level {
            return Vec::new();
        }
        let mut reasons = Vec::new();
        if self.landlock.missing().is_some() {
            reasons.push(("landlock", self.landlock.missing()));
        }
        if level == Level::Namespaces {
            reasons.push(("bubblewrap", self.bubblewrap.missing()));
            reasons.push(("namespaces", self.namespaces.missing()));
        } else {
            reasons.push(("landlock alone", self.landlock_only.missing()));
        }
        reasons.into_iter().filter_map(|(name, reason)| Some((name, reason?))).collect()
    }
}
