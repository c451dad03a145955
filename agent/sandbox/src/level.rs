//! How strongly a process is confined. No IO.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How strongly a process is confined, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Limits only: files, network and other processes are in reach.
    Off,
    /// Files by landlock, no sockets by seccomp, signals and abstract sockets scoped by landlock (ABI 6 and later). Names of
    /// files and other processes can still be seen.
    Landlock,
    /// Namespaces of its own with a file system that holds only what the policy names; landlock and seccomp on top.
    Namespaces,
}

impl Level {
    /// All of them, the weakest first.
    pub const ALL: [Level; 3] = [Level::Off, Level::Landlock, Level::Namespaces];

    /// As written in `campaign.toml`.
    pub fn name(self) -> &'static str {
        match self {
            Level::Off => "off",
            Level::Landlock => "landlock",
            Level::Namespaces => "namespaces",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_ordered_and_named() {
        assert!(Level::Off < Level::Landlock && Level::Landlock < Level::Namespaces);
        for level in Level::ALL {
            assert_eq!(serde_json::to_string(&level).unwrap_or_default(), format!("\"{level}\""));
        }
    }
}
