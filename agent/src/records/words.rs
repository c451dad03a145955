//! Vocabularies of the records: each word stands as it is in the database, in files and on pages.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::flow::BadName;

/// Gives a fieldless enum the words that stand for it in the database and in files.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident, $expected:literal { $($(#[$doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$doc])* #[serde(rename = $word)] $variant,)+
        }

        impl $name {
            /// All of them, in order.
            pub const ALL: &'static [$name] = &[$($name::$variant,)+];

            /// The word used in the database and in files.
            pub fn name(self) -> &'static str {
                match self { $($name::$variant => $word,)+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }

        impl FromStr for $name {
            type Err = BadName;

            fn from_str(text: &str) -> Result<Self, BadName> {
                match text {
                    $($word => Ok($name::$variant),)+
                    _ => Err(BadName { text: text.to_owned(), expected: $expected }),
                }
            }
        }
    };
}

words! {
    /// What the opening of a night was at, before its first effect.
    OpeningStage, "a stage of a night's opening" {
        /// Looking at the machine, installing what is missing, opening the records.
        SettingUp = "setting-up",
        /// Preparing the data, or finding them prepared.
        Data = "data",
        /// Building what the night starts from, and with it the red team.
        Building = "building",
        /// Trying known cheats on the evaluator.
        RedTeam = "red-team",
    }
}

words! {
    /// Why a night ended.
    NightEnding, "a reason for which a night ends" {
        /// The number of experiments asked for was reached.
        ExperimentsDone = "experiments-done",
        /// Its time was up.
        Deadline = "deadline",
        /// No proposer had anything left.
        NothingLeft = "nothing-left",
        /// A person stopped it.
        Stopped = "stopped",
        /// It could not go on; the detail says why.
        Failed = "failed",
        /// It was given up for another night after it had been cut off.
        Abandoned = "abandoned",
    }
}

words! {
    /// How far an experiment has come. It only moves forward, except that a repair sends it back to `proposed`.
    ExperimentState, "an experiment's state" {
        /// Thought of; no commit yet.
        Proposed = "proposed",
        /// On its branch.
        Committed = "committed",
        /// Its trainer's executable exists.
        Built = "built",
        /// A trial has begun.
        Training = "training",
        /// A trial was evaluated.
        Measured = "measured",
        /// It has its verdict; nothing changes any more.
        Decided = "decided",
    }
}

words! {
    /// What was attempted between a proposal and an executable.
    AttemptKind, "a kind of attempt" {
        /// Fitting the edits to the champion's files and the policy.
        Edit = "edit",
        /// Building the commit.
        Build = "build",
    }
}

words! {
    /// Whether an attempt succeeded.
    AttemptOutcome, "an attempt's outcome" {
        /// It did.
        Succeeded = "succeeded",
        /// It did not; the evidence says why.
        Failed = "failed",
    }
}

words! {
    /// How much an event matters.
    Level, "an event's level" {
        /// For whoever looks for a fault.
        Debug = "debug",
        /// The night's ordinary course.
        Info = "info",
        /// Something to look at in the morning.
        Warning = "warning",
        /// Something failed.
        Error = "error",
    }
}

words! {
    /// A part of the held-out text.
    HeldOut, "a part of the held-out text" {
        /// Decides during the night; looked at again and again.
        Search = "search",
        /// Spent on the morning's claim.
        Sealed = "sealed",
    }
}

words! {
    /// Who was asked in an exchange.
    ExchangeKind, "a kind of exchange" {
        /// A language model.
        Model = "model",
        /// A person's coding agent.
        Agent = "agent",
    }
}

words! {
    /// Why a model gave no answer.
    FailureKind, "a reason for which a model gives no answer" {
        /// Nobody answers there.
        Unreachable = "unreachable",
        /// It took too long.
        TimedOut = "timed-out",
        /// Too many requests.
        RateLimited = "rate-limited",
        /// The server's own fault.
        Server = "server",
        /// The key is not accepted.
        NotAllowed = "not-allowed",
        /// The request is longer than the model's context.
        TooLong = "too-long",
        /// The server does not take the request.
        BadRequest = "bad-request",
        /// The answer broke off.
        BrokenOff = "broken-off",
        /// What the server sends is not what the format says.
        Malformed = "malformed",
        /// The answer is longer than anything that would be of use.
        TooMuch = "too-much",
        /// The answer is empty.
        Empty = "empty",
    }
}

words! {
    /// What has become of an idea in the queue.
    QueueState, "a state of the queue" {
        /// No night has taken it yet.
        Waiting = "waiting",
        /// A night is at it.
        Taken = "taken",
        /// It was tested; the result says what came of it.
        Done = "done",
        /// It could not be tested; the result says why.
        Refused = "refused",
        /// The person took it back.
        Removed = "removed",
    }
}

words! {
    /// What a person makes of an experiment.
    ReviewChoice, "a choice of a review" {
        /// Wanted: a clean branch is made of it.
        Accepted = "accepted",
        /// Not wanted; the reason goes into later briefs.
        Rejected = "rejected",
        /// Not now: it stays among those that wait.
        Deferred = "deferred",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_survive_text_and_json() {
        for state in ExperimentState::ALL {
            assert_eq!(state.name().parse::<ExperimentState>().unwrap(), *state);
            assert_eq!(serde_json::to_value(state).unwrap(), state.name());
        }
        for ending in NightEnding::ALL {
            assert_eq!(ending.name().parse::<NightEnding>().unwrap(), *ending);
        }
        assert!("done".parse::<ExperimentState>().is_err());
    }

    #[test]
    fn states_are_ordered_as_they_follow_each_other() {
        assert!(ExperimentState::ALL.is_sorted());
        assert!(ExperimentState::Training < ExperimentState::Decided);
    }
}
