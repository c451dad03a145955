//! Names of nights, commits and experiments, which no text that could leave its place passes for.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Names one run of a campaign, for example `2026-03-08-k4`: the date on which it began and two characters that tell nights of one
/// day apart. Safe in a branch name, a path and a URL.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NightId(String);

/// A 40-digit lower-case hexadecimal git object id.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CommitId(String);

/// An experiment: its night and its number there. Number 0 is the night's start itself, measured as the first champion.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ExperimentId {
    /// The night.
    pub night: NightId,
    /// Counted from 1; 0 is the night's start.
    pub number: u32,
}

/// A name that cannot be what it claims to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {expected}")]
pub struct BadName {
    /// What was given.
    pub text: String,
    /// What it should have been.
    pub expected: &'static str,
}

impl NightId {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl CommitId {
    /// The 40 digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first seven digits, as people write them.
    pub fn short(&self) -> &str {
        &self.0[..7]
    }
}

impl TryFrom<String> for NightId {
    type Error = BadName;

    fn try_from(text: String) -> Result<Self, BadName> {
        let fits = (1..=40).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !text.starts_with('-')
            && !text.ends_with('-');
        if fits {
            Ok(Self(text))
        } else {
            Err(BadName { text, expected: "a night's name (lower-case letters, digits and inner dashes, at most 40)" })
        }
    }
}

impl TryFrom<String> for CommitId {
    type Error = BadName;

    fn try_from(text: String) -> Result<Self, BadName> {
        if text.len() == 40 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
            Ok(Self(text))
        } else {
            Err(BadName { text, expected: "a commit id (40 lower-case hexadecimal digits)" })
        }
    }
}

impl FromStr for ExperimentId {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let bad = || BadName { text: text.to_owned(), expected: "an experiment (NIGHT/NUMBER)" };
        let (night, number) = text.rsplit_once('/').ok_or_else(bad)?;
        Ok(Self { night: NightId::try_from(night.to_owned())?, number: number.parse().map_err(|_| bad())? })
    }
}

impl fmt::Display for ExperimentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.night, self.number)
    }
}

macro_rules! text_conversions {
    ($($name:ident),*) => {$(
        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = BadName;

            fn from_str(text: &str) -> Result<Self, BadName> {
                Self::try_from(text.to_owned())
            }
        }
    )*};
}
text_conversions!(NightId, CommitId);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::Verdict;

    #[test]
    fn names_that_could_leave_their_place_are_refused() {
        for bad in ["", "-a", "a-", "a/b", "..", "a b", "A", "ä", &"a".repeat(41)] {
            assert!(bad.parse::<NightId>().is_err(), "{bad:?} was taken for a night");
        }
        for bad in ["", "abc", &"g".repeat(40), &"A".repeat(40), &"a".repeat(41)] {
            assert!(bad.parse::<CommitId>().is_err(), "{bad:?} was taken for a commit");
        }
        for bad in ["2026-03-08-k4", "2026-03-08-k4/", "2026-03-08-k4/x", "/3", "2026-03-08-k4/-1"] {
            assert!(bad.parse::<ExperimentId>().is_err(), "{bad:?} was taken for an experiment");
        }
    }

    #[test]
    fn names_survive_text() {
        let id: ExperimentId = "2026-03-08-k4/12".parse().unwrap();
        assert_eq!((id.night.as_str(), id.number), ("2026-03-08-k4", 12));
        assert_eq!(id.to_string(), "2026-03-08-k4/12");
        for verdict in Verdict::ALL {
            assert_eq!(verdict.name().parse::<Verdict>().unwrap(), verdict);
            assert_eq!(serde_json::to_value(verdict).unwrap(), verdict.name());
        }
    }
}
